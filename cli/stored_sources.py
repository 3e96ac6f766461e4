"""The sources that a command looks at, each with a session on what is stored of it."""

import argparse
from collections.abc import Collection, Iterator
from contextlib import closing

from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from cli.jobs import names_of
from cli.process import open_database
from db.coverage import known_series
from db.setup import ensure_schema
from model.errors import ConfigurationError
from model.settings import ROOT, Settings
from model.text import nearest
from model.values import Target
from query.query_session import fill
from sources import SOURCES
from sources.config import read_targets


def each_source(arguments: argparse.Namespace, settings: Settings) -> Iterator[tuple[str, Connection]]:
    """Each source with a session, in no transaction, on a database that has the tables.

    Whoever prints does so after the last one: a reader of the output who takes his time must hold up nobody who
    writes, nor the embedded server's end. Raises ConfigurationError where there is no data, or none of the assets and
    metrics asked for.
    """
    names = names_of(arguments.source, arguments.config)
    nothing = f"nothing is stored yet: {fill(settings, None if arguments.source == 'all' else arguments.source)}"
    configured = [series for name in names for series in configured_series(name, arguments)]
    if not settings.has_database():  # none is made for a look
        raise ConfigurationError(nothing)
    with open_database(settings) as database:
        ensure_schema(database)
        with closing(database.connect("look")) as session:
            with session, session.cursor() as cursor:
                stored = [series for name in names for series in known_series(cursor, name)]
            if not stored:
                raise ConfigurationError(nothing)
            _check_names(arguments, [*stored, *configured])
            for name in names:
                yield name, session


def configured_series(name: str, arguments: argparse.Namespace) -> dict[tuple[str, str], Target]:
    """The series (asset, metric) that the config of a source asks for."""
    source = SOURCES[name]
    targets = read_targets(arguments.config or ROOT / source.CONFIG, source)
    return {(target.asset, target.metric): target for target in targets}


def _check_names(arguments: argparse.Namespace, known: Collection[tuple[str, str]]) -> None:
    """Raise ConfigurationError, with the nearest name, for an asset or metric that neither config nor table has."""
    where = "no source" if arguments.source == "all" else arguments.source
    assets, metrics = {asset for asset, _ in known}, {metric for _, metric in known}
    for kind, names, existing in (("asset", arguments.asset, assets), ("metric", arguments.metric, metrics)):
        for name in names:
            if name not in existing:
                has = "has" if where == "no source" else "has no"
                raise ConfigurationError(f"{where} {has} {kind} {name!r}: {nearest(name, existing)}")
