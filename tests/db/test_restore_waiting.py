"""A restore that waits for the tables of the target, and what happens to it meanwhile."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.backup import MAKE_ROOM, WAIT_SECONDS, back_up, restore_backup
from db.database import Database
from db.setup import ensure_schema
from tests.db.test_backup import other
from tests.tables import ask, refusal
from tests.waiting import until

__all__ = ["other"]  # a fixture
WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
MANY = """
INSERT INTO metrics (pulled_at, source, asset, metric_name, value)
SELECT '2024-01-01', 'artemis', n::text, 'PRICE', n FROM generate_series(1, 20000) AS n
"""


@pytest.fixture
def file(tmp_path: Path, database: Database, database_url: str) -> Path:
    """A backup whose script is larger than what the pipes between the programs hold."""
    ask(database_url, MANY)
    back_up(database, made := tmp_path / "metrics.dump")
    return made


@pytest.fixture
def holder(empty_url: str, other: Database) -> Iterator[Connection]:
    """A session that uses the empty tables of `setup`, and does nothing more."""
    ensure_schema(other)
    with closing(psycopg2.connect(empty_url, application_name="a notebook")) as session:
        session.cursor().execute("SELECT FROM metrics")
        yield session


def started(program: str) -> list[int]:
    """The processes of this program that this process has started."""
    command = ("/bin/ps", "-e", "-o", "pid=,ppid=,comm=")
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own words
    mine = (line.split() for line in listed.splitlines())
    return [int(pid) for pid, parent, name, *_ in mine if (int(parent), name) == (os.getpid(), program)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGPIPE])
def test_a_pg_restore_that_is_ended_is_never_a_success(
    how: signal.Signals, empty_url: str, file: Path, other: Database, holder: Connection
) -> None:
    with ThreadPoolExecutor(1) as pool:
        restoring = pool.submit(refusal, lambda: restore_backup(other, file))
        until(lambda: ask(empty_url, WAITING))
        (pid,) = started("pg_restore")
        os.kill(pid, how)
        holder.rollback()
        said = restoring.result()
    assert "nothing was restored: " in said
    assert how is signal.SIGPIPE or said.endswith("signal 9 ended pg_restore")  # psql may end pg_restore with the other
    assert ask(empty_url, "SELECT count(*) FROM metrics") == [(0,)]


def test_a_restore_does_not_wait_for_ever_and_names_who_holds_the_tables(
    empty_url: str, file: Path, other: Database, holder: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.backup.MAKE_ROOM", MAKE_ROOM.replace(f"'{WAIT_SECONDS}s'", "'10ms'"))
    said = refusal(lambda: restore_backup(other, file))
    pid = holder.info.backend_pid
    assert said.endswith(f"its tables are in use, by a notebook (pid {pid}): end these sessions, and try again")
    holder.rollback()
    assert ask(empty_url, "SELECT count(*) FROM metrics") == [(0,)]
