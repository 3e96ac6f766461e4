"""Which restatements of closed days a settle adopts, and which wait for a person.

A restatement waits if it looks like a glitch or a new definition: its size and shape count, not the number of days
alone. `doubt` is a pure function of the stored values of a series and of what the API says now.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from statistics import median
from typing import NamedTuple

from db.coverage import Name
from db.quarantine import NO_SHIFT, ComparedPoint
from db.store import Store
from model.amount_text import old_and_new
from model.restatement_bounds import RestatementBounds
from model.settings import MAIN
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
MOST_NAMED = 20  # series that wait, in the warnings of a run


class Doubt(NamedTuple):
    """Why a person must decide about restated points of a series."""

    why: str
    points: Sequence[ComparedPoint]


class CommonFactor(NamedTuple):
    """The factor by which the most points of a series change alike, of those that change by more than a little."""

    factor: float
    points: Sequence[ComparedPoint]
    is_usual: bool  # whether more than half of these points have it


def decide_restatements(summary: Summary, store: Store, compared: Mapping[Name, Sequence[Window]]) -> None:
    """Adopt what a settle has found to be restated, or have it wait for a person; the summary says which.

    `compared` has the days for which the run has compared each series. A series of which other days are restated too is
    left to a later settle, which compares those.
    """
    source = summary.plan.job.source
    why, factors = dict[Name, str](), defaultdict[str, dict[Name, float]](dict)
    names = []
    for name in store.undecided():
        shift = source.METRICS[name[1]].shift if name in compared else NO_SHIFT
        windows = [Window(start - shift, end - shift) for start, end in compared.get(name, ())]
        points = store.compared_points(name)
        if not all(_is_within(each, windows) for each in points if each.restated):
            continue
        names.append(name)
        if found := doubt(points, windows, source.RESTATEMENTS):
            why[name] = found.why
            store.hold(name, found.points)
        if common := common_factor(points, source.RESTATEMENTS):
            factors[name[1]][name] = common.factor
    for alike in factors.values():
        for name, text in doubts_of_one_factor(alike, source.RESTATEMENTS).items():
            why.setdefault(name, text)
            common = common_factor(store.compared_points(name), source.RESTATEMENTS)
            store.hold(name, common.points if common else ())
    adopted = store.adopt([name for name in names if name not in why], source.own_times())
    summary.counts.changed += adopted.changed
    summary.counts.kept -= adopted.changed
    summary.counts.withdrawn += adopted.withdrawn
    summary.warnings += _warnings(source.name, why)


def _warnings(source: str, why: Mapping[Name, str]) -> list[str]:
    """What waits, in a line for each of the first series and one for all others; each is logged."""
    see = f"{MAIN} check {source}"
    found = [f"{source} {' '.join(name)}: {text}: waits for a person: {see}" for name, text in why.items()]
    if len(found) > MOST_NAMED:
        found[MOST_NAMED:] = [f"{source}, {len(found) - MOST_NAMED:,} more series: they wait for a person: {see}"]
    for message in found:
        log.warning("%s", message)
    return found


def doubt(points: Sequence[ComparedPoint], compared: Sequence[Window], bounds: RestatementBounds) -> Doubt | None:
    """Which restated points of a series are doubtful, and the first reason.

    `points` are all stored points of the series, sorted by time; `compared` has the times that this run has compared.
    What was doubtful once stays so until the API takes it back: after some nights its numbers may be just within the
    bounds.
    """
    found = [*_doubts(points, compared, bounds)]
    every = {each for one in found for each in one.points}
    return Doubt(found[0].why, sorted(every)) if found else None


def _doubts(points: Sequence[ComparedPoint], compared: Sequence[Window], bounds: RestatementBounds) -> Iterator[Doubt]:
    withdrawn = [each for each in points if each.restated and each.value is None]
    if len(withdrawn) > bounds.withdrawn_days:
        text = f"the API no longer has {counted(len(withdrawn), 'day')}, such as {_day(withdrawn[-1])}"
        yield Doubt(text, withdrawn)
    largest = max((abs(each.stored) for each in points if each.stored is not None), default=0.0)
    if far := [
        each for place, each in enumerate(points)
        if each.restated and (_is_huge(each, largest, bounds) or _leaves_its_range(points, place, bounds))
    ]:  # fmt: skip
        text = f"{counted(len(far), 'day')} would be far from the days around, such as {_example(far[-1])}"
        yield Doubt(text, far)
    common = common_factor(points, bounds)
    if common and common.is_usual and len(common.points) >= bounds.days_of_one_factor:
        text = f"{len(common.points):,} days would change by the same factor of {common.factor:.6g}"
        yield Doubt(f"{text}, such as {_example(common.points[-1])}", common.points)
    changed = [each for each in _by_more_than_a_little(points, bounds) if _is_within(each, compared)]
    if len(changed) >= bounds.many_days:
        days = sum(_is_within(each, compared) for each in points)
        if len(changed) > bounds.share_of_days * days:
            yield Doubt(f"{len(changed):,} of {days:,} days would change, such as {_example(changed[-1])}", changed)
    if waits := [each for each in points if each.waits]:
        text = f"{counted(len(waits), 'day')} waiting since an earlier run, such as {_example(waits[-1])}"
        yield Doubt(text, waits)


def common_factor(points: Sequence[ComparedPoint], bounds: RestatementBounds) -> CommonFactor | None:
    """The most frequent factor of a series; None if no value changes by more than a little.

    Zeros have no factor: a provider fills holes.
    """
    ratios = sorted(
        (each.value / each.stored, each)
        for each in _by_more_than_a_little(points, bounds)
        if each.stored and each.value is not None
    )
    alike: Sequence[tuple[float, ComparedPoint]] = ()
    first = 0
    for last, (ratio, _) in enumerate(ratios):
        while ratio - ratios[first][0] > SAME * abs(ratio):
            first += 1
        if last - first >= len(alike):
            alike = ratios[first : last + 1]
    if not alike:
        return None
    found = sorted(each for _, each in alike)
    return CommonFactor(median(ratio for ratio, _ in alike), found, is_usual=2 * len(found) > len(ratios))


def doubts_of_one_factor(factors: Mapping[Name, float], bounds: RestatementBounds) -> dict[Name, str]:
    """Why restatements of one metric are doubtful, if many series change by the same factor."""
    found = {}
    for name, factor in factors.items():
        alike = sum(abs(other - factor) <= SAME_IN_SERIES * abs(factor) for other in factors.values())
        if alike >= bounds.series_of_one_factor:
            found[name] = f"{alike:,} series of this metric would change by the same factor of {factor:.6g}"
    return found


def _is_within(point: ComparedPoint, windows: Sequence[Window]) -> bool:
    return any(start <= point.at < end for start, end in windows)


def _by_more_than_a_little(points: Sequence[ComparedPoint], bounds: RestatementBounds) -> list[ComparedPoint]:
    return [each for each in points if each.restated and _change(each) > bounds.small_change]


def _change(point: ComparedPoint) -> float:
    """By how much a restated value changes, as a share of the larger one; 0 for one that is no number any more."""
    if point.value is None or point.stored is None:
        return 0.0
    size = max(abs(point.value), abs(point.stored))
    return abs(point.value - point.stored) / size if size else 0.0


def _is_huge(point: ComparedPoint, largest: float, bounds: RestatementBounds) -> bool:
    """Whether a restated value would be far above all stored ones: so a wild series has a limit, too."""
    return point.value is not None and abs(point.value) > bounds.times_neighbours * largest > 0


def _leaves_its_range(points: Sequence[ComparedPoint], place: int, bounds: RestatementBounds) -> bool:
    """Whether a restated value would be far from the stored values around it, and changes much.

    A value that comes closer to its neighbours, as in a hole that is filled, does not. A wild series has no range.
    """
    point = points[place]
    if point.value is None or point.stored is None:
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
    if point.value is None:
        return f"{_day(point)}, which the API no longer has"
    old, new = old_and_new(point.stored, point.value)
    return f"{_day(point)} from {old} to {new}"


def _day(point: ComparedPoint) -> str:
    return f"{point.at:%Y-%m-%d}"
