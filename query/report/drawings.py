"""The drawings of the page as inline SVG: strips of coverage by month, and lines of values."""

from itertools import groupby, pairwise
from math import log

from query.report.facts import Chart
from query.report.markup import Html, element
from query.report.months import Days, Line, first_day

WIDTH, HEIGHT = 360, 24  # of a strip, about
PLOT_WIDTH, PLOT_HEIGHT = 600, 160
STACKED = ("there", "lost", "never", "empty")  # from below
LABEL = 28  # the room for a year
SMALLEST = 2  # of what there is at all
BREAK = 5  # usual steps without a point, after which a line is broken
LOG_FROM = 1000  # times the lowest value

PATTERNS = Html(
    '<svg class="defs" aria-hidden="true"><defs>'
    '<pattern id="empty" width="4" height="4" patternUnits="userSpaceOnUse"><circle cx="2" cy="2" r=".9"/></pattern>'
    '<pattern id="never" width="5" height="5" patternUnits="userSpaceOnUse">'
    '<path d="M-1 1L1-1M0 5L5 0M4 6L6 4" stroke-width="1.4"/></pattern>'
    '<pattern id="lost" width="4" height="4" patternUnits="userSpaceOnUse">'
    '<path d="M0 0L4 4M0 4L4 0" stroke-width="1.6"/></pattern>'
    "</defs></svg>"
)


def strip(line: Line, first: int, end: int) -> Html:
    """A column for each month from `first` up to `end`: what is there from below, and above it what is not and why."""
    width, whole = _widths(first, end)
    paths: dict[str, list[str]] = {kind: [] for kind in STACKED}
    months = ((month, _heights(line.months.get(month, Days()))) for month in range(first, end))
    for heights, run in groupby(months, key=lambda pair: pair[1]):
        numbers = [month for month, _ in run]
        left, wide, bottom = (numbers[0] - first) * width, len(numbers) * width, HEIGHT
        for kind, height in zip(STACKED, heights, strict=True):
            if height:
                bottom -= height
                paths[kind].append(f"M{left} {bottom}h{wide}v{height}h-{wide}z")
    drawn = [element("path", class_=kind, d="".join(path)) for kind, path in paths.items() if path]
    base = element("path", class_="base", d=f"M0 {HEIGHT - 0.5}H{whole}")
    return element("svg", base, *drawn, class_="strip", viewBox=f"0 0 {whole} {HEIGHT}", aria_hidden="true")


def axis(first: int, end: int) -> Html:
    """The years above strips."""
    width, whole = _widths(first, end)
    every = next((step for step in (1, 2, 5) if step * 12 * width >= LABEL), 10)
    marks = []
    for month in range(first, end):
        at, x = first_day(month), (month - first) * width
        if at.month == 1 and at.year % every == 0 and x <= whole - LABEL:
            marks.append(element("path", class_="base", d=f"M{x} 2V14"))
            marks.append(element("text", str(at.year), x=x + 2, y=11))
    return element("svg", *marks, class_="strip", viewBox=f"0 0 {whole} 14", aria_hidden="true")


def swatch(kind: str) -> Html:
    """A sample of a kind of days."""
    return element("svg", element("rect", class_=kind, width=28, height=14), viewBox="0 0 28 14", aria_hidden="true")


def plot(chart: Chart, label: str) -> Html:
    """The line of a chart, from its lowest to its highest value; broken where points are missing."""
    start, end = chart.line[0][0], chart.line[-1][0]
    scale = log if is_log(chart) else _half
    low, high = scale(chart.extent.low), scale(chart.extent.high)
    middle = PLOT_HEIGHT // 2  # for values that are all the same
    places = [
        (
            round((at - start) / (end - start) * PLOT_WIDTH) if end > start else PLOT_WIDTH // 2,
            round((high - scale(value)) / (high - low) * PLOT_HEIGHT) if high > low else middle,
        )
        for at, value in chart.line
    ]
    far = max(BREAK * chart.step, (end - start) / PLOT_WIDTH * 4)
    path = "M{} {}h0".format(*places[0])
    for (earlier, later), (before, after) in zip(pairwise(places), pairwise(chart.line), strict=True):
        if after[0] - before[0] > far:
            path += "M{} {}h0".format(*later)
        else:
            path += f"l{later[0] - earlier[0]} {later[1] - earlier[1]}"
    box = f"0 0 {PLOT_WIDTH} {PLOT_HEIGHT}"
    line = element("path", d=path, class_=None if end > start else "dot")
    return element("svg", line, class_="plot", viewBox=box, preserveAspectRatio="none", role="img", aria_label=label)


def is_log(chart: Chart) -> bool:
    """Whether its values are drawn by their logarithms."""
    return chart.extent.low > 0 and chart.extent.high >= LOG_FROM * chart.extent.low


def _widths(first: int, end: int) -> tuple[int, int]:
    """The width of a month, and of all."""
    width = max(1, round(WIDTH / (end - first)))
    return width, width * (end - first)


def _half(value: float) -> float:
    """The difference of two of these is never beyond what a float can hold."""
    return value / 2


def _heights(days: Days) -> tuple[int, ...]:
    """How high each kind stands in the column of a month, in the order of STACKED."""
    if not days.expected:
        return (0, 0, 0, 0)
    numbers = [getattr(days, kind) for kind in STACKED]
    heights = [number and max(SMALLEST, round(number * HEIGHT / days.expected)) for number in numbers]
    heights[heights.index(max(heights))] += HEIGHT - sum(heights)
    return tuple(heights)
