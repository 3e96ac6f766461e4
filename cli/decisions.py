"""`settle --accept` and `settle --reject`: a person decides about restatements that wait."""

import argparse
import logging
from collections.abc import Sequence
from typing import Any

from cli.jobs import names_of
from cli.process import open_database
from db.load import take_turn
from db.quarantine import ACCEPTED, adopt, reconsider, reject, series_with
from db.session import session_for
from model.errors import ConfigurationError
from model.settings import Settings
from model.text import counted, first_of
from model.values import Series
from pipeline.tables import ensure_tables
from sources import SOURCES

log = logging.getLogger(__name__)

OPTIONS_OF_A_RUN = ("assets", "metrics", "config", "days", "all_days")
NO_RUN = "--accept and --reject make no run: leave the other options out"
ALL = "all"  # in place of an asset or a metric
SERIES_SHOWN = 5  # of those that wait, in a message


def is_decision(arguments: argparse.Namespace) -> bool:
    """Whether the command line has --accept or --reject, which only `settle` knows."""
    return any(getattr(arguments, option, None) for option in ("accept", "reject"))


def decide(arguments: argparse.Namespace, settings: Settings) -> int:
    """Adopt or reject what waits for the named series, and log it; returns 0.

    What was rejected can be accepted later, but only by the full name of the series.

    Raises ConfigurationError, with nothing written, if nothing waits for a series, or for several of its name.
    """
    if any(getattr(arguments, option) for option in OPTIONS_OF_A_RUN):
        raise ConfigurationError(NO_RUN)
    if not settings.has_database():  # this command creates none
        raise ConfigurationError("nothing is stored yet, so nothing waits")
    sources = names_of(arguments.source)
    with open_database(settings) as database:
        ensure_tables(database)
        with session_for(database, "settle") as session, session, session.cursor() as cursor:
            for source in sources:
                take_turn(cursor, source)
            named = [pair for pair in arguments.accept if ALL not in map(str.casefold, pair)]
            for each in _series(cursor, sources, named, ["waiting", "rejected"]):
                reconsider(cursor, each.source, (each.asset, each.metric))
            accepted = _series(cursor, sources, arguments.accept, ["waiting"])
            rejected = _series(cursor, sources, arguments.reject, ["waiting"])
            if twice := [series for series in accepted if series in rejected]:
                raise ConfigurationError(f"{twice[0]}: name it with --accept or with --reject, not with both")
            done = [_accept(cursor, series) for series in accepted]
            done += [_reject(cursor, series) for series in rejected]
    for line in done:
        log.info("%s", line)
    return 0


def _accept(cursor: Any, series: Series) -> str:
    """Adopt what waits for a series; what was done, in one line."""
    name, own_times = (series.asset, series.metric), SOURCES[series.source].own_times()
    adopted = adopt(cursor, series.source, [name], own_times, ACCEPTED, run=None)
    gone = f", marked {counted(adopted.withdrawn, 'value')} as withdrawn" if adopted.withdrawn else ""
    return f"{series}: adopted {counted(adopted.changed, 'value')}{gone}"


def _reject(cursor: Any, series: Series) -> str:
    """Keep what is stored of a series; what was done, in one line."""
    kept = reject(cursor, series.source, (series.asset, series.metric))
    return f"{series}: kept {counted(kept, 'value')} as stored"


def _series(
    cursor: Any, sources: Sequence[str], pairs: Sequence[tuple[str, str]], states: Sequence[str]
) -> list[Series]:
    """The series of these pairs (asset, metric) that have values in one of these states; ALL stands for any name."""
    every = [Series(source, *name) for source in SOURCES for name in series_with(cursor, source, *states)]
    found: dict[Series, None] = {}
    for asset, metric in pairs:
        here = [
            each
            for each in every
            if each.source in sources
            and asset.casefold() in (each.asset.casefold(), ALL)
            and metric.casefold() in (each.metric.casefold(), ALL)
        ]
        if len(named := {each.source for each in here}) > 1:
            either = " or ".join(sorted(named))
            raise ConfigurationError(f"{asset} {metric} waits in several sources: name one: {either}")
        if not here:
            others = f"these wait: {first_of([*map(str, every)], SERIES_SHOWN)}" if every else "nothing waits at all"
            raise ConfigurationError(f"nothing waits for {asset} {metric} in {' or '.join(sources)}: {others}")
        found |= dict.fromkeys(here)
    return list(found)
