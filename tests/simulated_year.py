"""A year of the scheduler by simulation: the real `due`, a model of the table pulls, and whatever can go wrong."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from math import exp, log
from random import Random
from typing import NamedTuple

from pipeline.schedule import LONGEST_WAIT, Duty, History, Try, due, next_try, slot_of, wait
from pipeline.values import Verb
from sources import SOURCES

Due = Callable[[Sequence[Duty], datetime, History, Collection[tuple[str, bool]]], Iterable[tuple[Duty, datetime]]]
Span = tuple[int, int]  # half-open, in seconds of true time since BEGIN

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86_400
LOOK = 30  # seconds between two looks at what is due, as LOOK_SECONDS
FULL = {Verb.PULL: 4 * MINUTE, Verb.SETTLE: 20 * MINUTE, Verb.BACKFILL: 20 * MINUTE}  # a longer run is a slow one
AHEAD = timedelta(minutes=5)  # what TRIES forgives a clock
DUTIES = [Duty(name, verb, at) for name, source in SOURCES.items() for verb, at in source.SCHEDULES.items()]


class BrokenPromise(AssertionError):
    """What a year has shown the scheduler to do wrong."""


@dataclass(slots=True)
class Pull:
    """A row of pulls; and, below the line, what only the simulation knows."""

    pull_id: int
    duty: Duty  # source_name and kind
    slot: datetime
    pulled_at: datetime
    finished_at: datetime | None = None
    status: str = "error"
    # ----
    began: int = 0
    ended: int = 0  # recorded or lost; planned, while it runs
    fate: str = "success"
    slow: bool = False
    life: int = 0  # of which process, counted from 0
    ahead: bool = False  # a look has seen it dated more than AHEAD after now

    @property
    def good(self) -> bool:
        """Whether nothing of it failed."""
        return self.finished_at is not None and self.status != "error"


class Life(NamedTuple):
    """A process, with what its row in scheduler says."""

    began: int
    started_at: datetime
    first_pull_id: int


@dataclass(frozen=True, slots=True)
class World:
    """What befalls the scheduler within so many seconds."""

    seconds: int
    down: list[Span]  # no process
    away: list[Span]  # no database
    outages: dict[str, list[Span]]  # no API of that source
    jumps: list[Span]  # a moment, and how many seconds the clock is ahead from then on

    @classmethod
    def random(cls, random: Random, seconds: int) -> "World":
        """Some of everything, more or less of each."""

        def spans(a_year: int, shortest: int, longest: int) -> list[Span]:
            number = round(seconds / (365 * DAY) * a_year * 3 ** random.uniform(-1, 1))
            begins = sorted(random.randrange(seconds) for _ in range(number))
            return _merge([(begin, begin + _length(random, shortest, longest)) for begin in begins])

        def jumps() -> Iterator[Span]:
            for begin, end in spans(15, 5 * MINUTE, 5 * DAY):
                for moment in sorted({begin, random.choice((begin, random.randrange(begin, end)))}):
                    yield moment, random.choice((-1, 1)) * _length(random, MINUTE, DAY)
                yield end, 0

        return cls(
            seconds,
            down=_merge(spans(60, 5, DAY) + spans(6, DAY, 10 * DAY)),
            away=spans(15, MINUTE, 6 * HOUR),
            outages={name: _merge(spans(50, MINUTE, DAY) + spans(2, DAY, 3 * DAY)) for name in SOURCES},
            jumps=[(0, 0), *jumps()],
        )

    def clock(self, at: int) -> datetime:
        """What the clock says at a true time."""
        return BEGIN + timedelta(seconds=at + self.ahead(at))

    def ahead(self, at: int) -> int:
        """How many seconds the clock is ahead at a true time."""
        return self.jumps[bisect_right(self.jumps, (at, 999 * DAY)) - 1][1]


class Pulls:
    """The table pulls, and what db/heartbeat.py reads of it."""

    def __init__(self) -> None:
        self.rows: list[Pull] = []
        self.of_slot: dict[tuple[Duty, datetime], list[Pull]] = defaultdict(list)
        self.first_runs: dict[str, datetime] = {}
        self._latest = BEGIN - timedelta(days=999)  # pulled_at of a row that is not ahead

    def add(self, row: Pull) -> None:
        """Enter a run that begins."""
        self._latest = max(self._latest, row.pulled_at)
        self.rows.append(row)
        self.of_slot[row.duty, row.slot].append(row)
        self.first_runs[row.duty.source] = min(row.pulled_at, self.first_runs.get(row.duty.source, row.pulled_at))

    def history(self, now: datetime, life: Life) -> History:
        """The same as `Heartbeat.history` from the same rows: those dated after now are no longer for any slot."""
        if self._latest > now + AHEAD:
            for row in self.rows:
                row.ahead |= row.pulled_at > now + AHEAD
            self._latest = max((each.pulled_at for each in self.rows if not each.ahead), default=now)
        tries = {}
        for duty in DUTIES:
            slot = slot_of(duty, now, life.started_at, self.first_runs.get(duty.source))
            if slot is None:
                continue
            if rows := [row for row in self.of_slot.get((duty, slot), ()) if not row.ahead]:
                tries[duty, slot] = [Try(row.finished_at, row.good, row.pull_id > life.first_pull_id) for row in rows]
        return History(life.started_at, self.first_runs, tries)


class Year:
    """The scheduler's loop in a world, by true time; `due` is what it does by, `each_look` lets it skip none."""

    def __init__(self, random: Random, world: World, due: Due = due, *, each_look: bool = False) -> None:
        self.world, self.pulls, self.lives = world, Pulls(), list[Life]()
        self.processes: list[Span] = []
        self._random, self._due, self._each_look = random, due, each_look
        self._lanes: dict[tuple[str, bool], Pull] = {}
        self._life: Life | None = None
        self._away = False
        self._next_look = world.seconds

    def run(self) -> None:
        """Let it happen."""
        world = self.world
        moments = [(0, False)] + [(moment, False) for moment, _ in world.jumps]
        moments += [moment for begin, end in world.down + world.away for moment in ((begin, True), (end, False))]
        for moment, stops in [*sorted(each for each in moments if each[0] < world.seconds), (world.seconds, True)]:
            self._until(moment)
            if stops:
                self._lose_runs(moment)
            self._change(moment)
        self._end(world.seconds)

    def _change(self, at: int) -> None:
        down, self._away = _within(self.world.down, at), _within(self.world.away, at)
        if down and self._life:
            self._end(at)
        if not down and not self._away and not self._life:
            self._life = Life(at, self.world.clock(at), len(self.pulls.rows))
            self.lives.append(self._life)
        self._look_after(at)

    def _end(self, at: int) -> None:
        if self._life:
            self.processes.append((self._life.began, at))
        self._life, self._next_look = None, self.world.seconds

    def _lose_runs(self, at: int) -> None:
        for row in self._lanes.values():
            row.ended, row.fate = at, "lost"
        self._lanes.clear()

    def _look_after(self, at: int) -> None:
        """Look at the first of the process's moments for it that is not before this one."""
        if self._life and not self._away:
            began = self._life.began
            self._next_look = min(self._next_look, began - (began - at) // LOOK * LOOK)
        else:
            self._next_look = self.world.seconds

    def _until(self, moment: int) -> None:
        """Make the looks, and end the runs, before this moment."""
        while True:
            ending = min(self._lanes.values(), key=lambda row: row.ended, default=None)
            if ending and ending.ended <= self._next_look:
                if ending.ended >= moment:
                    return
                self._finish(ending)
            elif self._next_look >= moment:
                return
            else:
                self._look(self._next_look)

    def _finish(self, row: Pull) -> None:
        row.finished_at, row.status = self.world.clock(row.ended), row.fate
        del self._lanes[row.duty.lane]
        self._look_after(row.ended)

    def _look(self, at: int) -> None:
        assert self._life
        now = self.world.clock(at)
        history = self.pulls.history(now, self._life)
        started = list(self._due(DUTIES, now, history, list(self._lanes)))
        for duty, slot in started:
            self._begin(duty, slot, at, now)
        self._next_look = self.world.seconds
        skipped = 0 if started or self._each_look else self._nothing_before(now, history)
        self._look_after(at + max(skipped, 1))

    def _nothing_before(self, now: datetime, history: History) -> int:
        """For how many seconds nothing can become due, unless a run ends or the world changes."""
        moments = [duty.schedule.slot(now) + duty.schedule.every for duty in DUTIES]
        moments += [start for (_, slot), tries in history.tries.items() if (start := next_try(slot, tries, now))]
        moments.append(history.started)
        return _seconds(min(moment for moment in moments if moment > now) - now)

    def _begin(self, duty: Duty, slot: datetime, at: int, now: datetime) -> None:
        row = Pull(len(self.pulls.rows) + 1, duty, slot, now, began=at, life=len(self.lives) - 1)
        random, full = self._random, FULL[duty.verb]
        slow = random.random() < 0.01
        row.ended = at + (
            _length(random, full, 4 * _seconds(duty.schedule.every)) if slow else _length(random, 5, full)
        )
        outage = _first_within(self.world.outages[duty.source], at, row.ended)
        if outage is not None:
            row.fate, row.ended = "error", min(row.ended, max(at, outage) + _length(random, 1, full))
        elif random.random() < 0.1:
            row.fate = "no_data"
        row.slow = row.ended - at > full
        self.pulls.add(row)
        self._lanes[duty.lane] = row


def _seconds(span: timedelta) -> int:
    """Whole seconds: all times here are."""
    return int(span.total_seconds())


def _length(random: Random, shortest: int, longest: int) -> int:
    """As likely between 1 and 10 as between 10 and 100."""
    return round(exp(random.uniform(log(shortest), log(longest))))


def _merge(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def _within(spans: list[Span], at: int) -> bool:
    """Whether a moment lies in one of these spans, which are in order and apart."""
    return _first_within(spans, at, at + 1) is not None


def _first_within(spans: list[Span], begin: int, end: int) -> int | None:
    """The begin of the first of these spans, which are in order and apart, that overlaps this one."""
    place = bisect_right(spans, begin, key=lambda span: span[1])
    return spans[place][0] if place < len(spans) and spans[place][0] < end else None


@dataclass(slots=True)
class Counts:
    """What became of the slots of all duties in one or more years."""

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


def simulate(seed: int, days: int = 365, due: Due = due, *, each_look: bool = False) -> Year:
    """So many days with whatever this seed has in store."""
    random = Random(seed)  # noqa: S311 - nothing is secret here
    year = Year(random, World.random(random, days * DAY), due, each_look=each_look)
    year.run()
    return year


def check(year: Year) -> Counts:
    """What became of the slots. Raises BrokenPromise where a promise was broken.

    - A slot that could be done is done: see `_demands` and `_judge`.
    - A run is for the latest slot of its duty at its begin; so, of a backfill, is the start of the process.
    - No slot has two successful runs, unless the clock jumped back by more than AHEAD after the begin of the first
      and not after that of the second: only then a clock that was ahead can have dated the first.
    - The runs of a lane never overlap, and there is none without a process and a database.
    - After each time without process or database, and until the next or a jump, a duty has at most one successful
      run for slots that were there at its end, and all runs for such are for one slot. That it has one is the first
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
    for lane in {duty.lane for duty in DUTIES}:
        for row, following in pairwise(row for row in year.pulls.rows if row.duty.lane == lane):
            if following.began < row.ended:
                raise BrokenPromise(f"two at once in a lane: {row}, {following}")
    for spans in (_gaps(year.processes, year.world.seconds), year.world.away):
        if lonely := [row for row in year.pulls.rows if _within(spans, row.began)]:
            raise BrokenPromise(f"began without a process or a database: {lonely}")


def _check_latest(year: Year) -> None:
    for row in year.pulls.rows:
        at_start = row.duty.verb is Verb.BACKFILL and row.slot == year.lives[row.life].started_at
        if row.slot != row.duty.schedule.slot(row.pulled_at) and not at_start:
            raise BrokenPromise(f"not the latest slot: {row}")


def _check_twice(year: Year) -> None:
    for rows in year.pulls.of_slot.values():
        for row, again in pairwise(row for row in rows if row.good):
            clock = [ahead for at, ahead in year.world.jumps if row.began < at <= again.began]
            if min(clock, default=DAY * 999) + _seconds(AHEAD) >= year.world.ahead(row.began):
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
    """After each return the runs of a duty for slots from before it."""
    began = [row.began for row in year.pulls.rows]
    for begin, end in _returns(year):
        now = year.world.clock(begin)
        rows = [row for row in year.pulls.rows[bisect_left(began, begin) : bisect_left(began, end)] if row.slot <= now]
        for duty in DUTIES:
            yield [row for row in rows if row.duty == duty]


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
            hasty = row.finished_at and following.began - row.ended < _seconds(wait(failures))
            if row.life != following.life or row.ahead:  # who has started anew, or has lost its slots, counts anew
                failures = 0
            elif hasty and not jumped:
                raise BrokenPromise(f"too soon after {failures} failures: {row}, {following}")


class Demand(NamedTuple):
    """A slot that had to be done within a span, since the span was long enough for it."""

    duty: Duty
    slot: datetime
    since: int  # when the slot came, if no clock has jumped since; a run that began before was too early
    begin: int
    end: int


def _demands(year: Year, duty: Duty) -> Iterator[Demand]:
    """The slots of a duty that could be done.

    A time is calm for a duty while there are one process, the database, the API of its source and a clock that does
    not jump, and while its lane makes no run of more than FULL. A slot has to be done where it lies, or its period
    goes on, in one calm span for as long as it can take: until the end of the run that was under way, the LONGEST_WAIT
    after its failure, one run of FULL of each duty of the lane, and a look before each of these runs and one more.

    A settle has no slot before the first run of its source. The slot of a backfill is the start of the process where
    that is later by the clock; where the clock passes the start only within the span, nothing is demanded.
    """
    runs = sum(other.lane == duty.lane for other in DUTIES)
    enough = _seconds(LONGEST_WAIT) + (runs + 1) * (FULL[duty.verb] + LOOK)
    rows = [row for row in year.pulls.rows if row.duty.source == duty.source]
    began, first = [row.began for row in rows], list(accumulate((row.pulled_at for row in rows), min))
    for calm, calm_end in _calm(year, duty):
        now = year.world.clock(calm)
        life = year.lives[bisect_right(year.lives, calm, key=lambda life: life.began) - 1]
        slot = duty.schedule.slot(now)
        jump = year.world.jumps[bisect_right(year.world.jumps, (calm, 999 * DAY)) - 1][0]
        while (since := calm + _seconds(slot - now)) < calm_end:
            begin, end = max(calm, since), min(calm_end, since + _seconds(duty.schedule.every))
            runs_before = bisect_left(began, begin)
            nothing = duty.verb is Verb.SETTLE and (not runs_before or slot < first[runs_before - 1])
            if end - begin >= enough and not nothing:
                passed = duty.verb is Verb.BACKFILL and life.started_at - now
                if passed is False or life.started_at < slot or passed >= timedelta(seconds=end - calm):
                    yield Demand(duty, slot, since if since > jump else 0, begin, end)
                elif passed <= timedelta(seconds=begin - calm):
                    yield Demand(duty, life.started_at, life.began, begin, end)
            slot += duty.schedule.every


def _calm(year: Year, duty: Duty) -> list[Span]:
    world = year.world
    slow = [(row.began, row.ended) for row in year.pulls.rows if row.slow and row.duty.lane == duty.lane]
    jumps = [(at, at) for at, _ in world.jumps]
    lives = _gaps(year.processes, world.seconds)
    return _gaps(lives + world.away + world.outages[duty.source] + slow + jumps, world.seconds)


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
    if any(row.began >= demand.since - _seconds(AHEAD) for row in rows):
        return True
    for row in rows:
        later = year.pulls.rows[row.pull_id :]
        if not any(each.pulled_at < row.pulled_at - AHEAD for each in later if each.began < demand.begin):
            return False
    raise BrokenPromise(f"not done: {demand}, of {year.pulls.of_slot.get(demand[:2])}")


def _check_done(year: Year) -> tuple[set[tuple[Duty, datetime]], set[tuple[Duty, datetime]]]:
    """The slots that had to be done, and those of them that were done too early."""
    demanded, too_early = set(), set()
    for demand in (each for duty in DUTIES for each in _demands(year, duty)):
        place = demand.duty, demand.duty.schedule.slot(demand.slot)
        demanded.add(place)
        if not _judge(year, demand):
            too_early.add(place)
    return demanded, too_early


def _count(year: Year, demanded: set[tuple[Duty, datetime]], too_early: set[tuple[Duty, datetime]]) -> Counts:
    end, slots = year.world.clock(0) + timedelta(seconds=year.world.seconds), set()
    for duty in DUTIES:
        first = duty.schedule.slot(BEGIN) + duty.schedule.every
        slots |= {
            (duty, first + number * duty.schedule.every) for number in range((end - first) // duty.schedule.every + 1)
        }
    rows = year.pulls.rows
    done = slots & {(row.duty, row.duty.schedule.slot(row.slot)) for row in rows if row.good} - too_early
    late = {(row.duty, row.slot) for rows in _late_runs(year) for row in rows if row.good}
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
