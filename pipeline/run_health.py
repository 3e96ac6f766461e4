"""How the duties of a scheduler are: pure functions of a given time and of what the tables say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from db.pulls import LastRuns
from pipeline.due import Duty, History, next_try, slot_of

OVERDUE = timedelta(minutes=15)  # since a slot that nothing has been done for
GRACE = timedelta(hours=2)  # for a run to bring the values of its slot
LOG = "journalctl -u crypto-metrics"


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
        """Whether its slot is still being worked at, or will be, and all is well with that."""
        return self.slot is not None and self.state in (State.RUNNING, State.WAITING) and self._to_come

    def awaited(self, since: datetime) -> bool:
        """Whether no run that began since then has succeeded yet, though nothing is wrong."""
        began = self.runs.began_well
        return self.state not in TROUBLE and self._to_come and (began is None or began < since)

    @property
    def _to_come(self) -> bool:
        """Whether anybody makes the run."""
        return self.running or self.next is not None

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


def moment(at: datetime | None) -> str:
    """A time for a person, in UTC to the minute."""
    return f"{at:%Y-%m-%d %H:%M}Z" if at else "never"
