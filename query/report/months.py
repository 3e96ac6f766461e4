"""Coverage by month, from the maps of series: pure arithmetic on days."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import pairwise
from typing import NamedTuple

from db.coverage import SeriesMap
from model.values import Window

Span = tuple[int, int]  # ordinals of the first day and of the day after the last
KINDS = ("there", "never", "empty", "lost")


class Days(NamedTuple):
    """How many days there are of each kind; those outside of a series, or on which it has no point, are none."""

    there: int = 0
    never: int = 0  # asked for
    empty: int = 0  # the API had nothing
    lost: int = 0  # the API had them

    @property
    def expected(self) -> int:
        """All of them."""
        return sum(self)

    @property
    def missing(self) -> int:
        """Those that are not there."""
        return self.expected - self.there


class Line(NamedTuple):
    """The days of one or several series by month, months counted from year 0; those without any are left out."""

    name: str
    days: Days
    months: dict[int, Days]


class Judged(NamedTuple):
    """A series with the spans of its days of each kind, in the order of KINDS."""

    asset: str
    metric: str
    spans: tuple[list[Span], ...]

    @property
    def days(self) -> Days:
        """How many of each kind there are."""
        return Days(*(sum(end - start for start, end in spans) for spans in self.spans))


def judged(raw: SeriesMap, in_rhythm: SeriesMap, today: datetime) -> Judged:
    """A series by its map, and by the same without the days on which it has no point."""
    holes = (_spans(windows) for windows in (in_rhythm.never, in_rhythm.empty, in_rhythm.lost))
    return Judged(raw.asset, raw.metric, (list(_present(raw, today)), *holes))


def line(name: str, series: Iterable[Judged]) -> Line:
    """Series together, month by month."""
    steps: list[dict[int, int]] = [defaultdict(int) for _ in KINDS]
    for each in series:
        for step, spans in zip(steps, each.spans, strict=True):
            for start, end in spans:
                step[start] += 1
                step[end] -= 1
    by_kind = [_by_month(step) for step in steps]
    months = {month: Days(*(kind.get(month, 0) for kind in by_kind)) for month in sorted(set().union(*by_kind))}
    return Line(name, Days(*(sum(kind.values()) for kind in by_kind)), months)


def month_of(at: date) -> int:
    """The number of a day's month."""
    return at.year * 12 + at.month - 1


def first_day(month: int) -> date:
    """The day on which a month begins."""
    return date(month // 12, month % 12 + 1, 1)


def _present(series: SeriesMap, today: datetime) -> Iterator[Span]:
    """The days that the table has: the last so many that are no holes, for a map has none before the first of them."""
    left, end = series.days, today.toordinal()
    for start, stop in sorted(_spans([*series.never, *series.empty, *series.lost]), reverse=True):
        if (length := min(left, end - stop)) > 0:
            yield end - length, end
            left -= length
        end = start
    if left:
        yield end - left, end


def _spans(windows: Sequence[Window]) -> list[Span]:
    return [(window.start.toordinal(), window.end.toordinal()) for window in windows]


def _by_month(steps: dict[int, int]) -> dict[int, int]:
    """Days by month, where each step says how many more series have them from that day on."""
    found: dict[int, int] = defaultdict(int)
    at_once = 0
    for start, end in pairwise(sorted(steps)):
        at_once += steps[start]
        while at_once and start < end:
            month = month_of(date.fromordinal(start))
            stop = min(end, first_day(month + 1).toordinal())
            found[month] += at_once * (stop - start)
            start = stop
    return found
