"""Coverage: which days are known to be answered, kept with the points themselves, and the calls for the others."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from db.coverage import SeriesMap
from db.database import Database
from db.load import Counts
from db.store import Store
from model.values import DAY, Answered, DataPoint, Target, Verb, Window, midnight
from pipeline.plan import Plan, Scope, make_job, make_plan
from sources.artemis import Artemis
from sources.base import BaseSource
from sources.defillama import DefiLlama
from tests.commands import environment, run, today
from tests.fake_api import FakeApi
from tests.tables import BACKFILL, PULL, START, Opener, Rows, asked, days, point, points

pytestmark = pytest.mark.every_postgres

SETTLE = Verb.SETTLE
TVL, FEES, BITCOIN = Target("solana", "TVL", "sol"), Target("solana", "FEES", "sol"), Target("bitcoin", "TVL", "btc")
WRITERS, LOADS = 4, 10


def covered(rows: Rows, metric: str = "TVL") -> tuple[str, str, int]:
    """What coverage says of a metric of one asset: days answered, days found, and rows; the days of January alone."""
    query = "SELECT answered::text, found::text, row_count FROM coverage WHERE metric_name = %s"
    ((answered, found, row_count),) = rows(query, metric)
    return answered.replace("2024-01-", ""), found.replace("2024-01-", ""), row_count


@pytest.mark.parametrize("verb", list(Verb))
def test_days_with_and_without_data_are_covered_in_the_transaction_of_the_points(
    verb: Verb, open_store: Opener, rows: Rows
) -> None:
    open_store(verb).load(points(0, 2), [asked(0, 5)])
    assert covered(rows) == ("{[01,06)}", "{[01,02),[03,04)}", 2)
    assert len(rows("SELECT xmin FROM metrics UNION SELECT xmin FROM coverage")) == 1


def test_an_answer_without_a_point_is_covered_too(open_store: Opener, rows: Rows) -> None:
    assert open_store(BACKFILL).load([], [asked(0, 5)]) == Counts()
    assert covered(rows) == ("{[01,06)}", "{}", 0)


def test_answers_add_up_whatever_their_order(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(8), [asked(7, 10)])
    store.load(points(1, 2), [asked(0, 2), asked(2, 3)])
    assert covered(rows) == ("{[01,04),[08,11)}", "{[02,04),[09,10)}", 3)
    store.load(points(2, 5), [asked(2, 7)])
    assert covered(rows) == ("{[01,11)}", "{[02,04),[06,07),[09,10)}", 4)


def test_what_is_missing_is_what_was_wanted_and_not_answered(open_store: Opener) -> None:
    store = open_store(BACKFILL)
    store.load(points(1), [asked(0, 3), asked(5, 6), asked(-5, 50, metric="FEES")])
    series = [TVL, FEES, BITCOIN]
    assert store.missing(series, days(-2, 8)) == {
        ("solana", "TVL"): [days(-2, 0), days(3, 5), days(6, 8)],
        ("bitcoin", "TVL"): [days(-2, 8)],
    }
    assert store.missing(series, days(1, 3)) == {("bitcoin", "TVL"): [days(1, 3)]}
    assert store.missing([], days(0, 3)) == {}


def test_what_is_covered_of_one_source_is_missing_of_another(open_store: Opener, database: Database) -> None:
    open_store(BACKFILL).load([], [asked(0, 5)])
    other = Store(database, "artemis", BACKFILL)
    assert other.missing([TVL], days(0, 5)) == {TVL[:2]: [days(0, 5)]}
    other.close()


@pytest.mark.parametrize("table", ["metrics", "coverage", "loads"])
@pytest.mark.one_server
def test_a_load_that_fails_extends_nothing(table: str, open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(0), [asked(0, 1)])
    rows(f"ALTER TABLE {table} ADD CHECK (false) NOT VALID")
    with pytest.raises(psycopg2.errors.CheckViolation):
        store.load(points(1, 2), [asked(0, 5)])
    assert covered(rows) == ("{[01,02)}", "{[01,02)}", 1)
    assert rows("SELECT count(*) FROM metrics") == [(1,)]
    assert store.missing([TVL], days(0, 5)) == {TVL[:2]: [days(1, 5)]}


def test_a_pull_covers_the_day_of_what_exists_only_live_and_no_day_of_what_has_a_history(
    database_url: str, rows: Rows
) -> None:
    with FakeApi() as api:
        env = environment(database_url, api)
        done = run("main.py pull defillama --asset lido --metric TVL --metric FEES_24H", env=env)
    assert done.returncode == 0, done.stderr
    day = f"{{[{today()},{today() + DAY})}}"
    assert rows("SELECT metric_name, answered::text, found::text, row_count FROM coverage ORDER BY 1") == [
        ("FEES_24H", day, day, 1),
        ("TVL", "{}", "{}", 1),
    ]


def test_loads_of_one_source_at_once_lose_nothing_of_each_others_coverage(database: Database, rows: Rows) -> None:
    barrier = threading.Barrier(WRITERS)

    def write(number: int) -> None:
        store = Store(database, "defillama", (BACKFILL, PULL)[number % 2])
        barrier.wait()
        for day in range(number, WRITERS * LOADS, WRITERS):
            store.load([point(day=day), point(f"own-{number}", day)], [asked(day, day + 1)])
        store.close()

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(write, range(WRITERS)))
    whole = "{[2024-01-01,2024-02-10)}"
    query = "SELECT answered::text, found::text, row_count FROM coverage WHERE asset "
    assert rows(f"{query} = 'solana'") == [(whole, whole, WRITERS * LOADS)]
    assert rows(f"{query} LIKE 'own-%%'") == [("{}", "{}", LOADS)] * WRITERS


def test_the_rows_that_loads_have_put_are_counted_once(open_store: Opener, rows: Rows) -> None:
    open_store(PULL).load([*points(0, 1, 1), point(metric="FEES")])
    open_store(BACKFILL).load(points(1, 2, 3), [asked(0, 9)])
    open_store(SETTLE).load([point(day=3, value=7.0), point(day=4)], [asked(0, 9)])
    stored = rows("SELECT metric_name, count(*) FROM metrics GROUP BY metric_name ORDER BY 1")
    assert rows("SELECT metric_name, row_count FROM coverage ORDER BY 1") == stored == [("FEES", 1), ("TVL", 5)]


@pytest.mark.parametrize("verb", list(Verb))
def test_days_that_the_api_no_longer_has_are_counted_and_nothing_is_deleted(
    verb: Verb, open_store: Opener, rows: Rows
) -> None:
    open_store(verb).load(points(0, 1, 2, 4), [asked(0, 5)])
    assert open_store(verb).load(points(2), [asked(1, 5)]) == Counts(unchanged=1, withdrawn=2)  # of those asked for
    assert rows("SELECT count(*) FROM metrics") == [(4,)]
    assert covered(rows) == ("{[01,06)}", "{[01,02),[03,04)}", 4)


def test_a_day_that_the_api_no_longer_has_is_counted_once_and_found_again_where_it_comes_back(
    open_store: Opener, rows: Rows
) -> None:
    store = open_store(BACKFILL)
    store.load(points(0, 1, 2), [asked(0, 3)])
    for withdrawn in (2, 0):
        assert store.load(points(2), [asked(0, 3)]) == Counts(unchanged=1, withdrawn=withdrawn)
    assert store.load(points(0, 2), [asked(0, 3)]) == Counts(unchanged=2)
    assert covered(rows) == ("{[01,04)}", "{[01,02),[03,04)}", 3)


@pytest.mark.parametrize("own_times", [{}, {"TVL": DAY / 2}])
def test_a_day_that_the_api_no_longer_has_is_no_hole_while_its_row_is_there(
    own_times: dict[str, timedelta], open_store: Opener, rows: Rows
) -> None:
    store, answered = open_store(BACKFILL), [asked(0, 5, shift=own_times.get("TVL", 0 * DAY))]
    store.load(points(0, 1, 2, 4), answered)
    assert store.load(points(0, 4), answered).withdrawn == 2
    (before,) = store.maps(START + 5 * DAY, own_times)
    assert before._replace(withdrawn=[], withdrawn_at=None) == SeriesMap(
        "solana", "TVL", 4, "", [days(0, 5)], never=[], empty=[days(3, 4)], lost=[], refused=[], withdrawn=[]
    )
    rows("UPDATE coverage SET withdrawn = '{[2024-01-02,2024-01-04)}', withdrawn_at = '2026-11-20', "
         "verified_at = '2026-11-21 04:35'")  # fmt: skip
    (marked,) = store.maps(START + 5 * DAY, own_times)
    assert (marked.days, marked.empty, marked.withdrawn) == (4, [days(3, 4)], [days(1, 3)])
    assert marked.withdrawn_at == datetime(2026, 11, 20, tzinfo=UTC)
    assert marked.verified_at == datetime(2026, 11, 21, 4, 35, tzinfo=UTC)
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-02'")
    (after,) = store.maps(START + 5 * DAY, own_times)
    assert (after.days, after.empty, after.lost) == (3, [days(1, 2), days(3, 4)], [])
    assert after.withdrawn == [days(2, 3)]


def renamed(first: float, end: float, api_id: str | None) -> Answered:
    """An answer for a series, for these days, by what the API was asked for."""
    return Answered("solana", "TVL", days(first, end), api_id=api_id)


def test_what_was_answered_for_another_identifier_is_missing_and_what_came_of_an_unknown_one_is_not(
    open_store: Opener, rows: Rows
) -> None:
    store = open_store(BACKFILL)
    for known, missing in ((None, {}), ("sol", {}), (None, {}), ("wrong", {TVL[:2]: [days(0, 3)]})):
        store.load(points(0), [renamed(0, 3, known)])
        assert store.missing([TVL], days(0, 3)) == missing
    assert rows("SELECT api_id FROM coverage") == [("wrong",)]


@pytest.mark.parametrize("verb", list(Verb))
def test_the_answers_for_another_identifier_take_the_place_of_those_before(
    verb: Verb, open_store: Opener, rows: Rows
) -> None:
    store = open_store(verb)
    store.load(points(0, 1, 2), [renamed(0, 5, "wrong")])
    assert store.load(points(3, 4), [renamed(1, 6, "sol")]) == Counts(new=2)  # no day was withdrawn
    assert covered(rows) == ("{[02,07)}", "{[04,06)}", 5)
    store.load(points(6), [renamed(6, 7, "sol")])
    assert covered(rows) == ("{[02,08)}", "{[04,06),[07,08)}", 6)
    store.load([], [Answered("solana", "TVL", api_id="new")])
    assert covered(rows) == ("{}", "{}", 6)


def test_what_a_clock_that_was_ahead_has_claimed_is_dropped_with_a_warning(
    open_store: Opener, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    now = midnight(datetime.now(UTC))
    window = Window(now - 2 * DAY, now + 3 * DAY)
    future = [DataPoint("solana", name, now + day * DAY, 1.0) for name in ("TVL", "MCAP") for day in range(-2, 3)]
    open_store(BACKFILL).load(future, [Answered("solana", "TVL", window), Answered("solana", "MCAP", window)])
    store = open_store(BACKFILL)
    store.begin_run(["MCAP"])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "days after yesterday were marked as covered for 2 series" in caplog.text
    kept = rows("SELECT metric_name, upper(answered) - %s::date, upper(found) - %s::date FROM coverage", now, now)
    assert sorted(kept) == [("MCAP", 1, 1), ("TVL", 0, 0)]
    assert store.missing([TVL], window) == {TVL[:2]: [Window(now, now + 3 * DAY)]}
    caplog.clear()
    store.begin_run(["MCAP"])
    assert caplog.messages == []


def test_a_run_forgets_nothing_of_another_source(open_store: Opener, database: Database, rows: Rows) -> None:
    answered = [Answered("solana", "TVL", Window(START, START + 10_000 * DAY))]
    open_store(BACKFILL).load([], answered)
    other = Store(database, "artemis", BACKFILL)
    other.load([], answered)
    other.begin_run()
    other.close()
    assert rows("SELECT source, upper(answered) FROM coverage ORDER BY source") == [
        ("artemis", today()),
        ("defillama", (START + 10_000 * DAY).date()),
    ]


SOL = Target("sol", "PRICE", "sol")
BTC = Target("btc", "PRICE", "btc")
LIDO = Target("lido", "TVL", "lido", "protocol")
WETH = Target("weth", "PRICE", "coingecko:weth", "coin")
WINDOW = days(0, 900)


def plan(source: BaseSource, missing: Mapping[Target, Sequence[Window]], *others: Target) -> Plan:
    """The plan of a backfill of WINDOW, where this is missing of some series and nothing of the others."""
    job = make_job(source, BACKFILL, [*missing, *others], WINDOW, Scope.MISSING)
    return make_plan(job, {(target.asset, target.metric): windows for target, windows in missing.items()})


def asks(made: Plan) -> dict[Window, list[tuple[Target, ...]]]:
    """The series of each call of a plan, by window."""
    assert all(call.window == window for window, calls in made.windows.items() for call in calls)
    return {window: [call.targets for call in calls] for window, calls in made.windows.items()}


def test_series_with_the_same_missing_window_share_calls() -> None:
    many = [Target(f"coin-{number}", "PRICE", f"coin-{number}") for number in range(40)]
    made = plan(Artemis(), {target: [days(899, 900) if target is many[0] else days(0, 900)] for target in many}, SOL)
    counts = {window: [len(targets) for targets in calls] for window, calls in asks(made).items()}
    assert counts == {days(0, 900): [39], days(899, 900): [1]}


def test_a_history_that_comes_whole_is_asked_for_in_the_whole_window_and_others_for_what_is_missing() -> None:
    assert asks(plan(DefiLlama(), {LIDO: [days(3, 4), days(899, 900)], WETH: [days(899, 900)]})) == {
        WINDOW: [(LIDO,)],
        days(899, 900): [(WETH,)],
    }


def test_scattered_windows_become_one_where_that_takes_fewer_calls() -> None:
    holes = [days(number, number + 1) for number in (10, 20, 30)]
    assert asks(plan(Artemis(), {SOL: holes, BTC: holes[1:]})) == {days(10, 31): [(BTC, SOL)]}
    assert asks(plan(Artemis(), {SOL: holes[:2]})) == {hole: [(SOL,)] for hole in holes[:2]}


def test_scattered_windows_stay_apart_where_one_would_not_take_fewer_calls() -> None:
    holes = [days(0, 1), days(1500, 1501), days(2999, 3000)]  # Artemis gives a thousand days a call
    assert asks(plan(Artemis(), {SOL: holes})) == {hole: [(SOL,)] for hole in holes}


@pytest.mark.parametrize("source", [Artemis(), DefiLlama()])
def test_nothing_missing_takes_no_call(source: BaseSource) -> None:
    made = plan(source, {}, *([SOL, BTC] if isinstance(source, Artemis) else [LIDO, WETH]))
    assert (made.calls, asks(made)) == ([], {})


def test_where_nothing_is_said_of_what_is_missing_all_of_the_window_is_asked_for() -> None:
    assert asks(make_plan(make_job(Artemis(), BACKFILL, [SOL], WINDOW))) == {WINDOW: [(SOL,)]}


def test_a_lost_live_value_can_only_be_restored_or_claimed_no_longer(
    open_store: Opener, database_url: str, rows: Rows
) -> None:
    values = [point("lido", day, metric="MCAP") for day in range(4)]
    open_store(PULL).load(values, [Answered("lido", "MCAP", Window(START, START + 4 * DAY))])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-02'")
    line = "main.py gaps defillama --metric MCAP"
    done = run(line, env=environment(database_url))
    assert (done.returncode, "LOST here, though the API had them, 1 days: 2024-01-02\n" in done.stdout) == (1, True)
    assert "backfill defillama --full" not in done.stdout
    assert "python main.py gaps defillama --forget-lost stops counting the days as lost\n" in done.stdout
    assert run(f"{line} --forget-lost", env=environment(database_url)).returncode == 0
    done = run(line, env=environment(database_url))
    assert (done.returncode, "LOST" in done.stdout, "lido MCAP: 3 days" in done.stdout) == (0, False, True)
