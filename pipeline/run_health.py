"""The health of scheduled runs: pure functions of a given time and of what the tables record."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from db.pulls import LastRuns
from pipeline.due import History, ScheduledRun, awaits_backfill, next_attempt, slot_of

START_ALLOWED = timedelta(minutes=15)  # from a slot until its run has started
RUN_ALLOWED = timedelta(hours=2)  # from a slot until its run has stored the values


class RunState(StrEnum):
    """The state of a scheduled run."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"  # for its slot, for the next retry, or for another run of the same source
    FAILING = "failing"  # the last run failed, whatever its slot was
    SLOW = "slow"  # it has been running for longer than its period plus RUN_ALLOWED
    OVERDUE = "overdue"  # it has not started within START_ALLOWED


ATTENTION_STATES = frozenset({RunState.FAILING, RunState.SLOW, RunState.OVERDUE})


@dataclass(frozen=True, slots=True)
class RunHealth:
    """The state of a scheduled run, and how its last runs went."""

    scheduled: ScheduledRun
    slot: datetime | None  # the latest slot that is due
    state: RunState
    last: LastRuns
    running: bool
    next: datetime | None  # the next slot, or the next retry of this one; None without a scheduler

    @property
    def needs_attention(self) -> bool:
        """Whether it needs attention."""
        return self.state in ATTENTION_STATES

    @property
    def unfinished(self) -> bool:
        """Whether its slot is not done yet, though nothing is wrong."""
        return self.slot is not None and self.state in (RunState.RUNNING, RunState.WAITING) and self._expected

    def no_success_since(self, since: datetime) -> bool:
        """Whether no run that started after `since` has succeeded yet, though nothing is wrong."""
        return (
            not self.needs_attention
            and self._expected
            and (self.last.began_well is None or self.last.began_well < since)
        )

    @property
    def _expected(self) -> bool:
        """Whether it runs now, or a scheduler will start it."""
        return self.running or self.next is not None


def health_of_runs(
    schedule: Sequence[ScheduledRun],
    now: datetime,
    history: History,
    last_runs: Mapping[tuple[str, str], LastRuns],
    running: Collection[ScheduledRun],
    *,
    alive: bool,
) -> list[RunHealth]:
    """The health of each scheduled run.

    `running` has those that the scheduler or a command is running now; `alive` says whether a scheduler will start the
    next ones.
    """
    found = []
    for scheduled in schedule:
        last = last_runs[scheduled.source, scheduled.verb.value]
        slot = slot_of(scheduled, now, history.started, history.first_runs.get(scheduled.source))
        start = slot and next_attempt(slot, history.attempts.get((scheduled, slot), ()), now)
        lane = [each for each in schedule if each.lane == scheduled.lane]  # of which only one can run at a time
        awaits = awaits_backfill(schedule, scheduled, now, history)
        if slot is None:
            state = RunState.WAITING
        elif start is None:
            state = RunState.DONE
        elif last.failures:
            state = RunState.FAILING
        elif scheduled in running:
            slow = last.running_since and now - last.running_since > scheduled.schedule.every + RUN_ALLOWED
            state = RunState.SLOW if slow else RunState.RUNNING
        elif any(each in running for each in lane) or awaits:
            state = RunState.WAITING
        else:
            before = lane if slot > history.started else [each for each in schedule if each.source == scheduled.source]
            ends = [last_runs[each.source, each.verb.value].ended for each in before]
            could_start = max(slot, history.started, *(min(end, now) for end in ends if end))
            state = RunState.OVERDUE if now - could_start > START_ALLOWED else RunState.WAITING
        next_run = scheduled.schedule.slot(now) + scheduled.schedule.every if alive else None
        if next_run and start and not awaits and scheduled not in running:
            next_run = max(min(start, next_run), now)
        found.append(RunHealth(scheduled, slot, state, last, scheduled in running, next_run))
    return found
