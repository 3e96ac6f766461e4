"""What is read from the table pulls: how runs last went, and how many calls they made."""

from datetime import UTC, datetime, timedelta

from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.pulls import LastRuns, calls_of_last_day, last_runs
from model.values import Verb
from tests.tables import Rows

KINDS = [(name, verb.value) for name in ("artemis", "defillama") for verb in (Verb.PULL, Verb.SETTLE, Verb.BACKFILL)]


def test_last_runs_are_given_for_each_kind(session: Connection, rows: Rows) -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    runs = [  # hours since `at`, of begin and end; status, failure, whether it is scheduled
        ("pull", 0, 1, "success", None, True),
        ("pull", 1, 2, "error", "old", True),
        ("pull", 2, 3, "no_data", None, False),
        ("pull", 3, 4, "error", "HTTP 500", True),
        ("pull", 4, 5, "error", "by hand", False),
        ("pull", 5, 6, "error", "stopped before the last 3 calls", True),
        ("pull", 6, None, "error", "the process ended before the run did", True),
        ("pull", 7, 8, "error", "HTTP 502; stopped before the last 3 calls", True),
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
        found = last_runs(cursor, KINDS)
    assert found["artemis", "pull"] == LastRuns(
        began_well=hours[2],
        succeeded=hours[3],
        failed=hours[7],
        failure="HTTP 502; stopped before the last 3 calls",
        failures=2,
        failing_since=hours[3],
        running_since=hours[9],
        ended=hours[8],
    )
    settled = LastRuns(hours[1], hours[2], hours[0], "HTTP 500", 0, None, None, hours[2])
    assert found["artemis", "settle"] == settled
    assert found["defillama", "pull"] == LastRuns()


def test_requests_are_counted_of_the_last_24_hours_alone(session: Connection, rows: Rows) -> None:
    for hours in (1, 23, 25):
        rows(
            "INSERT INTO pulls (source_name, status, calls, failed_calls, pulled_at) "
            "VALUES ('artemis', 'success', 10, 1, (now() AT TIME ZONE 'UTC') - %s * interval '1 hour')",
            hours,
        )
    rows("INSERT INTO pulls (source_name, status) VALUES ('artemis', 'error')")  # which is under way
    with session.cursor() as cursor:
        assert calls_of_last_day(cursor, "artemis") == (20, 2)
        assert calls_of_last_day(cursor, "defillama") == (0, 0)
