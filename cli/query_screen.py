"""What query and latest show a person: the last rows, or the greatest values, as many as fit, and small charts."""

from array import array
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from cli.table_text import number, table_lines
from cli.terminal_chart import ROWS, chart, sparkline
from cli.time_text import span
from query.export import Cells
from query.rows import Row

FEWEST_ROWS = 5  # of a table, however small the screen is
SMALLEST = (40, 18)  # columns and lines of a screen with less than which a chart is one line
AROUND = 5  # lines: the title, a table's header, what is said below it, the command and the next prompt
ALL_OF_THEM = "--out FILE.csv or --format csv gives them all"


class Screen(NamedTuple):
    """Where it is shown."""

    width: int
    height: int
    plain: bool  # it has no letters for charts beyond ASCII


class Shown(NamedTuple):
    """What is shown: the charts, the table, and what is said of it."""

    charts: list[str]
    table: list[str]
    foot: str
    rows: int  # how many there are, shown or not


class Line:
    """The points of one metric, as a chart takes them; 16 bytes a point."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.times, self.values = array("d"), array("d")

    def add(self, at: datetime, value: float | None) -> None:
        """What is absent is no point."""
        if value is not None:
            self.times.append(at.timestamp())
            self.values.append(value)


def points_shown(
    rows: Iterable[Row], metrics: Sequence[str], screen: Screen, *, assets: bool, charted: bool, unit: str, log: bool
) -> Shown:
    """The last rows, with a column for their assets, or with a chart: of several metrics one line each."""
    lines = [Line(metric) for metric in metrics] if charted else []
    small = len(lines) > 1 or screen.width < SMALLEST[0] or screen.height < SMALLEST[1]
    taken = (len(lines) if small else ROWS + 2) + 1 if charted else 0
    last, count = deque[Row](maxlen=max(screen.height - AROUND - taken, FEWEST_ROWS)), 0
    for row in rows:
        last.append(row)
        count += 1
        for line, value in zip(lines, row.values, strict=False):
            line.add(row.at, value)
    cells: list[Cells] = [(asset, at, *values) if assets else (at, *values) for asset, at, values in last]
    table = table_lines([*(["asset"] if assets else []), "pulled_at", *metrics], cells)
    foot = f"{count:,} rows{f', the last {len(last)} shown: {ALL_OF_THEM}' if count > len(last) else ''}"
    if lines and not small:
        drawn = chart(lines[0].times, lines[0].values, screen.width, unit=unit, plain=screen.plain, log=log)
    else:
        drawn = _sparklines(lines, screen, log=log)
    return Shown(drawn, table, foot, count)


def newest_shown(
    metric: str, rows: Sequence[tuple[str, datetime, float | None]], now: datetime, screen: Screen
) -> Shown:
    """The greatest values with their ages."""
    ranked = sorted(rows, key=lambda row: (row[2] is None, -(row[2] or 0), row[0]))
    shown = ranked[: max(screen.height - AROUND, FEWEST_ROWS)]
    cells = [(asset, value, at, span(now - at)) for asset, at, value in shown]
    more = f", the greatest {len(shown)} shown: {ALL_OF_THEM}" if len(rows) > len(shown) else ""
    return Shown(
        [], table_lines(["asset", metric, "pulled_at", "age"], cells), f"{len(rows):,} assets{more}", len(rows)
    )


def _sparklines(lines: Sequence[Line], screen: Screen, *, log: bool) -> list[str]:
    """A line for each metric: its name, its course, its last value."""
    if not lines:
        return []
    lasts = [number(line.values[-1]) if line.values else "" for line in lines]
    name_room, last_room = max(len(line.metric) for line in lines), max(map(len, lasts))
    room = max(screen.width - name_room - last_room - 4, 1)
    return [
        f"{line.metric:<{name_room}}  {sparkline(line.times, line.values, room, plain=screen.plain, log=log):<{room}}"
        f"  {last:>{last_room}}"
        for line, last in zip(lines, lasts, strict=True)
    ]
