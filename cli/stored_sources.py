"""What `gaps` and `revisions` share: a reading of each source, and a check of the names that the user gives."""

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

from cli.jobs import names_of
from cli.process import open_database
from db.coverage import Name, stored_series
from db.session import session_for
from model.errors import ConfigurationError
from model.settings import ROOT, Settings
from model.values import Target
from pipeline.plan import check_names
from pipeline.tables import ensure_tables
from query.query_session import fill_command
from sources import SOURCES
from sources.config import read_targets

T = TypeVar("T")


def read_sources(
    arguments: argparse.Namespace, settings: Settings, read: Callable[[Any, str], T], access: str = "read"
) -> list[T]:
    """What `read` finds of each source of a command line, with a cursor and its name, in a transaction for each.

    Raises ConfigurationError where nothing is stored, where neither config nor table has one of the names, or where
    the role lacks the right for `access` ("read", "written").
    """
    names, one = names_of(arguments.source, arguments.config), arguments.source != "all"
    nothing = ConfigurationError(f"nothing is stored yet: {fill_command(settings, arguments.source if one else None)}")
    known = [series for name in names for series in configured_series(name, arguments)]
    if not settings.has_database():  # these commands do not create a database
        raise nothing
    found = []
    with open_database(settings) as database:
        ensure_tables(database)
        with session_for(database, "read", access) as session:
            with session, session.cursor() as cursor:
                stored = [(each.series.asset, each.series.metric) for each in stored_series(cursor, names)]
            if not stored:
                raise nothing
            has_no = f"{arguments.source} has no" if one else "no source has"
            check_names(arguments.assets, arguments.metrics, [*stored, *known], has_no)
            for name in names:
                with session, session.cursor() as cursor:
                    found.append(read(cursor, name))
    return found


def configured_series(name: str, arguments: argparse.Namespace) -> dict[Name, Target]:
    """The series that the config of a source names."""
    source = SOURCES[name]
    targets = read_targets(arguments.config or ROOT / source.CONFIG, source)
    return {(target.asset, target.metric): target for target in targets}
