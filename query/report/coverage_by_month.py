"""How many days of each month are stored, never requested, empty or lost: pure arithmetic on the maps of series."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

from db.coverage import SeriesMap
from model.values import DAY, Window

GAP_MARKS = {"lost": "!", "never": "?", "empty": "\u2013"}  # the worst first
SHADES = ((1.0, "c4"), (0.9, "c3"), (0.5, "c2"), (0.0, "c1"))  # from which share of stored days on; CSS class


class Days(NamedTuple):
    """The number of days of each kind; days on which no point is expected do not count."""

    there: int = 0  # stored
    never: int = 0  # never requested
    empty: int = 0  # missing: the API had nothing
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
    kinds = _present(raw, today), in_rhythm.never, in_rhythm.empty, in_rhythm.lost
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


def _present(series: SeriesMap, today: datetime) -> list[Window]:
    """The stored days: a map has only their number, and they are the last days that are not in a gap."""
    left, end, found = series.days * DAY, today, []
    for gap in sorted([*series.never, *series.empty, *series.lost], reverse=True):
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
