"""The rules that flag odd values: pure functions of the days of a series, without any learning.

A flag says that somebody should look at a value; no rule changes one. Each rule compares consecutive days, so that a
missing day is never the reason of a flag.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import pairwise
from math import isfinite
from typing import NamedTuple

from model.amount_text import amount
from model.values import Metric, Rhythm, midnight

# Exchanges close for four days at most, and a metric that follows them repeats its value then. On seven days, each day
# of the week has had its turn.
FLAT_DAYS = 7
# A pattern of the week, such as zeros at weekends, shows itself in the seven days before.
WEEK = 7
# Where the values of a week differ by a larger factor, a zero on the next day is no surprise: the series counts few
# things, or it fades out.
ZERO_SPREAD = 10.0
# A day of twice the highest value of a week, or of half of the lowest, is rarely real if the next day shows nothing of
# it: value was counted twice, the decimals were wrong, or half of the chains were missing.
JUMP = 2.0
# By what factor the next day may be outside the values of the week before. A real event takes days to fade.
UNDONE = 1.25
# Sources observe a value at different hours, so on one or two days they may differ by a move that one sees later.
DRIFT_DAYS = 3


class Day(NamedTuple):
    """The value of a series on one day."""

    place: int  # consecutive days have consecutive numbers; weekends don't count in a series of weekdays
    date: date
    value: float


class Span(NamedTuple):
    """Consecutive days that a rule flags, both included."""

    start: date
    end: date
    value: float  # on the first of them
    text: str


def days_of(points: Iterable[tuple[datetime, float]], metric: Metric, rhythm: Rhythm, today: date) -> list[Day]:
    """The last value of each closed day, from the points of a series sorted by time.

    Where points have times of their own, a point at midnight was dated by a pull, and counts as earlier than the others
    of its day. Values that are not finite are left out, and so are the weekends of a series that has only weekdays. A
    quarterly series has no consecutive days.
    """
    last: dict[date, tuple[datetime, float]] = {}
    for at, value in points:
        day = metric.day_of(at)
        counts_earlier = day in last and at == midnight(at) != last[day][0]
        if day < today and isfinite(value) and not counts_earlier:
            last[day] = at, value
    if rhythm is Rhythm.QUARTERLY:
        return []
    if rhythm is Rhythm.DAILY:
        return [Day(day.toordinal(), day, value) for day, (_, value) in last.items()]
    weekdays = ((day, value) for day, (_, value) in last.items() if day.weekday() < 5)
    return [Day((day.toordinal() - 1) // 7 * 5 + day.weekday(), day, value) for day, value in weekdays]


def flat(days: Sequence[Day]) -> Iterator[Span]:
    """A value that stays exactly the same for FLAT_DAYS: the provider may repeat the last value of a dead upstream.

    Values of many digits do not repeat by chance: a monitor of DefiLlama itself takes answers as stale that are the
    same for 1.3 days. Zeros are no flat values, since many series are zero most of the time.
    """
    for start, end in _same(days):
        first, last = days[start], days[end - 1]
        if end - start >= FLAT_DAYS and first.value:
            yield Span(first.date, last.date, first.value, f"{_text(first.value)} on {end - start} days in a row")


def zero(days: Sequence[Day]) -> Iterator[Span]:
    """A zero right after a week of values far from zero: the provider may have lost an input.

    In that week all values have one sign and differ by ZERO_SPREAD at most. So no zero is flagged in a series that is
    often zero, that crosses zero as net flows do, or that fades out.
    """
    for start, end in _same(days):
        first, last = days[start], days[end - 1]
        if first.value == 0 and (week := _week_before(days, start)) and max(week) <= ZERO_SPREAD * min(week):
            yield Span(first.date, last.date, 0.0, f"zero after {_text(days[start - 1].value)}")


def jump(days: Sequence[Day]) -> Iterator[Span]:
    """A value far outside those of the week before, and undone on the next day: it may be a mistake of one answer.

    Far is a factor of JUMP; in a series whose week has a wider range, it is the factor between its lowest and its
    highest value. Series that are zero at times or cross zero have no such factor, and are left out.
    """
    for place in range(WEEK, len(days) - 1):
        before, day, after = days[place - 1], days[place], days[place + 1]
        ratio = day.value / before.value if before.value else 0.0
        if ratio <= 0 or 1 / JUMP < ratio < JUMP or after.place != day.place + 1:
            continue
        if week := _week_before(days, place):
            low, high = min(week), max(week)
            far = max(JUMP, high / low)
            undone = after.value * day.value > 0 and low / UNDONE <= abs(after.value) <= high * UNDONE
            if undone and not low / far < abs(day.value) < high * far:
                text = f"{_text(day.value)} between {_text(before.value)} and {_text(after.value)}"
                yield Span(day.date, day.date, day.value, text)


def drift(ours: Sequence[Day], theirs: Sequence[Day], tolerance: float) -> Iterator[Span]:
    """Days on which two series of one quantity differ beyond the tolerance, a share of the larger value.

    Only DRIFT_DAYS in a row count, with the same series above the other.
    """
    other = {day.date: day.value for day in theirs}
    sides = [
        Day(day.place, day.date, _side(day.value, other[day.date], tolerance)) for day in ours if day.date in other
    ]
    own = {day.date: day.value for day in ours}
    for start, end in _same(sides):
        first, last = sides[start], sides[end - 1]
        if first.value and end - start >= DRIFT_DAYS:
            text = f"{_text(own[last.date])} against {_text(other[last.date])} on the last day"
            yield Span(first.date, last.date, own[first.date], text)


def _text(value: float) -> str:
    return amount(value, within=abs(value) / 1000)


def _side(ours: float, theirs: float, tolerance: float) -> float:
    """1 if our value is larger beyond the tolerance, -1 if theirs is, 0 if neither."""
    if abs(ours - theirs) <= tolerance * max(abs(ours), abs(theirs)):
        return 0.0
    return 1.0 if ours > theirs else -1.0


def _same(days: Sequence[Day]) -> Iterator[tuple[int, int]]:
    """The runs of consecutive days with the same value: the position of the first one, and that after the last one."""
    start = 0
    for position, (before, day) in enumerate(pairwise(days), start=1):
        if day.place != before.place + 1 or day.value != before.value:
            yield start, position
            start = position
    if days:
        yield start, len(days)


def _week_before(days: Sequence[Day], position: int) -> list[float]:
    """The absolute values of the WEEK days before a day; none if one is missing or zero, or if signs differ."""
    first = position - WEEK
    if first < 0 or days[first].place != days[position].place - WEEK:
        return []
    week = [day.value for day in days[first:position]]
    same_sign = min(week) > 0 or max(week) < 0
    return [abs(value) for value in week] if same_sign else []
