"""Limits of an API that one run finds: later runs keep to them, and forget them slowly."""

import threading
from datetime import timedelta

import pytest

from db.api_limits import KnownLimit, Limit
from db.database import Database
from model.values import DAY, Target, Verb, Window
from pipeline.api_limits import keep_to, size_limit
from pipeline.fresh_start import check_api
from pipeline.plan import make_job
from pipeline.run import run
from pipeline.summary import Summary
from sources.artemis import Artemis
from sources.base import NO_DAYS, Call
from sources.pace import Pace
from tests.fake_api import FakeApi
from tests.tables import Rows, this_midnight
from tests.wire import Clock

COINS = [Target(f"coin-{number}", "PRICE", f"coin-{number}") for number in range(40)]
LIMITS = "SELECT name, value FROM api_limits"


def pull(api: FakeApi, database: Database, targets: list[Target], pace: Pace, days: int = 7) -> Summary:
    job = make_job(
        Artemis("key", f"{api.url}/artemis"),
        Verb.PULL,
        targets,
        Window(this_midnight() - (days - 1) * DAY, this_midnight() + DAY),
    )
    return run(job, database, threading.Event(), str, pace)


@pytest.fixture
def one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.http.MAX_TRIES", 1)


@pytest.mark.usefixtures("one_try")
def test_a_size_at_which_calls_fail_is_not_found_out_again_by_the_next_run(database: Database, rows: Rows) -> None:
    with FakeApi(most_series=12) as api:
        first = pull(api, database, COINS, Pace(0.0))
        assert first.status == "success"
        assert first.calls == 1 + 1 + 2 + 4  # the list of symbols; 40 coins fail, then 20, then 10 have an answer
        assert rows(LIMITS) == [("series_a_call", 10)]
        second = pull(api, database, COINS, Pace(0.0))
        assert (second.status, second.calls) == ("success", 1 + 4)


@pytest.mark.usefixtures("one_try")
def test_a_coin_that_always_fails_makes_no_call_smaller(database: Database, rows: Rows) -> None:
    with FakeApi(bad_symbols=("coin-7",)) as api:
        assert pull(api, database, COINS, Pace(0.0)).failed == 1
    assert rows(LIMITS) == []


@pytest.mark.usefixtures("one_try")
def test_a_small_call_that_failed_once_makes_no_call_smaller(database: Database, rows: Rows) -> None:
    with FakeApi(faults=1, fault_kinds=("500",)) as api:  # each request fails the first time
        summary = pull(api, database, COINS[:2], Pace(0.0))
    assert summary.split
    assert rows(LIMITS) == []


def test_the_pace_that_an_api_takes_is_remembered_by_the_next_process(database: Database, rows: Rows) -> None:
    with FakeApi(rate_limit=3, rate_window=0.3) as api:
        assert pull(api, database, COINS[:1], Pace(0.01), days=6_000).status == "success"
        [(name, delay)] = rows(LIMITS)
        assert name == "request_delay"
        assert delay > 0.01
        later = Pace(0.01)
        pull(api, database, COINS[:1], later)
    assert later.delay > 0.999 * delay


def kept(limit: Limit, value: float, age: timedelta) -> tuple[float, int]:
    """The delay and the size to which a run keeps that begins so long after this limit was found."""
    pace, source = Pace(0.12), Artemis("key")
    keep_to({limit: KnownLimit(value, this_midnight() - age, age)}, source, pace)
    return round(pace.delay, 3), source.series_a_call


@pytest.mark.parametrize(("days", "delay"), [(0, 0.52), (0.5, 0.403), (1, 0.32), (3, 0.17), (-1, 0.52)])
def test_half_of_a_delay_is_forgotten_each_day(days: float, delay: float) -> None:
    assert kept(Limit.REQUEST_DELAY, 0.52, days * DAY) == (delay, 100)


@pytest.mark.parametrize(("days", "series"), [(0, 20), (6.9, 20), (7, 60), (14, 80), (-1, 20)])
def test_a_size_is_kept_for_a_week_and_then_half_forgotten(days: float, series: int) -> None:
    assert kept(Limit.SERIES_A_CALL, 20, days * DAY) == (0.12, series)


def test_a_remembered_delay_that_holds_for_two_minutes_is_shortened_as_after_a_429() -> None:
    clock = Clock()
    pace = Pace(0.1, clock=clock, sleep=clock.sleep)
    pace.resume(0.45)
    delays = []
    for _ in range(3):
        clock.sleep(130)
        pace.accepted(clock())
        delays.append(pace.delay)
    assert delays == pytest.approx([0.375, 0.3375, 0.31875])  # towards 0.3, which was refused once


def call(metric: str, coins: int, path: str = "path") -> Call:
    targets = [Target(f"coin-{number}", metric, f"coin-{number}") for number in range(coins)]
    return Call(path, tuple(targets), NO_DAYS)


def test_a_call_that_failed_while_one_as_large_had_an_answer_was_not_too_large() -> None:
    halves = [call("FEES", 20), call("FEES", 20, "other")]
    assert size_limit([halves], {*halves, call("PRICE", 100)}) == 20  # prices may be another matter
    assert size_limit([halves], {*halves, call("FEES", 39)}) == 20
    assert size_limit([halves], {*halves, call("FEES", 40)}) is None
    assert size_limit([halves], {halves[0]}) is None


def test_a_limit_of_one_account_is_none_of_another(database: Database, rows: Rows) -> None:
    with FakeApi(rate_limit=3, rate_window=0.3) as api:
        pull(api, database, COINS[:1], Pace(0.01), days=6_000)
        accounts = [Artemis(key, f"{api.url}/artemis").account for key in ("key", "other")]
    assert rows("SELECT account FROM api_limits") == [(accounts[0],)]
    assert accounts[0] != accounts[1]


@pytest.mark.usefixtures("one_try")
def test_a_fresh_start_may_begin_where_the_api_answers_smaller_calls_alone() -> None:
    with FakeApi(most_series=12) as api:
        window = Window(this_midnight() - 7 * DAY, this_midnight())
        made = make_job(Artemis("key", f"{api.url}/artemis"), Verb.BACKFILL, COINS, window)
        check_api(made, threading.Event(), Pace(0.0))
        assert [request.status for request in api.requests] == [500, 500, 200]
