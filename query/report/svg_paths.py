"""Where the drawings of the page have their lines, as paths of SVG: strips of coverage by month, and charts."""

from collections.abc import Iterator
from itertools import groupby, pairwise
from math import log
from typing import NamedTuple

from query.report.contents import Chart, Report
from query.report.coverage_by_month import Days, DaysByMonth, first_day, month_of

STRIP_WIDTH, STRIP_HEIGHT = 360, 24  # the width is rounded to whole months
PLOT_SIZE = PLOT_WIDTH, PLOT_HEIGHT = 600, 160
STACKED = ("there", "lost", "never", "empty")  # from below
YEAR_WIDTH = 28  # of its text
LEAST_HEIGHT = 2  # of a kind of days that is there at all


class Months(NamedTuple):
    """The months that all strips of a page show: from the first up to the end, each so wide."""

    first: int
    end: int
    month_width: int

    @classmethod
    def of(cls, report: Report) -> "Months":
        """From the first to the last month of any series; the month of the report where there is none."""
        months = [month for source in report.sources for cover in source.covers for month in cover.all.months]
        first, end = min(months, default=month_of(report.at)), max(months, default=month_of(report.at)) + 1
        return cls(first, end, max(1, round(STRIP_WIDTH / (end - first))))

    @property
    def width(self) -> int:
        """Of the whole strip."""
        return self.month_width * (self.end - self.first)

    def strip(self, line: DaysByMonth) -> list[tuple[str, str]]:
        """Kinds of days with the path of each; in the column of a month they stand one above the other."""
        paths = dict.fromkeys(STACKED, "")
        columns = ((month, _heights(line.months.get(month, Days()))) for month in range(self.first, self.end))
        for heights, run in groupby(columns, key=lambda column: column[1]):
            months = [month for month, _ in run]
            left, wide = (months[0] - self.first) * self.month_width, len(months) * self.month_width
            bottom = STRIP_HEIGHT
            for kind, height in zip(STACKED, heights, strict=True):
                if height:
                    bottom -= height
                    paths[kind] += f"M{left} {bottom}h{wide}v{height}h-{wide}z"
        return [(kind, path) for kind, path in paths.items() if path]

    def years(self) -> Iterator[tuple[int, int]]:
        """The years to be written above strips, and where each begins."""
        every = next((step for step in (1, 2, 5) if step * 12 * self.month_width >= YEAR_WIDTH), 10)
        for month in range(self.first, self.end):
            at, x = first_day(month), (month - self.first) * self.month_width
            if at.month == 1 and at.year % every == 0 and x <= self.width - YEAR_WIDTH:
                yield at.year, x


def plot_path(chart: Chart) -> str:
    """The lines of a chart, from its lowest to its highest value."""
    start, end = chart.runs[0][0][0], chart.runs[-1][-1][0]
    scale = log if chart.log_scale else _half
    low, high = scale(chart.low), scale(chart.high)

    def place(at: float, value: float) -> tuple[int, int]:
        across = round((at - start) / (end - start) * PLOT_WIDTH) if end > start else PLOT_WIDTH // 2
        return across, round((high - scale(value)) / (high - low) * PLOT_HEIGHT) if high > low else PLOT_HEIGHT // 2

    path = ""
    for run in chart.runs:
        places = [place(*point) for point in run]
        path += "M{} {}h0".format(*places[0])
        path += "".join(f"l{to_x - x} {to_y - y}" for (x, y), (to_x, to_y) in pairwise(places))
    return path


def _half(value: float) -> float:
    """A scale on which no difference of two values is too large for a float."""
    return value / 2


def _heights(days: Days) -> tuple[int, ...]:
    """How high each kind stands in the column of a month, in the order of STACKED."""
    if not days.expected:
        return (0, 0, 0, 0)
    numbers = [getattr(days, kind) for kind in STACKED]
    heights = [number and max(LEAST_HEIGHT, round(number * STRIP_HEIGHT / days.expected)) for number in numbers]
    heights[heights.index(max(heights))] += STRIP_HEIGHT - sum(heights)
    return tuple(heights)
