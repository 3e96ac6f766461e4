"""A modelled scheduler, minute by minute: what it knows of its runs and series, and how its health is judged."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from db.points import Age
from db.pulls import LastRuns
from model.values import DAY, Rhythm, Target, Verb, midnight
from pipeline.due import Attempt, History, ScheduledRun, due
from pipeline.freshness import freshness
from pipeline.health import SourceHealth
from pipeline.problems import source_problems
from pipeline.run_health import RunState, health_of_runs
from sources import SOURCES

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WEDNESDAY = datetime(2026, 11, 25, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
HOLIDAYS = {date(2026, 11, 26), date(2026, 12, 25)}
DEAD = date(2023, 1, 1)
CALM = {Verb.PULL: 2 * MINUTE, Verb.SETTLE: 10 * MINUTE, Verb.BACKFILL: 10 * MINUTE}
BUSY = {Verb.PULL: 50 * MINUTE, Verb.SETTLE: 100 * MINUTE, Verb.BACKFILL: 100 * MINUTE}  # longer than the grace
SERIES = {
    "artemis": [
        Target("sol", "PRICE", "sol"),
        Target("dead", "PRICE", "dead"),
        Target("unknown", "PRICE", "unknown"),
        Target("eq-nvda", "PRICE", "eq-nvda"),
        Target("eq-nvda", "NET_INCOME", "eq-nvda"),
    ],
    "defillama": [
        Target("aave", "TVL", "aave", "protocol"),
        Target("aave", "FEES", "aave", "protocol"),
        Target("aave", "FEES_24H", "aave", "protocol"),
        Target("dead", "TVL", "dead", "protocol"),
        Target("dead", "FEES_24H", "dead", "protocol"),
        Target("weth", "PRICE", "coingecko:weth", "coin"),
    ],
}


@dataclass
class Run:
    """A row of pulls: how it is to end, and whether it has."""

    scheduled: ScheduledRun
    slot: datetime
    began: datetime
    ends: datetime
    fails: bool = False
    ended: datetime | None = None
    done: bool = False
    stopped: bool = False


@dataclass
class Known:
    """What the tables know of a series."""

    newest: datetime | None = None
    answered: date | None = None


@dataclass
class Model:
    """A scheduler of one source, its rows in pulls and what they have brought, by the minute."""

    source: str
    now: datetime
    lengths: dict[Verb, timedelta]
    down: Callable[["Model", ScheduledRun], bool] = lambda _model, _scheduled: False
    silent: Callable[["Model", Target], bool] = lambda _model, _target: False  # it is not asked for, or not answered
    alive: bool = True
    idle: bool = False  # begins nothing, though it lives
    config_changed: datetime = LONG_AGO
    rows: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.schedule = [ScheduledRun(self.source, verb, at) for verb, at in SOURCES[self.source].SCHEDULES.items()]
        self.started = self.now
        self.known = {target: Known() for target in SERIES[self.source]}

    def until(self, end: datetime) -> Iterator[SourceHealth]:
        """How it is at each minute before `end`."""
        while self.now < end:
            self.step()
            yield self.health()
            self.now += MINUTE

    def sleep(self, end: datetime, pace: timedelta = MINUTE) -> None:
        """Let the time pass, with nobody looking."""
        assert self.now < end
        while self.now < end:
            self.step()
            self.now = min(self.now + pace, end)

    def step(self) -> None:
        """End what ends now, then begin what is due."""
        for run in self.rows:
            if run.ended is None and run.ends <= self.now:
                run.ended, run.done = self.now, not run.fails
                if run.done:
                    self._learn(run)
        if self.alive and not self.idle:
            busy = [run.scheduled.lane for run in self.rows if run.ended is None]
            for scheduled, slot in list(due(self.schedule, self.now, self._history(), busy)):
                fails = self.down(self, scheduled)
                length = MINUTE / 2 if fails else self.lengths[scheduled.verb]
                self.rows.append(Run(scheduled, slot, self.now, self.now + length, fails))

    def restart(self) -> None:
        """SIGTERM, which ends the runs under way as errors, and a new start."""
        for run in self.rows:
            if run.ended is None:
                run.ended, run.stopped = self.now, True
        self.started = self.now

    def health(self) -> SourceHealth:
        """What status would say now."""
        runs = {(self.source, scheduled.verb.value): self._last_runs(scheduled) for scheduled in self.schedule}
        running = [run.scheduled for run in self.rows if run.ended is None]
        healths = health_of_runs(self.schedule, self.now, self._history(), runs, running, alive=self.alive)
        ages = [Age(each.asset, each.metric, known.newest, known.answered) for each, known in self.known.items()]
        since = max(self.started, self.config_changed)
        fresh = freshness(SOURCES[self.source], list(self.known), ages, self.now, healths, since)
        return SourceHealth(self.source, tuple(healths), fresh, 0, 0)

    def state(self, verb: Verb) -> RunState:
        """Of one kind of run, now."""
        return next(each.state for each in self.health().runs if each.scheduled.verb is verb)

    def _history(self) -> History:
        tries: dict[tuple[ScheduledRun, datetime], list[Attempt]] = {}
        for run in self.rows:
            attempt = Attempt(run.ended, run.done, run.began >= self.started)
            tries.setdefault((run.scheduled, run.slot), []).append(attempt)
        return History(self.started, {self.source: self.rows[0].began} if self.rows else {}, tries)

    def _last_runs(self, scheduled: ScheduledRun) -> LastRuns:
        """As the query LAST_RUNS, which tests/cli/test_status.py holds to the real table."""
        own = [run for run in self.rows if run.scheduled == scheduled]
        good = [run for run in own if run.done]
        failing = [run for run in own if run.fails and run.ended and (not good or run.began > good[-1].began)]
        failed = [run for run in own if run.fails and run.ended]
        return LastRuns(
            began_well=good[-1].began if good else None,
            succeeded=good[-1].ended if good else None,
            failed=failed[-1].began if failed else None,
            failure="HTTP 500 (5 tries)" if failed else None,
            failures=len(failing),
            failing_since=failing[0].began if failing else None,
            running_since=own[-1].began if own and own[-1].ended is None else None,
            ended=max((run.ended for run in own if run.ended), default=None),
        )

    def _learn(self, run: Run) -> None:
        """What a run has brought: the days that the API has, of the series that this kind of run asks for."""
        source, today = SOURCES[self.source], midnight(run.began)
        pull = run.scheduled.verb is Verb.PULL
        for target, known in self.known.items():
            metric = source.METRICS[target.metric]
            if self.silent(self, target) or run.scheduled.verb not in metric.verbs or target.asset == "unknown":
                continue
            dated = not pull or self.source == "artemis"  # of DefiLlama's pulls, no answer speaks of other days
            if metric.live_only or dated:
                known.answered = today.date() if metric.live_only else (today - DAY).date()
            day = today if pull and (metric.live_only or not dated) else today - DAY
            known.newest = self._newest(target, day)

    def _newest(self, target: Target, day: datetime) -> datetime:
        rhythm = SOURCES[self.source].rhythm(target)
        if target.asset == "dead":
            return datetime(DEAD.year, DEAD.month, DEAD.day, tzinfo=UTC)
        if rhythm is Rhythm.QUARTERLY:
            return datetime(2026, 8, 31, tzinfo=UTC)
        while rhythm is Rhythm.WEEKDAYS and (day.weekday() > 4 or day.date() in HOLIDAYS):
            day -= DAY
        return day


def model(source: str, begin: datetime, lengths: dict[Verb, timedelta] | None = None) -> Model:
    """One that has run well for a day."""
    made = Model(source, begin - DAY, lengths or CALM)
    made.sleep(begin, 5 * MINUTE)
    return made


def problems(health: SourceHealth) -> list[str]:
    """Its problems as text."""
    found = list(source_problems(health))
    assert health.needs_attention is bool(found)
    return [str(problem) for problem in found]


def first_problem(made: Model, end: datetime) -> tuple[datetime, str]:
    """When the first problem shows, and its text."""
    for health in made.until(end):
        if found := problems(health):
            return made.now, found[0]
    raise AssertionError("there was no problem")
