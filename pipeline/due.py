"""When runs are due: pure functions of the schedules, a given time and the runs that pulls records."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db import pulls
from model.schedule import Schedule
from model.values import Verb

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)  # before the scheduler retries a failed run


class ScheduledRun(NamedTuple):
    """A run that the scheduler makes again and again: of a source, by a verb, at the times of a schedule."""

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
    done: bool  # nothing failed, and nothing was cleared since
    ours: bool = True  # it began after this scheduler started


@dataclass(frozen=True, slots=True)
class History:
    """The past of a scheduler's runs, as recorded in pulls."""

    started: datetime  # when this scheduler started
    first_runs: Mapping[str, datetime]  # when the first run of a source began; without sources that had none
    attempts: Mapping[tuple[ScheduledRun, datetime], Sequence[Attempt]]  # for a slot, in the order of their begin


def slot_of(scheduled: ScheduledRun, now: datetime, started: datetime, first_run: datetime | None) -> datetime | None:
    """The latest slot, which should be done by now; None where there is none.

    A backfill has an additional slot at each start of the scheduler; it asks only for what is missing. A settle has no
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

    The first run may start at the slot. After a failure there is a wait, which doubles with each failure since the
    scheduler started: a person who restarts it has repaired something. A killed run does not count as a failure. An end
    that lies in the future was dated by a clock that has since jumped back; nobody waits for it.
    """
    if any(each.done for each in attempts):
        return None
    failed = [each.ended for each in attempts if each.ended and each.ours]
    if not failed or failed[-1] > now + FIRST_WAIT:
        return slot
    return failed[-1] + wait(len(failed))


def wait(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 1, 2, 4, 8, then 15 minutes."""
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
        if slot is None or scheduled.lane in taken:
            continue
        start = next_attempt(slot, history.attempts.get((scheduled, slot), ()), now)
        if start is not None and start <= now:
            taken.add(scheduled.lane)
            yield scheduled, slot


def read_history(
    cursor: Any, schedule: Sequence[ScheduledRun], now: datetime, started: datetime, first_pull_id: int
) -> History:
    """The history, for the latest slot of each scheduled run, of a scheduler that started at this time."""
    first_runs = pulls.first_runs(cursor, sorted({each.source for each in schedule}))
    slots = [(each, slot_of(each, now, started, first_runs.get(each.source))) for each in schedule]
    wanted = [(each, slot) for each, slot in slots if slot is not None]
    rows = pulls.tries(cursor, [(each.source, each.verb.value, slot) for each, slot in wanted], first_pull_id)
    attempts: dict[tuple[ScheduledRun, datetime], list[Attempt]] = {}
    for index, ended, done, ours in rows:
        attempts.setdefault(wanted[index], []).append(Attempt(ended, done, ours))
    return History(started, first_runs, attempts)
