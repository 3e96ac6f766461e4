"""Questions about points: whole series, the latest of each, those of a day; now, and as they were known."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db import points as ask
from db.database import Database
from db.reader import Reader
from db.store import Store
from model.values import DAY, Answered, Series, Verb, Window
from query.question import time_of
from query.time_arguments import window
from tests.tables import DONE, START, Opener, Rows, now, point, points, read

pytestmark = pytest.mark.every_postgres

ALWAYS = window(None, None)
NAMES = ["b", "a", "c", "nothing"]
WANTED = [Series("defillama", name, "TVL") for name in NAMES]


@pytest.fixture
def instants(open_store: Opener, rows: Rows) -> list[datetime | None]:
    """Before and after each of three loads, of which the last has restated values of the first; and now."""
    found = [now(rows)]
    open_store(Verb.BACKFILL).load([*points(0, 1, 2, asset="a"), *points(1, asset="b")])
    found.append(now(rows))
    open_store(Verb.BACKFILL).load([*points(3, asset="a"), *points(0, 1, asset="c"), *points(0, asset="other")])
    found.append(now(rows))
    settle = open_store(Verb.SETTLE)
    pull_id = settle.begin_run()
    settle.load([point("a", 1, 7.0), point("a", 2, 8.0), point("b", 1, 9.0), point("b", 2, 9.5)])
    settle.end_run(pull_id, DONE)
    return [*found, None]


def answer(reader: Reader, question: ask.Statement) -> list[tuple[str, datetime, float]]:
    found = sorted(read(reader, *question), key=lambda row: row[0])  # of each series the order is the database's
    return [(NAMES[number], at.replace(tzinfo=UTC), value) for number, at, value in found]


def test_a_question_for_many_series_is_answered_as_one_for_each(
    reader: Reader, instants: list[datetime | None]
) -> None:
    for as_of in instants:
        together = answer(reader, ask.of_series(WANTED, ALWAYS, as_of))
        alone = [
            (name, at.replace(tzinfo=UTC), value)
            for name, each in zip(NAMES, WANTED, strict=True)
            for _, at, value in read(reader, *ask.of_series([each], ALWAYS, as_of))
        ]
        assert together == alone


def test_values_are_those_that_were_known(reader: Reader, instants: list[datetime | None]) -> None:
    values = [[value for *_, value in answer(reader, ask.of_series(WANTED, ALWAYS, as_of))] for as_of in instants]
    assert values == [[], [1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1], [9, 9.5, 1, 7, 8, 1, 1, 1]]


def test_the_latest_is_the_last_of_the_whole_series(reader: Reader, instants: list[datetime | None]) -> None:
    for as_of in instants:
        every = answer(reader, ask.of_series(WANTED, ALWAYS, as_of))
        last = {name: (name, at, value) for name, at, value in every}
        assert answer(reader, ask.latest(WANTED, as_of)) == list(last.values())


def test_the_points_of_a_day_are_those_of_all_series(reader: Reader, instants: list[datetime | None]) -> None:
    everything = [*WANTED, Series("defillama", "other", "TVL")]
    for as_of in instants:
        for day in range(5):
            span = Window(START + day * DAY, START + (day + 1) * DAY)
            found = read(reader, *ask.of_series(everything, span, as_of))
            wanted = sorted((everything[number].asset, at, value) for number, at, value in found)
            assert sorted(read(reader, *ask.on_day("defillama", "TVL", span, as_of))) == wanted


def test_most_limits_the_points_of_each_series(reader: Reader, instants: list[datetime | None]) -> None:
    found = answer(reader, ask.of_series(WANTED, ALWAYS, instants[-1], most=2))
    assert [(name, at) for name, at, _ in found] == [
        ("b", START + DAY), ("b", START + 2 * DAY), ("a", START), ("a", START + DAY), ("c", START), ("c", START + DAY),
    ]  # fmt: skip


def test_a_copy_says_the_same_as_rows(reader: Reader, instants: list[datetime | None]) -> None:
    for as_of in instants:
        question = ask.of_series(WANTED, ALWAYS, as_of)
        found = sorted(reader.copy(*question).rows())
        assert [(NAMES[number], time_of(at), value) for number, at, value in found] == answer(reader, question)


def test_a_time_before_1970_and_one_of_microseconds_is_exact(reader: Reader, rows: Rows) -> None:
    times = [datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2024, 1, 1, 0, 0, 0, 1, tzinfo=UTC)]
    rows("INSERT INTO coverage (source, asset, metric_name) VALUES ('x', 'a', 'M')")
    for at in times:
        rows("INSERT INTO metrics (source, asset, metric_name, pulled_at, value) VALUES ('x', 'a', 'M', %s, 'NaN')", at)
    question = ask.of_series([Series("x", "a", "M")], Window(times[0], times[1] + DAY))
    assert [time_of(at) for _, at, _ in reader.copy(*question).rows()] == times


def test_what_another_source_has_loaded_makes_nothing_known(
    reader: Reader, open_store: Opener, load_artemis: Callable[..., object], rows: Rows
) -> None:
    """The ids of both sources lie in one row of numbers."""
    open_store(Verb.BACKFILL).load(points(0, asset="a"))
    between = now(rows)
    open_store(Verb.BACKFILL).load(points(0, asset="late"))
    load_artemis(point("sol", 0), point("late", 0))
    rows("UPDATE loads SET loaded_at = %s WHERE source = 'artemis'", between - DAY)
    rows("UPDATE loads SET first_id = 1, last_id = 1000 WHERE source = 'artemis'")
    day = Window(START, START + DAY)
    assert [asset for asset, *_ in read(reader, *ask.on_day("defillama", "TVL", day, between))] == ["a"]
    wanted = [Series("defillama", name, "TVL") for name in ("a", "late")]
    for question in (ask.latest(wanted, between), ask.of_series(wanted, day, between)):
        assert [number for number, *_ in read(reader, *question)] == [0]


def test_the_age_of_a_series_is_its_newest_point_and_the_last_day_that_was_answered(
    database: Database, session: Connection
) -> None:
    with closing(Store(database, "artemis", Verb.BACKFILL)) as store:
        pull_id = store.begin_run()
        answered = [Answered("a", "TVL", Window(START, START + timedelta(days=9)))]
        store.load([point("a", 1), point("a", 2), point("b", 5), point("a", 7, metric="FEES")], answered)
        store.end_run(pull_id, DONE)
    with session.cursor() as cursor:
        found = ask.ages(cursor, "artemis", [("b", "TVL"), ("a", "TVL"), ("c", "TVL")])
    assert found == [
        ask.Age("b", "TVL", START + timedelta(days=5), None),
        ask.Age("a", "TVL", START + timedelta(days=2), date(2024, 1, 9)),
        ask.Age("c", "TVL", None, None),
    ]


def test_the_age_of_a_series_says_since_when_it_is_confirmed_and_what_was_withdrawn(
    open_store: Opener, session: Connection, rows: Rows
) -> None:
    open_store(Verb.BACKFILL).load(points(0, 1, 2))
    rows("UPDATE coverage SET verified_at = '2026-11-20 04:35', withdrawn_at = '2026-11-19 04:36', "
         "withdrawn = '{[2024-01-01,2024-01-02),[2024-01-03,2024-01-04)}'")  # fmt: skip
    with session.cursor() as cursor:
        (found,) = ask.ages(cursor, "defillama", [("solana", "TVL")])
    assert found.verified_at == datetime(2026, 11, 20, 4, 35, tzinfo=UTC)
    assert (found.withdrawn, found.withdrawn_at) == (2, datetime(2026, 11, 19, 4, 36, tzinfo=UTC))


@pytest.mark.parametrize("statistics", ["missing", "of an empty table", "good"])
@pytest.mark.one_server
def test_the_newest_point_of_a_series_is_found_by_its_own_index_whatever_the_statistics(
    session: Connection, rows: Rows, statistics: str
) -> None:
    if statistics == "of an empty table":
        rows("ANALYZE metrics")
    rows(
        "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) SELECT 'artemis', a::text, 'TVL', "
        "timestamp '2024-01-01' + d * interval '1 day', 1 FROM generate_series(1, 500) a, generate_series(1, 40) d"
    )
    if statistics == "good":
        rows("ANALYZE metrics")
    assets = [str(number) for number in range(500)]
    values = {"source": "artemis", "enough": 3, "assets": assets, "metrics": ["TVL"] * len(assets)}
    with session.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS off) {ask.SQL['ages']}", values)
        plan = "\n".join(line for (line,) in cursor)
    assert "Index Only Scan Backward using idx_metrics_unique on metrics" in plan
    assert "idx_metrics_cross_section" not in plan
    assert "Sort" not in plan
