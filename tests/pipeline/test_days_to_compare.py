"""Which days a settle requests: those of its window, and of some series all that were ever answered."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.store import Store
from model.values import DAY, Answered, Target, Verb, Window
from pipeline.plan import Scope, make_job, must_be_verified_since, plan_in, settle_window
from sources import SOURCES
from tests.tables import Rows, this_midnight

PRICE, DAU, TXNS = (Target("sol", metric, "sol") for metric in ("PRICE", "DAU", "TXNS"))
TVL, FEES = (Target("lido", metric, "lido", "protocol") for metric in ("TVL", "FEES"))
COIN = Target("bitcoin", "PRICE", "coingecko:bitcoin", "coin")
Planned = Callable[..., dict[tuple[str, str], int]]


@pytest.fixture
def planned(database: Database) -> Planned:
    """Plan a settle of answered series; since how many days ago it requests each one (asset, metric)."""

    def plan(source: str, answered: dict[Target, int], since: datetime | None = None) -> dict[tuple[str, str], int]:
        days = {each: Window(this_midnight() - first * DAY, this_midnight()) for each, first in answered.items()}
        with closing(Store(database, source, Verb.BACKFILL)) as store:
            store.load([], [Answered(*each[:2], window) for each, window in days.items()])
            job = make_job(
                SOURCES[source](),
                Verb.SETTLE,
                list(answered),
                settle_window(this_midnight(), 10),
                Scope.ANSWERED,
                since,
            )
            calls = plan_in(store, job).calls
        requested = [(target, call.window.start) for call in calls for target in call.targets]
        return {target[:2]: (this_midnight() - start) // DAY for target, start in reversed(requested)}

    return plan


def test_where_answers_hold_the_whole_history_all_answered_days_are_compared(planned: Planned) -> None:
    assert planned("defillama", {TVL: 900, FEES: 300, COIN: 700}) == {
        ("lido", "TVL"): 900,
        ("lido", "FEES"): 900,  # one window for all of these, so that series of one answer share a call
        ("bitcoin", "PRICE"): 10,
    }


def test_a_series_that_was_never_answered_is_requested_for_the_last_days(planned: Planned) -> None:
    assert planned("artemis", {PRICE: 0}, datetime.now(UTC)) == {("sol", "PRICE"): 10}


@pytest.mark.parametrize(("age", "first"), [(None, 300), (6.9, 300), (5.5, 10), (0, 10)])
def test_by_window_all_answered_days_are_requested_of_series_not_verified_in_the_last_seven_days(
    age: float | None, first: int, planned: Planned, rows: Rows
) -> None:
    schedule, noon = SOURCES["artemis"].SCHEDULES[Verb.SETTLE], this_midnight() + DAY / 2
    assert schedule.whole_every == 7 * DAY
    planned("artemis", {PRICE: 300})
    if age is not None:
        rows("UPDATE coverage SET verified_at = %s", noon - age * DAY)
    assert planned("artemis", {PRICE: 300}, must_be_verified_since(schedule, noon)) == {("sol", "PRICE"): first}


def test_each_series_is_requested_from_its_own_first_day(planned: Planned, rows: Rows) -> None:
    planned("artemis", {PRICE: 300, DAU: 30, TXNS: 3})
    rows("UPDATE coverage SET verified_at = %s WHERE metric_name = 'DAU'", datetime.now(UTC) - timedelta(hours=1))
    since = datetime.now(UTC) - 2 * DAY
    assert planned("artemis", {PRICE: 300, DAU: 30, TXNS: 3}, since) == {
        ("sol", "PRICE"): 300,
        ("sol", "DAU"): 10,
        ("sol", "TXNS"): 10,
    }


@pytest.mark.parametrize(("state", "first"), [("waiting", 300), ("new", 300), ("rejected", 10)])
def test_by_window_all_answered_days_are_requested_of_a_series_while_a_value_waits(
    state: str, first: int, planned: Planned, rows: Rows
) -> None:
    planned("artemis", {PRICE: 300, DAU: 300})
    rows("UPDATE coverage SET verified_at = now()")
    rows(
        "INSERT INTO quarantine (source, asset, metric_name, pulled_at, value, state, seen_at) "
        "VALUES ('artemis', 'sol', 'PRICE', %s, 9, %s, now())", this_midnight() - 40 * DAY, state,
    )  # fmt: skip
    expected = {("sol", "PRICE"): first, ("sol", "DAU"): 10}
    assert planned("artemis", {PRICE: 300, DAU: 300}, datetime.now(UTC) - DAY) == expected
