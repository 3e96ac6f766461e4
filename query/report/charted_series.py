"""Which series the report draws, and their charts."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from itertools import count, groupby
from math import isfinite, log
from typing import Any

from db.coverage import StoredSeries
from db.reader import Reader
from model.errors import BadQuestion
from model.values import Series
from query.joined_points import Point, lines_of
from query.question import Question, portions, time_of
from query.series_names import Names
from sources import metric_of, unit_of

DEFAULT_CHARTS = 8  # if the user names no series
MOST_CHARTS = 24
POINTS_AT_ONCE = 50_000  # in memory
LOG_SCALE_FROM = 1000  # the scale is logarithmic if the highest value is at least this number of times the lowest
PLOT_SIZE = PLOT_WIDTH, PLOT_HEIGHT = 400, 160


def choose(names: Names, source: str | None, assets: Sequence[str], metrics: Sequence[str]) -> tuple[list[Series], str]:
    """The series to draw, those that the user names or else a few of all; and a text that says how they were chosen.

    Raises BadQuestion for a name that has no stored points.
    """
    if not assets and not metrics:
        every = sorted((each for each in names.every(source) if each.points), key=lambda each: -each.points)
        each_metric_once = _in_rounds(every, lambda each: each.series[::2])  # by source and metric
        found = _in_rounds(each_metric_once, lambda each: each.series.source)[:DEFAULT_CHARTS]
        how = "those with the most points, the sources in turn, and all metrics once before one comes twice"
        return [each.series for each in found], f"{len(found)} of {len(every):,} series: {how}"
    of_assets = {name: set(names.every(source, name)) for name in assets}
    of_metrics = {name: set(names.every(source, metric=name)) for name in metrics}
    either = [set().union(*of.values()) for of in (of_assets, of_metrics) if of]
    requested = sorted(each for each in set.intersection(*either) if each.points)
    for name, series in (*of_assets.items(), *of_metrics.items()):
        if series.isdisjoint(requested):
            if name in of_assets:
                names.of_asset(name, metrics or None, source)  # raises with the reason
            else:
                names.many(name, assets or None, source)
            raise BadQuestion(f"no stored series combines {name} with the other names: name fewer")
    wanted = " and ".join(" or ".join(each) for each in (assets, metrics) if each)
    if len(requested) <= MOST_CHARTS:
        return [each.series for each in requested], f"as requested: {wanted}"
    how = f"the {MOST_CHARTS} with the most points of {len(requested):,} requested series ({wanted})"
    return [each.series for each in sorted(requested, key=lambda each: -each.points)[:MOST_CHARTS]], how


def charts(reader: Reader, series: Sequence[Series], today: datetime) -> list[dict[str, Any]]:
    """The charts of the series that have points, in the same order.

    Values of the open day are left out, unless the metric exists only live: beside sums of whole days, the sum of half
    a day would look like a fall.
    """
    points: dict[Series, list[tuple[datetime, float]]] = {each: [] for each in series}
    for part, columns in portions(reader, Question(series), POINTS_AT_ONCE) if series else ():
        for number, at, value in columns.rows():
            if isfinite(value):
                points[part.series[number]].append((time_of(at), value))
    made = []
    for each, found in points.items():
        metric = metric_of(each.source, each.metric)
        live_only = metric is not None and metric.live_only
        if shown := [point for point in found if live_only or point[0] < today]:
            made.append(_chart(each, shown))
    return made


def _in_rounds(ranked: Iterable[StoredSeries], group: Callable[[StoredSeries], Hashable]) -> list[StoredSeries]:
    """The same series in rounds: first the first of each group, then the second of each group, and so on."""
    rounds: dict[Hashable, count[int]] = defaultdict(count)
    return sorted(ranked, key=lambda each: next(rounds[group(each)]))


def _chart(series: Series, points: Sequence[tuple[datetime, float]]) -> dict[str, Any]:
    """The chart of one series, from its points sorted by time: its line, and the figures beside it."""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    log_scale = low > 0 and high >= LOG_SCALE_FROM * low
    scale = log if log_scale else float
    lines = lines_of([(at.timestamp(), scale(value)) for at, value in points])
    return {
        "series": series,
        "unit": unit_of([series]),
        "points": len(points),
        "first": points[0][0],
        "last": points[-1][0],
        "latest": values[-1],
        "low": low,
        "high": high,
        "log_scale": log_scale,
        "path": _path(lines, scale(low), scale(high)),
    }


def _path(lines: Sequence[Sequence[Point]], low: float, high: float) -> str:
    """The lines as an SVG path. Of each column it has only the lowest and the highest point: no other is visible."""
    start, end = lines[0][0][0], lines[-1][-1][0]
    path = ""
    for line in lines:
        places = [(round(_share(at, start, end) * PLOT_WIDTH), _share(value, high, low)) for at, value in line]
        path += "M"
        for x, column in groupby(places, key=lambda place: place[0]):
            heights = [round(y * PLOT_HEIGHT) for _, y in column]
            path += "".join(f"{x} {y} " for y in sorted({min(heights), max(heights)}))
        path += "h0"  # so that a single point is drawn, too
    return path


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1; computed by halves, since the difference may overflow."""
    extent = high / 2 - low / 2
    return (value / 2 - low / 2) / extent if extent else 0.5
