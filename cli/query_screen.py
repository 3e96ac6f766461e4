"""What query and latest print for a person: as many rows as fit, and small charts.

rich draws tables, too, but it does not align decimal points, and it cuts wide cells.
"""

import logging
import os
import shutil
import sys
from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from math import floor, isfinite, log10

from cli.terminal_chart import ROWS, chart, sparkline
from model.text import counted, printable, span
from model.values import midnight
from query.csv_and_json import Cell, Cells

log = logging.getLogger(__name__)

WITHOUT_BRAILLE = ("dumb", "linux")  # values of TERM for terminals that have no braille characters
DIGITS = 6  # significant ones of a number
SMALLEST, LARGEST = 1e-6, 1e15  # smaller and larger numbers are written with an exponent
FEWEST_ROWS = 5  # of a table, however small the screen is
SMALLEST_SCREEN = (40, 18)  # columns and lines of a screen; on a smaller one a chart is one line
OTHER_LINES = 5  # the title, the header of the table, the line below it, the command and the next prompt
NO_POINT = "there is no such point"  # the note of an empty answer
ALL_OF_THEM = "--out FILE.csv or --format csv gives them all"

# The points of each metric for a chart, as seconds since 1970 and values: 16 bytes a point.
Curves = dict[str, tuple["array[float]", "array[float]"]]


def show_points(
    rows: Iterable[Cells],
    columns: Sequence[str],
    title: str,
    charted: Sequence[str] = (),
    *,
    unit: str = "",
    log_scale: bool = False,
    if_none: str = NO_POINT,
) -> None:
    """Show the last rows, and of the charted metrics a chart if there is one, a line of blocks for each of several.

    With charted metrics, each row must begin with a time and their values.
    """
    screen, plain = shutil.get_terminal_size(), _shows_only_ascii()
    curves: Curves = {metric: (array("d"), array("d")) for metric in charted}
    small = len(curves) > 1 or screen.columns < SMALLEST_SCREEN[0] or screen.lines < SMALLEST_SCREEN[1]
    chart_lines = (len(curves) if small else ROWS + 2) + 1 if curves else 0
    last, count = deque[Cells](maxlen=max(screen.lines - OTHER_LINES - chart_lines, FEWEST_ROWS)), 0
    for row in rows:
        count += 1
        last.append(row)
        for (times, values), value in zip(curves.values(), row[1:], strict=False):
            if isinstance(row[0], datetime) and isinstance(value, float):
                times.append(row[0].timestamp())
                values.append(value)
    foot = f"{counted(count, 'row')}{f', the last {len(last)} shown: {ALL_OF_THEM}' if count > len(last) else ''}"
    if curves and not small:
        ((times, values),) = curves.values()
        drawn = chart(times, values, screen.columns, unit=unit, plain=plain, log=log_scale)
    else:
        drawn = _sparklines(curves, screen.columns, plain=plain, log=log_scale)
    _show(title, drawn, table_lines(columns, list(last)), foot, count, if_none)


def show_newest(
    rows: Sequence[tuple[str, datetime, float | None]], metric: str, title: str, now: datetime, if_none: str = NO_POINT
) -> None:
    """Show the greatest values with their ages."""
    ranked = sorted(rows, key=lambda row: (row[2] is None, -(row[2] or 0), row[0]))
    shown = ranked[: max(shutil.get_terminal_size().lines - OTHER_LINES, FEWEST_ROWS)]
    table = table_lines(
        ["asset", metric, "pulled_at", "age"], [(asset, value, at, span(now - at)) for asset, at, value in shown]
    )
    more = f", the greatest {len(shown)} shown: {ALL_OF_THEM}" if len(rows) > len(shown) else ""
    _show(title, [], table, f"{counted(len(rows), 'asset')}{more}", len(rows), if_none)


def log_count(text: str, rows: int, if_none: str = NO_POINT) -> None:
    """Log how many rows there are; a warning if there are none, with the reason."""
    log.log(logging.INFO if rows else logging.WARNING, "%s%s", text, "" if rows else f": {if_none}")


def _show(title: str, charts: Sequence[str], table: Sequence[str], foot: str, rows: int, if_none: str) -> None:
    """On a terminal print everything; otherwise print only the table, and log the rest."""
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        print("\n".join([title, *charts, *([""] if charts else [])]))
    print("\n".join(table))
    if on_terminal and rows:
        print(foot)
    else:
        log_count(f"{title}: {foot}", rows, if_none)


def _shows_only_ascii() -> bool:
    """Whether the terminal can't show braille dots, blocks and lines."""
    try:
        "⣿█┤".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return True
    return os.environ.get("TERM") in WITHOUT_BRAILLE


def _sparklines(curves: Curves, columns: int, *, plain: bool, log: bool) -> list[str]:
    """A line for each metric: its name, its blocks, its last value."""
    lasts = [number(values[-1]) if values else "" for _, values in curves.values()]
    name_width, last_width = (max(map(len, texts), default=0) for texts in (curves, lasts))
    width = max(columns - name_width - last_width - 4, 1)
    lines = []
    for (metric, curve), last in zip(curves.items(), lasts, strict=True):
        drawn = sparkline(*curve, width, plain=plain, log=log)
        lines.append(f"{metric:<{name_width}}  {drawn:<{width}}  {last:>{last_width}}")
    return lines


def table_lines(columns: Sequence[str], rows: Sequence[Cells]) -> list[str]:
    """The header and a line for each row: texts and times to the left, numbers aligned at their decimal points."""
    by_column = [_column(name, [row[place] for row in rows]) for place, name in enumerate(columns)]
    return ["  ".join(cells).rstrip() for cells in zip(*by_column, strict=True)]


def number(value: float) -> str:
    """A number with six significant digits and all of its whole digits, grouped by thousands."""
    value += 0.0  # removes the sign of a negative zero
    size = abs(value)
    if not isfinite(value) or (size and not SMALLEST <= size < LARGEST):
        return f"{value:.{DIGITS}g}"
    decimals = max(DIGITS - 1 - floor(log10(size)), 0) if size else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _column(name: str, cells: Sequence[Cell]) -> list[str]:
    numeric = any(isinstance(cell, float) for cell in cells)
    if numeric:
        texts = _aligned([number(cell) if isinstance(cell, float) else "" for cell in cells])
    elif any(isinstance(cell, datetime) for cell in cells):
        texts = _times(cells)
    else:
        texts = [printable(cell) if isinstance(cell, str) else "" for cell in cells]
    width = max(map(len, [name, *texts]))
    return [text.rjust(width) if numeric else text.ljust(width) for text in [name, *texts]]


def _aligned(texts: Sequence[str]) -> list[str]:
    """Numbers padded after their decimal points, so that all have the same length there."""
    parts = [text.partition(".") for text in texts]
    width = max(len(point + rest) for _, point, rest in parts)
    return [whole + (point + rest).ljust(width) for whole, point, rest in parts]


def _times(cells: Sequence[Cell]) -> list[str]:
    """Times; dates alone where all times are midnights."""
    times = [cell for cell in cells if isinstance(cell, datetime)]
    form = "%Y-%m-%d" if all(at == midnight(at) for at in times) else "%Y-%m-%d %H:%M:%SZ"
    return [f"{cell:{form}}" if isinstance(cell, datetime) else "" for cell in cells]
