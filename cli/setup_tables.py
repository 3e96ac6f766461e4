"""The command `setup`: creates or upgrades the tables."""

import argparse
from collections.abc import Callable

from cli.process import open_database
from db.setup import ensure_schema
from model.settings import Settings


def setup(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Create or upgrade the tables."""
    del arguments, scrub
    with open_database(settings) as database:
        ensure_schema(database, always=True)
        print(f"the tables are ready: {database}")
    return 0
