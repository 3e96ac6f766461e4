"""`settle --accept` and `settle --reject`: a person decides about restatements that wait."""

import argparse
import logging
from collections.abc import Collection, Mapping
from typing import Any

from cli.jobs import names_of
from cli.process import open_database
from db.coverage import Name
from db.quarantine import adopt, reject, waiting_series
from db.session import session_for
from db.setup import ensure_schema
from model.errors import ConfigurationError
from model.settings import Settings
from model.text import counted, first_of
from model.values import Series
from sources import SOURCES

log = logging.getLogger(__name__)

OPTIONS_OF_A_RUN = ("assets", "metrics", "config", "days", "all_days")
ALL = "ALL"  # in place of a metric
SERIES_SHOWN = 5  # of those that wait, in a message

Waiting = Mapping[str, Collection[Name]]  # by source


def decide(arguments: argparse.Namespace, settings: Settings) -> int:
    """Adopt or reject what waits for the named series, and log it; returns 0.

    Raises ConfigurationError, with nothing written, if nothing waits for a series, or for several of its name.
    """
    if any(getattr(arguments, option) for option in OPTIONS_OF_A_RUN):
        raise ConfigurationError("--accept and --reject make no run: leave the other options out")
    if not settings.has_database():  # this command creates none
        raise ConfigurationError("nothing is stored yet, so nothing waits")
    with open_database(settings) as database:
        ensure_schema(database)
        with session_for(database, "settle") as session, session, session.cursor() as cursor:
            waiting = {source: waiting_series(cursor, source) for source in names_of(arguments.source)}
            accepted, rejected = (
                [series for asset, metric in pairs for series in _series(asset, metric.upper(), waiting)]
                for pairs in (arguments.accept, arguments.reject)
            )
            if twice := [series for series in accepted if series in rejected]:
                raise ConfigurationError(f"{twice[0]}: name it with --accept or with --reject, not with both")
            done = [_accept(cursor, series) for series in dict.fromkeys(accepted)]
            done += [_reject(cursor, series) for series in dict.fromkeys(rejected)]
    for line in done:
        log.info("%s", line)
    return 0


def _accept(cursor: Any, series: Series) -> str:
    """Adopt what waits for a series; what was done, in one line."""
    source, *name = series
    adopted = adopt(cursor, source, [(name[0], name[1])], SOURCES[source].own_times(), "accepted", pull_id=None)
    gone = f"; {counted(adopted.withdrawn, 'value')} withdrawn" if adopted.withdrawn else ""
    return f"{series}: adopted {counted(adopted.changed, 'value')}{gone}"


def _reject(cursor: Any, series: Series) -> str:
    """Keep what is stored of a series; what was done, in one line."""
    kept = reject(cursor, series.source, [(series.asset, series.metric)])
    return f"{series}: kept {counted(kept, 'value')} as stored"


def _series(asset: str, metric: str, waiting: Waiting) -> list[Series]:
    """The waiting series of these names in the one source that has any; the metric ALL stands for all of the asset."""
    every = [Series(source, *name) for source, names in waiting.items() for name in names]
    found = [each for each in every if each.asset == asset and metric in (each.metric, ALL)]
    if len(sources := {each.source for each in found}) > 1:
        raise ConfigurationError(f"{asset} {metric} waits in several sources: name one: {' or '.join(sorted(sources))}")
    if not found:
        these = f"these wait: {first_of([*map(str, every)], SERIES_SHOWN)}" if every else "nothing waits"
        raise ConfigurationError(f"nothing waits for {asset} {metric}: {these}")
    return found
