"""Points as rows: the metrics of an asset side by side by time; however many there are, in little memory."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from db import points as ask
from model.values import DAY, Series, Window
from query.names import Wanted
from query.query_session import QuerySession, batched

POINTS = 50_000  # held at once
POINTS_A_DAY = 24  # of a series at most, where it is estimated what a window holds
MICROSECOND = timedelta(microseconds=1)

Points = list[tuple[datetime, float | None]]


class Row(NamedTuple):
    """What an asset has at one time, aware UTC, of each metric; None where it has nothing."""

    asset: str
    at: datetime
    values: Sequence[float | None]


def rows(
    session: QuerySession, series: Iterable[Series], metrics: Sequence[str], span: Window, as_of: datetime | None = None
) -> Iterator[Row]:
    """The points of these series of one source in a window, as they were known at an instant if told.

    Sorted by asset and time. No transaction is open while a row is looked at, however long that takes: each portion
    of some 50,000 points is as it was stored when it was read.
    """
    for batch in _batches(session, _by_asset(series), span):
        if len(batch) == 1:
            yield from _portions(session, batch[0], metrics, span, as_of)
            continue
        found = iter(_points(session, [each for group in batch for each in group], span, as_of))
        for group in batch:
            yield from _side_by_side(group, [next(found) for _ in group], metrics)


def _by_asset(series: Iterable[Series]) -> list[list[Series]]:
    found: dict[str, list[Series]] = {}
    for each in series:
        found.setdefault(each.asset, []).append(each)
    return [found[asset] for asset in sorted(found)]


def _batches(session: QuerySession, groups: Sequence[list[Series]], span: Window) -> Iterator[list[list[Series]]]:
    """The assets in order, so many together as are held at once, each once at least."""
    if len(groups) == 1:
        yield list(groups)
        return
    metrics = tuple({series.metric for group in groups for series in group})
    counts = {each.series: each.points for each in session.stored(Wanted(groups[0][0].source, metrics=metrics))}
    fits = ((span.end - span.start) // DAY + 1) * POINTS_A_DAY
    yield from batched(groups, lambda group: sum(min(counts.get(each, 0), fits) for each in group), POINTS)


def _portions(
    session: QuerySession, group: Sequence[Series], metrics: Sequence[str], span: Window, as_of: datetime | None
) -> Iterator[Row]:
    """The rows of one asset: so many points of each series at once, up to the time that all of them reach."""
    most = POINTS // len(group) or 1
    start: datetime | None = span.start
    while start:
        found = _points(session, group, Window(start, span.end), as_of, most)
        reached = min((points[-1][0] for points in found if len(points) == most), default=None)
        if reached:
            found = [[point for point in points if point[0] <= reached] for points in found]
        yield from _side_by_side(group, found, metrics)
        start = reached and reached + MICROSECOND


def _points(
    session: QuerySession, series: Sequence[Series], span: Window, as_of: datetime | None, most: int | None = None
) -> list[Points]:
    """The points of each series, sorted by time."""
    found: list[Points] = [[] for _ in series]
    for number, at, value in session.reader().rows(*ask.of_series(series, span, as_of, most)):
        found[number].append((at, value if value == value else None))
    for points in found:
        points.sort()  # nearly always they are, but SQL promises no order here
    return found


def _side_by_side(group: Sequence[Series], found: Sequence[Points], metrics: Sequence[str]) -> Iterator[Row]:
    asset = group[0].asset
    if len(metrics) == 1:
        for at, value in found[0]:
            yield Row(asset, at, (value,))
        return
    by_time: dict[datetime, list[float | None]] = {}
    for series, points in zip(group, found, strict=True):
        column = metrics.index(series.metric)
        for at, value in points:
            by_time.setdefault(at, [None] * len(metrics))[column] = value
    for at in sorted(by_time):
        yield Row(asset, at, by_time[at])
