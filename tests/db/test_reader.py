"""The one read-only session: kept, shared by threads, replaced when lost, and interrupted by Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Never

import psycopg2
import pytest

import query_data as q
from db.database import Database
from db.embedded import EmbeddedServer
from db.reader import Reader
from db.setup import ensure_schema
from model.background import in_background
from model.errors import DatabaseLost
from model.values import Verb
from tests.commands import ROOT
from tests.tables import OF_SESSIONS, Opener, Rows, end, points, read
from tests.waiting import until

pytestmark = pytest.mark.cluster

SESSIONS = f"SELECT pid {OF_SESSIONS} 'crypto-metrics query %%'"
AT_WORK = f"SELECT 1 {OF_SESSIONS} 'crypto-metrics query %%' AND state = 'active'"


def test_one_session_serves_many_threads(reader: Reader, rows: Rows) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: read(reader, "SELECT %s + 0", [number])[0][0], range(200)))
    assert found == list(range(200))
    assert len(rows(SESSIONS)) == 1


def test_frames_asked_for_in_many_threads_are_each_their_own(
    open_store: Opener, database_url: str, monkeypatch: pytest.MonkeyPatch, rows: Rows
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([each for name in range(20) for each in points(*range(name), asset=f"a{name}")])
    with ThreadPoolExecutor(8) as pool:
        lengths = list(pool.map(lambda name: len(q.series(f"a{name}", "TVL")), [*range(1, 20)] * 5))
    assert lengths == [*range(1, 20)] * 5
    assert len(rows(SESSIONS)) == 1


def test_it_can_only_read(reader: Reader, rows: Rows) -> None:
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        read(reader, "INSERT INTO pulls (source_name, status) VALUES ('x', 'y') RETURNING 1")
    assert read(reader, "SELECT count(*) FROM pulls") == [(0,)]
    assert rows("SELECT count(*) FROM pulls") == [(0,)]


def test_a_statement_that_is_refused_leaves_the_session_as_it_was(reader: Reader, rows: Rows) -> None:
    before = read(reader, "SELECT pg_backend_pid()")
    with pytest.raises(psycopg2.errors.UndefinedFunction):
        reader.copy("SELECT nothing()")
    with pytest.raises(psycopg2.errors.UndefinedTable):
        reader.table("SELECT * FROM nothing")
    assert read(reader, "SELECT pg_backend_pid()") == before
    assert rows("SELECT state FROM pg_stat_activity WHERE pid = %s", before[0][0]) == [("idle",)]


def test_a_session_that_was_ended_is_replaced_without_a_message(reader: Reader, rows: Rows) -> None:
    (before,) = read(reader, "SELECT pg_backend_pid()")
    end(rows, "query")
    (after,) = read(reader, "SELECT pg_backend_pid()")
    assert before != after


def test_a_session_that_is_ended_at_each_question_is_an_error(reader: Reader) -> None:
    with pytest.raises(DatabaseLost, match="went away"):
        read(reader, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert read(reader, "SELECT 1") == [(1,)]


def test_an_embedded_server_that_has_died_is_started_again(tmp_path: Path) -> None:
    with closing(Reader(Database("", tmp_path / "postgres"))) as reader:
        assert read(reader, "SELECT 1") == [(1,)]
        pid = int((tmp_path / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        assert read(reader, "SELECT 1") == [(1,)]


@pytest.mark.one_server
def test_ctrl_c_ends_the_question_on_the_server_too(database_url: str, rows: Rows) -> None:
    code = (
        "import query_data as q\ntry:\n    q.sql('SELECT pg_sleep(60)')\nexcept KeyboardInterrupt:\n"
        "    print(q.sql('SELECT 7 AS seven').iloc[0, 0])"
    )
    environment = {**os.environ, "DATABASE_URL": database_url}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:  # noqa: S603
        until(lambda: rows(AT_WORK))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, b"7\n")


@pytest.mark.one_server
def test_ctrl_c_while_the_thread_of_a_query_starts_ends_it_too(
    reader: Reader, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(work: Callable[[], object]) -> Never:
        in_background(work)
        until(lambda: rows(AT_WORK))
        raise KeyboardInterrupt

    monkeypatch.setattr("db.reader.in_background", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reader.table("SELECT pg_sleep(60)")
    assert not rows(AT_WORK)


def test_another_database_url_is_another_database(
    server: EmbeddedServer, empty_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch, open_store: Opener
) -> None:
    ensure_schema(Database(empty_url, server.directory))
    open_store(Verb.BACKFILL).load(points(0))
    for url, number in ((database_url, 1), (empty_url, 0), (database_url, 1)):
        monkeypatch.setenv("DATABASE_URL", url)
        assert q.sql("SELECT count(*) AS number FROM metrics").to_dict("records") == [{"number": number}]


def test_a_fork_has_a_session_of_its_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch, open_store: Opener
) -> None:
    open_store(Verb.BACKFILL).load(points(0))
    monkeypatch.setenv("DATABASE_URL", database_url)
    ours = int(q.sql("SELECT pg_backend_pid()").to_numpy()[0, 0])
    inlet, outlet = os.pipe()
    if (child := os.fork()) == 0:
        os.write(outlet, str(q.sql("SELECT pg_backend_pid()").iloc[0, 0]).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    theirs = int(os.read(inlet, 99))
    os.close(inlet)
    os.close(outlet)
    assert theirs != ours
    assert int(q.sql("SELECT pg_backend_pid()").to_numpy()[0, 0]) == ours


def test_a_question_waits_for_the_one_before_it(reader: Reader, rows: Rows) -> None:
    found: list[str] = []
    slow = threading.Thread(target=lambda: found.append(read(reader, "SELECT 'slow', pg_sleep(0.3)")[0][0]))
    slow.start()
    until(lambda: rows(AT_WORK))
    found.append(read(reader, "SELECT 'quick'")[0][0])
    slow.join()
    assert found == ["slow", "quick"]


def test_a_reader_that_is_closed_has_no_session(database: Database, rows: Rows) -> None:
    reader = Reader(database)
    read(reader, "SELECT 1")
    reader.close()
    until(lambda: not rows(SESSIONS))
    Reader(database).close()  # nor one that was never asked


def test_a_snapshot_shows_one_state_in_all_its_queries_and_leaves_no_transaction(
    reader: Reader, open_store: Opener, rows: Rows
) -> None:
    count, store = "SELECT count(*) FROM metrics", open_store(Verb.BACKFILL)
    store.load(points(0))
    with reader.snapshot() as snapshot:
        store.load(points(1))
        assert [read(each, count) for each in (snapshot, snapshot, reader)] == [[(1,)], [(1,)], [(2,)]]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            snapshot.do(lambda cursor: cursor.execute("DELETE FROM metrics"))
    until(lambda: not rows(f"{SESSIONS} AND state <> 'idle'"))


def test_a_snapshot_that_has_lost_its_session_is_not_replaced(reader: Reader, rows: Rows) -> None:
    def lose() -> None:
        with reader.snapshot() as snapshot:
            end(rows, "query")
            read(snapshot, "SELECT 1")

    with pytest.raises(DatabaseLost):
        lose()
    assert read(reader, "SELECT 1") == [(1,)]
