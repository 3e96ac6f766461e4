"""What db/health.py asks of a real database: runs, requests, and how old each series is."""

from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db import health
from db.setup import Database
from db.store import Store
from model.values import Answered, Verb, Window
from tests.tables import DONE, START, Rows, point

KINDS = [(name, verb.value) for name in ("artemis", "defillama") for verb in (Verb.PULL, Verb.SETTLE, Verb.BACKFILL)]


def test_how_runs_last_went_is_told_for_each_kind(session: Connection, rows: Rows) -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    runs = [  # hours since `at`, of begin and end; status, failure, whether it is scheduled
        ("pull", 0, 1, "success", None, True),
        ("pull", 1, 2, "error", "old", True),
        ("pull", 2, 3, "no_data", None, False),
        ("pull", 3, 4, "error", "HTTP 500", True),
        ("pull", 4, 5, "error", "by hand", False),
        ("pull", 5, 6, "error", "stopped before 3 calls were made", True),
        ("pull", 6, None, "error", "the process ended before the run did", True),
        ("pull", 7, 8, "error", "HTTP 502; stopped before 3 calls were made", True),
        ("pull", 9, None, "error", None, True),
        ("settle", 0, 1, "error", "HTTP 500", True),
        ("settle", 1, 2, "success", None, False),
    ]
    for kind, began, ended, status, failure, scheduled in runs:
        begin = at + began * timedelta(hours=1)
        rows(
            "INSERT INTO pulls (source_name, kind, pulled_at, finished_at, status, failure, slot) "
            "SELECT 'artemis', %s, %s, %s, %s, %s, %s",
            kind,
            begin.replace(tzinfo=None),
            ended and (at + ended * timedelta(hours=1)).replace(tzinfo=None),
            status,
            failure,
            begin.replace(tzinfo=None) if scheduled else None,
        )
    hours = [at + hour * timedelta(hours=1) for hour in range(10)]
    with session.cursor() as cursor:
        found = health.last_runs(cursor, KINDS)
    assert found["artemis", "pull"] == health.LastRuns(
        began_well=hours[2],
        succeeded=hours[3],
        failed=hours[7],
        failure="HTTP 502; stopped before 3 calls were made",
        failures=2,
        failing_since=hours[3],
        running_since=hours[9],
        ended=hours[8],
    )
    settled = health.LastRuns(hours[1], hours[2], hours[0], "HTTP 500", 0, None, None, hours[2])
    assert found["artemis", "settle"] == settled
    assert found["defillama", "pull"] == health.LastRuns()


def test_requests_are_counted_of_the_last_24_hours_alone(session: Connection, rows: Rows) -> None:
    for hours in (1, 23, 25):
        rows(
            "INSERT INTO pulls (source_name, status, calls, failed_calls, pulled_at) "
            "VALUES ('artemis', 'success', 10, 1, (now() AT TIME ZONE 'UTC') - %s * interval '1 hour')",
            hours,
        )
    rows("INSERT INTO pulls (source_name, status) VALUES ('artemis', 'error')")  # which is under way
    with session.cursor() as cursor:
        assert health.last_day(cursor, "artemis") == (20, 2)
        assert health.last_day(cursor, "defillama") == (0, 0)


def test_the_age_of_a_series_is_its_newest_point_and_the_last_day_that_was_answered(
    database: Database, session: Connection
) -> None:
    with closing(Store(database, "artemis", Verb.BACKFILL, hold=lambda: None)) as store:
        pull_id = store.begin_run()
        answered = [Answered("a", "TVL", Window(START, START + timedelta(days=9)))]
        store.load([point("a", 1), point("a", 2), point("b", 5), point("a", 7, metric="FEES")], answered)
        store.end_run(pull_id, DONE)
    with session.cursor() as cursor:
        found = health.ages(cursor, "artemis", [("b", "TVL"), ("a", "TVL"), ("c", "TVL")])
    assert found == [
        health.Age("b", "TVL", START + timedelta(days=5), None),
        health.Age("a", "TVL", START + timedelta(days=2), date(2024, 1, 9)),
        health.Age("c", "TVL", None, None),
    ]


@pytest.mark.parametrize("statistics", ["missing", "of an empty table", "good"])
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
    values = {"source": "artemis", "assets": assets, "metrics": ["TVL"] * len(assets)}
    with session.cursor() as cursor:
        cursor.execute(f"EXPLAIN (COSTS off) {health.AGES}", values)
        plan = "\n".join(line for (line,) in cursor)
    assert "Index Only Scan Backward using idx_metrics_unique on metrics" in plan
    assert "idx_metrics_cross_section" not in plan
    assert "Sort" not in plan
