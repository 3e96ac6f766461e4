"""How the pipeline is judged: nights of a modelled scheduler, minute by minute, and each real trouble in its time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from db.health import Age, LastRuns, Sessions
from db.heartbeat import Beat
from pipeline.health import (
    Due,
    Freshness,
    Health,
    Life,
    Problem,
    SourceHealth,
    State,
    duties_health,
    freshness,
    life_of,
    span,
)
from pipeline.schedule import Duty, History, Try, due
from pipeline.values import DAY, Rhythm, Target, Verb, midnight
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

    duty: Duty
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
    down: Callable[["Model", Duty], bool] = lambda _model, _duty: False
    silent: Callable[["Model", Target], bool] = lambda _model, _target: False  # is not asked for, or not answered
    alive: bool = True
    idle: bool = False  # begins nothing, though it lives
    config_changed: datetime = LONG_AGO
    rows: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.duties = [Duty(self.source, verb, at) for verb, at in SOURCES[self.source].SCHEDULES.items()]
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
            busy = [run.duty.lane for run in self.rows if run.ended is None]
            for duty, slot in list(due(self.duties, self.now, self._history(), busy)):
                fails = self.down(self, duty)
                length = MINUTE / 2 if fails else self.lengths[duty.verb]
                self.rows.append(Run(duty, slot, self.now, self.now + length, fails))

    def restart(self) -> None:
        """SIGTERM, which ends the runs under way as errors, and a new start."""
        for run in self.rows:
            if run.ended is None:
                run.ended, run.stopped = self.now, True
        self.started = self.now

    def health(self) -> SourceHealth:
        """What status would say now."""
        runs = {(self.source, duty.verb.value): self._last_runs(duty) for duty in self.duties}
        running = [run.duty for run in self.rows if run.ended is None]
        duties = duties_health(self.duties, self.now, self._history(), runs, running, alive=self.alive)
        ages = [Age(each.asset, each.metric, known.newest, known.answered) for each, known in self.known.items()]
        since = max(self.started, self.config_changed)
        fresh = freshness(SOURCES[self.source], list(self.known), ages, self.now, duties, since)
        return SourceHealth(self.source, tuple(duties), fresh, 0, 0)

    def state(self, verb: Verb) -> State:
        """Of one duty, now."""
        return next(each.state for each in self.health().duties if each.duty.verb is verb)

    def _history(self) -> History:
        tries: dict[tuple[Duty, datetime], list[Try]] = {}
        for run in self.rows:
            tries.setdefault((run.duty, run.slot), []).append(Try(run.ended, run.done, run.began >= self.started))
        return History(self.started, {self.source: self.rows[0].began} if self.rows else {}, tries)

    def _last_runs(self, duty: Duty) -> LastRuns:
        """As the query LAST_RUNS, which tests/test_status.py holds to the real table."""
        own = [run for run in self.rows if run.duty == duty]
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
        pull = run.duty.verb is Verb.PULL
        for target, known in self.known.items():
            metric = source.METRICS[target.metric]
            if self.silent(self, target) or run.duty.verb not in metric.verbs or target.asset == "unknown":
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


def told(health: SourceHealth) -> list[str]:
    """Its problems as text."""
    return [str(problem) for problem in health.problems()]


def first_told(made: Model, end: datetime) -> tuple[datetime, str]:
    """When the first problem shows, and how it is told."""
    for health in made.until(end):
        if problems := told(health):
            return made.now, problems[0]
    raise AssertionError("nothing was told")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("lengths", [CALM, BUSY], ids=["calm", "busy"])
@pytest.mark.parametrize("day", range(7))
def test_a_healthy_night_tells_of_no_problem_at_any_minute(
    source: str, lengths: dict[Verb, timedelta], day: int
) -> None:
    made = model(source, WEDNESDAY + day * DAY - HOUR, lengths)
    states = set()
    for health in made.until(WEDNESDAY + day * DAY + 10 * HOUR):
        assert told(health) == [], made.now
        states |= {each.state for each in health.duties}
    assert states == {State.DONE, State.RUNNING, State.WAITING}
    assert made.health().freshness.due.closed == (WEDNESDAY + (day - 1) * DAY).date()
    counts, closed = made.health().freshness, int(day == 2)  # when the exchanges' holiday is due
    wanted = (5, 3 - closed, 1 + closed, 1) if source == "artemis" else (6, 4, 2, 0)
    assert (counts.expected, counts.fresh, counts.quiet, counts.never_seen) == wanted


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("begin", [WEDNESDAY - 2 * HOUR, WEDNESDAY + 4 * HOUR, WEDNESDAY + 10 * HOUR])
def test_a_first_backfill_of_hours_holds_up_the_night_without_a_problem(source: str, begin: datetime) -> None:
    made = Model(source, begin, {**CALM, Verb.BACKFILL: 9 * HOUR})
    for health in made.until(begin + 40 * HOUR):
        assert told(health) == [], made.now


def test_old_windows_that_a_first_backfill_loads_before_the_others_are_awaited() -> None:
    made = Model("defillama", WEDNESDAY + 10 * HOUR, {**CALM, Verb.BACKFILL: 9 * HOUR})
    made.sleep(WEDNESDAY + 15 * HOUR)
    dead = next(target for target in made.known if (target.asset, target.metric) == ("dead", "TVL"))
    made.known[dead] = Known(WEDNESDAY - 2000 * DAY, date(2022, 1, 1))
    counts = made.health().freshness
    assert (counts.stale, counts.awaited) == (0, 1)
    made.sleep(WEDNESDAY + 20 * HOUR)  # the backfill is over
    made.known[dead] = Known(WEDNESDAY - 2000 * DAY, date(2022, 1, 1))
    assert (made.health().freshness.stale, made.health().freshness.awaited) == (1, 0)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("minute", [1, 6, 100, 276, 290, 336, 350, 400])
@pytest.mark.parametrize("lengths", [CALM, BUSY], ids=["calm", "busy"])
def test_a_restart_at_night_tells_of_no_problem(source: str, minute: int, lengths: dict[Verb, timedelta]) -> None:
    made = model(source, WEDNESDAY + minute * MINUTE, lengths)
    made.restart()
    for health in made.until(WEDNESDAY + 12 * HOUR):
        assert told(health) == [], made.now


@pytest.mark.parametrize("source", SOURCES)
def test_after_days_of_downtime_what_is_old_is_awaited_until_the_first_runs_are_over(source: str) -> None:
    made = model(source, WEDNESDAY)
    made.now += 5 * DAY + 9 * HOUR
    made.restart()
    made.lengths = BUSY
    seen = 0
    for health in made.until(made.now + 8 * HOUR):
        assert told(health) == [], made.now
        seen = max(seen, health.freshness.awaited)
    assert seen
    assert made.health().freshness.awaited == 0


def test_a_row_that_returns_to_the_config_is_awaited_until_the_next_backfill() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    back = Target("uniswap", "FEES", "uniswap", "protocol")
    made.known[back] = Known(WEDNESDAY - 90 * DAY, (WEDNESDAY - 90 * DAY).date())
    made.config_changed = made.now
    for health in made.until(WEDNESDAY + DAY + 10 * HOUR):
        assert told(health) == [], made.now
    assert made.health().freshness.awaited == 0


def test_a_row_added_just_now_is_never_seen_and_no_problem() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    made.known[Target("new", "PRICE", "new")] = Known()
    assert (told(made.health()), made.health().freshness.never_seen) == ([], 2)


def test_a_run_that_fails_is_told_at_once_with_its_tries_and_reason_until_one_has_succeeded() -> None:
    made = model("defillama", WEDNESDAY + 2 * HOUR)
    made.down = lambda at, duty: duty.verb is Verb.PULL and at.now < WEDNESDAY + 4 * HOUR
    begin, text = first_told(made, WEDNESDAY + 4 * HOUR)
    assert begin == WEDNESDAY + 2 * HOUR + 6 * MINUTE
    assert text == (
        "pull fails since 2026-11-25 02:05Z (1 try, next try 2026-11-25 02:07Z): HTTP 500 (5 tries); "
        "by hand: python main.py pull defillama; log: journalctl -u crypto-metrics"
    )
    made.now += MINUTE
    for health in made.until(WEDNESDAY + 4 * HOUR + 5 * MINUTE):  # over the begin of the next slot, too
        assert [problem.split(" (")[0] for problem in told(health)] == ["pull fails since 2026-11-25 02:05Z"], made.now
    assert "(14 tries, " in told(made.health())[0]
    made.sleep(WEDNESDAY + 5 * HOUR)
    assert told(made.health()) == []


def test_a_failing_run_under_way_again_says_so_and_still_fails() -> None:
    made = model("artemis", WEDNESDAY)
    made.down = lambda at, _duty: at.now < WEDNESDAY + 10 * MINUTE
    made.sleep(WEDNESDAY + 11 * MINUTE)
    assert made.state(Verb.PULL) is State.FAILING
    (problem,) = told(made.health())
    assert "(2 tries, being tried again)" in problem


def test_a_run_that_nobody_begins_is_overdue_after_a_quarter_of_an_hour() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    made.idle = True
    begin, text = first_told(made, WEDNESDAY + 12 * HOUR)
    assert begin == WEDNESDAY + 10 * HOUR + 21 * MINUTE
    assert text.startswith("pull is overdue: that of 2026-11-25 10:05Z has not begun; by hand: python main.py pull def")
    assert made.health().duties[0].next == made.now


def test_a_lane_in_which_another_run_has_just_ended_is_not_overdue_yet() -> None:
    made = model("artemis", WEDNESDAY + 5 * HOUR + 30 * MINUTE, BUSY)
    made.sleep(WEDNESDAY + 7 * HOUR + 17 * MINUTE)
    made.idle = True
    assert (made.state(Verb.SETTLE), made.state(Verb.BACKFILL)) == (State.DONE, State.RUNNING)
    made.rows.pop()
    assert made.state(Verb.BACKFILL) is State.WAITING
    made.now += 16 * MINUTE
    assert made.state(Verb.BACKFILL) is State.OVERDUE


def test_a_run_that_does_not_end_within_its_period_and_the_grace_is_slow() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR, {**CALM})
    made.lengths = {**CALM, Verb.PULL: 9 * HOUR}
    begin, text = first_told(made, WEDNESDAY + 19 * HOUR)
    assert begin == WEDNESDAY + 13 * HOUR + 6 * MINUTE
    assert text.startswith("pull has been under way since 2026-11-25 10:05Z; where nothing moves any more, restart")


@pytest.mark.parametrize(
    ("source", "asset", "metric", "at"),
    [
        ("defillama", "aave", "FEES", WEDNESDAY + 6 * HOUR + 35 * MINUTE),
        ("defillama", "aave", "FEES_24H", WEDNESDAY + 2 * HOUR + 5 * MINUTE),
        ("defillama", "dead", "TVL", WEDNESDAY + 6 * HOUR + 35 * MINUTE),
        ("artemis", "sol", "PRICE", WEDNESDAY + 7 * HOUR + 35 * MINUTE),
        ("artemis", "eq-nvda", "PRICE", WEDNESDAY + 7 * HOUR + 35 * MINUTE),
    ],
)
def test_a_series_that_is_answered_no_longer_is_stale_when_its_day_is_due_while_others_go_on(
    source: str, asset: str, metric: str, at: datetime
) -> None:
    made = model(source, WEDNESDAY - HOUR)
    made.silent = lambda _model, target: (target.asset, target.metric) == (asset, metric)
    begin, text = first_told(made, WEDNESDAY + 10 * HOUR)
    assert begin == at
    assert text.startswith(f"1 series is stale, newest point of the oldest: {asset} {metric} (20")
    assert text.endswith(f"; their holes: python main.py gaps {source}; log: journalctl -u crypto-metrics")
    assert [each.asset for each in made.health().freshness.stalest] == [asset]


def test_of_many_stale_series_the_oldest_three_are_named() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    for number in range(5):
        made.known[Target(f"a{number}", "FEES", "", "protocol")] = Known(WEDNESDAY - (number + 2) * DAY)
    (problem,) = made.health().problems()
    assert problem.what == "5 series are stale, newest point of the oldest"
    assert problem.reason == "a4 FEES (2026-11-19), a3 FEES (2026-11-20), a2 FEES (2026-11-21)"


def test_an_api_that_answers_but_has_had_nothing_new_for_days_is_told() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    for target, known in made.known.items():
        if target.metric == "PRICE" and known.newest:
            made.known[target] = Known(min(known.newest, WEDNESDAY - 5 * DAY), known.answered)
    assert told(made.health()) == []
    for target, known in made.known.items():
        if target.metric == "PRICE" and known.newest:
            made.known[target] = Known(min(known.newest, WEDNESDAY - 6 * DAY), known.answered)
    (problem,) = told(made.health())
    assert problem.startswith("nothing new of any series since 2026-11-19: the API answers, but with no newer point; ")


def test_a_series_of_quarters_is_fresh_while_its_next_report_can_be_out() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    (target,) = (target for target in made.known if target.metric == "NET_INCOME")
    found = []
    for days in (150, 151, 152):
        made.known[target] = Known(WEDNESDAY - days * DAY)
        found.append(made.health().freshness.stale)
    assert found == [0, 0, 1]


def test_the_deadline_moves_on_when_the_nights_runs_have_had_their_grace_or_are_over() -> None:
    made = model("defillama", WEDNESDAY + 4 * HOUR)
    moves = WEDNESDAY + 6 * HOUR + 35 * MINUTE
    assert made.health().freshness.due == Due(date(2026, 11, 23), date(2026, 11, 25), moves)
    made.lengths = BUSY
    made.sleep(WEDNESDAY + 7 * HOUR)
    assert made.health().freshness.due == Due(date(2026, 11, 23), date(2026, 11, 25), None)
    made.sleep(WEDNESDAY + 8 * HOUR)
    assert made.health().freshness.due.closed == date(2026, 11, 24)


NOW = WEDNESDAY + 10 * HOUR
UP = Sessions(another=False, server_started=WEDNESDAY)


def beat(age: timedelta, doing: str = "idle") -> Beat:
    """Of a scheduler, so long ago."""
    return Beat("vm", 42, ["artemis"], WEDNESDAY, NOW - age, doing, 0)


@pytest.mark.parametrize(
    ("last", "held", "sessions", "life"),
    [
        (None, False, UP, Life.NONE),
        (None, True, UP, Life.STARTING),
        (beat(MINUTE), True, UP, Life.ALIVE),
        (beat(-HOUR), True, UP, Life.ALIVE),  # the clock has jumped back
        (beat(3 * MINUTE), True, UP, Life.HUNG),
        (beat(MINUTE), False, UP, Life.DEAD),
        (beat(3 * DAY), True, Sessions(another=True, server_started=WEDNESDAY), Life.STARTING),
        (beat(3 * MINUTE, "starting"), True, UP, Life.STARTING),
        (beat(16 * MINUTE, "starting"), True, UP, Life.HUNG),
        (beat(MINUTE), False, Sessions(another=False, server_started=NOW - MINUTE / 2), Life.ALIVE),
        (beat(3 * MINUTE), False, Sessions(another=False, server_started=NOW - MINUTE / 2), Life.DEAD),
    ],
)
def test_a_scheduler_is_alive_while_it_holds_its_place_and_tells_of_itself(
    last: Beat | None, held: bool, sessions: Sessions, life: Life
) -> None:
    assert life_of(last, NOW, held=held, sessions=sessions) is life


@pytest.mark.parametrize(
    ("life", "text"),
    [
        (Life.NONE, "no scheduler has ever run here; start it: systemctl start crypto-metrics, or python scheduler.py"),
        (Life.DEAD, "no scheduler is alive; start it: systemctl start crypto-metrics, or python scheduler.py; why"),
        (Life.HUNG, "hung: pid 42 holds its place, but has not told of itself since 2026-11-25 09:59Z; restart it: "),
    ],
)
def test_a_scheduler_that_is_not_alive_is_exit_code_3_and_says_what_to_do(life: Life, text: str) -> None:
    health = Health(NOW, life, beat(MINUTE))
    assert (health.exit_code, health.alive) == (3, False)
    assert str(health.problem()).startswith(text)


def test_the_exit_code_is_0_while_all_is_well_1_with_a_problem_and_3_without_a_scheduler_whatever_else() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    well = made.health()
    made.known[Target("old", "PRICE", "old")] = Known(WEDNESDAY - 9 * DAY)
    unwell = made.health()
    codes = [
        Health(NOW, life, beat(MINUTE), sources).exit_code
        for life, sources in (
            (Life.ALIVE, (well,)),
            (Life.STARTING, (well,)),
            (Life.ALIVE, (well, unwell)),
            (Life.DEAD, (well,)),
            (Life.HUNG, (unwell,)),
        )
    ]
    assert codes == [0, 0, 1, 3, 3]
    assert Health(NOW, Life.ALIVE, beat(MINUTE)).problem() is None


def test_without_a_scheduler_no_run_has_a_next_time() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    made.alive = False
    made.now += DAY
    assert [each.next for each in made.health().duties] == [None, None, None]


def test_each_series_is_counted_once() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    made.known[Target("x", "FEES", "x", "protocol")] = Known(WEDNESDAY - 9 * DAY)
    found: Freshness = made.health().freshness
    assert found.fresh + found.stale + found.quiet + found.awaited + found.never_seen == found.expected == 7


def test_a_problem_reads_as_what_it_is_why_and_what_to_do() -> None:
    assert str(Problem("it fails", "HTTP 500", "look")) == "it fails: HTTP 500; look"
    assert str(Problem("it is late", "", "look")) == "it is late; look"


@pytest.mark.parametrize(
    ("length", "text"),
    [(-MINUTE, "0 s"), (119 * MINUTE / 60, "119 s"), (2 * MINUTE, "2 min"), (2 * HOUR, "2 h"), (2 * DAY, "2 days")],
)
def test_an_age_is_told_in_the_unit_that_suits_it(length: timedelta, text: str) -> None:
    assert span(length) == text
