"""What a load costs, and loads at once.

The number of index entries read shows whether one key was looked up or all assets of a date were read.
"""

import json
import random
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from db import load
from db.database import Database
from db.load import Counts, take_turn
from db.statements import Cursor, fetch_one
from db.store import Store
from model.background import in_background
from model.values import DAY, Answered, DataPoint, Verb, Window
from tests.tables import BACKFILL, OF_SESSIONS, PULL, START, Opener, Rows, Values, grid, point
from tests.waiting import until

pytestmark = pytest.mark.every_postgres


def spent(rows: Rows, store: Store, verb: Verb = PULL) -> dict[str, int]:
    """Index entries read so far, by index; the session reports them when it ends."""
    store.close()
    until(lambda: not rows(f"SELECT {OF_SESSIONS} %s", f"%{verb} defillama%"))
    return dict(rows("SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname = 'metrics'"))


def blocks(rows: Rows) -> int:
    """Blocks of idx_metrics_unique read so far, in memory or from the disk."""
    [(count,)] = rows(
        "SELECT idx_blks_hit + idx_blks_read FROM pg_statio_user_indexes WHERE indexrelname = 'idx_metrics_unique'"
    )
    return int(count)


@pytest.mark.one_server
def test_a_load_reads_one_index_entry_a_point_of_a_table_never_analysed(open_store: Opener, rows: Rows) -> None:
    points = grid(6000, 1)
    open_store(BACKFILL).load(points)
    assert rows("SELECT reltuples FROM pg_class WHERE oid = 'metrics'::regclass") == [(-1,)]
    store = open_store(PULL)
    assert store.load(points) == Counts(unchanged=6000)
    read = spent(rows, store)
    assert read["idx_metrics_cross_section"] == 0
    assert 6000 <= read["idx_metrics_unique"] <= 3 * 6000


@pytest.mark.one_server
def test_a_load_reads_one_index_entry_a_point_where_statistics_are_old(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(grid(1, 6000))
    rows("ANALYZE metrics")
    points = [point(f"pool-{number}", 0, metric="APY") for number in range(6000)]
    open_store(BACKFILL).load(points)
    store = open_store(PULL)
    assert store.load(points) == Counts(unchanged=6000)
    read = spent(rows, store)
    assert read["idx_metrics_cross_section"] == 0
    assert read["idx_metrics_unique"] <= 3 * 6000


@pytest.mark.one_server
def test_loads_of_a_growing_history_stay_on_the_unique_index(open_store: Opener, rows: Rows) -> None:
    store = open_store(PULL)
    for part in range(3):
        store.load(grid(60, 333, first_day=333 * part))
    assert store.load(grid(60, 333, first_day=300)) == Counts(unchanged=60 * 333)
    read = spent(rows, store)
    assert read["idx_metrics_cross_section"] == 0
    assert read["idx_metrics_unique"] <= 3 * 60 * 333


@pytest.mark.one_server
def test_a_settle_reads_few_index_entries_of_a_table_never_analysed(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load([point(f"asset-{number}", 0.9, metric="APY") for number in range(6000)])
    store = open_store(Verb.SETTLE)
    later = [point(f"asset-{number}", 0.95, value=2.0, metric="APY") for number in range(6000)]
    assert store.load(later) == Counts(changed=6000)
    read = spent(rows, store, Verb.SETTLE)
    assert read["idx_metrics_cross_section"] == 0
    assert read["idx_metrics_unique"] <= 5 * 6000


@pytest.mark.one_server
def test_a_settle_of_one_metric_does_not_read_on_through_the_others_of_the_asset(
    open_store: Opener, rows: Rows
) -> None:
    points = [point(day=day, metric=f"METRIC_{number:02}") for number in range(20) for day in range(300)]
    open_store(BACKFILL).load(points)
    store = open_store(Verb.SETTLE)
    before = blocks(rows)
    assert store.load(points) == Counts(unchanged=6000)
    spent(rows, store, Verb.SETTLE)
    assert blocks(rows) - before <= 6000


@pytest.mark.one_server
def test_a_settle_of_days_whose_times_have_moved_compares_each_day_with_itself_alone(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(BACKFILL).load([point(day=day + part) for day in range(500) for part in (0, 0.3)])
    plans = []

    def with_plan(cursor: Cursor, *given: Any) -> tuple[Any, ...]:
        plans.append(json.dumps(cursor.fetchall()))
        return fetch_one(cursor, *given)

    monkeypatch.setattr(load, "FINAL_VALUES", f"EXPLAIN (ANALYZE, FORMAT JSON) {load.FINAL_VALUES}")
    monkeypatch.setattr(load, "fetch_one", with_plan)
    assert open_store(Verb.SETTLE).load([point(day=day + 0.9, value=2.0) for day in range(500)]).changed == 1000
    in_vain = [float(number) for number in re.findall(r'"Rows Removed by Join Filter": ([\d.]+)', plans[0])]
    assert sum(in_vain) <= 5000


def test_rows_are_found_however_many_a_day_has(open_store: Opener) -> None:
    points = [point(day=day / 4) for day in range(1200)]
    open_store(BACKFILL).load(points)
    more = [point(day=day / 4 + 1 / 8) for day in range(1200)]
    assert open_store(BACKFILL).load(points[::7] + more[::5]) == Counts(new=240, unchanged=172)


def own(*points: tuple[float, float], first: float = 0) -> tuple[list[DataPoint], list[Answered]]:
    """Points of some days with times of their own, each a time and a value, and the answer for two days."""
    window = Window(START + first * DAY, START + (first + 2) * DAY)
    return [point(day=day, value=value) for day, value in points], [Answered("solana", "TVL", window)]


def test_a_final_value_goes_into_the_row_of_what_was_the_day_s_last_record(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(*own((0.5, 0.0), (0.92, 1.0)))
    settled = own((0.97, 2.0), (1.97, 5.0))
    assert open_store(Verb.SETTLE).load(*settled) == Counts(new=1, changed=1)
    assert open_store(Verb.SETTLE).load(*settled) == Counts(unchanged=2)
    assert [value for (value,) in rows("SELECT value FROM metrics ORDER BY pulled_at")] == [0.0, 2.0, 5.0]
    assert rows("SELECT pulled_at, value FROM revisions") == [((START + 0.92 * DAY).replace(tzinfo=None), 1.0)]
    assert rows("SELECT found::text FROM coverage") == [("{[2024-01-01,2024-01-03)}",)]


def test_a_record_that_is_still_given_keeps_its_row_and_a_later_one_of_its_day_makes_another(
    open_store: Opener, values: Values
) -> None:
    open_store(BACKFILL).load(*own((0.92, 1.0)))
    assert open_store(Verb.SETTLE).load(*own((0.92, 1.5), (0.97, 2.0))) == Counts(new=1, changed=1)
    assert list(values().values()) == [1.5, 2.0]


def test_a_sample_and_a_former_last_record_of_a_day_both_get_its_final_value(
    open_store: Opener, values: Values
) -> None:
    open_store(BACKFILL).load(*own((0, 0.0), (0.92, 1.0)))
    assert open_store(Verb.SETTLE).load(*own((0.97, 2.0))) == Counts(changed=2)
    assert list(values().values()) == [2.0, 2.0]


def test_the_day_of_a_former_last_record_follows_from_the_times_of_its_own_points(
    open_store: Opener, values: Values
) -> None:
    answered = [Answered("solana", "TVL", Window(START, START + 2 * DAY), DAY / 2)]
    open_store(BACKFILL).load([point(day=day, value=day) for day in (-0.2, 0.6)], answered)
    settled = [point(day=0.1, value=7.0), point(day=0.9, value=8.0)]
    assert open_store(Verb.SETTLE).load(settled, answered) == Counts(changed=2)
    assert {at: value for (*_, at), value in values().items()} == {START - 0.2 * DAY: 7.0, START + 0.6 * DAY: 8.0}


@pytest.mark.parametrize(("assets", "days"), [(60, 1000), (50_000, 1)])
def test_many_points_are_loaded_at_once_however_they_are_spread(
    open_store: Opener, rows: Rows, assets: int, days: int
) -> None:
    points, store = grid(assets, days), open_store(PULL)
    random.Random(3).shuffle(points)  # noqa: S311 - a repeatable order
    assert store.load(points) == Counts(new=assets * days)
    assert store.load(points) == Counts(unchanged=assets * days)
    store.close()  # the server then counts what the session has read
    read = "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()"
    until(lambda: rows(read)[0][0] > len(points))
    assert rows(read)[0][0] < 100 * len(points)  # about 30; 500 and more where a look-up reads the whole table


def together(loads: Sequence[Callable[[], object]]) -> None:
    """Run all at once, each in a thread of its own; raises what one of them raised."""
    barrier, errors = threading.Barrier(len(loads)), []

    def run(load: Callable[[], object]) -> None:
        barrier.wait()
        try:
            load()
        except Exception as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(load,)) for load in loads]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(("writers", "rounds"), [(4, 6), pytest.param(8, 100, marks=pytest.mark.long)])
def test_concurrent_loads_in_opposite_orders_do_not_deadlock(
    open_store: Opener, values: Values, writers: int, rounds: int
) -> None:
    def writer(number: int) -> Callable[[], None]:
        store, points = open_store(PULL), grid(100, 10, float(number))
        points = [each for each in points if each.asset != f"asset-{number}"]  # so each has other series, too
        points.sort(key=lambda each: (each.asset, each.at), reverse=bool(number % 2))

        def load() -> None:
            for step in range(rounds):
                for each in points:
                    each.value = number * rounds + step
                store.load(points)

        return load

    together([writer(number) for number in range(writers)])
    stored = values()
    assert len(stored) == 1000
    common = {value for (asset, _, _), value in stored.items() if asset >= f"asset-{writers}"}
    assert len(common) == 1  # each load is whole


def test_a_pull_and_backfills_of_the_same_keys_at_once_leave_the_pulls_values(
    open_store: Opener, values: Values
) -> None:
    stores = [open_store(verb) for verb in (PULL, BACKFILL, BACKFILL)]
    loads = [partial(store.load, grid(50, 20, value)) for store, value in zip(stores, (5.0, 1.0, 2.0), strict=True)]
    together(loads)
    assert set(values().values()) == {5.0}
    assert len(values()) == 1000


@pytest.mark.parametrize(
    ("verb", "counts", "stored"),
    [(PULL, Counts(changed=1, unchanged=1), 2.0), (BACKFILL, Counts(unchanged=1, kept=1), 1.0)],
)
@pytest.mark.one_server
def test_a_row_that_another_run_was_just_inserting_is_judged_by_what_it_holds_in_the_end(
    open_store: Opener, database: Database, rows: Rows, verb: Verb, counts: Counts, stored: float
) -> None:
    ours, found = open_store(verb), list[Counts]()
    loader = threading.Thread(target=lambda: found.append(ours.load([point("a"), point("b", value=2.0)])))
    with closing(database.connect("other run")) as other, other, other.cursor() as cursor:
        cursor.execute(
            "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) "
            "SELECT 'defillama', unnest(ARRAY['a', 'b']), 'TVL', '2024-01-01', 1"
        )
        loader.start()
        until(lambda: rows("SELECT FROM pg_locks WHERE NOT granted"))
    loader.join()
    assert found == [counts]
    assert rows("SELECT asset, value FROM metrics ORDER BY asset") == [("a", 1.0), ("b", stored)]
    assert rows("SELECT ctid FROM metrics WHERE asset = 'a'") == [("(0,1)",)]  # not rewritten


def test_a_load_that_waits_for_another_one_says_for_which(
    database: Database, open_store: Opener, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.load.SILENT_SECONDS", 1)
    store = open_store(BACKFILL)
    with closing(database.connect("another load")) as session:
        take_turn(session.cursor(), "defillama")
        waiting = in_background(lambda: store.load([point()]))
        until(lambda: "waiting for another session" in caplog.text)
        assert "defillama: waiting for another session to end its load: crypto-metrics another load" in caplog.text
        assert not waiting.done()
    assert waiting.result(10).new == 1


@pytest.mark.one_server
def test_new_points_between_stored_ones_are_looked_up_by_their_key_alone(open_store: Opener, rows: Rows) -> None:
    stored, new = (
        [point(asset, day) for asset in ("a", "b") for day in days] for days in (range(0, 9000, 2), range(1, 9000, 2))
    )
    open_store(BACKFILL).load(stored)
    store = open_store(PULL)
    before = blocks(rows)
    assert store.load(new) == Counts(new=len(new))
    spent(rows, store)
    assert blocks(rows) - before <= 10 * len(new)


@pytest.mark.one_server
def test_a_backfill_of_a_table_that_holds_live_values_alone_reads_only_the_unique_index(
    open_store: Opener, rows: Rows
) -> None:
    points = grid(50, 100)
    open_store(BACKFILL).load([each for each in points if each.at >= START + 93 * DAY])
    store = open_store(PULL)
    assert store.load(points) == Counts(new=4650, unchanged=350)
    assert spent(rows, store)["idx_metrics_cross_section"] == 0
