"""What was known at an instant, against naive models of random histories."""

import random
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
from db.setup import Database, ensure_schema
from db.store import Store
from model.values import DAY, DataPoint, Target, Verb, Window, midnight
from tests.tables import BACKFILL, START, Rows, known_at, now, point, points_of_series, this_midnight

SETTLE = Verb.SETTLE
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
    with closing(Store(database, "defillama", SETTLE)) as store:
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
        assert points_known_at(session, source, this_midnight() + DAY) == {
            key: table[key] for key in table if key[2] < this_midnight() + DAY
        }


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
            (source, verb, stack.enter_context(closing(Store(database, source, verb))))
            for source in SOURCES
            for verb in Verb
        ]


def load(chance: random.Random, source: str, verb: Verb, store: Store, *, last_day: int, fails: bool) -> Load:
    """A run of one load of random points, of days up to so many after today."""
    pull_id = store.begin_run()
    points = [
        DataPoint(
            chance.choice(ASSETS), chance.choice(METRICS), this_midnight() + chance.randint(-6, last_day) * DAY, value
        )
        for value in chance.choices((1.0, 2.0, 3.0), k=chance.randint(1, 8))
    ]
    if fails:
        with pytest.raises(psycopg2.errors.CheckViolation):
            store.load([*points, DataPoint(POISON, "TVL", START + pull_id * DAY, 1.0)])
        return Load(source, verb, points, pull_id, None)
    return Load(source, verb, points, pull_id, store.load(points))


def points_known_at(session: Connection, source: str, as_of: datetime) -> dict[Point, float | None]:
    """All that was known of a source at an instant."""
    with session.cursor() as cursor:
        return {
            (asset, metric, at): value
            for asset in (*ASSETS, POISON)
            for metric in METRICS
            for window in (
                Window(START, this_midnight() - 2 * DAY),
                Window(this_midnight() - 2 * DAY, this_midnight() + 9 * DAY),
            )
            for at, value in points_of_series(cursor, source, asset, metric, *window, as_of)
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
            assert (counts.new, counts.changed <= sum(one.at >= this_midnight() for one in each.points)) == (0, True)
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
            assert points_known_at(session, source, instant) == closed, instant
    assert len(times) > 20
    assert rows("SELECT count(*) > 10, count(DISTINCT source) FROM revisions") == [(True, 2)]
    assert sum(each.counts is None for each in history) > 3
