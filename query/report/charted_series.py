"""Which series the report draws, and their points."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import NamedTuple

from db.coverage import StoredSeries
from db.reader import Reader
from model.errors import BadQuestion
from model.values import Series
from query.joined_points import Point, runs
from query.question import Question, portions, time_of
from query.report.contents import Chart
from query.series_names import Names
from sources import metric_of, unit_of

UNNAMED = 8  # charts where the user names no series
MOST = 24  # charts
COLUMNS = 300  # of a chart, each with the lowest and the highest of its points
HELD = 50_000  # points read at once


class Charted(NamedTuple):
    """The series to draw, and how they were chosen."""

    series: list[Series]
    how: str


def choose(names: Names, source: str | None, assets: Sequence[str], metrics: Sequence[str]) -> Charted:
    """The series that the user names, or some of all; raises BadQuestion for a name that has no stored points."""
    if not assets and not metrics:
        every = [each for each in names.every(source) if each.points]
        found = _in_turns(every)[:UNNAMED]
        how = "those with the most points, sources in turn, each metric once before any comes twice"
        return Charted([each.series for each in found], f"{len(found)} of {len(every):,} series: {how}")
    of_assets = {name: set(names.every(source, name)) for name in assets}
    of_metrics = {name: set(names.every(source, metric=name)) for name in metrics}
    either = [set().union(*of.values()) for of in (of_assets, of_metrics) if of]
    asked = sorted(each for each in set.intersection(*either) if each.points)
    for name in [name for name, of in of_assets.items() if of.isdisjoint(asked)]:
        names.of_asset(name, metrics or None, source)  # raises with the reason
        raise BadQuestion(f"no points of {name} are stored with the other names: name fewer")
    for name in [name for name, of in of_metrics.items() if of.isdisjoint(asked)]:
        names.many(name, assets or None, source)
        raise BadQuestion(f"no points of {name} are stored with the other names: name fewer")
    wanted = " and ".join(" or ".join(each) for each in (assets, metrics) if each)
    if len(asked) <= MOST:
        return Charted([each.series for each in asked], f"as asked for: {wanted}")
    most = sorted(asked, key=lambda each: -each.points)[:MOST]
    how = f"of {len(asked):,} asked for ({wanted}) the {MOST} with the most points"
    return Charted([each.series for each in most], how)


def charts(reader: Reader, series: Sequence[Series], today: datetime) -> tuple[Chart, ...]:
    """The charts of the series that have points, in the same order.

    Values of the open day are left out, except where a metric exists only live: half a day's flow beside those of whole
    days would look like a fall.
    """
    points: dict[Series, list[tuple[datetime, float]]] = {each: [] for each in series}
    for part, columns in portions(reader, Question(series), HELD) if series else ():
        for number, at, value in columns.rows():
            if math.isfinite(value):
                points[part.series[number]].append((time_of(at), value))
    made = []
    for each, found in points.items():
        closed = sorted(point for point in found if point[0] < today or _live_only(each))
        if closed:
            values = [value for _, value in closed]
            joined = runs([(at.timestamp(), value) for at, value in closed])
            extremes = min(values), max(values)
            extent = len(closed), closed[0][0], closed[-1][0], values[-1], *extremes
            made.append(Chart(each, unit_of([each]), *extent, _thinned(joined)))
    return tuple(made)


def _live_only(series: Series) -> bool:
    known = metric_of(series.source, series.metric)
    return known is not None and known.live_only


def _in_turns(every: Iterable[StoredSeries]) -> list[StoredSeries]:
    """The series with the most points first; but sources take turns, and no metric comes twice before all came once."""
    of_metric, ranked = Counter[tuple[str, str]](), []
    for each in sorted(every, key=lambda each: (-each.points, each.series)):
        metric = each.series.source, each.series.metric
        ranked.append((of_metric[metric], each))
        of_metric[metric] += 1
    of_source, found = Counter[str](), []
    for _, each in sorted(ranked, key=lambda pair: pair[0]):
        found.append((of_source[each.series.source], each))
        of_source[each.series.source] += 1
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def _thinned(joined: Sequence[Sequence[Point]]) -> tuple[tuple[Point, ...], ...]:
    """The points of lines that one can see: the lowest and the highest in each column, and the ends of a line."""
    start, length = joined[0][0][0], (joined[-1][-1][0] - joined[0][0][0]) or 1
    found = []
    for run in joined:
        seen = {run[0], run[-1]}
        for _, column in groupby(run, key=lambda point: int((point[0] - start) / length * COLUMNS)):
            points = list(column)
            seen |= {pick(points, key=lambda point: point[1]) for pick in (min, max)}
        found.append(tuple(sorted(seen)))
    return tuple(found)
