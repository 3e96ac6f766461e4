"""The command `psql`: PostgreSQL's own client, on the database in use."""

import argparse
import os
import signal
import subprocess
from collections.abc import Callable

from cli.process import open_database
from db.postgres_programs import client_program
from model.errors import ConfigurationError
from model.settings import MAIN, Settings


def open_psql(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Open psql, or run one statement with it; returns its exit code."""
    if not settings.has_database():
        raise ConfigurationError(f"there is no database yet: {MAIN} setup creates one")
    with open_database(settings) as database:
        conninfo, password = database.conninfo()
        environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}  # not shown by ps
        interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for psql
        try:
            command = [
                client_program("psql")[0],
                "--dbname",
                conninfo,
                *(["--command", arguments.sql] if arguments.sql else []),
            ]
            return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - the user's own SQL
        finally:
            signal.signal(signal.SIGINT, interrupted)
