"""When runs are due: pure functions of the schedules, a time and the history that read_history reads from pulls."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db import pulls
from model.schedule import Schedule
from model.values import Verb

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)  # before the scheduler retries a failed run


class ScheduledRun(NamedTuple):
    """A run that the scheduler repeats: its source, its verb, and the schedule with its slots."""

    source: str
    verb: Verb
    schedule: Schedule

    @property
    def lane(self) -> tuple[str, bool]:
        """Runs of one lane never overlap: the pulls of a source are a lane, its other runs are another."""
        return self.source, self.verb is Verb.PULL

    def __str__(self) -> str:
        return f"{self.source} {self.verb}"


class Attempt(NamedTuple):
    """A run for one slot, as recorded in pulls."""

    ended: datetime | None  # None while it runs, and for a run that was killed
    done: bool  # no call failed, and the source was not cleared since
    ours: bool = True  # it began after this scheduler started


@dataclass(frozen=True, slots=True)
class History:
    """The past runs of a schedule, as recorded in pulls."""

    started: datetime  # when this scheduler started
    first_runs: Mapping[str, datetime]  # when the first run of each source began; without sources that had none
    attempts: Mapping[tuple[ScheduledRun, datetime], Sequence[Attempt]]  # for each slot, in order


def slot_of(scheduled: ScheduledRun, now: datetime, started: datetime, first_run: datetime | None) -> datetime | None:
    """The latest slot up to now; None where there is none.

    A backfill has an additional slot at each start of the scheduler; it requests only what is missing. A settle has no
    slot before the first run of its source, since there is nothing to settle yet.
    """
    slot = scheduled.schedule.slot(now)
    if scheduled.verb is Verb.BACKFILL and started <= now:  # a later start was dated by a clock that was ahead
        return max(slot, started)
    if scheduled.verb is Verb.SETTLE and (first_run is None or slot < first_run):
        return None
    return slot


def next_attempt(slot: datetime, attempts: Sequence[Attempt], now: datetime) -> datetime | None:
    """When the next run for a slot may start; None once the slot is done.

    The first run may start at the slot. After a failure the next run waits; each failure doubles the wait. Failures
    before the scheduler started do not count: a person who restarts it has repaired something. Killed runs do not count
    either. A failure in the future was dated by a clock that has since jumped back: the next run does not wait for it.
    """
    if any(each.done for each in attempts):
        return None
    failed = [each.ended for each in attempts if each.ended and each.ours]
    if not failed or failed[-1] > now + FIRST_WAIT:
        return slot
    return failed[-1] + wait(len(failed))


def awaits_backfill(schedule: Sequence[ScheduledRun], pull: ScheduledRun, now: datetime, history: History) -> bool:
    """Whether a pull for a slot before the start of the scheduler waits, since the source's backfill has not ended yet.

    The next slot of the pull ends the wait, so that a long first backfill holds up no hourly pull. If the scheduler
    started at a later time than now, by a clock that was ahead, nothing waits.
    """
    if pull.verb is not Verb.PULL or not pull.schedule.slot(now) <= history.started <= now:
        return False
    backfills = [each for each in schedule if each.source == pull.source and each.verb is Verb.BACKFILL]
    attempts = [history.attempts.get((each, max(each.schedule.slot(now), history.started)), ()) for each in backfills]
    return any(not any(each.ended for each in made) for made in attempts)


def wait(failures: int) -> timedelta:
    """How long to wait after this number of failures in a row: 1, 2, 4, 8, then 15 minutes."""
    return min(FIRST_WAIT * (1 << min(failures - 1, 10)), LONGEST_WAIT)


def due(
    schedule: Sequence[ScheduledRun], now: datetime, history: History, busy: Collection[tuple[str, bool]]
) -> Iterator[tuple[ScheduledRun, datetime]]:
    """The runs to start now, with their slots: in each lane that is not busy, the first one that is due.

    Only the latest slot counts, so one run catches up on all slots that the scheduler has missed.
    """
    taken = set(busy)
    for scheduled in schedule:
        slot = slot_of(scheduled, now, history.started, history.first_runs.get(scheduled.source))
        if slot is None or scheduled.lane in taken or awaits_backfill(schedule, scheduled, now, history):
            continue
        start = next_attempt(slot, history.attempts.get((scheduled, slot), ()), now)
        if start is not None and start <= now:
            taken.add(scheduled.lane)
            yield scheduled, slot


def read_history(
    cursor: Any, schedule: Sequence[ScheduledRun], now: datetime, started: datetime, first_pull_id: int
) -> History:
    """Read the history of the latest slot of each scheduled run, for a scheduler that started at this time.

    The runs that began after it started have a pull_id greater than `first_pull_id`.
    """
    first_runs = pulls.first_runs(cursor, sorted({each.source for each in schedule}))
    slots = [(each, slot_of(each, now, started, first_runs.get(each.source))) for each in schedule]
    wanted = [(each, slot) for each, slot in slots if slot is not None]
    rows = pulls.tries(cursor, [(each.source, each.verb.value, slot) for each, slot in wanted], first_pull_id)
    attempts: dict[tuple[ScheduledRun, datetime], list[Attempt]] = {}
    for index, ended, done, ours in rows:
        attempts.setdefault(wanted[index], []).append(Attempt(ended, done, ours))
    return History(started, first_runs, attempts)
