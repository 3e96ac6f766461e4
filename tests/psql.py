"""Plain psql, as people and other tools use it, in a time zone that is not UTC."""

import csv
import os
import subprocess

from db.postgres_programs import program_directories


def run_psql(url: str, statement: str) -> subprocess.CompletedProcess[str]:
    """Run statements to their end, or to the first error."""
    options = ["-X", "-q", "--csv", "-t", "-v", "ON_ERROR_STOP=1", "-c"]
    return subprocess.run(  # noqa: S603 - PostgreSQL's own client
        [str(program_directories()[0] / "psql"), *options, statement, url],
        env=os.environ | {"PGTZ": "America/New_York"},
        capture_output=True,
        text=True,
        check=False,
    )


def psql(url: str, statement: str) -> list[tuple[str, ...]]:
    """The rows of a statement, as text."""
    done = run_psql(url, statement)
    assert done.returncode == 0, done.stderr
    return [tuple(row) for row in csv.reader(done.stdout.splitlines())]
