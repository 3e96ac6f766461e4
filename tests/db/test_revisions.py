"""Values that were replaced: kept with what replaced them, in their order, and shown."""

import re
from contextlib import closing
from datetime import timedelta

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.load import Counts
from db.revisions import RevisedSeries, Revision, largest_revisions, revised_series, revisions
from db.setup import ensure_schema
from db.store import Store
from model.values import DAY, Answered, DataPoint, Verb, Window
from tests.commands import environment, run
from tests.tables import BACKFILL, PULL, START, Opener, Rows, known_at, now, point, this_midnight

pytestmark = pytest.mark.every_postgres

SETTLE = Verb.SETTLE
KEPT = "SELECT source, asset, metric_name, pulled_at, value, pull_id FROM revisions ORDER BY replaced_at"


@pytest.mark.parametrize("verb", [PULL, SETTLE])
@pytest.mark.one_server
def test_a_replaced_value_of_a_closed_day_is_kept_in_the_same_transaction(
    verb: Verb, open_store: Opener, rows: Rows
) -> None:
    open_store(BACKFILL).load([point(value=1.0), point("bitcoin")])
    before, store = now(rows), open_store(verb)
    pull_id = store.begin_run()
    store.load([point(value=2.0), point(day=1), point("bitcoin")])
    assert rows(KEPT) == [("defillama", "solana", "TVL", START.replace(tzinfo=None), 1.0, pull_id)]
    assert rows("SELECT replaced_at BETWEEN %s AND %s FROM revisions", before, now(rows)) == [(True,)]
    assert rows("SELECT r.xmin = m.xmin FROM revisions r, metrics m WHERE m.value = 2") == [(True,)]


@pytest.mark.one_server
def test_no_value_is_replaced_where_the_old_one_can_t_be_kept(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load([point(value=1.0)])
    rows("ALTER TABLE revisions ADD CHECK (false)")
    with pytest.raises(psycopg2.errors.CheckViolation):
        open_store(SETTLE).load([point(value=2.0)])
    assert rows("SELECT value FROM metrics") == [(1.0,)]


def test_a_backfill_revises_nothing(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load([point(value=1.0)])
    assert open_store(BACKFILL).load([point(value=2.0), point(day=1)]) == Counts(new=1, kept=1)
    assert rows(KEPT) == []


@pytest.mark.parametrize(("day", "kept"), [(-1, [1.0, 2.0]), (0, []), (1, [])])
def test_overwrites_of_the_open_day_are_no_revisions(
    day: int, kept: list[float], open_store: Opener, rows: Rows
) -> None:
    store = open_store(PULL)
    store.begin_run()
    for value in (1.0, 2.0, 2.0, 3.0):
        store.load([DataPoint("solana", "TVL", this_midnight() + day * DAY, value)])
    assert [row[4] for row in rows(KEPT)] == kept
    assert rows("SELECT value FROM metrics") == [(3.0,)]


@pytest.mark.parametrize(("source", "kept"), [("defillama", [1.0]), ("artemis", [])])
def test_a_clock_that_jumped_back_does_not_open_the_day_again(
    source: str, kept: list[float], open_store: Opener, rows: Rows
) -> None:
    rows("INSERT INTO pulls (source_name, pulled_at, status) VALUES (%s, %s, 'success')", source, this_midnight() + DAY)
    store = open_store(PULL)
    store.begin_run()
    for value in (1.0, 2.0):
        store.load(
            [
                DataPoint("solana", "TVL", this_midnight(), value),
                DataPoint("solana", "TVL", this_midnight() + DAY, value),
            ]
        )
    assert [(row[3], row[4]) for row in rows(KEPT)] == [(this_midnight().replace(tzinfo=None), value) for value in kept]


@pytest.mark.parametrize("ahead", [DAY / 24, DAY, 400 * DAY])
def test_a_clock_that_was_ahead_and_was_put_back_leaves_revisions_in_their_order_and_what_is_known_now(
    ahead: timedelta, open_store: Opener, session: Connection, rows: Rows
) -> None:
    store = open_store(SETTLE)
    store.load([point(value=1.0)])
    first = now(rows)
    store.load([point(value=2.0)])
    rows("UPDATE revisions SET replaced_at = replaced_at + %s", ahead)
    between = now(rows)
    store.load([point(value=3.0)])
    with session.cursor() as cursor:
        assert [(each.old, each.new) for each in revisions(cursor, "defillama")] == [(1.0, 2.0), (2.0, 3.0)]
    then = [
        known_at(session, at, "defillama") for at in (first, between, now(rows), between + ahead, now(rows) + ahead)
    ]
    assert then == [[1.0], [1.0], [3.0], [3.0], [3.0]]


@pytest.mark.one_server
def test_revisions_from_before_they_were_numbered_are_in_the_order_of_their_times(
    database: Database, open_store: Opener, session: Connection, rows: Rows
) -> None:
    open_store(SETTLE).load([point(value=4.0)])
    rows("DROP INDEX idx_revisions_order; ALTER TABLE revisions DROP COLUMN id CASCADE;"
         "CREATE INDEX idx_revisions_point ON revisions (source, asset, metric_name, pulled_at, replaced_at);"
         "INSERT INTO revisions SELECT 'defillama', 'solana', 'TVL', '2024-01-01', value, "
         "timestamp '2025-01-01' + value * interval '1 day' FROM unnest(ARRAY[3, 1, 2]) AS value")  # fmt: skip
    for _ in range(2):
        ensure_schema(database, always=True)
        with session.cursor() as cursor:
            found = [(each.old, each.new) for each in revisions(cursor, "defillama")]
        assert found == [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]


def test_the_sample_that_a_day_s_final_value_replaces_is_a_revision(open_store: Opener, rows: Rows) -> None:
    open_store(PULL).load([point(value=1.0)])
    last = Answered("solana", "TVL", Window(START, START + DAY))
    open_store(SETTLE).load([point(day=0.4, value=2.0), point(day=0.9, value=3.0)], [last])
    assert rows("SELECT pulled_at, value FROM metrics") == [(START.replace(tzinfo=None), 3.0)]
    assert [(row[3], row[4]) for row in rows(KEPT)] == [(START.replace(tzinfo=None), 1.0)]


def test_what_replaced_a_value_is_what_the_next_revision_replaced_or_what_is_stored(
    open_store: Opener, session: Connection, database: Database, rows: Rows
) -> None:
    store = open_store(SETTLE)
    for series in ([4.0, 0.0, 5.0], [5.0, 1.0, 5.0], [2.0, 1.0, 5.0]):
        store.load([point(day=day, value=value) for day, value in enumerate(series)])
    with closing(Store(database, "artemis", PULL)) as other:
        for value in (0.0, 1.0):
            store.load([point("bitcoin", value=value)])
            other.load([point(value=value)])
    rows("UPDATE revisions SET reason = NULL")
    with session.cursor() as cursor:
        found = revisions(cursor, "defillama", ["solana"])
        times = [each.replaced_at for each in found]
        assert found == [
            Revision("solana", "TVL", START, 4.0, 5.0, times[0], None, "unknown"),
            Revision("solana", "TVL", START, 5.0, 2.0, times[1], None, "unknown"),
            Revision("solana", "TVL", START + DAY, 0.0, 1.0, times[0], None, "unknown"),
        ]
        assert times[0] < times[1]
        solana, bitcoin = revised_series(cursor, "defillama")
        assert solana == RevisedSeries("solana", "TVL", 3, 2, 3, (0.25 + 0.6) / 2, 0.6, times[1])
        assert bitcoin[:7] == ("bitcoin", "TVL", 1, 1, 1, None, None)
        assert revised_series(cursor, "defillama", None, ["FEES"]) == []


def test_the_command_shows_how_often_and_by_how_much(open_store: Opener, database_url: str, rows: Rows) -> None:
    stores = open_store(BACKFILL), open_store(SETTLE)
    pull_id = stores[1].begin_run()
    for number, store in enumerate(stores):
        store.load([point("lido", value=2.0 + number), point("aave", metric="FEES", value=4.0 - number)])
    rows("UPDATE revisions SET reason = 'restated'")
    env = environment(database_url)
    title, first, second = run("main.py revisions defillama", env=env).stdout.splitlines()
    assert title == "defillama: 2 restatements of 2 series"
    words = "1 restatements of 1 of 1 points, by"
    assert first.startswith(f"  aave FEES: {words} 25.00% (median), 25.00% at most; last 2")
    assert second.startswith(f"  lido TVL: {words} 50.00% (median), 50.00% at most; last 2")
    one = run("main.py revisions defillama --asset lido --metric TVL", env=env).stdout.splitlines()
    assert one[:2] == ["defillama: 1 restatements of 1 series", second]
    assert re.fullmatch(rf"    2024-01-01 00:00:00: 2.0 until .{{19}}Z, then 3.0 \(restated, run {pull_id}\)", one[2])


def test_a_large_change_is_shown_as_a_multiple_and_a_person_in_place_of_a_run(
    open_store: Opener, database_url: str, rows: Rows
) -> None:
    store = open_store(SETTLE)
    for value in (2.0, 422.0):
        store.load([point("lido", value=value)])
    for reason, shown in (("accepted", "accepted by a person"), (None, "unknown")):
        rows("UPDATE revisions SET reason = %s, pull_id = NULL", reason)
        command = "main.py revisions defillama --asset lido --metric TVL"
        _, series, each = run(command, env=environment(database_url)).stdout.splitlines()
        assert " by 210 times the old value (median), 210 times the old value at most; last " in series
        assert each.endswith(f"then 422.0 ({shown})")


@pytest.mark.one_server
def test_a_sample_that_gave_way_to_the_value_of_its_closed_day_is_no_restatement(
    open_store: Opener, session: Connection, rows: Rows, database_url: str
) -> None:
    store = open_store(SETTLE)
    for value in range(1, 6):
        store.load([point(value=float(value))])
    store.load([point("lido")])
    store.load([point("lido", value=2.0)])
    rows("UPDATE revisions SET reason = (ARRAY['sample', 'restated', 'accepted', NULL, 'sample'])[id]")
    with session.cursor() as cursor:
        assert [each.reason for each in revisions(cursor, "defillama", ["solana"])] == [
            "sample", "restated", "accepted", "unknown",
        ]  # fmt: skip
        (series,) = revised_series(cursor, "defillama")
        assert series[:6] == ("solana", "TVL", 3, 1, 1, 1 / 3)
        largest, number = largest_revisions(cursor, "defillama", 2)
        assert ([each.reason for each, _ in largest], number) == (["restated", "accepted"], 3)
    lines = run("main.py revisions defillama --asset solana --metric TVL", env=environment(database_url)).stdout
    assert lines.startswith("defillama: 3 restatements of 1 series\n")
    assert re.findall(r"then (\S+) \((.+)\)", lines) == [
        ("3.0", "restated"),
        ("4.0", "accepted by a person"),
        ("5.0", "unknown"),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("defillama --asset lidoo", "error: defillama has no asset 'lidoo': did you mean lido?\n"),
        ("defillama --metric TVLL", "error: defillama has no metric 'TVLL': did you mean TVL?\n"),
    ],
)
def test_the_command_refuses_what_it_does_not_know(line: str, said: str, open_store: Opener, database_url: str) -> None:
    open_store(BACKFILL).load([point("lido")])
    done = run(f"main.py revisions {line}", env=environment(database_url))
    assert (done.returncode, done.stdout, done.stderr.endswith(said)) == (2, "", True), done.stderr
