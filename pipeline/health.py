"""How the pipeline is, judged from what the tables say: pure functions of a given time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from db.health import Age, LastRuns
from db.heartbeat import Beat
from pipeline.schedule import Duty, History, Try, next_try, slot_of
from pipeline.values import DAY, Rhythm, Target, Verb
from sources.base import BaseSource

ALIVE = timedelta(minutes=2)  # since the last beat of a scheduler that beats twice a minute
OVERDUE = timedelta(minutes=15)  # since a slot that nothing has been done for
GRACE = timedelta(hours=2)  # for a run to bring the values of its slot
QUARTER_LATE = timedelta(days=150)  # a quarter, and the time until it is reported


class State(StrEnum):
    """How a duty is."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    FAILING = "failing"
    OVERDUE = "overdue"


@dataclass(frozen=True, slots=True)
class DutyHealth:
    """How a duty is, and how its runs last went."""

    duty: Duty
    state: State
    runs: LastRuns
    next: datetime | None  # the next slot, or the next try of this one


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the series of a source are. Those that are not fresh have a reason each."""

    expected: int
    fresh: int  # with a point of the day that is due
    stale: int  # which are older, and the API was not asked, or has not answered
    quiet: int  # which are older, and the API has answered that it has nothing newer
    never_seen: int
    newest: datetime | None  # the time of the newest point
    due: date  # the day of which a daily series must have a point
    stalest: tuple[tuple[str, str], ...]  # a few of the stale ones (asset, metric)


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is."""

    source: str
    duties: tuple[DutyHealth, ...]
    freshness: Freshness
    calls: int  # of the last 24 hours, and how many of them failed
    failed_calls: int

    def problems(self) -> Iterator[str]:
        """What needs a look."""
        for each in self.duties:
            if each.state is State.FAILING:
                yield f"{each.duty.verb} fails: {each.runs.failure or 'it was ended'}"
            elif each.state is State.OVERDUE:
                yield f"{each.duty.verb} is overdue"
        if self.freshness.stale:
            named = ", ".join(" ".join(name) for name in self.freshness.stalest)
            yield f"{self.freshness.stale:,} series are stale, such as {named}"


def is_alive(beat: Beat | None, now: datetime, *, held: bool) -> bool:
    """Whether the scheduler that told this still turns, its process holding its place."""
    return held and beat is not None and now - beat.beaten_at < ALIVE


def duty_health(duty: Duty, now: datetime, history: History, runs: LastRuns, *, alive: bool) -> DutyHealth:
    """How a duty is."""
    slot = slot_of(duty, now, history.started, history.first_runs.get(duty.source))
    following = duty.schedule.slot(now) + duty.schedule.every
    if slot is None:
        return DutyHealth(duty, State.WAITING, runs, following)
    tries = history.tries.get((duty, slot), ())
    start = next_try(slot, tries, now)
    if start is None:
        return DutyHealth(duty, State.DONE, runs, following)
    return DutyHealth(duty, _state(slot, tries, runs, now, history.started, alive=alive), runs, min(start, following))


def _state(
    slot: datetime, tries: Sequence[Try], runs: LastRuns, now: datetime, started: datetime, *, alive: bool
) -> State:
    """The state of a duty whose slot is not done."""
    if runs.failed and (runs.succeeded is None or runs.failed > runs.succeeded) and any(each.ended for each in tries):
        return State.FAILING
    if alive and tries and tries[-1].ended is None:
        return State.RUNNING
    return State.OVERDUE if now - max(slot, started) > OVERDUE else State.WAITING


def freshness(source: type[BaseSource], targets: Iterable[Target], ages: Sequence[Age], now: datetime) -> Freshness:
    """How old the series of a source are that its config asks for and its key allows."""
    by_name = {(target.asset, target.metric): target for target in targets}
    closed = source.SCHEDULES[Verb.BACKFILL].slot(now - GRACE).date() - DAY
    pulled = source.SCHEDULES[Verb.PULL].slot(now - GRACE).date()
    fresh = quiet = never = 0
    stale = []
    for age in ages:
        metric = source.METRICS[age.metric]
        due = pulled if metric.live_only else closed
        if age.newest is None:
            never += 1
        elif (age.newest + metric.shift).date() >= _day_due(due, source.rhythm(by_name[age.asset, age.metric])):
            fresh += 1
        elif age.answered is not None and age.answered >= due:
            quiet += 1
        else:
            stale.append(age)
    stale.sort(key=lambda age: age.newest or now)
    return Freshness(
        expected=len(ages),
        fresh=fresh,
        stale=len(stale),
        quiet=quiet,
        never_seen=never,
        newest=max((age.newest for age in ages if age.newest), default=None),
        due=closed,
        stalest=tuple((age.asset, age.metric) for age in stale[:3]),
    )


def _day_due(day: date, rhythm: Rhythm) -> date:
    """The latest day, not after this one, of which a series of the rhythm has a point."""
    if rhythm is Rhythm.QUARTERLY:
        return day - QUARTER_LATE
    return day - max(day.weekday() - 4, 0) * DAY if rhythm is Rhythm.WEEKDAYS else day
