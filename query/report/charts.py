"""Which series the report draws, and with which points."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby, pairwise
from statistics import median

from db.coverage import StoredSeries
from db.points import of_series, points
from db.reader import Reader
from model.errors import BadQuestion
from model.values import Series, Window
from query.names import Names
from query.report.facts import Chart, Extent
from sources import metric_of, unit_of

UNASKED = 8  # charts where nobody says of what
MOST = 24
COLUMNS = 300  # of a chart, each with the lowest and the highest of its points
EVER = Window(datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


def choose(names: Names, source: str | None, assets: Sequence[str], metrics: Sequence[str]) -> tuple[list[Series], str]:
    """The series to draw, and how they were chosen; raises BadQuestion for a name of which nothing is stored."""
    if not assets and not metrics:
        every = [each for each in names.every(source) if each.points]
        found = _in_turns(every)[:UNASKED]
        how = "those with the most points, sources in turn, each metric once before any comes twice"
        return [each.series for each in found], f"{len(found)} of {len(every):,} series: {how}"
    of_assets = {name: set(names.every(source, name)) for name in assets}
    of_metrics = {name: set(names.every(source, metric=name)) for name in metrics}
    either = [set().union(*of.values()) for of in (of_assets, of_metrics) if of]
    asked = sorted(each for each in set.intersection(*either) if each.points)
    for name in [name for name, of in of_assets.items() if of.isdisjoint(asked)]:
        names.of_asset(name, metrics or None, source)  # which says why there is nothing
        raise BadQuestion(f"nothing is stored of {name}")
    for name in [name for name, of in of_metrics.items() if of.isdisjoint(asked)]:
        names.many(name, assets or None, source)
        raise BadQuestion(f"nothing is stored of {name}")
    wanted = " and ".join(" or ".join(each) for each in (assets, metrics) if each)
    if len(asked) <= MOST:
        return [each.series for each in asked], f"as asked for: {wanted}"
    most = sorted(asked, key=lambda each: -each.points)[:MOST]
    return [each.series for each in most], f"of {len(asked):,} asked for ({wanted}) the {MOST} with the most points"


def draw(reader: Reader, series: Sequence[Series], today: datetime) -> tuple[Chart, ...]:
    """The charts of these series, as far as they have points, in the same order.

    Of the open day only what exists live is drawn: a flow of half a day beside whole ones would look like a fall.
    """
    rows = reader.do(lambda cursor: list(points(cursor, of_series(series, EVER)))) if series else []
    charts = []
    for number, of in groupby(rows, key=lambda point: point.number):
        end = datetime.max.replace(tzinfo=UTC) if _live_only(series[number]) else today
        told = [(each.at, each.value) for each in of if each.value is not None and math.isfinite(each.value)]
        told = [(at, value) for at, value in told if at < end]
        if told:
            values = [value for _, value in told]
            extent = Extent(len(told), told[0][0], told[-1][0], values[-1], min(values), max(values))
            line = [(at.timestamp(), value) for at, value in told]
            steps = [later[0] - earlier[0] for earlier, later in pairwise(line)]
            thin, step = tuple(_thinned(line)), median(steps) if steps else 0.0
            charts.append((number, Chart(series[number], unit_of([series[number]]), extent, thin, step)))
    return tuple(chart for _, chart in sorted(charts))


def _live_only(series: Series) -> bool:
    known = metric_of(series.source, series.metric)
    return known is not None and known.live_only


def _in_turns(every: Iterable[StoredSeries]) -> list[StoredSeries]:
    """By points, the most first; but sources take turns, and of each the first of a metric before the second of any."""
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


def _thinned(line: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The points of a line that can be told apart when it is drawn: of each column the lowest and the highest."""
    start, length = line[0][0], (line[-1][0] - line[0][0]) or 1
    for _, column in groupby(line, key=lambda point: int((point[0] - start) / length * COLUMNS)):
        within = list(column)
        low, high = (pick(within, key=lambda point: point[1]) for pick in (min, max))
        yield from sorted({low, high, within[-1]} if within[-1] == line[-1] else {low, high})
