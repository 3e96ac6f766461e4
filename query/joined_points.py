"""Which points of a series a line joins: those that are no further apart than five of its usual steps."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, isfinite
from statistics import median

LONGEST_STEP = 5  # usual steps

Point = tuple[float, float]  # seconds since 1970, UTC, and a value


def runs(points: Sequence[Point]) -> list[list[Point]]:
    """The points by time, in lists of joined ones; a value that is not finite is left out, and ends a list."""
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
    """The seconds between two points, as a rule."""
    return median([later - earlier for (earlier, _), (later, _) in pairwise(points)] or [0.0])
