"""A series as a small chart of characters: braille dots or ASCII, or one line of blocks.

plotille draws with braille, too, but it joins points across gaps, and has neither a log scale nor ASCII.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import log10, nan

from model.amount_text import amount
from model.values import DAY
from query.joined_points import Point, lines_of, usual_step

ROWS = 8
BRAILLE = 0x2800
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a cell, by column and row from the top
BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"


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
    """Rows of dots, then a line of dates and one of values; no line where there is no finite value.

    Times are seconds since 1970, ascending. Points on both sides of a gap, or of a value that is not finite, are not
    joined. `plain` uses only ASCII. With `log` the scale is logarithmic, and values of 0 or less are left out.
    """
    joined = _lines(times, values, log=log)
    points = [point for run in joined for point in run]
    if not points:
        return []
    low, high = (pick(value for _, value in points) for pick in (min, max))

    def text(value: float) -> str:
        """A value with enough digits to tell it from its neighbours."""
        within = min(abs(value) / 2000, (high / 100 - low / 100) or abs(value) / 2000)
        written = amount(value, unit, within)
        return written.replace("\N{MINUS SIGN}", "-") if plain else written

    marks = {0: text(high), rows - 1: text(low)} if low < high else {rows // 2: text(low)}
    indent = max(map(len, marks.values())) + 2
    tick, line = ("+", "|") if plain else ("┤", "│")
    drawn = [
        f"{marks.get(number, ''):>{indent - 2}} {tick if number in marks else line}{cells}"
        for number, cells in enumerate(_dots(joined, max(width - indent, 1), rows, plain=plain, log=log))
    ]
    return [each.rstrip() for each in (*drawn, _dates(points, indent, width), _extremes(points, text, width))]


def sparkline(
    times: Sequence[float], values: Sequence[float], width: int, *, plain: bool = False, log: bool = False
) -> str:
    """One line of at most `width` blocks: each the last value in its span of time, a space where there is none."""
    points = [point for line in _lines(times, values, log=log) for point in line]
    if not points:
        return ""
    start, length = points[0][0], points[-1][0] - points[0][0]
    cells = min(width, round(length / usual_step(points)) + 1) if length else 1
    blocks = PLAIN_BLOCKS if plain else BLOCKS
    height = _heights([value for _, value in points], len(blocks), log=log)
    line = [" "] * cells
    for at, value in points:
        line[_place(at, start, length, cells)] = blocks[height(value)]
    return "".join(line)


def _dots(joined: Sequence[Sequence[Point]], columns: int, rows: int, *, plain: bool, log: bool) -> list[str]:
    """The lines of points that are joined, in a grid of cells with two by four dots each, or one `*` in ASCII."""
    across, down = (1, 1) if plain else (2, 4)
    start, length = joined[0][0][0], joined[-1][-1][0] - joined[0][0][0]
    height = _heights([value for run in joined for _, value in run], rows * down, log=log)
    cells = [[0] * columns for _ in range(rows)]
    for run in joined:
        spots = [(_place(at, start, length, columns * across), height(value)) for at, value in run]
        for (x, y), (to_x, to_y) in pairwise([spots[0], *spots]):
            steps = max(abs(to_x - x), abs(to_y - y), 1)
            for step in range(steps + 1):
                column, dot_x = divmod(x + round((to_x - x) * step / steps), across)
                row, dot_y = divmod(rows * down - 1 - y - round((to_y - y) * step / steps), down)
                cells[row][column] |= DOTS[dot_x][dot_y]
    return ["".join(" " if not dots else "*" if plain else chr(BRAILLE + dots) for dots in row) for row in cells]


def _dates(points: Sequence[Point], indent: int, width: int) -> str:
    """The first time at the left, and the last one at the right if it differs."""
    first, last = (_moment(at, points) for at in (points[0][0], points[-1][0]))
    space = width - indent - len(first)
    return " " * indent + (f"{first}{last:>{space}}" if last != first and space > len(last) else first)


def _extremes(points: Sequence[Point], text: Callable[[float], str], width: int) -> str:
    """The first, lowest, highest and last value, as many of them as fit the width."""
    lowest, highest = (pick(points, key=lambda point: point[1]) for pick in (min, max))
    first, low, high, last = (text(value) for _, value in (points[0], lowest, highest, points[-1]))
    dated = f"min {low} on {_moment(lowest[0], points)}, max {high} on {_moment(highest[0], points)}"
    texts = (f"first {first}, {dated}, last {last}", f"min {low}, max {high}, last {last}", f"last {last}", "")
    return next(each for each in texts if len(each) <= width)


def _moment(seconds: float, points: Sequence[Point]) -> str:
    """A time as a date, or to the minute where the points span less than two days."""
    at, day = datetime.fromtimestamp(seconds, UTC), DAY.total_seconds()
    dated = points[-1][0] - points[0][0] >= 2 * day or seconds % day == 0
    return f"{at:%Y-%m-%d}" if dated else f"{at:%Y-%m-%d %H:%M}Z"


def _lines(times: Sequence[float], values: Sequence[float], *, log: bool) -> list[list[Point]]:
    """The points that can be shown; those of one run are joined."""
    return lines_of([(at, value if value > 0 or not log else nan) for at, value in zip(times, values, strict=True)])


def _place(at: float, start: float, length: float, cells: int) -> int:
    """The cell of a time among this number of cells; the middle one where there is only one time."""
    return round((at - start) / length * (cells - 1)) if length else (cells - 1) // 2


def _heights(values: Sequence[float], steps: int, *, log: bool) -> Callable[[float], int]:
    """A function from a value to one of this number of steps; the middle one where all values are equal."""

    def scaled(value: float) -> float:
        return log10(value) if log else value / 4  # so that no difference is too large for a float

    low, high = scaled(min(values)), scaled(max(values))

    def height(value: float) -> int:
        return round((scaled(value) - low) / (high - low) * (steps - 1)) if high > low else (steps - 1) // 2

    return height
