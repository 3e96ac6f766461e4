"""How old series are, compared with the day that is due: pure functions of a time and of what the tables record."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from db.coverage import Name
from db.points import Age
from model.values import DAY, Rhythm, Target, Verb
from pipeline.run_health import RUN_ALLOWED, RunHealth
from sources.base import BaseSource

STALLED_AFTER = timedelta(days=4)  # without a new point of any series; exchanges never close for longer
QUARTER_REPORTED_AFTER = timedelta(days=150)  # from the end of a quarter until the next one is reported
STALEST = 3  # stale series that are named


class DueDays(NamedTuple):
    """The days for which series must have a point by now."""

    closed: date  # for series with a history: a closed day
    live: date  # for live-only series
    next: datetime | None  # when `closed` moves on by a day; None while that waits for a run


class SeriesState(StrEnum):
    """How old a series is."""

    FRESH = "fresh"  # it has a point for the day that is due
    QUIET = "quiet"  # older, and the API has answered that it has nothing newer
    AWAITED = "awaited"  # older, and the first run since the scheduler started or the config changed is not over
    STALE = "stale"  # older, and the API has not answered for the day that is due
    NEVER_SEEN = "never seen"


class Stale(NamedTuple):
    """A stale series."""

    asset: str
    metric: str
    newest: datetime


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the configured series of a source are."""

    states: Mapping[Name, SeriesState]
    newest: datetime | None  # the time of the newest point
    due: DueDays
    stalled: date | None  # the day of the newest point, if no series has had a new one for STALLED_AFTER
    stalest: tuple[Stale, ...]  # the oldest of the stale series

    def count(self, state: SeriesState) -> int:
        """How many series are in a state."""
        return sum(each is state for each in self.states.values())

    @property
    def needs_attention(self) -> bool:
        """Whether the series need attention."""
        return self.stalled is not None or SeriesState.STALE in self.states.values()


def due_days(source: type[BaseSource], now: datetime, runs: Sequence[RunHealth]) -> DueDays:
    """The days for which the series of a source must have a point by now.

    The nightly runs have RUN_ALLOWED to store it, and longer while they are unfinished and nothing is wrong.
    """
    nightly, pull = source.SCHEDULES[Verb.BACKFILL], source.SCHEDULES[Verb.PULL]
    slot = nightly.slot(now - RUN_ALLOWED)
    live = pull.slot(now - RUN_ALLOWED).date()
    unfinished = any(each.unfinished for each in runs if each.scheduled.verb is not Verb.PULL)
    if unfinished and slot == nightly.slot(now):
        return DueDays(slot.date() - nightly.every - DAY, live, None)
    return DueDays(slot.date() - DAY, live, slot + nightly.every + RUN_ALLOWED)


def freshness(
    source: type[BaseSource],
    targets: Iterable[Target],
    ages: Sequence[Age],
    now: datetime,
    runs: Sequence[RunHealth],
    since: datetime,
) -> Freshness:
    """How old the configured series of a source are.

    `since` is when the scheduler started, or when the config was changed after that. No series counts as stale
    before the first run after `since` is over.
    """
    by_name = {(target.asset, target.metric): target for target in targets}
    due = due_days(source, now, runs)
    not_over = {each.scheduled.verb for each in runs if each.no_success_since(since)}
    states: dict[Name, SeriesState] = {}
    stale, days = [], []
    for age in ages:
        metric, target = source.METRICS[age.metric], by_name[age.asset, age.metric]
        state = _state(source, target, age, due)
        if state is SeriesState.STALE and (Verb.PULL if metric.live_only else Verb.BACKFILL) in not_over:
            state = SeriesState.AWAITED
        states[age.asset, age.metric] = state
        if age.newest and source.rhythm(target) is not Rhythm.QUARTERLY:
            days.append(metric.day_of(age.newest))
        if age.newest and state is SeriesState.STALE:
            stale.append(Stale(age.asset, age.metric, age.newest))
    last = max(days, default=None)
    explained = not {SeriesState.STALE, SeriesState.AWAITED}.isdisjoint(states.values())
    stalled = last is not None and last < due.closed - STALLED_AFTER and not explained
    return Freshness(
        states,
        newest=max((age.newest for age in ages if age.newest), default=None),
        due=due,
        stalled=last if stalled else None,
        stalest=tuple(sorted(stale, key=lambda each: each.newest)[:STALEST]),
    )


def _state(source: type[BaseSource], target: Target, age: Age, due: DueDays) -> SeriesState:
    """The state of a series, without regard to runs that are not over."""
    metric = source.METRICS[age.metric]
    day = due.live if metric.live_only else due.closed
    if age.newest is None:
        return SeriesState.NEVER_SEEN
    latest = day  # the last day up to the due one on which a series of this rhythm must have a point
    match source.rhythm(target):
        case Rhythm.QUARTERLY:
            latest -= QUARTER_REPORTED_AFTER
        case Rhythm.WEEKDAYS:
            latest -= max(day.weekday() - 4, 0) * DAY
    if metric.day_of(age.newest) >= latest:
        return SeriesState.FRESH
    return SeriesState.QUIET if age.answered is not None and age.answered >= day else SeriesState.STALE
