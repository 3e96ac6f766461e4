"""Draws strips that show coverage with one column for each month, drawn as SVG paths."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from query.report.coverage_by_month import Days, DaysByMonth

WIDTH, HEIGHT = 360, 24  # the width is rounded to whole months
STACKED = ("there", "lost", "never", "empty")  # from bottom to top
YEAR_WIDTH = 28  # of the text of a year
LEAST_HEIGHT = 2  # of a kind of which a month has any day


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


def _heights(days: Days) -> dict[str, int]:
    """The height of each kind in the column of a month, from bottom to top."""
    numbers = {kind: number for kind in STACKED if (number := getattr(days, kind))}
    heights = {kind: max(LEAST_HEIGHT, round(number * HEIGHT / days.expected)) for kind, number in numbers.items()}
    if heights:
        heights[max(heights, key=heights.__getitem__)] += HEIGHT - sum(heights.values())
    return heights
