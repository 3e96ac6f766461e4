"""Runs: their rows in pulls, and one at a time."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.database import Database
from db.lock import SQL, SessionLock, lock_keys
from db.pulls import RunEnd
from db.store import Store
from model.errors import RunRefused
from model.values import Verb
from tests.tables import BACKFILL, DONE, PULL, Opener, Rows, as_role, point, run_row
from tests.waiting import until

REPOSITORY = Path(__file__).parents[2]
LOCKS = """
SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE locktype = 'advisory' AND datname = current_database()
"""
HOLD = """
import sys
from pathlib import Path
from db.database import Database
from db.lock import SessionLock
from model.errors import RunRefused
from model.values import Verb
database = Database(sys.argv[1], Path())
sys.stdin.readline()
try:
    lock = SessionLock(database, "pull artemis")
except RunRefused as error:
    print(error, flush=True)
else:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(database_url: str) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """A function that starts a process which takes the lock of `pull artemis` once it is sent a line."""
    with ExitStack() as stack:

        def start() -> "subprocess.Popen[str]":
            command = [sys.executable, "-c", HOLD, database_url]
            pipe = subprocess.PIPE
            started = subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)  # noqa: S603
            stack.enter_context(started)
            stack.callback(started.kill)
            return started

        yield start


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def told(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_run_is_an_error_without_an_end_until_it_ends(open_store: Opener, rows: Rows) -> None:
    pull_id = open_store(PULL).begin_run()
    assert run_row(rows, pull_id) == ("defillama", "pull", "error", 0, None, None, None, None)
    assert rows("SELECT finished_at FROM pulls") == [(None,)]


def test_an_ended_run_says_what_it_did(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    pull_id = store.begin_run()
    store.end_run(pull_id, DONE)
    assert run_row(rows, pull_id) == ("defillama", "backfill", "success", 3, 2, 0, 4, None)
    assert rows("SELECT finished_at >= pulled_at FROM pulls") == [(True,)]


@pytest.mark.parametrize("status", ["success", "no_data", "error"])
def test_each_status_and_the_text_of_what_failed_are_kept(open_store: Opener, rows: Rows, status: str) -> None:
    store = open_store(PULL)
    pull_id = store.begin_run()
    store.end_run(pull_id, RunEnd(status, 0, 1, 1, 0, "it's 100 % \n gone: é币"))
    assert run_row(rows, pull_id)[2:] == (status, 0, 1, 1, 0, "it's 100 % \n gone: é币")


def test_a_failure_that_quotes_what_no_text_can_hold_is_recorded_nevertheless(open_store: Opener, rows: Rows) -> None:
    store = open_store(PULL)
    pull_id = store.begin_run()
    store.end_run(pull_id, RunEnd("error", 0, 1, 1, 0, "got \0 and \ud800"))
    assert run_row(rows, pull_id)[-1] == "got \ufffd and ?"


def test_the_next_run_says_of_a_killed_one_that_it_was(open_store: Opener, rows: Rows) -> None:
    ended, killed, other_kind = open_store(PULL), open_store(PULL), open_store(BACKFILL)
    ended.end_run(ended.begin_run(), DONE)
    other_kind.begin_run()
    first_killed = killed.begin_run()
    open_store(PULL).begin_run()
    found = rows("SELECT pull_id FROM pulls WHERE failure = 'the process ended before the run did'")
    assert found == [(first_killed,)]


def test_rows_of_the_original_specification_are_left_as_they_are(open_store: Opener, rows: Rows) -> None:
    rows("INSERT INTO pulls (source_name, status) VALUES ('defillama', 'success')")
    open_store(PULL).begin_run()
    assert rows("SELECT status, finished_at, failure FROM pulls ORDER BY pull_id")[0] == ("success", None, None)


def test_times_of_runs_are_utc_whatever_the_time_zone_of_the_server(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(f"ALTER DATABASE {rows('SELECT current_database()')[0][0]} SET timezone = 'Asia/Kathmandu'")
    monkeypatch.setenv("PGTZ", "America/St_Johns")
    with closing(Store(database, "artemis", PULL)) as store:
        store.end_run(store.begin_run(), DONE)
    now = datetime.now(UTC).replace(tzinfo=None)
    for (at,) in rows("SELECT unnest(ARRAY[pulled_at, finished_at]) FROM pulls"):
        assert abs((now - at).total_seconds()) < 60


@pytest.mark.one_server
def test_the_end_of_a_run_renews_statistics_once_the_table_has_doubled(open_store: Opener, rows: Rows) -> None:
    def known() -> object:
        return rows("SELECT reltuples FROM pg_class WHERE oid = 'metrics'::regclass")[0][0]

    rows("ALTER TABLE metrics SET (autovacuum_enabled = false)")  # which renews them too, whenever it comes by
    store = open_store(PULL)
    for loaded, expected in ((2000, 2000), (2100, 2000), (5000, 5000)):
        store.load([point(f"asset-{number}") for number in range(loaded)])
        store.end_run(store.begin_run(), DONE)
        assert known() == expected


def test_a_second_run_is_told_who_holds_the_place_and_since_when(database: Database, rows: Rows) -> None:
    lock = SessionLock(database, "pull artemis")
    with pytest.raises(RunRefused) as refused:
        SessionLock(database, "pull artemis")
    since = rows("SELECT to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') FROM pg_stat_activity "
                 "WHERE application_name LIKE '%pull artemis%'")[0][0]  # fmt: skip
    who = f"crypto-metrics pull artemis {os.getpid()}@{socket.gethostname()}"[:63]
    assert str(refused.value) == f"another pull artemis is running: {who}, since {since} UTC"
    lock.close()


def test_another_source_and_another_kind_are_not_refused(database: Database) -> None:
    held = [SessionLock(database, f"{verb} {source}") for source in ("artemis", "defillama") for verb in Verb]
    for lock in held:
        lock.close()


def test_a_place_given_up_is_free(database: Database, rows: Rows) -> None:
    for _ in range(50):
        SessionLock(database, "pull artemis").close()
    assert rows(LOCKS) == []


def test_a_holder_is_looked_for_in_the_same_database(database: Database, empty_url: str, rows: Rows) -> None:
    elsewhere = SessionLock(Database(empty_url, Path()), "pull artemis")
    lock = SessionLock(database, "pull artemis")
    assert [row[0] for row in rows(SQL["holder"], *lock_keys("pull artemis"))] == [lock._pid]
    for held in (elsewhere, lock):
        held.close()


@pytest.mark.one_server
def test_a_holder_of_another_role_is_named_though_its_times_are_hidden(
    database: Database, database_url: str, rows: Rows
) -> None:
    rows("DROP ROLE IF EXISTS second")
    rows("CREATE ROLE second LOGIN")
    lock = SessionLock(database, "pull artemis")
    other = Database(as_role(database_url, "second"), Path())
    with pytest.raises(RunRefused, match=r"pull artemis \d+@.*, since an unknown time$"):
        SessionLock(other, "pull artemis")
    lock.close()
    rows("DROP ROLE second")


def test_the_place_of_a_process_killed_is_free(holder: Callable[[], "subprocess.Popen[str]"], rows: Rows) -> None:
    first, second = holder(), holder()
    go(first)
    assert told(first) == "held"
    first.kill()
    first.wait()
    until(lambda: rows(LOCKS) == [])
    go(second)
    assert told(second) == "held"


@pytest.mark.every_postgres
def test_of_twenty_runs_started_at_once_one_holds_the_place(holder: Callable[[], "subprocess.Popen[str]"]) -> None:
    starters = [holder() for _ in range(20)]
    for starter in starters:
        go(starter)
    answers = [told(starter) for starter in starters]
    winner = starters[answers.index("held")]
    others = [answer for answer in answers if answer != "held"]
    assert len(others) == 19
    assert all(f"pull artemis {winner.pid}@" in answer for answer in others)


def test_a_load_takes_the_place_again_after_its_session_was_ended(database: Database, rows: Rows) -> None:
    with (
        closing(SessionLock(database, "pull defillama")) as lock,
        closing(Store(database, "defillama", PULL, check_place=lock.take)) as store,
    ):
        rows("SELECT pg_terminate_backend(%s, 10000)", lock._pid)
        assert store.load([point()]).new == 1
        with pytest.raises(RunRefused):
            SessionLock(database, "pull defillama")


def test_a_load_without_the_place_is_refused_and_stores_nothing(database: Database, rows: Rows) -> None:
    lock = SessionLock(database, "pull defillama")
    with closing(Store(database, "defillama", PULL, check_place=lock.take)) as store:
        rows("SELECT pg_terminate_backend(%s, 10000)", lock._pid)
        with closing(SessionLock(database, "pull defillama")), pytest.raises(RunRefused):
            store.load([point()])
    assert rows("SELECT FROM metrics") == []
