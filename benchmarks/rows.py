"""The shape of every measurement: ours beside a peer, their ratio, and the goal for it."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.peers import Peers

SKIPPED, MET, MISSED = "skipped", "met", "missed"
HEAD = ("what", "ours", "unit", "beside", "theirs", "ratio", "goal", "")


class Row(NamedTuple):
    """One line of the table; `ratio` is ours ÷ theirs, so units such as s want a low one, and points/s a high one."""

    what: str
    ours: float
    unit: str
    peer: str = ""
    theirs: float | None = None  # None with a peer: it is not installed
    at_least: float | None = None  # goals for the ratio
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours divided by theirs; None without a peer."""
        return self.ours / self.theirs if self.theirs else None

    @property
    def goal(self) -> str:
        """The goal for the ratio; empty if there is none."""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"

    @property
    def verdict(self) -> str:
        """Whether the goal is met; empty without a goal."""
        if self.peer and self.theirs is None:
            return SKIPPED
        if self.ratio is None or not self.goal:
            return ""
        met = (self.at_least or 0) <= self.ratio and (self.at_most is None or self.ratio <= self.at_most)
        return MET if met else MISSED


@dataclass(frozen=True)
class Setting:
    """How to measure: the long or the short form, the environment of the peers, and the folder for pictures."""

    long: bool
    peers: Peers
    out: Path

    @property
    def rounds(self) -> int:
        """How often something short is measured; the median counts."""
        return 5 if self.long else 3


def seconds(work: Callable[[], object]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(rounds: int, ways: Sequence[Callable[[], object]]) -> list[float]:
    """The median seconds of each way; the ways take turns, so that a busy moment of the machine hits all of them."""
    taken = [[seconds(way) for way in ways] for _ in range(rounds)]
    return [median(each) for each in zip(*taken, strict=True)]


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table whose columns are aligned."""
    cells = [list(HEAD), *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(HEAD))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in cells]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def _cells(row: Row) -> list[str]:
    theirs, ratio = _number(row.theirs), "" if row.ratio is None else f"{row.ratio:.3g}"
    return [row.what, _number(row.ours), row.unit, row.peer, theirs, ratio, row.goal, row.verdict]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
