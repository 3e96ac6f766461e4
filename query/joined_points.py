"""Which points of a series a line joins: neighbours that are at most five of its usual steps apart."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite
from statistics import median

LONGEST_STEP = 5  # usual steps

Point = tuple[float, float]  # seconds since 1970, UTC, and a value


def lines_of(points: Sequence[Point]) -> list[list[Point]]:
    """The points, sorted by time, as lists to join by a line; a value that is not finite is left out and ends one."""
    longest, before = usual_step(points) * LONGEST_STEP, -inf
    found: list[list[Point]] = []
    for at, value in points:
        if not isfinite(value):
            before = -inf
            continue
        if at - before > longest:
            found.append([])
        found[-1].append((at, value))
        before = at
    return found


def usual_step(points: Sequence[Point]) -> float:
    """The median of the seconds between two neighbouring points; 0 if there are fewer than two."""
    return median([later - earlier for (earlier, _), (later, _) in pairwise(points)] or [0.0])
