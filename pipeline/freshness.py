"""How old series are, against the day that is due: pure functions of a given time and of what the tables say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from db.coverage import Name
from db.points import Age
from model.values import DAY, Rhythm, Target, Verb
from pipeline.run_health import GRACE, LOG, DutyHealth, Problem
from sources.base import BaseSource

STALLED = timedelta(days=4)  # without one new point of any series; the longest time that exchanges close
QUARTER_LATE = timedelta(days=150)  # a quarter, and the time until it is reported
NAMED = 3  # stale series


class Due(NamedTuple):
    """Of which days series must have a point by now."""

    closed: date  # of those with a history: the last day that was to be closed
    live: date  # of those that exist only live
    next: datetime | None  # when the closed day becomes the next one; None where that waits for a run under way


class SeriesState(StrEnum):
    """How old a series is."""

    FRESH = "fresh"  # with a point of the day that is due
    QUIET = "quiet"  # older, and the API has answered that it has nothing newer
    AWAITED = "awaited"  # older, until the first runs since the start, or since the config was changed, are over
    STALE = "stale"  # older, and the API was not asked, or has not answered
    NEVER_SEEN = "never seen"


class Stale(NamedTuple):
    """A series that is stale."""

    asset: str
    metric: str
    newest: datetime


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the series of a source are that its config asks for."""

    states: Mapping[Name, SeriesState]
    newest: datetime | None  # the time of the newest point
    due: Due
    stalled: date | None  # the day of the newest point where there has been nothing new of any series for days
    stalest: tuple[Stale, ...]  # a few of the stale ones

    @property
    def expected(self) -> int:
        """How many series the config asks for."""
        return len(self.states)

    def count(self, state: SeriesState) -> int:
        """How many of them are so."""
        return sum(each is state for each in self.states.values())

    def problems(self, source: str) -> Iterator[Problem]:
        """What needs a look."""
        if stale := self.count(SeriesState.STALE):
            named = ", ".join(f"{each.asset} {each.metric} ({each.newest:%Y-%m-%d})" for each in self.stalest)
            many = f"{stale:,} series are" if stale > 1 else "1 series is"
            what = f"{many} stale, newest point of the oldest"
            yield Problem(what, named, f"their holes: python main.py gaps {source}; log: {LOG}")
        if self.stalled:
            what = f"nothing new of any series since {self.stalled}"
            yield Problem(what, "the API answers, but with no newer point", f"look at its site; log: {LOG}")


def due_days(source: type[BaseSource], now: datetime, duties: Sequence[DutyHealth]) -> Due:
    """Of which days the series of a source must have a point by now.

    The runs of the night have some time for it, and more where they are still at work, all being well.
    """
    nightly, pull = source.SCHEDULES[Verb.BACKFILL], source.SCHEDULES[Verb.PULL]
    slot = nightly.slot(now - GRACE)
    at_work = any(each.under_way for each in duties if each.duty.verb is not Verb.PULL)
    if at_work and slot == nightly.slot(now):
        return Due(slot.date() - nightly.every - DAY, pull.slot(now - GRACE).date(), None)
    return Due(slot.date() - DAY, pull.slot(now - GRACE).date(), slot + nightly.every + GRACE)


def freshness(
    source: type[BaseSource],
    targets: Iterable[Target],
    ages: Sequence[Age],
    now: datetime,
    duties: Sequence[DutyHealth],
    since: datetime,
) -> Freshness:
    """How old the series are that the config asks for, which has not changed since then, nor was the scheduler started.

    Before the first runs after that are over, a series is not called stale.
    """
    by_name = {(target.asset, target.metric): target for target in targets}
    due = due_days(source, now, duties)
    awaited = {each.duty.verb for each in duties if each.awaited(since)}
    states: dict[Name, SeriesState] = {}
    stale, recent = [], []
    for age in ages:
        metric, target = source.METRICS[age.metric], by_name[age.asset, age.metric]
        state = _state(source, target, age, due)
        if state is SeriesState.STALE and (Verb.PULL if metric.live_only else Verb.BACKFILL) in awaited:
            state = SeriesState.AWAITED
        states[age.asset, age.metric] = state
        if age.newest and source.rhythm(target) is not Rhythm.QUARTERLY:
            recent.append(metric.day_of(age.newest))
        if age.newest and state is SeriesState.STALE:
            stale.append(Stale(age.asset, age.metric, age.newest))
    last = max(recent, default=None)
    told = not {SeriesState.STALE, SeriesState.AWAITED}.isdisjoint(states.values())
    told = told or last is None or last >= due.closed - STALLED
    return Freshness(
        states,
        newest=max((age.newest for age in ages if age.newest), default=None),
        due=due,
        stalled=None if told else last,
        stalest=tuple(sorted(stale, key=lambda each: each.newest)[:NAMED]),
    )


def _state(source: type[BaseSource], target: Target, age: Age, due: Due) -> SeriesState:
    """How old a series is, whatever is still to come."""
    metric = source.METRICS[age.metric]
    day = due.live if metric.live_only else due.closed
    if age.newest is None:
        return SeriesState.NEVER_SEEN
    if metric.day_of(age.newest) >= _day_due(day, source.rhythm(target)):
        return SeriesState.FRESH
    return SeriesState.QUIET if age.answered is not None and age.answered >= day else SeriesState.STALE


def _day_due(day: date, rhythm: Rhythm) -> date:
    """The latest day, not after this one, of which a series of the rhythm has a point."""
    if rhythm is Rhythm.QUARTERLY:
        return day - QUARTER_LATE
    return day - max(day.weekday() - 4, 0) * DAY if rhythm is Rhythm.WEEKDAYS else day
