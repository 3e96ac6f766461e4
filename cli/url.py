"""The command `url`: the connection string of the database in use, for other tools."""

import argparse
import sys
from collections.abc import Callable

from cli.process import open_database
from model.errors import ConfigurationError
from model.settings import DATABASE_URL, EMBEDDED_PORT, MAIN, Settings


def print_url(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Print the URL, with its password only if that is asked for; returns 0."""
    if not settings.has_database():
        raise ConfigurationError(f"there is no database yet: {MAIN} setup creates one")
    with open_database(settings) as database:
        if settings.port(EMBEDDED_PORT) and not settings.get(DATABASE_URL) and not database.listens:
            raise ConfigurationError(
                f"the running server was started without {EMBEDDED_PORT}: stop every process that uses the database, "
                "then repeat"
            )
        url, whole = database.url(), database.url(with_password=True)
        print(whole if arguments.password else url)
        if url != whole and not arguments.password:
            print(f"the password is left out: {MAIN} url --password prints it, too", file=sys.stderr)
    if not settings.get(DATABASE_URL):
        print(f"this server runs while a scheduler, a notebook or {MAIN} psql uses it", file=sys.stderr)
    return 0
