"""DataFrames about what is stored: sources, assets, metrics, coverage, freshness, runs, revisions and flags.

Loads pandas.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

import pandas as pd

from db import revisions as replaced
from db.coverage import SeriesMap, StoredSeries, series_maps
from db.points import ages
from db.pulls import NEWEST_RUNS
from db.reader import Reader
from db.session import clock
from model.errors import BadQuestion
from model.settings import Settings
from model.values import DAY, Series, midnight, number_of_days
from pipeline.gaps import in_rhythm
from pipeline.health import diagnose
from query.flags import stored_flags
from query.frames import TIME, any_table, table
from query.series_names import NOT_ASKED_FOR, Configs
from sources import SOURCES, note_of, unit_of
from sources.config import Asset

SERIES = dict.fromkeys(("source", "asset", "metric"), object)


def sources(every: Iterable[StoredSeries]) -> pd.DataFrame:
    """Each source that has points: its numbers of assets, metrics, series and points."""
    counted = {"assets": ("asset", "nunique"), "metrics": ("metric", "nunique"), "series": ("metric", "size")}
    return _with_points(every).groupby("source").agg(**counted, points=("points", "sum"))


def assets(every: Iterable[StoredSeries], configs: Configs) -> pd.DataFrame:
    """Each asset that has points: its kinds, name and entity in the configs, its numbers of metrics and points."""
    named: dict[tuple[str, str], list[Asset]] = defaultdict(list)
    for source, rows in configs.items():
        for row in rows:
            named[source, row.asset].append(row)
    grouped, found = _with_points(every).groupby(["source", "asset"])["points"], []
    for key, metrics, points in grouped.agg(["size", "sum"]).itertuples(name=None):
        rows = named[key]
        kinds = dict.fromkeys(row.kind for row in rows if row.kind)
        name = next((row.name for row in rows if row.name), "")
        entity = next((row.entity for row in rows if row.entity), "")
        found.append((*key, " ".join(kinds), name, entity, metrics, points))
    texts = dict.fromkeys(("source", "asset", "kinds", "name", "entity"), object)
    return table(found, {**texts, "metrics": int, "points": int})


def metrics(every: Iterable[StoredSeries]) -> pd.DataFrame:
    """Each metric that has points: its unit, its numbers of assets and points, and what its reader must know."""
    grouped = _with_points(every).groupby(["source", "metric"])["points"].agg(["size", "sum"])
    rows = [
        (source, metric, unit_of([(source, "", metric)]), *numbers, note_of(source, metric))
        for (source, metric), *numbers in grouped.itertuples(name=None)
    ]
    columns = {"source": object, "metric": object, "unit": object, "assets": int, "points": int, "note": object}
    return table(rows, columns)


def coverage(reader: Reader, every: Sequence[StoredSeries], configs: Configs) -> pd.DataFrame:
    """The numbers of days of each series, by what is stored or missing, and the span of its answered days."""
    wanted = {each.series for each in every}
    today, rows = midnight(reader.do(clock)), []
    for name, assets_, metrics_ in _by_source(wanted):
        source = SOURCES.get(name)  # None if its module no longer exists
        shifts = source.own_times() if source else {}
        maps = reader.do(lambda cursor: series_maps(cursor, name, today, shifts, assets_, metrics_))  # noqa: B023
        targets = {(each.asset, each.metric): each for row in configs.get(name, ()) for each in row.targets()}
        sound = in_rhythm(source, maps, targets) if source else maps
        rows += [_days(name, each) for each in sound if Series(name, *each[:2]) in wanted]
    days = dict.fromkeys(("days", "never", "empty", "lost", "refused", "withdrawn"), int)
    times = dict.fromkeys(("asked_from", "asked_to", "verified_at", "withdrawn_at"), TIME)
    return table(rows, {**SERIES, **days, **times})


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
            confirmed = age.verified_at, age.withdrawn
            rows.append((*series, age.newest, since, age.answered, state.value if state else NOT_ASKED_FOR, *confirmed))
    columns = {"newest": TIME, "age": "timedelta64[us]", "answered": TIME, "state": object}
    return table(rows, {**SERIES, **columns, "verified_at": TIME, "withdrawn": int})


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
    return table(rows, {**SERIES, "at": TIME, **values, "replaced_at": TIME, "pull_id": "Int64", "reason": object})


def flags(reader: Reader, every: Iterable[StoredSeries], configs: Configs, start: datetime) -> pd.DataFrame:
    """What the rules flag in these series since `start`: a row for consecutive days, both ends included."""
    asked, today = {each.series for each in every}, midnight(reader.do(clock))
    found = reader.do(lambda cursor: stored_flags(cursor, asked, configs, midnight(start), today))
    rows = [(*each.series, each.rule.value, each.start, each.end, each.value, each.text) for each in found]
    return table(rows, {**SERIES, "rule": object, "start": TIME, "end": TIME, "value": float, "text": object})


def _with_points(every: Iterable[StoredSeries]) -> pd.DataFrame:
    """The series that have points, with the number of these."""
    return table([(*each.series, each.points) for each in every if each.points], {**SERIES, "points": int})


def _by_source(wanted: Iterable[Series]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each source with its assets and metrics among these series."""
    for name, group in groupby(sorted(wanted), key=lambda each: each.source):
        _, assets_, metrics_ = zip(*group, strict=True)
        yield name, sorted(set(assets_)), sorted(set(metrics_))


def _days(source: str, series: SeriesMap) -> tuple[object, ...]:
    kinds = series.never, series.empty, series.lost, series.refused, series.withdrawn
    counts = [number_of_days(gaps) for gaps in kinds]
    asked = (series.answered[0].start, series.answered[-1].end - DAY) if series.answered else (None, None)
    times = series.verified_at, series.withdrawn_at
    return source, series.asset, series.metric, series.days, *counts, *asked, *times
