"""When runs are due: pure functions of schedules, a time, and the runs that pulls records."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db import pulls
from model.schedule import Schedule
from model.values import Verb

FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)  # before a failed run is tried again


class Duty(NamedTuple):
    """A kind of run that a source makes on a schedule."""

    source: str
    verb: Verb
    schedule: Schedule

    @property
    def lane(self) -> tuple[str, bool]:
        """What must not run at the same time: a source's pulls, and the rest of its runs."""
        return self.source, self.verb is Verb.PULL

    def __str__(self) -> str:
        return f"{self.source} {self.verb}"


class Try(NamedTuple):
    """A run for a slot, as pulls has it."""

    ended: datetime | None  # None while it runs, and where it was killed
    done: bool  # nothing of it failed, and nothing was cleared since
    ours: bool = True  # made since the scheduler started


@dataclass(frozen=True, slots=True)
class History:
    """What pulls says of a scheduler's duties."""

    started: datetime  # when this scheduler did
    first_runs: Mapping[str, datetime]  # of each source that ever had one
    tries: Mapping[tuple[Duty, datetime], Sequence[Try]]  # of a duty's slot, in the order in which they began


def slot_of(duty: Duty, now: datetime, started: datetime, first_run: datetime | None) -> datetime | None:
    """The slot that a duty is to have done by now; None where there is none.

    A backfill has one more at each start of the scheduler: it asks only for what is missing. A settle has none
    before the first run of its source, since there is nothing to settle.
    """
    slot = duty.schedule.slot(now)
    if duty.verb is Verb.BACKFILL and started <= now:  # else a clock that was ahead has dated the start
        return max(slot, started)
    if duty.verb is Verb.SETTLE and (first_run is None or slot < first_run):
        return None
    return slot


def next_try(slot: datetime, tries: Sequence[Try], now: datetime) -> datetime | None:
    """When a slot's next run may start, None once the slot is done.

    That is at once, or after a wait that doubles with each failure since the scheduler started: who restarts it has
    mended something. A run that was killed has not failed, and nobody waits for an end that lies in the future, by a
    clock that has since jumped back.
    """
    if any(each.done for each in tries):
        return None
    failed = [each.ended for each in tries if each.ended and each.ours]
    if not failed or failed[-1] > now + FIRST_WAIT:
        return slot
    return failed[-1] + wait(len(failed))


def wait(failures: int) -> timedelta:
    """How long to wait after so many failures in a row: 1, 2, 4, 8, then 15 minutes."""
    return min(FIRST_WAIT * (1 << min(failures - 1, 10)), LONGEST_WAIT)


def due(
    duties: Sequence[Duty], now: datetime, history: History, busy: Collection[tuple[str, bool]]
) -> Iterator[tuple[Duty, datetime]]:
    """The duties to start now, with their slots: of each lane that is not busy the first that is due.

    Only the latest slot of each counts, so whatever the scheduler has missed costs one run.
    """
    taken = set(busy)
    for duty in duties:
        slot = slot_of(duty, now, history.started, history.first_runs.get(duty.source))
        if slot is None or duty.lane in taken:
            continue
        start = next_try(slot, history.tries.get((duty, slot), ()), now)
        if start is not None and start <= now:
            taken.add(duty.lane)
            yield duty, slot


def read_history(cursor: Any, duties: Sequence[Duty], now: datetime, started: datetime, first_pull_id: int) -> History:
    """What pulls says of the latest slot of each duty of a scheduler that started then."""
    first_runs = pulls.first_runs(cursor, sorted({duty.source for duty in duties}))
    slots = [(duty, slot_of(duty, now, started, first_runs.get(duty.source))) for duty in duties]
    wanted = [(duty, slot) for duty, slot in slots if slot is not None]
    rows = pulls.tries(cursor, [(duty.source, duty.verb.value, slot) for duty, slot in wanted], first_pull_id)
    tries: dict[tuple[Duty, datetime], list[Try]] = {}
    for index, ended, done, ours in rows:
        tries.setdefault(wanted[index], []).append(Try(ended, done, ours))
    return History(started, first_runs, tries)
