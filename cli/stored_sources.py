"""What `gaps` and `revisions` share: a session for each source, and a check of the names that the user gives."""

import argparse
from collections.abc import Iterator
from contextlib import closing

from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from cli.jobs import names_of
from cli.process import open_database
from db.coverage import Name, stored_series
from db.setup import ensure_schema
from model.errors import ConfigurationError
from model.settings import ROOT, Settings
from model.values import Target
from pipeline.plan import check_names
from query.query_session import fill_command
from sources import SOURCES
from sources.config import read_targets


def each_source(arguments: argparse.Namespace, settings: Settings) -> Iterator[tuple[str, Connection]]:
    """Each source of a command line with a session that is in no transaction.

    A caller must print only after the last source, or a slow reader of its output keeps the session open. Raises
    ConfigurationError where nothing is stored, or where neither config nor table has one of the names.
    """
    names, one = names_of(arguments.source, arguments.config), arguments.source != "all"
    nothing = ConfigurationError(f"nothing is stored yet: {fill_command(settings, arguments.source if one else None)}")
    known = [series for name in names for series in configured_series(name, arguments)]
    if not settings.has_database():  # these commands do not create a database
        raise nothing
    with open_database(settings) as database:
        ensure_schema(database)
        with closing(database.connect("read")) as session:
            with session, session.cursor() as cursor:
                stored = [(each.series.asset, each.series.metric) for each in stored_series(cursor, names)]
            if not stored:
                raise nothing
            has_no = f"{arguments.source} has no" if one else "no source has"
            check_names(arguments.asset, arguments.metric, [*stored, *known], has_no)
            for name in names:
                yield name, session


def configured_series(name: str, arguments: argparse.Namespace) -> dict[Name, Target]:
    """The series that the config of a source names."""
    source = SOURCES[name]
    targets = read_targets(arguments.config or ROOT / source.CONFIG, source)
    return {(target.asset, target.metric): target for target in targets}
