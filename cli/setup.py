"""The command `setup`: the tables and views, and a role that may only read them."""

import argparse
import logging
from collections.abc import Callable

from cli.process import open_database
from db.database import Database
from db.distribution import distribute
from db.roles import check_name, ensure_reader
from model.settings import READER_PASSWORD, Settings
from pipeline.tables import ensure_tables

log = logging.getLogger(__name__)


def setup(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Create the tables, or upgrade them, and the reader if one is named; returns 0."""
    if arguments.reader is not None:
        check_name(arguments.reader)  # before a database is created
    with open_database(settings) as database:
        ensure_tables(database, always=True)
        print(f"the tables are ready: {database}")
        if arguments.distributed:
            print(f"their rows are distributed by asset; number of servers: {distribute(database)}")
        if arguments.reader is not None:
            _set_up_reader(database, arguments.reader, settings.get(READER_PASSWORD))
    return 0


def _set_up_reader(database: Database, name: str, password: str) -> None:
    done = ensure_reader(database, name, password)
    for right in done.may_write:
        log.warning("%s may also write, since everybody may, or since others have allowed it: %s", name, right)
    print(f"{name} may read: {database.url(user=name)}")
    if done.password:
        print(f"its password, which is shown only now: {done.password}")
    else:
        print(f"its password is {f'that of {READER_PASSWORD}' if password else 'as before'}")
