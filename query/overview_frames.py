"""DataFrames about what is stored: sources, assets, metrics, coverage, freshness, runs, revisions. Loads pandas."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import pandas as pd

from db import revisions as replaced
from db.coverage import SeriesMap, StoredSeries, series_maps
from db.points import ages
from db.pulls import NEWEST_RUNS
from db.reader import Reader
from db.session import clock
from model.errors import BadQuestion
from model.settings import Settings
from model.values import DAY, Series, midnight
from pipeline.gaps import in_rhythm
from pipeline.health import diagnose
from query.frames import TIME, any_table, table
from query.series_names import NOT_ASKED_FOR, Configs
from sources import SOURCES, unit_of
from sources.config import Asset

SERIES = dict.fromkeys(("source", "asset", "metric"), object)
Key = TypeVar("Key", bound=Hashable)


def sources(every: Iterable[StoredSeries]) -> pd.DataFrame:
    """Each source that has points: its numbers of assets, metrics, series and points."""
    rows = []
    for source, of in _grouped(every, lambda series: series.source).items():
        assets, metrics = {each.series.asset for each in of}, {each.series.metric for each in of}
        rows.append((source, len(assets), len(metrics), len(of), sum(each.points for each in of)))
    columns = {"source": object, "assets": int, "metrics": int, "series": int, "points": int}
    return table(rows, columns).set_index("source")


def assets(every: Iterable[StoredSeries], configs: Configs) -> pd.DataFrame:
    """Each asset that has points: its kinds, name and entity in the configs, its numbers of metrics and points."""
    named: dict[tuple[str, str], list[Asset]] = defaultdict(list)
    for source, rows in configs.items():
        for row in rows:
            named[source, row.asset].append(row)
    found = []
    for (source, asset), of in _grouped(every, lambda series: series[:2]).items():
        rows = named.get((source, asset), [])
        kinds, names, entities = ([getattr(row, field) for row in rows] for field in ("kind", "name", "entity"))
        said = " ".join(dict.fromkeys(filter(None, kinds))), *(next(filter(None, of), "") for of in (names, entities))
        found.append((source, asset, *said, len(of), sum(each.points for each in of)))
    texts = dict.fromkeys(("source", "asset", "kinds", "name", "entity"), object)
    return table(found, {**texts, "metrics": int, "points": int})


def metrics(every: Iterable[StoredSeries]) -> pd.DataFrame:
    """Each metric that has points: its unit, its numbers of assets and points."""
    found = [
        (source, metric, unit_of([of[0].series]), len(of), sum(each.points for each in of))
        for (source, metric), of in _grouped(every, lambda series: (series.source, series.metric)).items()
    ]
    return table(sorted(found), {"source": object, "metric": object, "unit": object, "assets": int, "points": int})


def coverage(reader: Reader, every: Sequence[StoredSeries], configs: Configs) -> pd.DataFrame:
    """The numbers of days of each series: stored, never requested, empty, lost; and the span of its answered days."""
    wanted = {each.series for each in every}
    today, rows = midnight(reader.do(clock)), []
    for name, assets_, metrics_ in _by_source(wanted):
        source = SOURCES.get(name)  # None if its module no longer exists
        shifts = source.own_times() if source else {}
        maps = reader.do(lambda cursor: series_maps(cursor, name, today, shifts, assets_, metrics_))  # noqa: B023
        targets = [target for row in configs.get(name, ()) for target in row.targets()]
        known = {(target.asset, target.metric): target for target in targets}
        sound = in_rhythm(source, maps, known) if source else maps
        rows += [_days(name, each) for each in sound if Series(name, *each[:2]) in wanted]
    days = dict.fromkeys(("days", "never", "empty", "lost"), int)
    return table(rows, {**SERIES, **days, "asked_from": TIME, "asked_to": TIME})


def freshness(reader: Reader, every: Sequence[StoredSeries], settings: Settings) -> pd.DataFrame:
    """The age of each series, and its state."""
    names = list(dict.fromkeys(each.series.source for each in every))
    health = reader.do(lambda cursor: diagnose(cursor, settings, [name for name in names if name in SOURCES]))
    states = {(each.source, *name): state for each in health.sources for name, state in each.freshness.states.items()}
    now, rows = reader.do(clock), []
    for name in names:
        pairs = [each.series[1:] for each in every if each.series.source == name]
        for age in reader.do(lambda cursor: ages(cursor, name, pairs)):  # noqa: B023
            series = Series(name, age.asset, age.metric)
            since = None if age.newest is None else now - age.newest
            state = states.get(series)
            rows.append((*series, age.newest, since, age.answered, state.value if state else NOT_ASKED_FOR))
    return table(rows, {**SERIES, "newest": TIME, "age": "timedelta64[us]", "answered": TIME, "state": object})


def pulls(reader: Reader, source: str | None, kind: str | None, status: str | None, last: int) -> pd.DataFrame:
    """The newest runs, the newest first; of one source, kind or status if given."""
    if last < 1:
        raise BadQuestion(f"last={last}: give a number of runs, at least 1")
    only = {"source": source, "kind": kind, "status": status, "last": last}
    return any_table(reader.table(NEWEST_RUNS, only)).set_index("pull_id")


def revisions(reader: Reader, every: Sequence[StoredSeries]) -> pd.DataFrame:
    """Each replaced value of these series."""
    wanted = {each.series for each in every}
    rows = []
    for name, assets_, metrics_ in _by_source(wanted):
        found = reader.do(lambda cursor: replaced.revisions(cursor, name, assets_, metrics_))  # noqa: B023
        rows += [(name, *each) for each in found if Series(name, *each[:2]) in wanted]
    values = {"old": float, "new": float}
    return table(rows, {**SERIES, "at": TIME, **values, "replaced_at": TIME, "pull_id": "Int64"})


def _grouped(every: Iterable[StoredSeries], key: Callable[[Series], Key]) -> dict[Key, list[StoredSeries]]:
    """The series that have points, grouped by a part of their names."""
    found: dict[Key, list[StoredSeries]] = defaultdict(list)
    for each in every:
        if each.points:
            found[key(each.series)].append(each)
    return found


def _by_source(wanted: Iterable[Series]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each source with its assets and metrics among these series."""
    found: dict[str, list[Series]] = defaultdict(list)
    for each in wanted:
        found[each.source].append(each)
    for name, series in found.items():
        yield name, sorted({each.asset for each in series}), sorted({each.metric for each in series})


def _days(source: str, series: SeriesMap) -> tuple[object, ...]:
    counts = [sum((gap.end - gap.start) // DAY for gap in gaps) for gaps in (series.never, series.empty, series.lost)]
    asked = (series.answered[0].start, series.answered[-1].end - DAY) if series.answered else (None, None)
    return source, series.asset, series.metric, series.days, *counts, *asked
