"""What was known at an instant, against naive models of random histories."""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.load import Counts
from db.setup import ensure_schema
from db.vintages import Vintage, vintages
from model.values import DAY, DataPoint, Series, Target, Verb, Window, midnight
from tests.tables import (
    BACKFILL,
    START,
    AdoptingStore,
    Rows,
    known_at,
    now,
    point,
    points_of_series,
    this_midnight,
)

pytestmark = pytest.mark.cluster

SETTLE = Verb.SETTLE
MICROSECOND = timedelta(microseconds=1)
NEVER = datetime.max.replace(tzinfo=UTC)
SOURCES, ASSETS, METRICS = ("artemis", "defillama"), ("a", "b"), ("TVL", "FEES")
EVERY_ASSET = [f"{asset}{of}" for asset in ASSETS for of in ("", *Verb)]  # see `load`
POISON = "poison"  # an asset whose load fails after its points, its revisions and its range of ids are written
POISONED = f"ALTER TABLE coverage ADD CHECK (asset <> '{POISON}')"
# when a load has stored new rows, and when its restated values were adopted after it
INSTANTS = """
SELECT pull_id, loaded_at, false FROM loads UNION SELECT pull_id, replaced_at, reason = 'restated' FROM revisions
"""
SAMPLES = "SELECT pull_id, asset, metric_name, pulled_at FROM revisions WHERE reason = 'sample'"
AGE = "UPDATE loads SET loaded_at = loaded_at - %s; UPDATE revisions SET replaced_at = replaced_at - %s"
Point = tuple[str, str, datetime]  # asset, metric, time
Known = dict[str, dict[Point, float]]  # by source


class Load(NamedTuple):
    """One load of a history, and the adoption of what it restated; `counts` is None where it failed."""

    source: str
    verb: Verb
    points: Sequence[DataPoint]
    pull_id: int
    counts: Counts | None

    def after(self, known: Known, samples: set[Point], *, adopted: bool) -> Known:
        """What is known after it, by the conflict rule of its verb; `adopted` says whether restated values are.

        `samples` are the points of which it has replaced samples, which it does at once.
        """
        table, mine = known[self.source], {(each.asset, each.metric, each.at): each.value for each in self.points}
        if not adopted:  # values of the open day are replaced at once
            at_once = samples | {key for key in mine if key not in table or key[2] >= this_midnight()}
            mine = {key: value for key, value in mine.items() if key in at_once}
        return known | {self.source: mine | table if self.verb is BACKFILL else table | mine}


@pytest.mark.one_server
def test_rows_that_stood_there_before_an_upgrade_are_known_from_it_on(
    database: Database, session: Connection, rows: Rows
) -> None:
    rows("DROP TABLE loads, coverage, revisions CASCADE")
    rows("INSERT INTO metrics (source, asset, metric_name, pulled_at, value) SELECT source, 'solana', 'TVL', at, 1.0 "
         "FROM generate_series(timestamp '2024-01-01', '2024-01-09', '1 day') at, "
         "unnest(ARRAY['defillama', 'artemis']) source")  # fmt: skip
    before = now(rows)
    assert ensure_schema(database, always=True)
    after = now(rows)
    with closing(AdoptingStore(database, "defillama", SETTLE)) as store:
        store.load([point(value=2.0), point(day=50)])
        assert store.missing([Target("solana", "TVL", "solana")], Window(START, START + DAY)) != {}
    latest = now(rows)
    ensure_schema(database, always=True)
    for source, known in (("defillama", [2.0, *[1.0] * 9]), ("artemis", [1.0] * 9)):
        assert known_at(session, before, source) == []
        assert known_at(session, after, source) == [1.0] * 9
        assert known_at(session, latest, source) == known_at(session, now(rows), source) == known
    assert rows("SELECT source, row_count FROM coverage ORDER BY 1") == [("artemis", 9), ("defillama", 10)]


@pytest.mark.parametrize("seed", range(1))
@pytest.mark.one_server
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


@pytest.mark.one_server
def test_as_of_every_instant_is_what_a_naive_model_knew_then_where_loads_went_on_at_once(
    database: Database, session: Connection, rows: Rows
) -> None:
    rows(POISONED)

    def write(number: int, source: str, verb: Verb, store: AdoptingStore) -> list[Load]:
        chance = random.Random(number)  # noqa: S311 - repeatable numbers
        # each verb has assets of its own: no table has the order in which runs quarantine and adopt the same points
        return [load(chance, source, verb, store, last_day=-1, fails=each % 5 == 3, of=verb) for each in range(12)]

    with stores(database) as opened, ThreadPoolExecutor(len(opened)) as threads:
        working = [threads.submit(write, number, *each) for number, each in enumerate(opened)]
        history = [each for worker in working for each in worker.result()]
    _is_as_the_model_says(history, session, rows)


@contextmanager
def stores(database: Database) -> Iterator[list[tuple[str, Verb, AdoptingStore]]]:
    """A store for each source and verb."""
    with ExitStack() as stack:
        yield [
            (source, verb, stack.enter_context(closing(AdoptingStore(database, source, verb))))
            for source in SOURCES
            for verb in Verb
        ]


def load(
    chance: random.Random, source: str, verb: Verb, store: AdoptingStore, *, last_day: int, fails: bool, of: str = ""
) -> Load:
    """A run of one load of random points, of days up to so many after today, and of assets whose names end in `of`."""
    store.adopts_only = [(f"{asset}{of}", metric) for asset in ASSETS for metric in METRICS]
    pull_id = store.begin_run()
    points = [
        DataPoint(
            f"{chance.choice(ASSETS)}{of}",
            chance.choice(METRICS),
            this_midnight() + chance.randint(-6, last_day) * DAY,
            value,
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
            for asset in (*EVERY_ASSET, POISON)
            for metric in METRICS
            for window in (
                Window(START, this_midnight() - 2 * DAY),
                Window(this_midnight() - 2 * DAY, this_midnight() + 9 * DAY),
            )
            for at, value in points_of_series(cursor, source, asset, metric, *window, as_of)
        }


def vintages_of(session: Connection, source: str) -> list[tuple[Point, Vintage]]:
    """Every value that a point of a source ever had."""
    with session.cursor() as cursor:
        return [
            ((asset, metric, each.at), each)
            for asset in EVERY_ASSET
            for metric in METRICS
            for each in vintages(cursor, Series(source, asset, metric), Window(START, this_midnight() + 9 * DAY))
        ]


def _states(history: Sequence[Load], rows: Rows) -> list[tuple[datetime, Known]]:
    """What was known from which instant on."""
    found = rows(INSTANTS)
    instants = {(pull_id, adopted): at.replace(tzinfo=UTC) for pull_id, at, adopted in found}
    assert len(found) == len(instants)  # the rows that a load has written have one time
    events, latest = list[tuple[datetime, Load, bool]](), START
    for each in history:
        counts = each.counts or Counts()
        loaded, adopted = (instants.get((each.pull_id, late)) for late in (False, True))
        assert each.counts or (loaded, adopted) == (None, None)
        if loaded is None:  # it has failed, or changed nothing, or nothing but open days and what was adopted later
            assert counts.new == 0
        if (loaded, adopted) == (None, None):
            assert counts.changed <= sum(one.at >= this_midnight() for one in each.points)
        latest = loaded or latest
        events += [(latest, each, False)] if each.counts else []
        latest = adopted or latest
        events += [(latest, each, True)] if adopted else []
    samples: dict[int, set[Point]] = defaultdict(set)
    for pull_id, asset, metric, at in rows(SAMPLES):
        samples[pull_id].add((asset, metric, at.replace(tzinfo=UTC)))
    states: list[tuple[datetime, Known]] = [(START, {source: {} for source in SOURCES})]
    for at, each, late in sorted(events, key=lambda event: event[0]):
        states.append((at, each.after(states[-1][1], samples[each.pull_id], adopted=late)))
    return states


def _is_as_the_model_says(history: Sequence[Load], session: Connection, rows: Rows) -> None:
    states = _states(history, rows)
    times = sorted({at for at, _ in states[1:]})
    between = [at + (after - at) / 2 for at, after in pairwise(times)]
    had = {source: vintages_of(session, source) for source in SOURCES}
    for instant in [at + step for at in times for step in (-MICROSECOND, MICROSECOND * 0)] + between:
        known = states[bisect_right([at for at, _ in states], instant) - 1][1]
        for source in SOURCES:
            closed = {key: value for key, value in known[source].items() if key[2] < midnight(instant)}
            assert points_known_at(session, source, instant) == closed, instant
            assert closed == {
                key: each.value
                for key, each in had[source]
                if (each.known_at or NEVER) <= instant < (each.known_until or NEVER)
            }
    assert len(times) > 20
    assert rows("SELECT count(*) > 10, count(DISTINCT source) FROM revisions") == [(True, 2)]
    assert sum(each.counts is None for each in history) > 3
