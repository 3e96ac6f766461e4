"""What a simulated year must have kept to, whatever befell it."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from datetime import datetime, timedelta
from itertools import accumulate, pairwise
from typing import NamedTuple

from model.values import Verb
from pipeline.due import LONGEST_WAIT, ScheduledRun, wait
from tests.simulated_year import AHEAD, BEGIN, DAY, FULL, LOOK, SCHEDULE, Pull, Slot, Span, Year, seconds, within


class BrokenPromise(AssertionError):
    """What a year has shown the scheduler to do wrong."""


@dataclass(slots=True)
class Counts:
    """What became of the slots of all scheduled runs in one or more years."""

    slots: int = 0
    done: int = 0  # some of them though nothing demanded it
    caught_up: int = 0  # of the done ones, by the first run after a time without process or database
    too_early: int = 0  # counted as done by a run from before a clock jumped back, of which nothing tells
    not_possible: int = 0  # not done, and no time was long enough
    demanded: int = 0  # of all, those for which some time was long enough
    tries: int = 0
    failed: int = 0
    lost: int = 0  # tries without a recorded end
    most_tries: int = 0  # of one slot

    def __add__(self, other: "Counts") -> "Counts":
        sums = Counts(*map(sum, zip(astuple(self), astuple(other), strict=True)))
        sums.most_tries = max(self.most_tries, other.most_tries)
        return sums


def check(year: Year) -> Counts:
    """What became of the slots. Raises BrokenPromise where a promise was broken.

    - A slot that could be done is done: see `_demands` and `_judge`.
    - A run is for the latest slot of its scheduled run at its begin; so, of a backfill, is the start of the process.
    - No slot has two successful runs, unless the clock jumped back by more than AHEAD after the begin of the first
      and not after that of the second: only then a clock that was ahead can have dated the first.
    - The runs of a lane never overlap, and there is none without a process and a database.
    - After each time without process or database, and until the next or a jump, a scheduled run has at most one
      success for slots that were there at its end, and all runs for such are for one slot. That it has one is the first
      promise.
    - In the life of one process, and unless the clock jumped, the k-th failure of a slot is followed by no run for it
      within `wait(k)`. So an hourly slot has 7 tries at most in a life, besides lost ones, and a daily one 99.
    """
    _check_lanes(year)
    _check_catching_up(year)
    _check_latest(year)
    _check_twice(year)
    _check_waits(year)
    return _count(year, *_check_done(year))


def _check_lanes(year: Year) -> None:
    for lane in {scheduled.lane for scheduled in SCHEDULE}:
        for row, following in pairwise(row for row in year.pulls.rows if row.scheduled.lane == lane):
            if following.began < row.ended:
                raise BrokenPromise(f"two at once in a lane: {row}, {following}")
    for spans in (_gaps(year.processes, year.world.seconds), year.world.away):
        if lonely := [row for row in year.pulls.rows if within(spans, row.began)]:
            raise BrokenPromise(f"began without a process or a database: {lonely}")


def _check_latest(year: Year) -> None:
    for row in year.pulls.rows:
        at_start = row.scheduled.verb is Verb.BACKFILL and row.slot == year.lives[row.life].started_at
        if row.slot != row.scheduled.schedule.slot(row.pulled_at) and not at_start:
            raise BrokenPromise(f"not the latest slot: {row}")


def _check_twice(year: Year) -> None:
    for rows in year.pulls.of_slot.values():
        for row, again in pairwise(row for row in rows if row.good):
            clock = [ahead for at, ahead in year.world.jumps if row.began < at <= again.began]
            if min(clock, default=DAY * 999) + seconds(AHEAD) >= year.world.ahead(row.began):
                raise BrokenPromise(f"done twice: {row}, {again}")


def _returns(year: Year) -> Iterator[tuple[int, int]]:
    """When a process came back, or got its database back, and how long it then had both, and a clock without jumps."""
    starts = {begin for begin, _ in year.processes} | {end for _, end in year.world.away}
    ends = {end for _, end in year.processes} | {begin for begin, _ in year.world.away}
    moments = sorted(starts | ends | {at for at, _ in year.world.jumps} | {year.world.seconds})
    for begin, end in pairwise(moments):
        if begin in starts:
            yield begin, end


def _late_runs(year: Year) -> Iterator[list[Pull]]:
    """After each return the runs of a scheduled run for slots from before it."""
    began = [row.began for row in year.pulls.rows]
    for begin, end in _returns(year):
        now = year.world.clock(begin)
        rows = [row for row in year.pulls.rows[bisect_left(began, begin) : bisect_left(began, end)] if row.slot <= now]
        for scheduled in SCHEDULE:
            yield [row for row in rows if row.scheduled == scheduled]


def _check_catching_up(year: Year) -> None:
    for rows in _late_runs(year):
        if sum(row.good for row in rows) > 1 or len({row.slot for row in rows}) > 1:
            raise BrokenPromise(f"more than one run to catch up: {rows}")


def _check_waits(year: Year) -> None:
    for rows in year.pulls.of_slot.values():
        failures = 0
        for row, following in pairwise(rows):
            failures += row.finished_at is not None
            jumped = any(row.began < at <= following.began for at, _ in year.world.jumps)
            hasty = row.finished_at and following.began - row.ended < seconds(wait(failures))
            if row.life != following.life or row.ahead:  # who has started anew, or has lost its slots, counts anew
                failures = 0
            elif hasty and not jumped:
                raise BrokenPromise(f"too soon after {failures} failures: {row}, {following}")


class Demand(NamedTuple):
    """A slot that had to be done within a span, since the span was long enough for it."""

    scheduled: ScheduledRun
    slot: datetime
    since: int  # when the slot came, if no clock has jumped since; a run that began before was too early
    begin: int
    end: int


def _demands(year: Year, scheduled: ScheduledRun) -> Iterator[Demand]:
    """The slots of a scheduled run that could be done.

    A time is calm for a scheduled run while there are one process, the database, the API of its source and a clock that
    does not jump, and while its lane makes no run of more than FULL. A slot has to be done where it lies, or its period
    goes on, in one calm span for as long as it can take: until the end of the run that was under way, the LONGEST_WAIT
    after its failure, one run of FULL of each scheduled run of the lane, and a check before each of these and one more.

    A settle has no slot before the first run of its source. A pull for a slot before the start of its process waits for
    the end of the backfill. The slot of a backfill is the start of the process where
    that is later by the clock; where the clock passes the start only within the span, nothing is demanded.
    """
    runs = sum(other.lane == scheduled.lane for other in SCHEDULE)
    enough = seconds(LONGEST_WAIT) + (runs + 1) * (FULL[scheduled.verb] + LOOK)
    rows = [row for row in year.pulls.rows if row.scheduled.source == scheduled.source]
    began, first = [row.began for row in rows], list(accumulate((row.pulled_at for row in rows), min))
    for calm, calm_end in _calm(year, scheduled):
        now = year.world.clock(calm)
        life = year.lives[bisect_right(year.lives, calm, key=lambda life: life.began) - 1]
        slot = scheduled.schedule.slot(now)
        jump = year.world.jumps[bisect_right(year.world.jumps, (calm, 999 * DAY)) - 1][0]
        while (since := calm + seconds(slot - now)) < calm_end:
            begin, end = max(calm, since), min(calm_end, since + seconds(scheduled.schedule.every))
            if scheduled.verb is Verb.PULL and slot <= life.started_at <= year.world.clock(begin):
                mine = [row for row in rows if row.scheduled.verb is Verb.BACKFILL and row.slot >= life.started_at]
                begin = max(begin, min((row.ended for row in mine if row.finished_at), default=end))
            runs_before = bisect_left(began, begin)
            nothing = scheduled.verb is Verb.SETTLE and (not runs_before or slot < first[runs_before - 1])
            if end - begin >= enough and not nothing:
                passed = scheduled.verb is Verb.BACKFILL and life.started_at - now
                if passed is False or life.started_at < slot or passed >= timedelta(seconds=end - calm):
                    yield Demand(scheduled, slot, since if since > jump else 0, begin, end)
                elif passed <= timedelta(seconds=begin - calm):
                    yield Demand(scheduled, life.started_at, life.began, begin, end)
            slot += scheduled.schedule.every


def _calm(year: Year, scheduled: ScheduledRun) -> list[Span]:
    world = year.world
    slow = [(row.began, row.ended) for row in year.pulls.rows if row.slow and row.scheduled.lane == scheduled.lane]
    jumps = [(at, at) for at, _ in world.jumps]
    lives = _gaps(year.processes, world.seconds)
    return _gaps(lives + world.away + world.outages[scheduled.source] + slow + jumps, world.seconds)


def _gaps(spans: Iterable[Span], end: int) -> list[Span]:
    """What is left of the time from 0 to the end."""
    gaps, free = [], 0
    for begin, until in [*sorted(spans), (end, end)]:
        if begin > free:
            gaps.append((free, min(begin, end)))
        free = max(free, until)
    return gaps


def _judge(year: Year, demand: Demand) -> bool:
    """Whether a good run for the slot ended within the span or before, and began since the slot was there.

    AHEAD is forgiven. False where the run began earlier, by a clock that was ahead, and no run before the span is
    dated more than AHEAD earlier: nothing in pulls tells of it. Raises BrokenPromise where there is neither.
    """
    rows = [row for row in year.pulls.of_slot.get(demand[:2], ()) if row.good and row.ended <= demand.end]
    if any(row.began >= demand.since - seconds(AHEAD) for row in rows):
        return True
    for row in rows:
        later = year.pulls.rows[row.pull_id :]
        if not any(each.pulled_at < row.pulled_at - AHEAD for each in later if each.began < demand.begin):
            return False
    raise BrokenPromise(f"not done: {demand}, of {year.pulls.of_slot.get(demand[:2])}")


def _check_done(year: Year) -> tuple[set[Slot], set[Slot]]:
    """The slots that had to be done, and those of them that were done too early."""
    demanded, too_early = set(), set()
    for demand in (each for scheduled in SCHEDULE for each in _demands(year, scheduled)):
        place = demand.scheduled, demand.scheduled.schedule.slot(demand.slot)
        demanded.add(place)
        if not _judge(year, demand):
            too_early.add(place)
    return demanded, too_early


def _count(year: Year, demanded: set[Slot], too_early: set[Slot]) -> Counts:
    end, slots = year.world.clock(0) + timedelta(seconds=year.world.seconds), set()
    for scheduled in SCHEDULE:
        first = scheduled.schedule.slot(BEGIN) + scheduled.schedule.every
        slots |= {
            (scheduled, first + number * scheduled.schedule.every)
            for number in range((end - first) // scheduled.schedule.every + 1)
        }
    rows = year.pulls.rows
    done = slots & {(row.scheduled, row.scheduled.schedule.slot(row.slot)) for row in rows if row.good} - too_early
    late = {(row.scheduled, row.slot) for rows in _late_runs(year) for row in rows if row.good}
    return Counts(
        slots=len(slots),
        done=len(done),
        caught_up=len(done & late),
        too_early=len(slots & too_early),
        not_possible=len(slots - done - too_early),
        demanded=len(slots & demanded),
        tries=len(rows),
        failed=sum(row.fate == "error" for row in rows),
        lost=sum(row.fate == "lost" for row in rows),
        most_tries=max(map(len, year.pulls.of_slot.values())),
    )
