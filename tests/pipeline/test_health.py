"""How the pipeline is judged: nights of a modelled scheduler, minute by minute, and each real trouble in its time."""

from datetime import date, datetime, timedelta

import pytest

from db.heartbeat import Beat
from db.lock import Sessions
from model.text import span
from model.values import DAY, Target, Verb
from pipeline.freshness import SeriesState
from pipeline.health import Health, SchedulerState, scheduler_state
from pipeline.problems import Kind, Problem, scheduler_problem
from pipeline.run_health import RunState
from sources import SOURCES
from tests.modelled_night import BUSY, CALM, HOUR, MINUTE, WEDNESDAY, Known, Model, first_problem, model, problems


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("lengths", [CALM, BUSY], ids=["calm", "busy"])
@pytest.mark.parametrize("day", range(7))
def test_a_healthy_night_has_no_problem_at_any_minute(source: str, lengths: dict[Verb, timedelta], day: int) -> None:
    made = model(source, WEDNESDAY + day * DAY - HOUR, lengths)
    states = set()
    for health in made.until(WEDNESDAY + day * DAY + 10 * HOUR):
        assert problems(health) == [], made.now
        states |= {each.state for each in health.runs}
    assert states == {RunState.DONE, RunState.RUNNING, RunState.WAITING}
    assert made.health().freshness.due.closed == (WEDNESDAY + (day - 1) * DAY).date()
    counts, closed = made.health().freshness, int(day == 2)  # when the exchanges' holiday is due
    wanted = (5, 3 - closed, 1 + closed, 1) if source == "artemis" else (6, 4, 2, 0)
    assert (
        len(counts.states),
        counts.count(SeriesState.FRESH),
        counts.count(SeriesState.QUIET),
        counts.count(SeriesState.NEVER_SEEN),
    ) == wanted


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("begin", [WEDNESDAY - 2 * HOUR, WEDNESDAY + 4 * HOUR, WEDNESDAY + 10 * HOUR])
def test_a_first_backfill_of_hours_holds_up_the_night_without_a_problem(source: str, begin: datetime) -> None:
    made = Model(source, begin, {**CALM, Verb.BACKFILL: 9 * HOUR})
    for health in made.until(begin + 40 * HOUR):
        assert problems(health) == [], made.now


def test_old_windows_that_a_first_backfill_loads_before_the_others_are_awaited() -> None:
    made = Model("defillama", WEDNESDAY + 10 * HOUR, {**CALM, Verb.BACKFILL: 9 * HOUR})
    made.sleep(WEDNESDAY + 15 * HOUR)
    dead = next(target for target in made.known if (target.asset, target.metric) == ("dead", "TVL"))
    made.known[dead] = Known(WEDNESDAY - 2000 * DAY, date(2022, 1, 1))
    counts = made.health().freshness
    assert (counts.count(SeriesState.STALE), counts.count(SeriesState.AWAITED)) == (0, 1)
    made.sleep(WEDNESDAY + 20 * HOUR)  # the backfill is over
    made.known[dead] = Known(WEDNESDAY - 2000 * DAY, date(2022, 1, 1))
    assert (made.health().freshness.count(SeriesState.STALE), made.health().freshness.count(SeriesState.AWAITED)) == (
        1,
        0,
    )


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("minute", [1, 6, 100, 276, 290, 336, 350, 400])
@pytest.mark.parametrize("lengths", [CALM, BUSY], ids=["calm", "busy"])
def test_a_restart_at_night_makes_no_problem(source: str, minute: int, lengths: dict[Verb, timedelta]) -> None:
    made = model(source, WEDNESDAY + minute * MINUTE, lengths)
    made.restart()
    for health in made.until(WEDNESDAY + 12 * HOUR):
        assert problems(health) == [], made.now


@pytest.mark.parametrize("source", SOURCES)
def test_after_days_of_downtime_what_is_old_is_awaited_until_the_first_runs_are_over(source: str) -> None:
    made = model(source, WEDNESDAY)
    made.now += 5 * DAY + 9 * HOUR
    made.restart()
    made.lengths = BUSY
    seen = 0
    for health in made.until(made.now + 8 * HOUR):
        assert problems(health) == [], made.now
        seen = max(seen, health.freshness.count(SeriesState.AWAITED))
    assert seen
    assert made.health().freshness.count(SeriesState.AWAITED) == 0


def test_a_row_that_returns_to_the_config_is_awaited_until_the_next_backfill() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    back = Target("uniswap", "FEES", "uniswap", "protocol")
    made.known[back] = Known(WEDNESDAY - 90 * DAY, (WEDNESDAY - 90 * DAY).date())
    made.config_changed = made.now
    for health in made.until(WEDNESDAY + DAY + 10 * HOUR):
        assert problems(health) == [], made.now
    assert made.health().freshness.count(SeriesState.AWAITED) == 0


def test_a_row_added_just_now_is_never_seen_and_no_problem() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    made.known[Target("new", "PRICE", "new")] = Known()
    assert (problems(made.health()), made.health().freshness.count(SeriesState.NEVER_SEEN)) == ([], 2)


def test_a_run_that_fails_is_a_problem_at_once_with_its_tries_and_reason_until_one_has_succeeded() -> None:
    made = model("defillama", WEDNESDAY + 2 * HOUR)
    made.down = lambda at, scheduled: scheduled.verb is Verb.PULL and at.now < WEDNESDAY + 4 * HOUR
    begin, text = first_problem(made, WEDNESDAY + 4 * HOUR)
    assert begin == WEDNESDAY + 2 * HOUR + 6 * MINUTE
    assert text == (
        "pull has failed 1 time since 2026-11-25 02:05Z (next retry 2026-11-25 02:07Z): HTTP 500 (5 tries); "
        "run it manually: python main.py pull defillama; log: journalctl -u crypto-metrics"
    )
    made.now += MINUTE
    for health in made.until(WEDNESDAY + 4 * HOUR + 5 * MINUTE):  # over the begin of the next slot, too
        (problem,) = problems(health)
        assert " since 2026-11-25 02:05Z (" in problem, made.now
    assert "has failed 14 times since " in problems(made.health())[0]
    made.sleep(WEDNESDAY + 5 * HOUR)
    assert problems(made.health()) == []


def test_a_failing_run_under_way_again_says_so_and_still_fails() -> None:
    made = model("artemis", WEDNESDAY)
    made.down = lambda at, _scheduled: at.now < WEDNESDAY + 10 * MINUTE
    made.sleep(WEDNESDAY + 11 * MINUTE)
    assert made.state(Verb.PULL) is RunState.FAILING
    (problem,) = problems(made.health())
    assert problem.startswith("pull has failed 2 times since 2026-11-25 00:05Z (retrying now)")


def test_a_run_that_nobody_begins_is_overdue_after_a_quarter_of_an_hour() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    made.idle = True
    begin, text = first_problem(made, WEDNESDAY + 12 * HOUR)
    assert begin == WEDNESDAY + 10 * HOUR + 21 * MINUTE
    assert text.startswith(
        "pull is overdue: the run of 2026-11-25 10:05Z has not started; run it manually: python main.py pull def"
    )
    assert made.health().runs[0].next == made.now


def test_a_lane_in_which_another_run_has_just_ended_is_not_overdue_yet() -> None:
    made = model("artemis", WEDNESDAY + 5 * HOUR + 30 * MINUTE, BUSY)
    made.sleep(WEDNESDAY + 7 * HOUR + 17 * MINUTE)
    made.idle = True
    assert (made.state(Verb.SETTLE), made.state(Verb.BACKFILL)) == (RunState.DONE, RunState.RUNNING)
    made.rows.pop()
    assert made.state(Verb.BACKFILL) is RunState.WAITING
    made.now += 16 * MINUTE
    assert made.state(Verb.BACKFILL) is RunState.OVERDUE


def test_a_run_that_does_not_end_within_its_period_and_the_time_allowed_is_slow() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR, {**CALM})
    made.lengths = {**CALM, Verb.PULL: 9 * HOUR}
    begin, text = first_problem(made, WEDNESDAY + 19 * HOUR)
    assert begin == WEDNESDAY + 13 * HOUR + 6 * MINUTE
    assert text.startswith("pull has been running since 2026-11-25 10:05Z; if its log has stopped, restart")


NOW = WEDNESDAY + 10 * HOUR
START = "start it: systemctl start crypto-metrics, or python scheduler.py"
UP = Sessions(another=False, server_started=WEDNESDAY)


def beat(age: timedelta, doing: str = "idle") -> Beat:
    """Of a scheduler, so long ago."""
    return Beat("vm", 42, ["artemis"], WEDNESDAY, NOW - age, doing, 0)


@pytest.mark.parametrize(
    ("last", "held", "sessions", "life"),
    [
        (None, False, UP, SchedulerState.NONE),
        (None, True, UP, SchedulerState.STARTING),
        (beat(MINUTE), True, UP, SchedulerState.ALIVE),
        (beat(-HOUR), True, UP, SchedulerState.ALIVE),  # the clock has jumped back
        (beat(3 * MINUTE), True, UP, SchedulerState.HUNG),
        (beat(MINUTE), False, UP, SchedulerState.DEAD),
        (beat(3 * DAY), True, Sessions(another=True, server_started=WEDNESDAY), SchedulerState.STARTING),
        (beat(3 * MINUTE, "starting"), True, UP, SchedulerState.STARTING),
        (beat(16 * MINUTE, "starting"), True, UP, SchedulerState.HUNG),
        (beat(MINUTE), False, Sessions(another=False, server_started=NOW - MINUTE / 2), SchedulerState.ALIVE),
        (beat(3 * MINUTE), False, Sessions(another=False, server_started=NOW - MINUTE / 2), SchedulerState.DEAD),
    ],
)
def test_a_scheduler_is_alive_while_it_holds_its_lock_and_sends_heartbeats(
    last: Beat | None, held: bool, sessions: Sessions, life: SchedulerState
) -> None:
    assert scheduler_state(last, NOW, held=held, sessions=sessions) is life


@pytest.mark.parametrize(
    ("life", "text"),
    [
        (SchedulerState.NONE, f"no scheduler has ever run here; {START}"),
        (SchedulerState.DEAD, f"no scheduler is alive; {START}; log: "),
        (
            SchedulerState.HUNG,
            "pid 42 is hung: its last heartbeat was at 2026-11-25 09:59Z; restart ",
        ),
    ],
)
def test_a_scheduler_that_is_not_alive_is_exit_code_3_and_says_what_to_do(life: SchedulerState, text: str) -> None:
    health = Health(NOW, life, beat(MINUTE))
    assert (health.exit_code, life.alive) == (3, False)
    assert str(scheduler_problem(health)).startswith(text)


def test_the_exit_code_is_0_while_all_is_well_1_with_a_problem_and_3_without_a_scheduler_whatever_else() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    well = made.health()
    made.known[Target("old", "PRICE", "old")] = Known(WEDNESDAY - 9 * DAY)
    unwell = made.health()
    codes = [
        Health(NOW, life, beat(MINUTE), sources).exit_code
        for life, sources in (
            (SchedulerState.ALIVE, (well,)),
            (SchedulerState.STARTING, (well,)),
            (SchedulerState.ALIVE, (well, unwell)),
            (SchedulerState.DEAD, (well,)),
            (SchedulerState.HUNG, (unwell,)),
        )
    ]
    assert codes == [0, 0, 1, 3, 3]
    assert scheduler_problem(Health(NOW, SchedulerState.ALIVE, beat(MINUTE))) is None


def test_without_a_scheduler_no_run_has_a_next_time() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    made.alive = False
    made.now += DAY
    assert [each.next for each in made.health().runs] == [None, None, None]


def test_a_problem_reads_as_what_it_is_why_and_what_to_do() -> None:
    assert str(Problem(Kind.RUNS, "it fails", "HTTP 500", "run it")) == "it fails: HTTP 500; run it"
    assert str(Problem(Kind.RUNS, "it is late", "", "run it")) == "it is late; run it"


@pytest.mark.parametrize(
    ("length", "text"),
    [(-MINUTE, "0 s"), (119 * MINUTE / 60, "119 s"), (2 * MINUTE, "2 min"), (2 * HOUR, "2 h"), (2 * DAY, "2 days")],
)
def test_an_age_is_shown_in_the_unit_that_suits_it(length: timedelta, text: str) -> None:
    assert span(length) == text
