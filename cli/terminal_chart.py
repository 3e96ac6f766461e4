"""A series as a small picture made of letters: braille dots, or what ASCII has, or one line of blocks."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isfinite, log10
from statistics import median

from model.values import DAY
from query.amount_text import amount

ROWS = 8
LONGEST_STEP = 5  # usual steps of a series: beyond it no line joins two points, as in a plot
BRAILLE = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a cell, by column and row from the top
BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Point = tuple[float, float]  # seconds since 1970, UTC, and a value
Spot = tuple[int, int]  # a dot, from the lower left


def chart(
    times: Sequence[float],
    values: Sequence[float],
    width: int,
    *,
    unit: str = "",
    rows: int = ROWS,
    plain: bool = False,
    log: bool = False,
) -> list[str]:
    """So many rows of dots, then a line of dates and one of values; nothing where there is no finite value.

    Times are seconds since 1970, ascending. What lies on both sides of a gap, or of a value that is not finite, is not
    joined. `plain` keeps to ASCII; with `log` the scale is logarithmic, and what is not above zero is left out.
    """
    runs = _runs(times, values, log=log)
    if not runs:
        return []
    shown = _Shown([point for run in runs for point in run], unit, plain=plain)
    marks = {0: shown.amount(shown.high), rows - 1: shown.amount(shown.low)}
    if shown.low == shown.high:
        marks = {rows // 2: shown.amount(shown.low)}
    room = max(map(len, marks.values()))
    canvas = _Canvas(max(width - room - 2, 1), rows, plain=plain)
    _draw(canvas, runs, shown, log=log)
    tick, line = ("+", "|") if plain else ("┤", "│")
    drawn = (
        f"{marks.get(number, ''):>{room}} {tick if number in marks else line}{cells}"
        for number, cells in enumerate(canvas.lines())
    )
    return [each.rstrip() for each in (*drawn, shown.dates(room + 2, width), shown.told(width))]


def sparkline(
    times: Sequence[float], values: Sequence[float], width: int, *, plain: bool = False, log: bool = False
) -> str:
    """One line of blocks at most so wide, each the last value of its time; a space where there is none."""
    points = [point for run in _runs(times, values, log=log) for point in run]
    if not points:
        return ""
    start, length = points[0][0], points[-1][0] - points[0][0]
    cells = min(width, round(length / _usual_step(points)) + 1) if length else 1
    blocks = PLAIN_BLOCKS if plain else BLOCKS
    height = _heights([value for _, value in points], len(blocks), log=log)
    line = [" "] * cells
    for at, value in points:
        line[_place(at, start, length, cells)] = blocks[height(value)]
    return "".join(line)


class _Shown:
    """The points of a picture, in words."""

    def __init__(self, points: Sequence[Point], unit: str, *, plain: bool) -> None:
        self.points, self._unit, self._plain = points, unit, plain
        values = [value for _, value in points]
        self.low, self.high = min(values), max(values)

    def amount(self, value: float) -> str:
        """A value with as many digits as tell it from its neighbours."""
        within = min(abs(value) / 2000, (self.high / 100 - self.low / 100) or abs(value) / 2000)
        text = amount(value, self._unit, within)
        return text.replace("\N{MINUS SIGN}", "-") if self._plain else text

    def dates(self, indent: int, width: int) -> str:
        """The first time at the left and the last one, if it is another, at the right."""
        first, last = (self._moment(at) for at in (self.points[0][0], self.points[-1][0]))
        room = width - indent - len(first)
        return " " * indent + (f"{first}{last:>{room}}" if last != first and room > len(last) else first)

    def told(self, width: int) -> str:
        """First, least, greatest and last value, as far as there is room."""
        lowest = min(self.points, key=lambda point: point[1])
        highest = max(self.points, key=lambda point: point[1])
        first, low, high, last = (self.amount(point[1]) for point in (self.points[0], lowest, highest, self.points[-1]))
        dated = f"min {low} on {self._moment(lowest[0])}, max {high} on {self._moment(highest[0])}"
        texts = (f"first {first}, {dated}, last {last}", f"min {low}, max {high}, last {last}", f"last {last}", "")
        return next(text for text in texts if len(text) <= width)

    def _moment(self, seconds: float) -> str:
        at = EPOCH + timedelta(seconds=seconds)
        days = self.points[-1][0] - self.points[0][0] >= 2 * DAY.total_seconds()
        return f"{at:%Y-%m-%d}" if days or seconds % DAY.total_seconds() == 0 else f"{at:%Y-%m-%d %H:%M}Z"


class _Canvas:
    """A grid of dots, two by four in a cell, or one in a cell of ASCII."""

    def __init__(self, columns: int, rows: int, *, plain: bool) -> None:
        self._columns, self._rows, self._plain = columns, rows, plain
        self._across, self._down = (1, 1) if plain else (2, 4)
        self.width, self.height = columns * self._across, rows * self._down
        self._cells = [[0] * columns for _ in range(rows)]

    def join(self, one: Spot, other: Spot) -> None:
        """Set the dots of a straight line."""
        (x, y), (right, up) = one, (other[0] - one[0], other[1] - one[1])
        steps = max(abs(right), abs(up), 1)
        for step in range(steps + 1):
            self._set(x + round(right * step / steps), y + round(up * step / steps))

    def _set(self, x: int, y: int) -> None:
        row, down = divmod(self.height - 1 - y, self._down)
        column, across = divmod(x, self._across)
        self._cells[row][column] |= DOTS[across][down]

    def lines(self) -> Iterator[str]:
        for row in self._cells:
            yield "".join(" " if not dots else "*" if self._plain else chr(BRAILLE + dots) for dots in row)


def _runs(times: Sequence[float], values: Sequence[float], *, log: bool) -> list[list[Point]]:
    """The points that can be shown, those together that are joined."""
    points = list(zip(times, values, strict=True))
    longest = _usual_step(points) * LONGEST_STEP
    runs: list[list[Point]] = []
    before: float | None = None
    for at, value in points:
        if not isfinite(value) or (log and value <= 0):
            before = None
            continue
        if before is None or at - before > longest:
            runs.append([])
        runs[-1].append((at, value))
        before = at
    return runs


def _usual_step(points: Sequence[Point]) -> float:
    return median([other[0] - one[0] for one, other in pairwise(points)] or [0.0])


def _draw(canvas: _Canvas, runs: Sequence[Sequence[Point]], shown: _Shown, *, log: bool) -> None:
    start, length = shown.points[0][0], shown.points[-1][0] - shown.points[0][0]
    height = _heights([shown.low, shown.high], canvas.height, log=log)
    for run in runs:
        spots = [(_place(at, start, length, canvas.width), height(value)) for at, value in run]
        canvas.join(spots[0], spots[0])
        for one, other in pairwise(spots):
            canvas.join(one, other)


def _place(at: float, start: float, length: float, cells: int) -> int:
    """Which of so many cells a time falls into; the middle one where there is no length."""
    return round((at - start) / length * (cells - 1)) if length else (cells - 1) // 2


def _heights(values: Sequence[float], steps: int, *, log: bool) -> Callable[[float], int]:
    """On which of so many steps a value stands; all on the middle one where they are equal."""

    def scaled(value: float) -> float:
        return log10(value) if log else value / 4  # so that no difference is beyond a float

    low, high = scaled(min(values)), scaled(max(values))

    def height(value: float) -> int:
        return round((scaled(value) - low) / (high - low) * (steps - 1)) if high > low else (steps - 1) // 2

    return height
