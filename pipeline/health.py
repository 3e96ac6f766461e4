"""How the pipeline is, judged from what the tables say: pure functions of a given time."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from db.health import Age, LastRuns, Sessions
from db.heartbeat import Beat
from pipeline.schedule import Duty, History, next_try, slot_of
from pipeline.values import DAY, Rhythm, Target, Verb
from sources.base import BaseSource

ALIVE = timedelta(minutes=2)  # since the last beat of a scheduler that beats twice a minute
STARTING = timedelta(minutes=15)  # the same while it makes a fresh start, which it does before the first look
OVERDUE = timedelta(minutes=15)  # since a slot that nothing has been done for
GRACE = timedelta(hours=2)  # for a run to bring the values of its slot
STALLED = timedelta(days=4)  # without one new point of any series; the longest time that exchanges close
QUARTER_LATE = timedelta(days=150)  # a quarter, and the time until it is reported
NAMED = 3  # stale series
LOG = "journalctl -u crypto-metrics"


class Life(StrEnum):
    """How the scheduler is."""

    NONE = "none"  # there never was one
    DEAD = "dead"
    HUNG = "hung"
    STARTING = "starting"
    ALIVE = "alive"


class State(StrEnum):
    """How a duty is."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"
    FAILING = "failing"
    SLOW = "slow"
    OVERDUE = "overdue"


TROUBLE = frozenset({State.FAILING, State.SLOW, State.OVERDUE})


class Problem(NamedTuple):
    """What needs a look: what it is, its cause as far as that is known, and what to do or where to look."""

    what: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.what, self.reason))) + f"; {self.remedy}"


@dataclass(frozen=True, slots=True)
class DutyHealth:
    """How a duty is, and how its runs last went."""

    duty: Duty
    slot: datetime | None  # that it is to have done by now
    state: State
    runs: LastRuns
    running: bool
    next: datetime | None  # the next slot, or the next try of this one; None where no scheduler will make it

    @property
    def under_way(self) -> bool:
        """Whether its slot is still being worked at, and all is well with that."""
        return self.slot is not None and self.state in (State.RUNNING, State.WAITING)

    def awaited(self, since: datetime) -> bool:
        """Whether no run that began since then has succeeded yet, though nothing is wrong."""
        began = self.runs.began_well
        return self.state not in TROUBLE and (began is None or began < since)

    def problem(self) -> Problem | None:
        """What needs a look."""
        runs, by_hand = self.runs, f"python main.py {self.duty.verb} {self.duty.source}"
        if self.state is State.FAILING:
            tries = f"{runs.failures:,} {'try' if runs.failures == 1 else 'tries'}"
            again = "being tried again" if self.running else f"next try {moment(self.next)}" if self.next else "no try"
            what = f"{self.duty.verb} fails since {moment(runs.failing_since)} ({tries}, {again})"
            return Problem(what, runs.failure or "the log says why", f"by hand: {by_hand}; log: {LOG}")
        if self.state is State.OVERDUE:
            what = f"{self.duty.verb} is overdue: that of {moment(self.slot)} has not begun"
            return Problem(what, "", f"by hand: {by_hand}; why: {LOG}")
        if self.state is State.SLOW:
            what = f"{self.duty.verb} has been under way since {moment(runs.running_since)}"
            return Problem(what, "", f"where nothing moves any more, restart the scheduler; log: {LOG}")
        return None


class Due(NamedTuple):
    """Of which days series must have a point by now."""

    closed: date  # of those with a history: the last day that was to be closed
    live: date  # of those that exist only live
    next: datetime | None  # when the closed day becomes the next one; None where that waits for a run under way


class Stale(NamedTuple):
    """A series that is stale."""

    asset: str
    metric: str
    newest: datetime


@dataclass(frozen=True, slots=True)
class Freshness:
    """How old the series of a source are. Those that are not fresh have a reason each."""

    expected: int
    fresh: int  # with a point of the day that is due
    stale: int  # which are older, and the API was not asked, or has not answered
    quiet: int  # which are older, and the API has answered that it has nothing newer
    awaited: int  # which are older, until the first runs since the start, or since the config was changed, are over
    never_seen: int
    newest: datetime | None  # the time of the newest point
    due: Due
    stalled: date | None  # the day of the newest point where there has been nothing new of any series for days
    stalest: tuple[Stale, ...]  # a few of the stale ones

    def problems(self, source: str) -> Iterator[Problem]:
        """What needs a look."""
        if self.stale:
            named = ", ".join(f"{each.asset} {each.metric} ({each.newest:%Y-%m-%d})" for each in self.stalest)
            many = f"{self.stale:,} series are" if self.stale > 1 else "1 series is"
            what = f"{many} stale, newest point of the oldest"
            yield Problem(what, named, f"their holes: python main.py gaps {source}; log: {LOG}")
        if self.stalled:
            what = f"nothing new of any series since {self.stalled}"
            yield Problem(what, "the API answers, but with no newer point", f"look at its site; log: {LOG}")


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is."""

    source: str
    duties: tuple[DutyHealth, ...]
    freshness: Freshness
    calls: int  # of the last 24 hours, and how many of them failed
    failed_calls: int

    def problems(self) -> list[Problem]:
        """What needs a look."""
        return [*filter(None, (each.problem() for each in self.duties)), *self.freshness.problems(self.source)]


@dataclass(frozen=True, slots=True)
class Health:
    """How all is, at a time by the database's clock; that is None where there is no database yet."""

    at: datetime | None
    life: Life
    beat: Beat | None
    sources: tuple[SourceHealth, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether a scheduler is at work, or about to be."""
        return self.life in (Life.ALIVE, Life.STARTING)

    @property
    def exit_code(self) -> int:
        """0 where all is well, 1 where something fails or is stale, 3 where no scheduler lives."""
        return 3 if not self.alive else int(any(each.problems() for each in self.sources))

    def problem(self) -> Problem | None:
        """What is wrong with the scheduler."""
        start = "start it: systemctl start crypto-metrics, or python scheduler.py"
        if self.life is Life.NONE:
            return Problem("no scheduler has ever run here", "", start)
        if self.life is Life.DEAD:
            return Problem("no scheduler is alive", "", f"{start}; why it ended: {LOG}")
        if self.life is Life.HUNG and self.beat:
            what = f"hung: pid {self.beat.pid} holds its place, but has not told of itself since"
            what += f" {moment(self.beat.beaten_at)}"
            return Problem(what, "", f"restart it: systemctl restart crypto-metrics; log: {LOG}")
        return None


def life_of(beat: Beat | None, now: datetime, *, held: bool, sessions: Sessions) -> Life:
    """How the scheduler is that told this last, while some process holds its place, or none does."""
    silent = now - beat.beaten_at if beat else timedelta.max
    if not held:
        # after a restart of the server it has lost its place, and takes it again at its next look
        restarted = beat is not None and sessions.server_started > beat.beaten_at
        return Life.ALIVE if restarted and silent < ALIVE else Life.DEAD if beat else Life.NONE
    if beat is None or sessions.another:  # it takes its place before it says who it is
        return Life.STARTING
    if beat.doing == "starting":
        return Life.STARTING if silent < STARTING else Life.HUNG
    return Life.ALIVE if silent < ALIVE else Life.HUNG


def duties_health(
    duties: Sequence[Duty],
    now: datetime,
    history: History,
    runs: Mapping[tuple[str, str], LastRuns],
    running: Collection[Duty],
    *,
    alive: bool,
) -> list[DutyHealth]:
    """How duties are, of which some are running: their places are held, by the scheduler or by a command."""
    found = []
    for duty in duties:
        of_lane = [each for each in duties if each.lane == duty.lane]
        ended = [runs[each.source, each.verb.value].ended for each in of_lane]
        free_since = max((min(at, now) for at in ended if at), default=history.started)
        busy = any(each in running for each in of_lane if each != duty)
        last = runs[duty.source, duty.verb.value]
        found.append(
            _duty_health(duty, now, history, last, free_since, busy=busy, running=duty in running, alive=alive)
        )
    return found


def _duty_health(
    duty: Duty,
    now: datetime,
    history: History,
    runs: LastRuns,
    free_since: datetime,
    *,
    busy: bool,
    running: bool,
    alive: bool,
) -> DutyHealth:
    """How a duty is, whose lane no run has held since then, or one of another duty holds now."""
    slot = slot_of(duty, now, history.started, history.first_runs.get(duty.source))
    following = duty.schedule.slot(now) + duty.schedule.every if alive else None
    if slot is None:
        return DutyHealth(duty, None, State.WAITING, runs, running, following)
    start = next_try(slot, history.tries.get((duty, slot), ()), now)
    if start is None:
        return DutyHealth(duty, slot, State.DONE, runs, running, following)
    if runs.failures:  # of whatever slot: a new one mends nothing
        state = State.FAILING
    elif running:
        long = runs.running_since is not None and now - runs.running_since > duty.schedule.every + GRACE
        state = State.SLOW if long else State.RUNNING
    else:
        late = now - max(slot, history.started, free_since) > OVERDUE
        state = State.OVERDUE if late and not busy else State.WAITING
    coming = following if running else following and max(min(start, following), now)
    return DutyHealth(duty, slot, state, runs, running, coming)


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
    counts = {"fresh": 0, "quiet": 0, "awaited": 0, "never_seen": 0}
    stale, recent = [], []
    for age in ages:
        metric = source.METRICS[age.metric]
        rhythm = source.rhythm(by_name[age.asset, age.metric])
        day = due.live if metric.live_only else due.closed
        if age.newest is None:
            counts["never_seen"] += 1
            continue
        newest = (age.newest + metric.shift).date()
        if rhythm is not Rhythm.QUARTERLY:
            recent.append(newest)
        if newest >= _day_due(day, rhythm):
            counts["fresh"] += 1
        elif age.answered is not None and age.answered >= day:
            counts["quiet"] += 1
        elif (Verb.PULL if metric.live_only else Verb.BACKFILL) in awaited:
            counts["awaited"] += 1
        else:
            stale.append(Stale(age.asset, age.metric, age.newest))
    last = max(recent, default=None)
    told = bool(stale or counts["awaited"]) or last is None or last >= due.closed - STALLED
    return Freshness(
        expected=len(ages),
        stale=len(stale),
        **counts,
        newest=max((age.newest for age in ages if age.newest), default=None),
        due=due,
        stalled=None if told else last,
        stalest=tuple(sorted(stale, key=lambda each: each.newest)[:NAMED]),
    )


def _day_due(day: date, rhythm: Rhythm) -> date:
    """The latest day, not after this one, of which a series of the rhythm has a point."""
    if rhythm is Rhythm.QUARTERLY:
        return day - QUARTER_LATE
    return day - max(day.weekday() - 4, 0) * DAY if rhythm is Rhythm.WEEKDAYS else day


def moment(at: datetime | None) -> str:
    """A time for a person, in UTC to the minute."""
    return f"{at:%Y-%m-%d %H:%M}Z" if at else "never"


def span(length: timedelta) -> str:
    """A length of time for a person, in the unit that suits it."""
    seconds = max(length.total_seconds(), 0.0)
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} days"
