"""How many days of each kind a month has, from the maps of series: pure arithmetic on days."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby, pairwise
from typing import NamedTuple

from db.coverage import SeriesMap
from model.values import Window

Span = tuple[int, int]  # ordinals of the first day and of the day after the last
KINDS = ("there", "never", "empty", "lost")
MARKS = {"lost": "!", "never": "?", "empty": "\u2013"}  # the worst first
SHADES = ((1.0, "c4"), (0.9, "c3"), (0.5, "c2"), (0.0, "c1"))  # the least share of days that are there


class Days(NamedTuple):
    """How many days there are of each kind; days on which no point is expected do not count."""

    there: int = 0
    never: int = 0  # requested
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

    @property
    def share(self) -> int:
        """The percentage of days that are there, rounded down: 100 only where all are."""
        return self.there * 100 // self.expected


class DaysByMonth(NamedTuple):
    """The days of one or several series by month; a month is a number counted from year 0, and has at least one day."""

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
    """A series from its map, and from the same map without the days on which no point is expected."""
    gaps = (_spans(windows) for windows in (in_rhythm.never, in_rhythm.empty, in_rhythm.lost))
    return Judged(raw.asset, raw.metric, (list(_present(raw, today)), *gaps))


def days_by_month(name: str, series: Iterable[Judged]) -> DaysByMonth:
    """The days of all these series together."""
    steps: list[dict[int, int]] = [defaultdict(int) for _ in KINDS]
    for each in series:
        for step, spans in zip(steps, each.spans, strict=True):
            for start, end in spans:
                step[start] += 1
                step[end] -= 1
    by_kind = [_by_month(step) for step in steps]
    months = {month: Days(*(kind.get(month, 0) for kind in by_kind)) for month in sorted(set().union(*by_kind))}
    return DaysByMonth(name, Days(*(sum(kind.values()) for kind in by_kind)), months)


def by_year(line: DaysByMonth) -> list[tuple[int, list[tuple[str, str, int]]]]:
    """Each year with its cells for a table: their text, their shade, and over how many equal months each extends."""
    rows = []
    for year in range(min(line.months) // 12, max(line.months) // 12 + 1):
        cells = [_cell(line.months.get(year * 12 + month, Days())) for month in range(12)]
        rows.append((year, [(*cell, len(list(run))) for cell, run in groupby(cells)]))
    return rows


def month_of(at: date) -> int:
    """The number of a day's month."""
    return at.year * 12 + at.month - 1


def first_day(month: int) -> date:
    """The day on which a month begins."""
    return date(month // 12, month % 12 + 1, 1)


def _present(series: SeriesMap, today: datetime) -> Iterator[Span]:
    """The days that the table has: a map gives their number, and they are the last days that are not in a gap."""
    left, end = series.days, today.toordinal()
    for start, stop in sorted(_spans([*series.never, *series.empty, *series.lost]), reverse=True):
        if (length := min(left, end - stop)) > 0:
            yield end - length, end
            left -= length
        end = start
    if left:
        yield end - left, end


def _cell(days: Days) -> tuple[str, str]:
    """The text in the cell of a month, and its shade."""
    if not days.expected:
        return "", ""
    mark = next((mark for kind, mark in MARKS.items() if getattr(days, kind)), "")
    shade = next(shade for least, shade in SHADES if days.there >= least * days.expected) if days.there else ""
    return f"{days.share}{mark}", shade


def _spans(windows: Sequence[Window]) -> list[Span]:
    return [(window.start.toordinal(), window.end.toordinal()) for window in windows]


def _by_month(steps: dict[int, int]) -> dict[int, int]:
    """Days by month; a step says how many more series have days of this kind from that day on."""
    found: dict[int, int] = defaultdict(int)
    series = 0
    for start, end in pairwise(sorted(steps)):
        series += steps[start]
        while series and start < end:
            month = month_of(date.fromordinal(start))
            stop = min(end, first_day(month + 1).toordinal())
            found[month] += series * (stop - start)
            start = stop
    return found
