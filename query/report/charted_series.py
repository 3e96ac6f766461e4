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
from query.joined_points import Point, runs
from query.question import Question, portions, time_of
from query.series_names import Names
from sources import metric_of, unit_of

UNNAMED = 8  # charts where the user names no series
MOST = 24  # charts
HELD = 50_000  # points read at once
LOG_SCALE_FROM = 1000  # times the lowest value
PLOT_SIZE = PLOT_WIDTH, PLOT_HEIGHT = 400, 160


def choose(names: Names, source: str | None, assets: Sequence[str], metrics: Sequence[str]) -> tuple[list[Series], str]:
    """The series that the user names, or some of all, and how they were chosen.

    Raises BadQuestion for a name that has no stored points.
    """
    if not assets and not metrics:
        every = sorted((each for each in names.every(source) if each.points), key=lambda each: -each.points)
        found = _in_turns(_in_turns(every, lambda each: each.series[::2]), lambda each: each.series.source)[:UNNAMED]
        how = "those with the most points, sources in turn, each metric once before any comes twice"
        return [each.series for each in found], f"{len(found)} of {len(every):,} series: {how}"
    of_assets = {name: set(names.every(source, name)) for name in assets}
    of_metrics = {name: set(names.every(source, metric=name)) for name in metrics}
    either = [set().union(*of.values()) for of in (of_assets, of_metrics) if of]
    asked = sorted(each for each in set.intersection(*either) if each.points)
    for name, series in (*of_assets.items(), *of_metrics.items()):
        if series.isdisjoint(asked):
            if name in of_assets:
                names.of_asset(name, metrics or None, source)  # raises with the reason
            else:
                names.many(name, assets or None, source)
            raise BadQuestion(f"no points of {name} are stored with the other names: name fewer")
    wanted = " and ".join(" or ".join(each) for each in (assets, metrics) if each)
    if len(asked) <= MOST:
        return [each.series for each in asked], f"as asked for: {wanted}"
    how = f"of {len(asked):,} asked for ({wanted}) the {MOST} with the most points"
    return [each.series for each in sorted(asked, key=lambda each: -each.points)[:MOST]], how


def charts(reader: Reader, series: Sequence[Series], today: datetime) -> list[dict[str, Any]]:
    """The charts of the series that have points, in the same order.

    Values of the open day are left out, except where a metric exists only live: half a day's flow beside those of whole
    days would look like a fall.
    """
    points: dict[Series, list[tuple[datetime, float]]] = {each: [] for each in series}
    for part, columns in portions(reader, Question(series), HELD) if series else ():
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


def _in_turns(ranked: Iterable[StoredSeries], group: Callable[[StoredSeries], Hashable]) -> list[StoredSeries]:
    """The same order, but the first of each group come before the second of any."""
    turns: dict[Hashable, count[int]] = defaultdict(count)
    return sorted(ranked, key=lambda each: next(turns[group(each)]))


def _chart(series: Series, points: Sequence[tuple[datetime, float]]) -> dict[str, Any]:
    """The line of points that are sorted by time, and what stands beside it."""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    log_scale = low > 0 and high >= LOG_SCALE_FROM * low
    scale = log if log_scale else float
    lines = runs([(at.timestamp(), scale(value)) for at, value in points])
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
    """The lines as a path that has of each column only its lowest and its highest point: one sees no others."""
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
    """Where a value lies between two others, from 0 to 1; in halves, as the whole difference may be no float."""
    extent = high / 2 - low / 2
    return (value / 2 - low / 2) / extent if extent else 0.5
