"""A database that goes away in the middle of a run: one more try, nothing half-stored, the place held or lost."""

import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest

from db.database import Database
from db.load import Counts
from db.lock import SessionLock
from db.setup import ensure_schema
from db.store import Store
from model.errors import DatabaseLost, RunRefused
from model.values import Verb
from tests.tables import DONE, PULL, Opener, Rows, Values, end, point, run_row
from tests.waiting import until

DEADLY = """
CREATE SEQUENCE deaths;
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.asset = 'deadly' AND nextval('deaths') <= {times} THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER die AFTER INSERT OR UPDATE ON metrics FOR EACH ROW EXECUTE FUNCTION die();
"""


@pytest.mark.parametrize("verb", list(Verb))
def test_a_session_lost_in_the_middle_is_replaced_and_the_load_repeated_whole(
    database: Database, rows: Rows, values: Values, verb: Verb, caplog: pytest.LogCaptureFixture
) -> None:
    rows(DEADLY.format(times=1))
    seen = []
    with closing(Store(database, "defillama", verb, check_place=lambda: seen.append(values()))) as store:
        assert store.load([point("alive"), point("deadly"), point("zombie")]) == Counts(new=3)
    assert seen == [{}, {}, {}]  # before the load, after the reconnect, before the load is repeated
    assert len(values()) == 3
    (message,) = caplog.messages
    assert message == f"{database} went away: server closed the connection unexpectedly: retrying once"


def test_a_session_lost_twice_is_given_up_in_one_line_with_nothing_half_stored(
    database: Database, rows: Rows, values: Values
) -> None:
    rows(DEADLY.format(times=2))
    with (
        closing(Store(database, "defillama", PULL)) as store,
        pytest.raises(DatabaseLost) as lost,
    ):
        store.load([point("alive"), point("deadly")])
    assert str(lost.value) == f"{database} went away: server closed the connection unexpectedly"
    assert values() == {}


def test_sessions_lost_between_two_loads_and_before_the_end_are_replaced(
    open_store: Opener, rows: Rows, values: Values
) -> None:
    store = open_store(PULL)
    end(rows, "pull defillama")
    pull_id = store.begin_run()
    end(rows, "pull defillama")
    store.load([point()])
    end(rows, "pull defillama")
    store.end_run(pull_id, DONE)
    assert len(values()) == 1
    assert run_row(rows, pull_id)[2] == "success"


def test_a_statement_that_fails_on_a_session_alive_is_not_repeated(
    open_store: Opener, database: Database, rows: Rows
) -> None:
    rows(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$"
    )
    rows("CREATE TRIGGER full_disk AFTER INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION full_disk()")
    with pytest.raises(DatabaseLost) as lost:
        open_store(PULL).load([point()])
    assert str(lost.value) == f"{database}: no space left"
    assert rows("SELECT FROM metrics") == []


def test_a_database_that_does_not_come_back_is_given_up(
    database: Database, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.store.RECONNECT_SECONDS", 0.0)
    name = database_url.split("dbname=")[1]
    with closing(Store(database, "defillama", PULL)) as store:
        with closing(psycopg2.connect(database_url.replace(name, "postgres"))) as session:
            session.autocommit = True
            session.cursor().execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        end(rows, "pull defillama")
        with pytest.raises(DatabaseLost) as lost:
            store.load([point()])
    assert "did not come back: " in str(lost.value)
    assert "is not currently accepting connections" in str(lost.value)
    assert "\n" not in str(lost.value)


def locks(rows: Rows) -> list[int]:
    return [pid for (pid,) in rows("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted")]


def test_a_place_whose_session_is_lost_can_be_released(database: Database, rows: Rows) -> None:
    lock = SessionLock(database, "pull artemis")
    end(rows, "pull artemis")
    lock.close()
    SessionLock(database, "pull artemis").close()


def test_the_place_lost_with_the_database_is_taken_again(database: Database, rows: Rows) -> None:
    lock = SessionLock(database, "pull artemis")
    first = locks(rows)
    with closing(Store(database, "artemis", PULL, check_place=lock.take)) as store:
        end(rows, "pull artemis")
        assert locks(rows) == []
        assert store.load([point()]) == Counts(new=1)
        (again,) = locks(rows)
        assert again not in first
    lock.close()


def test_the_place_is_kept_where_only_the_stores_session_was_lost(database: Database, rows: Rows) -> None:
    lock = SessionLock(database, "pull artemis")
    first = locks(rows)
    with closing(Store(database, "artemis", PULL, check_place=lock.take)) as store:
        assert store._kept.session
        rows("SELECT pg_terminate_backend(%s, 10000)", store._kept.session.info.backend_pid)
        assert store.load([point()]) == Counts(new=1)
    assert locks(rows) == first
    lock.close()


def test_a_place_taken_by_another_run_in_between_stops_this_one_with_nothing_written(
    database: Database, rows: Rows, values: Values
) -> None:
    lock = SessionLock(database, "pull defillama")
    others = []

    def another_comes_first() -> None:
        others.append(SessionLock(database, "pull defillama"))
        lock.take()

    with closing(Store(database, "defillama", PULL, check_place=another_comes_first)) as store:
        end(rows, "pull defillama")
        with pytest.raises(RunRefused, match="another pull defillama is running: "):
            store.load([point()])
    assert values() == {}
    for held in (lock, *others):
        held.close()


def test_our_own_former_session_that_the_server_has_not_buried_yet_is_waited_for(
    database: Database, rows: Rows
) -> None:
    lock = SessionLock(database, "pull artemis")
    assert lock._session
    (former,) = locks(rows)
    try:
        os.kill(former, signal.SIGSTOP)  # the server's process stands still, with the lock
        with socket.socket(fileno=os.dup(lock._session.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)  # and the line to it is cut
        taker = threading.Thread(target=lock.take)
        taker.start()
        until(lambda: rows("SELECT FROM pg_stat_activity WHERE query LIKE %s AND pid <> %s AND pid <> pg_backend_pid()",
                           "%objsubid%", former))  # fmt: skip
    finally:
        with suppress(ProcessLookupError):
            os.kill(former, signal.SIGCONT)
    taker.join(timeout=30)
    assert len(locks(rows)) == 1
    assert locks(rows) != [former]
    lock.close()


def test_a_stop_ends_the_wait_for_our_own_former_session_as_one_for_the_database(
    database: Database, rows: Rows
) -> None:
    stop = threading.Event()
    lock = SessionLock(database, "pull artemis", stop)
    assert lock._session
    (former,) = locks(rows)
    try:
        os.kill(former, signal.SIGSTOP)
        with socket.socket(fileno=os.dup(lock._session.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
        stop.set()
        with pytest.raises(DatabaseLost, match="the program was stopped"):
            lock.take()
    finally:
        os.kill(former, signal.SIGCONT)
    lock.close()


def test_a_load_goes_on_where_only_the_session_that_holds_its_place_was_lost(
    database: Database, values: Values
) -> None:
    turns = iter([DatabaseLost("the session of the place is gone"), None, None])

    def hold() -> None:
        if lost := next(turns):
            raise lost

    with closing(Store(database, "defillama", PULL, check_place=hold)) as store:
        assert store.load([point()]) == Counts(new=1)
    assert len(values()) == 1


def test_an_embedded_server_that_crashes_is_started_again_by_who_holds_a_place(tmp_path: Path) -> None:
    database = Database("", tmp_path / "postgres")
    lock = SessionLock(database, "scheduler")
    postmaster = int((tmp_path / "postgres" / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    os.kill(postmaster, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{postmaster}").exists())
    lock.take()
    with pytest.raises(RunRefused):
        SessionLock(database, "scheduler")
    lock.close()
    database.close()


def test_a_server_that_many_threads_reopen_at_once_stops_with_the_last_to_leave(tmp_path: Path) -> None:
    database = Database("", tmp_path / "postgres")
    pid_file = tmp_path / "postgres" / "data" / "postmaster.pid"
    with ThreadPoolExecutor(8) as pool:
        for _ in range(16):
            pool.submit(database.reopen)
    assert pid_file.exists()
    database.close()
    assert not pid_file.exists()


def test_lost_sessions_can_be_closed_without_an_error(database: Database, rows: Rows) -> None:
    lock = SessionLock(database, "pull artemis")
    store = Store(database, "artemis", PULL, check_place=lock.take)
    end(rows, "pull artemis")
    store.close()
    lock.close()
    lock.close()


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL])
def test_an_embedded_server_that_crashes_is_started_again_and_the_run_goes_on(
    tmp_path: Path, how: signal.Signals
) -> None:
    database = Database("", tmp_path / "postgres")
    ensure_schema(database)
    lock = SessionLock(database, "pull artemis")
    store = Store(database, "artemis", PULL, check_place=lock.take)
    pull_id = store.begin_run()
    store.load([point("before")])
    postmaster = int((tmp_path / "postgres" / "data" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    os.kill(postmaster, how)
    until(lambda: not Path(f"/proc/{postmaster}").exists())
    assert store.load([point("before"), point("after")]) == Counts(new=1, unchanged=1)
    store.end_run(pull_id, DONE)
    with pytest.raises(RunRefused):
        SessionLock(database, "pull artemis")
    store.close()
    lock.close()
    database.close()
