"""Flags of stored series: applies the rules of query/flag_rules.py to the days that are asked for. Stores nothing."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import date, datetime
from itertools import combinations, groupby
from operator import itemgetter
from typing import Any, NamedTuple

from db.points import of_series
from db.reader import copied
from model.flags import FlagRule, Quantity
from model.values import DAY, Metric, Rhythm, Series, Target, Window
from query.flag_rules import Day, days_of, drift, flat, jump, zero
from query.question import time_of
from query.series_names import Configs
from sources import SOURCES, metric_of
from sources.config import Asset

DAYS_BEFORE = 11 * DAY  # seven weekdays before any day
POINTS_AT_ONCE = 200_000  # in memory: a month of thousands of series
RULES = {FlagRule.FLAT: flat, FlagRule.ZERO: zero, FlagRule.JUMP: jump}

Rows = Mapping[Series, Asset]  # the config row of each configured series


class Flag(NamedTuple):
    """Days of a series that somebody should look at."""

    series: Series
    rule: FlagRule
    start: date
    end: date  # included
    value: float  # on the first of these days
    text: str


def stored_flags(
    cursor: Any, asked: Collection[Series], configs: Configs, start: datetime, today: datetime
) -> list[Flag]:
    """What the rules flag in the closed days of these series since `start`, a midnight; sorted.

    A series is also compared with those of other sources that measure the same quantity of its entity. A flag of two
    series that were both asked for is one of the first. Each source costs one statement, or a few if the window is
    long.
    """
    rows = {Series(name, row.asset, each): row for name, of in configs.items() for row in of for each in row.metrics}
    pairs = _pairs(rows, set(asked))
    compared = {each for ours, theirs, _ in pairs for each in (ours, theirs)}
    found, kept = list[Flag](), dict[Series, list[Day]]()
    for series, days in _days(cursor, compared.union(asked), rows, start, today):
        if series in compared:
            kept[series] = days
        if series in asked:
            found += _flags_of(series, days, rows.get(series))
    for ours, theirs, tolerance in pairs:
        for each in drift(kept.get(ours, ()), kept.get(theirs, ()), tolerance):
            found.append(Flag(ours, FlagRule.DRIFT, *each[:-1], f"from {theirs}: {each.text}"))
    return sorted(each for each in found if each.end >= start.date())


def _flags_of(series: Series, days: Sequence[Day], row: Asset | None) -> Iterator[Flag]:
    """What the rules for one series flag."""
    metric = metric_of(series.source, series.metric)
    off = {*(row.flags_off if row else ()), *([FlagRule.FLAT] if metric and metric.flat_by_nature else ())}
    for rule, find in RULES.items():
        if rule not in off:
            yield from (Flag(series, rule, *each) for each in find(days))


def _pairs(rows: Rows, asked: Set[Series]) -> list[tuple[Series, Series, float]]:
    """The configured series to compare, the first one asked for, and by what share they may differ."""
    alike: dict[tuple[Quantity, str], list[Series]] = defaultdict(list)
    for series, row in sorted(rows.items(), key=itemgetter(0)):
        metric = metric_of(series.source, series.metric)
        if metric and metric.quantity and row.entity and FlagRule.DRIFT not in row.flags_off:
            alike[metric.quantity, row.entity.casefold()].append(series)
    return [
        (*((one, other) if one in asked else (other, one)), quantity.tolerance)
        for (quantity, _), group in alike.items()
        for one, other in combinations(group, 2)
        if one.source != other.source and asked & {one, other}
    ]


def _days(
    cursor: Any, wanted: Iterable[Series], rows: Rows, start: datetime, today: datetime
) -> Iterator[tuple[Series, list[Day]]]:
    """The closed days of each of these series that has any, from some days before `start` on."""
    window = Window(start - DAYS_BEFORE, today)
    most = max(POINTS_AT_ONCE // max(len(window.ordinals), 1), 1)
    for _, group in groupby(sorted(wanted), key=lambda each: each.source):
        series = list(group)
        for part in (series[first : first + most] for first in range(0, len(series), most)):
            points = sorted(copied(cursor, *of_series(part, window)).rows())
            for number, of_one in groupby(points, key=itemgetter(0)):
                one = part[number]
                dated = ((time_of(at), value) for _, at, value in of_one)
                metric = metric_of(one.source, one.metric) or Metric("", frozenset())
                yield one, days_of(dated, metric, _rhythm(one, rows.get(one)), today.date())


def _rhythm(series: Series, row: Asset | None) -> Rhythm:
    """On which days the series has points; its name stands for the identifier if no config has it."""
    if series.source not in SOURCES:
        return Rhythm.DAILY
    identifier, kind = (row.id, row.kind) if row else (series.asset, "")
    return SOURCES[series.source].rhythm(Target(series.asset, series.metric, identifier, kind))
