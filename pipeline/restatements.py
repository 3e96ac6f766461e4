"""Which restatements of closed days a run adopts, and which wait for a person.

A restatement waits if it looks like a glitch or a new definition: its size and shape count, not the number of days
alone. `doubt` is a pure function of the stored values of a series and of what the API says now.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import inf
from statistics import median
from typing import NamedTuple

from db.coverage import Name
from db.quarantine import ComparedPoint
from db.store import Store
from model.restatement_bounds import RestatementBounds
from model.text import counted
from model.values import Window
from pipeline.summary import Summary

log = logging.getLogger(__name__)

NEIGHBOURS = 7  # stored values on each side of a point
FEWEST_NEIGHBOURS = 4  # that can say what is usual
CALM = 0.75  # the least share of the neighbours that lie in the usual range; a wild series has no such range
SAME = 0.001  # the most by which the same factor differs on several days of a series, as a share: values are rounded
# The same for several series: in a night in which hundreds of series of one metric are restated by some per cent, five
# of them would often have the same factor by chance if it were larger.
SAME_IN_SERIES = 0.00001


class CommonFactor(NamedTuple):
    """A factor by which values of a series change alike."""

    factor: float
    days: int
    example: str


def decide_restatements(summary: Summary, store: Store, compared: Mapping[Name, Sequence[Window]]) -> None:
    """Adopt the restatements that this run has received, or have them wait for a person; the summary says which.

    `compared` has the days for which the run has compared each series.
    """
    source = summary.plan.job.source
    bounds, names = source.RESTATEMENTS, [name for name in store.undecided() if name in compared]
    doubts, factors = dict[Name, str](), defaultdict[str, dict[Name, float]](dict)
    for name in names:
        points = store.compared_points(name)
        days = sum(any(start <= each.at < end for start, end in compared[name]) for each in points)
        if why := doubt(points, days, bounds):
            doubts[name] = why
        if common := common_factor(points, bounds):
            factors[name[1]][name] = common.factor
    for series in factors.values():
        doubts = doubts_of_one_factor(series, bounds) | doubts
    adopted = store.adopt([name for name in names if name not in doubts], source.own_times())
    summary.counts.changed += adopted.changed
    summary.counts.kept -= adopted.changed
    summary.counts.withdrawn += adopted.withdrawn
    store.hold(list(doubts))
    for (asset, metric), why in doubts.items():
        summary.warnings.append(f"{source.name} {asset} {metric}: {why}: nothing of this is adopted until you decide")
        log.warning("%s", summary.warnings[-1])


def doubt(points: Sequence[ComparedPoint], days: int, bounds: RestatementBounds) -> str:
    """Why a restatement of a series is doubtful; empty if it is not.

    `points` are all stored points of the series, sorted by time; `days` says how many of them were compared.
    """
    withdrawn = [each for each in points if each.restated and each.value is None]
    if len(withdrawn) > bounds.withdrawn_days:
        return f"the API no longer has {counted(len(withdrawn), 'day')}, such as {withdrawn[-1].at:%Y-%m-%d}"
    if far := [each for place, each in enumerate(points) if _leaves_its_range(points, place, bounds)]:
        return f"{counted(len(far), 'day')} would be far from the days around, such as {_example(far[-1])}"
    common = common_factor(points, bounds)
    if common and common.days >= bounds.days_of_one_factor:
        return f"{common.days:,} days would change by the same factor of {common.factor:.6g}, such as {common.example}"
    changed = [each for each in points if _change(each) > bounds.small_change]
    if len(changed) >= bounds.many_days and len(changed) > bounds.share_of_days * days:
        return f"{len(changed):,} of {days:,} days would change, such as {_example(changed[-1])}"
    return ""


def common_factor(points: Sequence[ComparedPoint], bounds: RestatementBounds) -> CommonFactor | None:
    """The factor by which most values change of those that change by more than a little; None if there is none.

    Zeros have no factor: a provider fills holes.
    """
    ratios = {
        each: each.value / each.stored
        for each in points
        if _change(each) > bounds.small_change and each.stored and each.value is not None
    }
    middle = median(ratios.values()) if ratios else 0.0
    alike = [each for each, ratio in ratios.items() if abs(ratio - middle) <= SAME * abs(middle)]
    if 2 * len(alike) <= len(ratios):
        return None
    return CommonFactor(middle, len(alike), _example(alike[-1]))


def doubts_of_one_factor(factors: Mapping[Name, float], bounds: RestatementBounds) -> dict[Name, str]:
    """Why restatements of one metric are doubtful, if many series change by the same factor."""
    found = {}
    for name, factor in factors.items():
        alike = sum(abs(other - factor) <= SAME_IN_SERIES * abs(factor) for other in factors.values())
        if alike >= bounds.series_of_one_factor:
            found[name] = f"{alike:,} series of this metric would change by the same factor of {factor:.6g}"
    return found


def _change(point: ComparedPoint) -> float:
    """By how much a value changes, as a share of the larger one; 0 if it does not change."""
    if not point.restated or point.value is None or point.stored is None:
        return 0.0
    size = max(abs(point.value), abs(point.stored))
    return abs(point.value - point.stored) / size if size else 0.0


def _leaves_its_range(points: Sequence[ComparedPoint], place: int, bounds: RestatementBounds) -> bool:
    """Whether a restated value would be far from the stored values around it, and changes much.

    A value that comes closer to its neighbours, as in a hole that is filled, does not. A wild series has no range.
    """
    point = points[place]
    if not point.restated or point.value is None or point.stored is None:
        return False
    around = [*points[max(place - NEIGHBOURS, 0) : place], *points[place + 1 : place + 1 + NEIGHBOURS]]
    values = [each.stored for each in around if each.stored is not None]
    usual = median(values) if len(values) >= FEWEST_NEIGHBOURS else 0.0

    def is_usual(value: float) -> bool:
        return 1 / bounds.times_neighbours <= value / usual <= bounds.times_neighbours

    if not usual or sum(map(is_usual, values)) < CALM * len(values) or is_usual(point.value):
        return False
    comes_closer = min(point.stored, usual) <= point.value <= max(point.stored, usual)
    ratio = point.value / point.stored if point.stored else inf
    return not comes_closer and not 1 / bounds.least_change <= ratio <= bounds.least_change


def _example(point: ComparedPoint) -> str:
    return f"{point.at:%Y-%m-%d} from {point.stored:.6g} to {point.value:.6g}"
