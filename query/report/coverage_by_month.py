"""How many days of each month are stored, never answered, empty or lost; and the SVG strips that show this.

Pure arithmetic on the maps of series.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

from db.coverage import SeriesMap
from model.values import DAY, Window

GAP_MARKS = {"lost": "!", "never": "?", "empty": "\u2013"}  # the worst first
SHADES = ((1.0, "c4"), (0.9, "c3"), (0.5, "c2"), (0.0, "c1"))  # from which share of stored days on; CSS class
WIDTH, HEIGHT = 360, 24  # of a strip; the width is rounded to whole months
STACKED = ("there", "lost", "never", "empty")  # from bottom to top
YEAR_WIDTH = 28  # of the text of a year above the strips
LEAST_HEIGHT = 2  # of a kind of which a month has any day


class Days(NamedTuple):
    """The number of days of each kind; days on which no point is expected do not count."""

    there: int = 0  # stored
    never: int = 0  # never answered
    empty: int = 0  # missing: the API had nothing, or only points that can't be true
    lost: int = 0  # missing, though the API had data

    @property
    def expected(self) -> int:
        """The number of all days."""
        return sum(self)

    @property
    def share(self) -> int:
        """The percentage of stored days, rounded down: 100 only if all are stored."""
        return self.there * 100 // self.expected


class DaysByMonth(NamedTuple):
    """The days of one or several series by month. Months are numbered from year 0; each has at least one day."""

    name: str
    days: Days
    months: dict[int, Days]


def days_of_series(raw: SeriesMap, in_rhythm: SeriesMap, today: datetime) -> DaysByMonth:
    """The days of a series from its map, and from the same map without the days on which no point is expected."""
    kinds = _present(raw, today), in_rhythm.never, [*in_rhythm.empty, *in_rhythm.refused], in_rhythm.lost
    by_kind = [_by_month(windows) for windows in kinds]
    months = {month: Days(*(kind[month] for kind in by_kind)) for month in sorted(set().union(*by_kind))}
    return DaysByMonth(raw.asset, _sum(months.values()), months)


def together(name: str, series: Iterable[DaysByMonth]) -> DaysByMonth:
    """The days of all these series."""
    by_month: dict[int, list[Days]] = defaultdict(list)
    for each in series:
        for month, days in each.months.items():
            by_month[month].append(days)
    months = {month: _sum(by_month[month]) for month in sorted(by_month)}
    return DaysByMonth(name, _sum(months.values()), months)


def by_year(line: DaysByMonth) -> list[tuple[int, list[tuple[str, str, int]]]]:
    """Each year with its table cells: the text, the shade, and the number of equal months that the cell spans."""
    rows = []
    for year in range(min(line.months) // 12, max(line.months) // 12 + 1):
        cells = [_cell(line.months.get(year * 12 + month, Days())) for month in range(12)]
        rows.append((year, [(*cell, len(list(run))) for cell, run in groupby(cells)]))
    return rows


def month_of(at: date) -> int:
    """The number of a day's month."""
    return at.year * 12 + at.month - 1


class Strips:
    """Draws strips that all show the same months, from the first to the last of those given."""

    def __init__(self, months: Iterable[int]) -> None:
        every = set(months)
        self._first, self._end = min(every), max(every) + 1
        self._month_width = max(1, round(WIDTH / (self._end - self._first)))
        self.width, self.height = self._month_width * (self._end - self._first), HEIGHT

    def paths(self, line: DaysByMonth) -> dict[str, str]:
        """The path of each kind of days; in the column of a month, the kinds are stacked."""
        paths = dict.fromkeys(STACKED, "")
        columns = ((month, _heights(line.months.get(month, Days()))) for month in range(self._first, self._end))
        for heights, run in groupby(columns, key=lambda column: column[1]):
            months = [month for month, _ in run]
            left, wide = (months[0] - self._first) * self._month_width, len(months) * self._month_width
            bottom = HEIGHT
            for kind, height in heights.items():
                bottom -= height
                paths[kind] += f"M{left} {bottom}h{wide}v{height}h-{wide}z"
        return paths

    def years(self) -> Iterator[tuple[int, int]]:
        """The years to write above the strips, each with the x coordinate of its start."""
        every = -(-YEAR_WIDTH // (12 * self._month_width))
        for month in range(self._first, self._end):
            year, x = month // 12, (month - self._first) * self._month_width
            if month % 12 == 0 and year % every == 0 and x <= self.width - YEAR_WIDTH:
                yield year, x


def _present(series: SeriesMap, today: datetime) -> list[Window]:
    """The stored days: a map has only their number, and they are the last days that are not in a gap."""
    left, end, found = series.days * DAY, today, []
    for gap in sorted([*series.never, *series.empty, *series.lost, *series.refused], reverse=True):
        length = min(left, end - gap.end)
        found.append(Window(end - length, end))
        left, end = left - length, gap.start
    return [*found, Window(end - left, end)]


def _by_month(windows: Sequence[Window]) -> Counter[int]:
    """How many days of these windows each month has."""
    found = Counter[int]()
    for start, end in windows:
        while start < end:
            next_month = (start.replace(day=1) + 32 * DAY).replace(day=1)
            stop = min(next_month, end)
            found[month_of(start)] += (stop - start).days
            start = stop
    return found


def _sum(parts: Iterable[Days]) -> Days:
    return Days(*map(sum, zip(*parts, strict=True)))


def _cell(days: Days) -> tuple[str, str]:
    """The text in the cell of a month, and its shade."""
    if not days.expected:
        return "", ""
    mark = next((mark for kind, mark in GAP_MARKS.items() if getattr(days, kind)), "")
    shade = next(shade for least, shade in SHADES if days.there >= least * days.expected) if days.there else ""
    return f"{days.share}{mark}", shade


def _heights(days: Days) -> dict[str, int]:
    """The height of each kind in the column of a month, from bottom to top."""
    numbers = {kind: number for kind in STACKED if (number := getattr(days, kind))}
    heights = {kind: max(LEAST_HEIGHT, round(number * HEIGHT / days.expected)) for kind, number in numbers.items()}
    if heights:
        heights[max(heights, key=heights.__getitem__)] += HEIGHT - sum(heights.values())
    return heights
