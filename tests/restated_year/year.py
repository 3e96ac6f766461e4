"""The nights of a year: pulls of the open day, then the settle and the backfill of the schedule, each checked."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from db.coverage import Name
from db.database import Database
from model.values import DAY, Verb, Window
from pipeline.plan import Job, Scope, make_job, must_be_verified_since, pull_window, settle_window
from pipeline.run import run
from pipeline.summary import Summary
from sources.base import BaseSource
from sources.pace import Pace
from tests.ageing import age
from tests.restated_year.provider import Glitch, Provider
from tests.tables import Rows, this_midnight

WITHDRAWALS = 5  # nights from one day that is withdrawn for good to the next
VERIFIED = """
SELECT asset, metric_name, coalesce(extract(epoch FROM clock_timestamp() AT TIME ZONE 'UTC' - verified_at) / 3600, 9999)
FROM coverage
"""
REJECTED = "SELECT pulled_at FROM quarantine WHERE asset = %s AND metric_name = %s AND state = 'rejected'"
UNDECIDED = "SELECT pulled_at, state FROM quarantine WHERE asset = %s AND metric_name = %s AND state <> 'rejected'"


@dataclass
class Event:
    """A glitch, or the change of a metric's unit, and the nights in which something happens to it."""

    glitch: Callable[[int], Glitch]  # from the number of the open day; a new unit is one of all days
    begin: int
    taken_back: int | None  # None: a new unit, which stays
    accepted: int | None = None  # by a person, in the day before this night
    rejected: int | None = None
    now: Glitch | None = None  # while it goes on
    waits: bool = False  # from its begin until it is over or decided about


@dataclass
class Year:
    """The database, the provider, and what has been counted so far."""

    database: Database
    rows: Rows
    provider: Provider
    source: BaseSource
    events: Sequence[Event]
    decide: Callable[[str, Sequence[Name]], None]  # a person's decision: --accept or --reject, and the series
    chance: Random
    settles: list[Summary] = field(default_factory=list)
    shown: int = 0  # events, in the night in which they began

    def begin(self) -> None:
        """The first backfill."""
        assert self.run(Verb.BACKFILL).exit_code == 0

    def night(self, number: int) -> None:
        """A day with its pulls and the decisions of a person, and the night after it."""
        for _ in range(1 + number % 2):
            self.run(Verb.PULL)
        self._decide(number)
        age(self.rows)
        self.provider.pass_a_night()
        self._change(number)
        if number % WITHDRAWALS == 0:
            self._withdraw()
        settled = self.run(Verb.SETTLE)
        self.run(Verb.BACKFILL)
        self.settles.append(settled)
        self._check(settled)
        for event in self.events:
            if event.begin == number and event.now:
                self._check_shown(event.now, settled)

    def run(self, verb: Verb) -> Summary:
        """A run of the schedule, now."""
        now, targets = datetime.now(UTC), [*self.provider.targets.values()]
        if verb is Verb.PULL:
            return self.run_job(make_job(self.source, verb, targets, pull_window(now, self.source.PULL_DAYS)))
        if verb is Verb.BACKFILL:
            window = Window(self.provider.midnight_of(0), this_midnight())
            return self.run_job(make_job(self.source, verb, targets, window, Scope.MISSING))
        return self._settle(must_be_verified_since(self.source.SCHEDULES[verb], now))

    def compare_all(self) -> Summary:
        """A settle of all answered days."""
        return self._settle(datetime.now(UTC))

    def run_job(self, job: Job) -> Summary:
        """A run."""
        return run(job, self.database, threading.Event(), str, Pace(0.0))

    def _settle(self, since: datetime | None) -> Summary:
        window, targets = settle_window(datetime.now(UTC), self.source.SETTLE_DAYS), [*self.provider.targets.values()]
        return self.run_job(make_job(self.source, Verb.SETTLE, targets, window, Scope.ANSWERED, since))

    def _decide(self, number: int) -> None:
        for event in self.events:
            if number in (event.accepted, event.rejected) and event.now:
                self.decide("--accept" if number == event.accepted else "--reject", event.now.names)
                event.waits = False
                event.now = None if number == event.accepted else event.now

    def _change(self, number: int) -> None:
        """Begin and end the events of this night."""
        for event in self.events:
            if event.begin == number:
                event.now, event.waits = event.glitch(self.provider.today), True
                if event.taken_back is None:
                    self.provider.scale[event.now.names[0][1]] = event.now.factor or 0.0
                else:
                    self.provider.glitches.append(event.now)
            if event.taken_back == number and event.now:
                self.provider.glitches.remove(event.now)
                event.now, event.waits = None, False

    def _withdraw(self) -> None:
        """Have the provider withdraw a day for good, of a series about which nobody must decide."""
        quiet = [name for name in self.provider.targets if name not in self._going_on()]
        days = range(self.provider.today - 300, self.provider.today - 2)
        self.provider.withdrawn.add((self.chance.choice(quiet), self.chance.choice(days)))

    def _going_on(self) -> set[Name]:
        return {name for event in self.events if event.now for name in event.now.names}

    def stored(self) -> dict[Name, dict[int, float]]:
        """All values of closed days, by series and number of the day."""
        found: dict[Name, dict[int, float]] = {name: {} for name in self.provider.targets}
        for asset, metric, at, value in self.rows("SELECT asset, metric_name, pulled_at, value FROM metrics"):
            if (day := self.day_of(at)) < self.provider.today:
                found[asset, metric][day] = value
        return found

    def day_of(self, at: datetime) -> int:
        """The number of a stored day."""
        return self.provider.today - (this_midnight().replace(tzinfo=None) - at) // DAY

    def _check(self, settled: Summary) -> None:
        """After each night: what waits is what should; no glitch is stored; what is verified is the provider's."""
        waiting = {name for event in self.events if event.now and event.waits for name in event.now.names}
        undecided = self.rows("SELECT DISTINCT asset, metric_name FROM quarantine WHERE state <> 'rejected'")
        assert set(undecided) == waiting, (len(self.settles), settled.warnings, settled.failures)
        assert settled.exit_code == bool(waiting), (settled.warnings, settled.failures)
        stored = self.stored()
        for glitch in self.provider.glitches:
            for name in glitch.names:
                assert not [day for day in glitch.days if stored[name][day] == self.provider.value(name, day)]
        for asset, metric, hours in self.rows(VERIFIED):
            name = (asset, metric)
            assert name in self._going_on() or hours < 7 * 24 or len(self.settles) < 7
            if hours < 12:
                self.check_equal(name, stored[name])

    def check_equal(self, name: Name, stored: dict[int, float]) -> None:
        """Each stored value is the provider's; what was rejected, and days that it has withdrawn, stay as they were."""
        rejected = {self.day_of(at) for (at,) in self.rows(REJECTED, *name)}
        withdrawn = {day for each, day in self.provider.withdrawn if each == name}
        assert stored.keys() == {*range(self.provider.today)} - (withdrawn - stored.keys())
        days = stored.keys() - rejected - withdrawn
        assert {day: stored[day] for day in days} == {day: self.provider.value(name, day) for day in days}

    def _check_shown(self, glitch: Glitch, settled: Summary) -> None:
        """That a person could see an event in the night in which it began."""
        [(failure,)] = self.rows("SELECT failure FROM pulls WHERE kind = 'settle' ORDER BY pull_id DESC LIMIT 1")
        for asset, metric in glitch.names:
            said = f"{self.source.name} {asset} {metric}: "
            assert said in failure
            assert [text for text in settled.warnings if text.startswith(said)] != []
            states = {self.day_of(at): state for at, state in self.rows(UNDECIDED, asset, metric)}
            assert "waiting" in states.values()
            assert {day for day in glitch.days[-5:] if ((asset, metric), day) not in self.provider.withdrawn} <= {
                *states
            }
        self.shown += 1
