"""Which answers a run believes: impossible ones are refused, and the days are requested again."""

import json
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from typing import Any

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.coverage import SeriesMap
from db.database import Database
from db.points import ages
from db.store import Store
from model.values import DAY, Answered, DataPoint, Target, Verb, Window
from pipeline.plan import Scope, make_job
from pipeline.run import run
from pipeline.summary import Summary
from sources.defillama import DefiLlama
from sources.pace import Pace
from tests.tables import PULL, Rows, this_midnight
from tests.wire import Wire, reply

TVL = Target("Ethereum", "CHAIN_TVL", "Ethereum", "chain")
FEES = Target("aave", "FEES", "aave", "protocol")
LONG = 40  # days of a window
NAN = float("nan")


class Series:
    """One series and the answers that its runs get."""

    def __init__(self, database: Database, target: Target) -> None:
        self.database, self.target = database, target

    def run(
        self,
        payload: object,
        scope: Scope = Scope.MISSING,
        verb: Verb = Verb.BACKFILL,
        days: int = LONG,
        end: datetime | None = None,
    ) -> Summary:
        """A run whose calls for points get this answer."""
        end = end or this_midnight() + (DAY if verb is Verb.PULL else 0 * DAY)
        lists = [reply(b"[]")] if self.target.kind == "protocol" and verb is Verb.BACKFILL else []  # of identities
        with Wire(*lists, reply(json.dumps(payload).encode())) as wire:
            source = DefiLlama("", wire.url)
            made = make_job(source, verb, [self.target], Window(end - days * DAY, end), scope)
            return run(made, self.database, threading.Event(), str, Pace(0.0))

    def missing(self) -> set[int]:
        """The days that a backfill of the long window would request, as days before today."""
        with closing(Store(self.database, "defillama", PULL)) as store:
            windows = store.missing([self.target], Window(this_midnight() - LONG * DAY, this_midnight())).values()
        return {this_midnight().toordinal() - day for parts in windows for part in parts for day in part.ordinals}

    def map(self) -> SeriesMap:
        """What gaps shows."""
        with closing(Store(self.database, "defillama", PULL)) as store:
            (found,) = store.maps(this_midnight(), {})
        return found


def history(*ago: int, value: Callable[[int], object] = float, scale: int = 1) -> list[dict[str, Any]]:
    """The history of a chain: a row for each of these days before today."""
    return [
        {"date": int((this_midnight() - day * DAY).timestamp()) * scale, "tvl": value(day)}
        for day in sorted(ago, reverse=True)
    ]


def all_days(first: int = 1, last: int = LONG) -> range:
    """The days of the long window, as days before today."""
    return range(first, last + 1)


@pytest.fixture
def tvl(database: Database) -> Series:
    """A series with a history."""
    return Series(database, TVL)


@pytest.fixture
def another_day(rows: Rows) -> Callable[[], object]:
    """Makes what was refused so far be refused a day earlier."""
    return lambda: rows("UPDATE refused SET last_on = last_on - 1 RETURNING 1")


def stored(rows: Rows) -> int:
    """The number of stored points."""
    number: int = rows("SELECT count(*) FROM metrics")[0][0]
    return number


def test_days_whose_value_is_no_number_are_not_covered_and_the_call_has_failed(tvl: Series, rows: Rows) -> None:
    spoiled = {day for day in all_days() if day % 3 == 0}
    summary = tvl.run(history(*all_days(), value=lambda day: NAN if day in spoiled else 1.5))
    assert (summary.status, summary.failed, summary.exit_code) == ("error", 1, 1)
    assert (stored(rows), tvl.missing()) == (LONG - len(spoiled), spoiled)
    [(failure,)] = rows("SELECT failure FROM pulls")
    assert failure == (
        "api/v2/historicalChainTvl/Ethereum: refused for Ethereum CHAIN_TVL: not a number: 13 days, "
        "value nan is not finite; the next run requests this again"
    )
    assert tvl.run(history(*all_days())).status == "success"
    assert (stored(rows), tvl.missing(), rows("SELECT FROM refused")) == (LONG, set(), [])


@pytest.mark.parametrize("scale", [1000, -1, 0])
def test_points_without_a_possible_date_cover_no_day(scale: int, tvl: Series, rows: Rows) -> None:
    summary = tvl.run(history(*all_days(), scale=scale))
    assert (summary.status, stored(rows), tvl.missing()) == ("error", 0, {*all_days()})
    [(failure,)] = rows("SELECT failure FROM pulls")
    assert "refused for Ethereum CHAIN_TVL: no possible date: 40 points, " in failure


def test_one_point_without_a_possible_date_leaves_the_days_with_a_point_covered(tvl: Series) -> None:
    summary = tvl.run([*history(*all_days(first=3)), {"date": "soon", "tvl": 1.0}])
    assert (summary.status, summary.received, tvl.missing()) == ("error", LONG - 2, {1, 2})


def test_a_point_outside_the_window_that_cannot_be_true_is_of_no_concern(tvl: Series) -> None:
    summary = tvl.run(history(*all_days(last=LONG + 9), value=lambda day: NAN if day > LONG else 1.0))
    assert (summary.status, tvl.missing()) == ("success", set())


@pytest.mark.parametrize("rows_without_value", [(), (1,)])
def test_an_answer_without_any_point_takes_nothing_from_a_series_that_has_values(
    rows_without_value: tuple[int, ...], tvl: Series, rows: Rows, another_day: Callable[[], object]
) -> None:
    nothing = history(*rows_without_value, value=lambda _: None)
    tvl.run(history(*all_days()))
    before = tvl.map()
    for _ in range(3):
        summary = tvl.run(nothing, Scope.FULL)
        assert (summary.status, summary.counts.withdrawn) == ("error", 0)
        assert "refused for Ethereum CHAIN_TVL: stored days are missing: 40 days; " in next(iter(summary.failures))
        assert tvl.map() == before
        another_day()
    summary = tvl.run(nothing, Scope.FULL)  # the same on a fourth day
    assert (summary.status, summary.exit_code, summary.counts.withdrawn, stored(rows)) == ("no_data", 0, 0, LONG)
    summary = tvl.run(nothing, Scope.FULL, verb=Verb.SETTLE)  # now a person must decide
    assert (summary.status, summary.exit_code, summary.counts.withdrawn, stored(rows)) == ("no_data", 1, 0, LONG)
    assert summary.warnings == [
        f"defillama Ethereum CHAIN_TVL: the API no longer has {LONG} days, such as {this_midnight() - DAY:%Y-%m-%d}: "
        "waits for a person: python main.py check defillama"
    ]
    assert (tvl.missing(), tvl.map()) == (set(), before)


@pytest.mark.parametrize(("left_out", "believed"), [(3, True), (4, False)])
def test_an_answer_may_withdraw_a_few_days_only(left_out: int, believed: bool, tvl: Series) -> None:
    tvl.run(history(*all_days()))
    summary = tvl.run(history(*all_days(first=left_out + 1)), Scope.FULL)
    assert summary.status == ("success" if believed else "error")
    assert summary.counts.withdrawn == (left_out if believed else 0)


def test_nothing_for_a_series_without_values_counts_when_an_answer_of_another_day_agrees(
    database: Database, another_day: Callable[[], object]
) -> None:
    fees = Series(database, FEES)
    for scope in (Scope.MISSING, Scope.FULL):  # on one day
        summary = fees.run({"totalDataChart": None}, scope)
        assert (summary.status, summary.exit_code, summary.unconfirmed) == ("no_data", 0, {("aave", "FEES")})
        assert (fees.missing(), summary.calls) == (set(), 2)  # with the list of protocols; not again today
    another_day()
    assert fees.missing() == {*all_days()}
    summary = fees.run({"totalDataChart": None})
    assert (summary.status, summary.unconfirmed, fees.missing()) == ("no_data", set(), set())


def test_nothing_for_a_week_counts_at_once_and_for_longer_does_not(database: Database) -> None:
    fees = Series(database, FEES)
    week = fees.run({"totalDataChart": None}, days=7)
    assert (week.unconfirmed, fees.missing()) == (set(), {*all_days(first=8)})
    assert fees.run({"totalDataChart": None}, days=15).unconfirmed == {("aave", "FEES")}  # eight more days


def test_a_history_that_begins_late_counts_at_once(tvl: Series) -> None:
    summary = tvl.run(history(*all_days(last=10)))
    assert (summary.status, summary.unconfirmed, tvl.missing()) == ("success", set(), set())


def test_a_long_window_without_a_value_is_believed_before_a_history_and_not_after_it(database: Database) -> None:
    tvl, stable = Series(database, TVL), Series(database, TVL._replace(asset="Tron", id="Tron"))
    tvl.run(history(*all_days(last=5)), days=5)
    assert tvl.run([], end=this_midnight() - 5 * DAY).unconfirmed == {("Ethereum", "CHAIN_TVL")}
    stable.run(history(*all_days(first=30)), days=20, end=this_midnight() - 20 * DAY)
    after = stable.run([], days=20)
    assert after.status == "error"
    assert "no value in a long window: 20 days, though" in "".join(after.failures)


def test_only_a_live_value_without_a_history_answers_for_today(database: Database, rows: Rows) -> None:
    Series(database, FEES._replace(metric="FEES_24H")).run(
        {"protocols": [{"slug": "aave", "total24h": 5}]}, Scope.FULL, Verb.PULL, days=1
    )
    Series(database, TVL).run([{"name": "Ethereum", "tvl": 1.5}], Scope.FULL, Verb.PULL, days=1)
    assert rows("SELECT metric_name, isempty(answered) FROM coverage ORDER BY 1") == [
        ("CHAIN_TVL", True),
        ("FEES_24H", False),
    ]


@pytest.mark.parametrize("metric", ["FEES", "FEES_24H"])
def test_nothing_for_a_series_that_has_a_live_value_makes_the_call_fail(metric: str, database: Database) -> None:
    with closing(Store(database, "defillama", PULL)) as store:
        store.load([DataPoint("aave", metric, this_midnight(), 1.0)], [Answered("aave", metric)])
    fees = Series(database, FEES)
    summary = fees.run({"totalDataChart": None})
    assert (summary.status, fees.missing()) == ("error", {*all_days()})
    assert "refused for aave FEES: no value in a long window: 40 days, though the series has" in next(
        iter(summary.failures)
    )


def test_an_ended_series_makes_no_run_fail(tvl: Series) -> None:
    tvl.run(history(*all_days(first=8)))  # nothing in the last week
    settled = tvl.run(history(*all_days(first=8)), Scope.FULL, Verb.SETTLE, days=10)
    assert (settled.status, tvl.missing()) == ("success", set())


def test_a_flaw_that_stays_is_shown_as_refused_and_the_run_is_well_again(
    tvl: Series, rows: Rows, another_day: Callable[[], object]
) -> None:
    flawed = history(*all_days(), value=lambda day: "n/a" if day in (5, 6) else 1.0)
    for repeats in (2, 2, 1):  # on one day
        for _ in range(repeats):
            assert (tvl.missing() >= {5, 6}, tvl.run(flawed).status) == (True, "error")
        another_day()
    assert (tvl.missing(), tvl.map().refused) == (set(), [Window(this_midnight() - 6 * DAY, this_midnight() - 4 * DAY)])
    assert tvl.map().reason == "not a number"
    assert tvl.run(flawed).calls == 0  # a backfill no longer requests them
    assert tvl.run(flawed, Scope.FULL).status == "success"  # nor does a run fail that gets them in its window
    assert tvl.run(history(*all_days()), Scope.EMPTY_GAPS).counts.new == 2  # and they can be requested
    assert (tvl.map().refused, rows("SELECT FROM refused")) == ([], [])


def test_a_live_value_that_is_never_a_number_fails_runs_on_three_days_only(
    database: Database, another_day: Callable[[], object]
) -> None:
    live = Series(database, Target("aave", "FEES_24H", "aave", "protocol"))
    payload = {"protocols": [{"slug": "aave", "total24h": "n/a"}]}
    for expected in ["error"] * 3 + ["no_data"]:
        summary = live.run(payload, Scope.FULL, Verb.PULL, days=1)
        assert summary.status == expected
        another_day()


def test_a_flaw_of_a_live_value_hides_no_day_of_the_history(tvl: Series, another_day: Callable[[], object]) -> None:
    live = [{"name": "Ethereum", "tvl": "n/a"}]
    for _ in range(3):
        assert tvl.run(live, Scope.FULL, Verb.PULL, days=1).status == "error"
        another_day()
    assert tvl.run(live, Scope.FULL, Verb.PULL, days=1).status == "no_data"
    assert tvl.missing() == {*all_days()}


def test_a_series_whose_newest_days_are_flawed_for_good_does_not_count_as_unanswered(
    tvl: Series, session: Connection, another_day: Callable[[], object]
) -> None:
    answered = []
    for _ in range(3):
        tvl.run(history(*all_days(), value=lambda day: "n/a" if day < 4 else 1.0))
        answered += [age.answered for age in ages(session.cursor(), "defillama", [TVL[:2]])]
        another_day()
    assert answered == [(this_midnight() - ago * DAY).date() for ago in (4, 4, 1)]


def test_only_what_was_refused_is_requested_again(tvl: Series) -> None:
    tvl.run(history(*all_days(), value=lambda day: NAN if day == 9 else 1.0))
    assert tvl.missing() == {9}


def test_years_before_the_first_value_of_a_pull_may_be_empty_and_the_present_may_not(tvl: Series) -> None:
    assert tvl.run([{"name": "Ethereum", "tvl": 1.5}], Scope.FULL, Verb.PULL, days=1).counts.new == 1
    past = tvl.run([], end=this_midnight() - 100 * DAY)
    assert (past.status, past.exit_code, past.unconfirmed) == ("no_data", 0, {("Ethereum", "CHAIN_TVL")})
    present = tvl.run([])
    assert (present.status, present.exit_code) == ("error", 1)
    assert "no value in a long window: 40 days, though the series has values" in "".join(present.failures)
