"""Revisions, and what was known when: a replaced value of a closed day is kept, and no instant is told differently."""

import random
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.load import Counts
from db.revisions import Restated, Revision, restated, revisions, values
from db.setup import Database, ensure_schema
from db.store import Store
from pipeline.values import DAY, Answered, DataPoint, Target, Verb, Window, midnight
from tests.commands import environment, run
from tests.tables import BACKFILL, PULL, START, Opener, Rows, point

SETTLE = Verb.SETTLE
KEPT = "SELECT source, asset, metric_name, pulled_at, value, pull_id FROM revisions ORDER BY replaced_at"
TODAY = midnight(datetime.now(UTC))
MICROSECOND = timedelta(microseconds=1)
SOURCES, ASSETS, METRICS = ("artemis", "defillama"), ("a", "b"), ("TVL", "FEES")
POISON = "poison"  # an asset whose load fails after its points, its revisions and its range of ids are written
POISONED = f"ALTER TABLE coverage ADD CHECK (asset <> '{POISON}')"
INSTANTS = "SELECT pull_id, loaded_at FROM loads UNION SELECT pull_id, replaced_at FROM revisions"
AGE = "UPDATE loads SET loaded_at = loaded_at - %s; UPDATE revisions SET replaced_at = replaced_at - %s"

Point = tuple[str, str, datetime]  # asset, metric, time
Known = dict[str, dict[Point, float]]  # by source


class Load(NamedTuple):
    """One load of a history; `counts` is None where it failed."""

    source: str
    verb: Verb
    points: Sequence[DataPoint]
    pull_id: int
    counts: Counts | None

    def after(self, known: Known) -> Known:
        """What is known after it, by the conflict rule of its verb."""
        table, mine = known[self.source], {(each.asset, each.metric, each.at): each.value for each in self.points}
        return known | {self.source: mine | table if self.verb is BACKFILL else table | mine}


def now(rows: Rows) -> datetime:
    """The database's clock."""
    at: datetime = rows("SELECT clock_timestamp()")[0][0]
    return at.astimezone(UTC)


def known_at(session: Connection, as_of: datetime, source: str) -> list[float | None]:
    """The values of one series as they were known at an instant."""
    with session.cursor() as cursor:
        return [value for _, value in values(cursor, source, "solana", "TVL", START, TODAY, as_of)]


@pytest.mark.parametrize("verb", [PULL, SETTLE])
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


@pytest.mark.parametrize(("day", "kept"), [(TODAY - DAY, [1.0, 2.0]), (TODAY, []), (TODAY + DAY, [])])
def test_overwrites_of_the_open_day_are_no_revisions(
    day: datetime, kept: list[float], open_store: Opener, rows: Rows
) -> None:
    store = open_store(PULL)
    store.begin_run()
    for value in (1.0, 2.0, 2.0, 3.0):
        store.load([DataPoint("solana", "TVL", day, value)])
    assert [row[4] for row in rows(KEPT)] == kept
    assert rows("SELECT value FROM metrics") == [(3.0,)]


@pytest.mark.parametrize(("source", "kept"), [("defillama", [1.0]), ("artemis", [])])
def test_a_clock_that_jumped_back_does_not_open_the_day_again(
    source: str, kept: list[float], open_store: Opener, rows: Rows
) -> None:
    rows("INSERT INTO pulls (source_name, pulled_at, status) VALUES (%s, %s, 'success')", source, TODAY + DAY)
    store = open_store(PULL)
    store.begin_run()
    for value in (1.0, 2.0):
        store.load([DataPoint("solana", "TVL", TODAY, value), DataPoint("solana", "TVL", TODAY + DAY, value)])
    assert [(row[3], row[4]) for row in rows(KEPT)] == [(TODAY.replace(tzinfo=None), value) for value in kept]


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


def test_revisions_from_before_they_were_numbered_are_in_the_order_of_their_times(
    database: Database, open_store: Opener, session: Connection, rows: Rows
) -> None:
    open_store(SETTLE).load([point(value=4.0)])
    rows("DROP INDEX idx_revisions_order; ALTER TABLE revisions DROP COLUMN id;"
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
    open_store: Opener, session: Connection, database: Database
) -> None:
    store = open_store(SETTLE)
    for series in ([4.0, 0.0, 5.0], [5.0, 1.0, 5.0], [2.0, 1.0, 5.0]):
        store.load([point(day=day, value=value) for day, value in enumerate(series)])
    with closing(Store(database, "artemis", PULL, hold=lambda: None)) as other:
        for value in (0.0, 1.0):
            store.load([point("bitcoin", value=value)])
            other.load([point(value=value)])
    with session.cursor() as cursor:
        found = revisions(cursor, "defillama", ["solana"])
        times = [each.replaced_at for each in found]
        assert found == [
            Revision("solana", "TVL", START, 4.0, 5.0, times[0], None),
            Revision("solana", "TVL", START, 5.0, 2.0, times[1], None),
            Revision("solana", "TVL", START + DAY, 0.0, 1.0, times[0], None),
        ]
        assert times[0] < times[1]
        solana, bitcoin = restated(cursor, "defillama")
        assert solana == Restated("solana", "TVL", 3, 2, 3, (0.25 + 0.6) / 2, 0.6, times[1])
        assert bitcoin[:7] == ("bitcoin", "TVL", 1, 1, 1, None, None)
        assert restated(cursor, "defillama", None, ["FEES"]) == []


def test_the_command_shows_how_often_and_by_how_much(open_store: Opener, database_url: str) -> None:
    stores = open_store(BACKFILL), open_store(SETTLE)
    pull_id = stores[1].begin_run()
    for number, store in enumerate(stores):
        store.load([point("lido", value=2.0 + number), point("aave", metric="FEES", value=4.0 - number)])
    env = environment(database_url)
    title, first, second = run("main.py revisions defillama", env=env).stdout.splitlines()
    assert title == "defillama: 2 revisions of 2 series"
    words = "1 revisions of 1 of 1 points, by"
    assert first.startswith(f"  aave FEES: {words} 25.00% (median), 25.00% at most; last 2")
    assert second.startswith(f"  lido TVL: {words} 50.00% (median), 50.00% at most; last 2")
    one = run("main.py revisions defillama --asset lido --metric TVL", env=env).stdout.splitlines()
    assert one[:2] == ["defillama: 1 revisions of 1 series", second]
    assert re.fullmatch(rf"    2024-01-01 00:00:00: 2.0 until .{{19}}Z, then 3.0 \(run {pull_id}\)", one[2])


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


def test_rows_that_stood_there_before_an_upgrade_are_known_from_it_on(
    database: Database, session: Connection, rows: Rows
) -> None:
    rows("DROP TABLE loads, coverage, revisions")
    rows("INSERT INTO metrics (source, asset, metric_name, pulled_at, value) SELECT source, 'solana', 'TVL', at, 1.0 "
         "FROM generate_series(timestamp '2024-01-01', '2024-01-09', '1 day') at, "
         "unnest(ARRAY['defillama', 'artemis']) source")  # fmt: skip
    before = now(rows)
    assert ensure_schema(database, always=True)
    after = now(rows)
    with closing(Store(database, "defillama", SETTLE, hold=lambda: None)) as store:
        store.load([point(value=2.0), point(day=50)])
        assert store.missing([Target("solana", "TVL", "solana")], Window(START, START + DAY)) != {}
    latest = now(rows)
    ensure_schema(database, always=True)
    for source, known in (("defillama", [2.0, *[1.0] * 9]), ("artemis", [1.0] * 9)):
        assert known_at(session, before, source) == []
        assert known_at(session, after, source) == [1.0] * 9
        assert known_at(session, latest, source) == known_at(session, now(rows), source) == known
    assert rows("SELECT source, row_count FROM coverage ORDER BY 1") == [("artemis", 9), ("defillama", 10)]


@pytest.mark.parametrize("seed", range(3))
def test_as_of_every_instant_is_what_a_naive_model_knew_then(
    seed: int, database: Database, session: Connection, rows: Rows
) -> None:
    rows(POISONED)
    chance, history = random.Random(seed), list[Load]()  # noqa: S311 - repeatable numbers
    with stores(database) as opened:
        for number in range(40):
            history.append(load(chance, *chance.choice(opened), last_day=1, fails=number % 8 == 5))
            hours = timedelta(hours=chance.choice((0, 0, 0, 2, 5, 11)))  # that pass until the next one
            rows(AGE, hours, hours)
    _is_as_the_model_says(history, session, rows)
    for source, table in _states(history, rows)[-1][1].items():  # tomorrow, what is stored of today is known, too
        assert told(session, source, TODAY + DAY) == {key: table[key] for key in table if key[2] < TODAY + DAY}


def test_as_of_every_instant_is_what_a_naive_model_knew_then_where_loads_went_on_at_once(
    database: Database, session: Connection, rows: Rows
) -> None:
    rows(POISONED)

    def write(number: int, source: str, verb: Verb, store: Store) -> list[Load]:
        chance = random.Random(number)  # noqa: S311 - repeatable numbers
        return [load(chance, source, verb, store, last_day=-1, fails=each % 5 == 3) for each in range(12)]

    with stores(database) as opened, ThreadPoolExecutor(len(opened)) as threads:
        working = [threads.submit(write, number, *each) for number, each in enumerate(opened)]
        history = [each for worker in working for each in worker.result()]
    order: dict[int, int] = {pull_id: place for place, (pull_id, _) in enumerate(rows(f"{INSTANTS} ORDER BY 2"))}
    _is_as_the_model_says(sorted(history, key=lambda each: order.get(each.pull_id, 0)), session, rows)


@contextmanager
def stores(database: Database) -> Iterator[list[tuple[str, Verb, Store]]]:
    """A store for each source and verb."""
    with ExitStack() as stack:
        yield [
            (source, verb, stack.enter_context(closing(Store(database, source, verb, hold=lambda: None))))
            for source in SOURCES
            for verb in Verb
        ]


def load(chance: random.Random, source: str, verb: Verb, store: Store, *, last_day: int, fails: bool) -> Load:
    """A run of one load of random points, of days up to so many after today."""
    pull_id = store.begin_run()
    points = [
        DataPoint(chance.choice(ASSETS), chance.choice(METRICS), TODAY + chance.randint(-6, last_day) * DAY, value)
        for value in chance.choices((1.0, 2.0, 3.0), k=chance.randint(1, 8))
    ]
    if fails:
        with pytest.raises(psycopg2.errors.CheckViolation):
            store.load([*points, DataPoint(POISON, "TVL", START + pull_id * DAY, 1.0)])
        return Load(source, verb, points, pull_id, None)
    return Load(source, verb, points, pull_id, store.load(points))


def told(session: Connection, source: str, as_of: datetime) -> dict[Point, float | None]:
    """All that was known of a source at an instant."""
    with session.cursor() as cursor:
        return {
            (asset, metric, at): value
            for asset in (*ASSETS, POISON)
            for metric in METRICS
            for window in (Window(START, TODAY - 2 * DAY), Window(TODAY - 2 * DAY, TODAY + 9 * DAY))
            for at, value in values(cursor, source, asset, metric, *window, as_of)
        }


def _states(history: Sequence[Load], rows: Rows) -> list[tuple[datetime, Known]]:
    """What was known from which instant on."""
    found = rows(INSTANTS)
    instants = {pull_id: at.replace(tzinfo=UTC) for pull_id, at in found}
    assert len(found) == len(instants)  # the rows and the revisions of one load have one time
    states: list[tuple[datetime, Known]] = [(START, {source: {} for source in SOURCES})]
    for each in history:
        at, (latest, known) = instants.get(each.pull_id), states[-1]
        counts = each.counts or Counts()
        assert at is None or each.counts
        if at is None:  # it has failed, or changed nothing, or nothing but open days
            assert (counts.new, counts.changed <= sum(one.at >= TODAY for one in each.points)) == (0, True)
        if at or counts.changed:
            states.append((at or latest, each.after(known)))
    assert [at for at, _ in states] == sorted(at for at, _ in states)
    return states


def _is_as_the_model_says(history: Sequence[Load], session: Connection, rows: Rows) -> None:
    states = _states(history, rows)
    times = sorted({at for at, _ in states[1:]})
    between = [at + (after - at) / 2 for at, after in pairwise(times)]
    for instant in [at + step for at in times for step in (-MICROSECOND, MICROSECOND * 0)] + between:
        known = states[bisect_right([at for at, _ in states], instant) - 1][1]
        for source in SOURCES:
            closed = {key: value for key, value in known[source].items() if key[2] < midnight(instant)}
            assert told(session, source, instant) == closed, instant
    assert len(times) > 20
    assert rows("SELECT count(*) > 10, count(DISTINCT source) FROM revisions") == [(True, 2)]
    assert sum(each.counts is None for each in history) > 3
