"""Limits of an API that one run finds: later runs keep to them, and forget them slowly."""

import threading
from datetime import timedelta

import pytest

from db.api_limits import ApiLimit
from db.setup import Database
from model.values import DAY, Target, Verb, Window
from pipeline.api_limits import HALF_FORGOTTEN, remembered
from pipeline.plan import make_job
from pipeline.run import run
from pipeline.summary import Summary
from sources.artemis import Artemis
from sources.pace import Pace
from tests.fake_api import FakeApi
from tests.tables import Rows, this_midnight

COINS = [Target(f"coin-{number}", "PRICE", f"coin-{number}") for number in range(40)]
LIMITS = "SELECT name, value FROM api_limits WHERE source = 'artemis'"


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
def test_a_size_at_which_calls_fail_is_not_found_out_again_by_the_next_run(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fake_api.artemis.MOST_SYMBOLS", 12)
    with FakeApi() as api:
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
    with FakeApi() as api:
        pull(api, database, COINS[:1], later)
    assert later.delay == pytest.approx(delay)


def test_half_of_a_limit_is_forgotten_after_each_week() -> None:
    limit = ApiLimit(0.52, this_midnight())
    waits = [remembered(limit, 0.12, this_midnight() + age) for age in (timedelta(), 0.9 * HALF_FORGOTTEN)]
    assert waits == pytest.approx([0.52, 0.52])
    assert remembered(limit, 0.12, this_midnight() + HALF_FORGOTTEN) == pytest.approx(0.32)
    assert remembered(limit, 0.12, this_midnight() + 3 * HALF_FORGOTTEN) == pytest.approx(0.17)
    assert remembered(limit, 0.12, this_midnight() - DAY) == pytest.approx(0.52)  # a clock that was ahead
