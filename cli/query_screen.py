"""What query and latest print for a person: as many rows as fit, and small charts."""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from cli.table_text import number, table_lines
from cli.terminal_chart import ROWS, chart, sparkline
from model.text import span
from query.csv_and_json import Cells

FEWEST_ROWS = 5  # of a table, however small the screen is
SMALLEST = (40, 18)  # columns and lines of a screen; on a smaller one a chart is one line
OTHER_LINES = 5  # the title, the header of the table, the line below it, the command and the next prompt
ALL_OF_THEM = "--out FILE.csv or --format csv gives them all"

# The points of each metric for a chart, as seconds since 1970 and values: 16 bytes a point.
Curves = dict[str, tuple["array[float]", "array[float]"]]


class Screen(NamedTuple):
    """The size of a terminal, and whether it shows only ASCII."""

    width: int
    height: int
    plain: bool


class Shown(NamedTuple):
    """What is printed: the charts, the table, and the line below it."""

    charts: list[str]
    table: list[str]
    foot: str
    rows: int  # how many there are, printed or not


def points_shown(
    rows: Iterable[Cells], columns: Sequence[str], screen: Screen, *, chart_unit: str | None, log: bool
) -> Shown:
    """The last rows; and unless `chart_unit` is None, a chart of one metric, or a line of blocks for each of several.

    With a chart, each row must be a time and the values of the metrics.
    """
    curves: Curves = {metric: (array("d"), array("d")) for metric in columns[1:] if chart_unit is not None}
    small = len(curves) > 1 or screen.width < SMALLEST[0] or screen.height < SMALLEST[1]
    chart_lines = (len(curves) if small else ROWS + 2) + 1 if curves else 0
    last, count = deque[Cells](maxlen=max(screen.height - OTHER_LINES - chart_lines, FEWEST_ROWS)), 0
    for row in rows:
        count += 1
        last.append(row)
        for (times, values), value in zip(curves.values(), row[1:], strict=False):
            if isinstance(row[0], datetime) and isinstance(value, float):
                times.append(row[0].timestamp())
                values.append(value)
    foot = f"{count:,} rows{f', the last {len(last)} shown: {ALL_OF_THEM}' if count > len(last) else ''}"
    if curves and not small:
        ((times, values),) = curves.values()
        drawn = chart(times, values, screen.width, unit=chart_unit or "", plain=screen.plain, log=log)
    else:
        drawn = _sparklines(curves, screen, log=log)
    return Shown(drawn, table_lines(columns, list(last)), foot, count)


def newest_shown(
    metric: str, rows: Sequence[tuple[str, datetime, float | None]], now: datetime, screen: Screen
) -> Shown:
    """The greatest values with their ages."""
    ranked = sorted(rows, key=lambda row: (row[2] is None, -(row[2] or 0), row[0]))
    shown = ranked[: max(screen.height - OTHER_LINES, FEWEST_ROWS)]
    table = table_lines(
        ["asset", metric, "pulled_at", "age"], [(asset, value, at, span(now - at)) for asset, at, value in shown]
    )
    more = f", the greatest {len(shown)} shown: {ALL_OF_THEM}" if len(rows) > len(shown) else ""
    return Shown([], table, f"{len(rows):,} assets{more}", len(rows))


def _sparklines(curves: Curves, screen: Screen, *, log: bool) -> list[str]:
    """A line for each metric: its name, its blocks, its last value."""
    lasts = [number(values[-1]) if values else "" for _, values in curves.values()]
    name_width, last_width = (max(map(len, texts), default=0) for texts in (curves, lasts))
    width = max(screen.width - name_width - last_width - 4, 1)
    lines = []
    for (metric, curve), last in zip(curves.items(), lasts, strict=True):
        drawn = sparkline(*curve, width, plain=screen.plain, log=log)
        lines.append(f"{metric:<{name_width}}  {drawn:<{width}}  {last:>{last_width}}")
    return lines
