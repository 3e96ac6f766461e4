"""A year of the scheduler by simulation: the real `due`, a model of the table pulls, and whatever can go wrong."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import exp, log
from random import Random
from typing import NamedTuple

from model.values import Verb
from pipeline.due import Attempt, History, ScheduledRun, due, next_attempt, slot_of
from sources import SOURCES

Slot = tuple[ScheduledRun, datetime]
Due = Callable[[Sequence[ScheduledRun], datetime, History, Collection[tuple[str, bool]]], Iterable[Slot]]
Span = tuple[int, int]  # half-open, in seconds of true time since BEGIN

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = 60, 3600, 86_400
LOOK = 30  # seconds between two looks at what is due, as CHECK_SECONDS
FULL = {Verb.PULL: 4 * MINUTE, Verb.SETTLE: 20 * MINUTE, Verb.BACKFILL: 20 * MINUTE}  # a longer run is a slow one
AHEAD = timedelta(minutes=5)  # what TRIES forgives a clock
SCHEDULE = [ScheduledRun(name, verb, at) for name, source in SOURCES.items() for verb, at in source.SCHEDULES.items()]


@dataclass(slots=True)
class Pull:
    """A row of pulls; and, below the line, what only the simulation knows."""

    pull_id: int
    scheduled: ScheduledRun  # source_name and kind
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
            return merge([(begin, begin + _length(random, shortest, longest)) for begin in begins])

        def jumps() -> Iterator[Span]:
            for begin, end in spans(15, 5 * MINUTE, 5 * DAY):
                for moment in sorted({begin, random.choice((begin, random.randrange(begin, end)))}):
                    yield moment, random.choice((-1, 1)) * _length(random, MINUTE, DAY)
                yield end, 0

        return cls(
            seconds,
            down=merge(spans(60, 5, DAY) + spans(6, DAY, 10 * DAY)),
            away=spans(15, MINUTE, 6 * HOUR),
            outages={name: merge(spans(50, MINUTE, DAY) + spans(2, DAY, 3 * DAY)) for name in SOURCES},
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
        self.of_slot: dict[tuple[ScheduledRun, datetime], list[Pull]] = defaultdict(list)
        self.first_runs: dict[str, datetime] = {}
        self._latest = BEGIN - timedelta(days=999)  # pulled_at of a row that is not ahead

    def add(self, row: Pull) -> None:
        """Enter a run that begins."""
        self._latest = max(self._latest, row.pulled_at)
        self.rows.append(row)
        self.of_slot[row.scheduled, row.slot].append(row)
        self.first_runs[row.scheduled.source] = min(
            row.pulled_at, self.first_runs.get(row.scheduled.source, row.pulled_at)
        )

    def history(self, now: datetime, life: Life) -> History:
        """The same as `Heartbeat.history` from the same rows: those dated after now are no longer for any slot."""
        if self._latest > now + AHEAD:
            for row in self.rows:
                row.ahead |= row.pulled_at > now + AHEAD
            self._latest = max((each.pulled_at for each in self.rows if not each.ahead), default=now)
        attempts = {}
        for scheduled in SCHEDULE:
            slot = slot_of(scheduled, now, life.started_at, self.first_runs.get(scheduled.source))
            if slot is None:
                continue
            if rows := [row for row in self.of_slot.get((scheduled, slot), ()) if not row.ahead]:
                attempts[scheduled, slot] = [
                    Attempt(row.finished_at, row.good, row.pull_id > life.first_pull_id) for row in rows
                ]
        return History(life.started_at, self.first_runs, attempts)


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
        down, self._away = within(self.world.down, at), within(self.world.away, at)
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
        del self._lanes[row.scheduled.lane]
        self._look_after(row.ended)

    def _look(self, at: int) -> None:
        assert self._life
        now = self.world.clock(at)
        history = self.pulls.history(now, self._life)
        started = list(self._due(SCHEDULE, now, history, list(self._lanes)))
        for scheduled, slot in started:
            self._begin(scheduled, slot, at, now)
        self._next_look = self.world.seconds
        skipped = 0 if started or self._each_look else self._nothing_before(now, history)
        self._look_after(at + max(skipped, 1))

    def _nothing_before(self, now: datetime, history: History) -> int:
        """For how many seconds nothing can become due, unless a run ends or the world changes."""
        moments = [scheduled.schedule.slot(now) + scheduled.schedule.every for scheduled in SCHEDULE]
        moments += [
            start for (_, slot), attempts in history.attempts.items() if (start := next_attempt(slot, attempts, now))
        ]
        moments.append(history.started)
        return seconds(min(moment for moment in moments if moment > now) - now)

    def _begin(self, scheduled: ScheduledRun, slot: datetime, at: int, now: datetime) -> None:
        row = Pull(len(self.pulls.rows) + 1, scheduled, slot, now, began=at, life=len(self.lives) - 1)
        random, full = self._random, FULL[scheduled.verb]
        slow = random.random() < 0.01
        row.ended = at + (
            _length(random, full, 4 * seconds(scheduled.schedule.every)) if slow else _length(random, 5, full)
        )
        outage = first_within(self.world.outages[scheduled.source], at, row.ended)
        if outage is not None:
            row.fate, row.ended = "error", min(row.ended, max(at, outage) + _length(random, 1, full))
        elif random.random() < 0.1:
            row.fate = "no_data"
        row.slow = row.ended - at > full
        self.pulls.add(row)
        self._lanes[scheduled.lane] = row


def seconds(span: timedelta) -> int:
    """Whole seconds: all times here are."""
    return int(span.total_seconds())


def _length(random: Random, shortest: int, longest: int) -> int:
    """As likely between 1 and 10 as between 10 and 100."""
    return round(exp(random.uniform(log(shortest), log(longest))))


def merge(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((begin, end))
    return merged


def within(spans: list[Span], at: int) -> bool:
    """Whether a moment lies in one of these spans, which are in order and apart."""
    return first_within(spans, at, at + 1) is not None


def first_within(spans: list[Span], begin: int, end: int) -> int | None:
    """The begin of the first of these spans, which are in order and apart, that overlaps this one."""
    place = bisect_right(spans, begin, key=lambda span: span[1])
    return spans[place][0] if place < len(spans) and spans[place][0] < end else None


def simulate(seed: int, days: int = 365, due: Due = due, *, each_look: bool = False) -> Year:
    """So many days with whatever this seed has in store."""
    random = Random(seed)  # noqa: S311 - nothing is secret here
    year = Year(random, World.random(random, days * DAY), due, each_look=each_look)
    year.run()
    return year
