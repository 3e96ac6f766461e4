"""The scheduler with --fresh: cleared once, pulled again, and never in the way."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.lock import SessionLock
from tests.commands import Rows, environment
from tests.schedulers import (
    OURS,
    SHORT_CHECK,
    STOP,
    Home,
    Running,
    service_manager,
    wait_for_room,
)
from tests.waiting import until

CLEARED = "SELECT source_name, count(*) FROM pulls WHERE kind = 'fresh' GROUP BY 1 ORDER BY 1"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A copy of the repository with small configs."""
    return Home.make(tmp_path / "copy")


def test_fresh_clears_once_however_often_it_is_started_anew(home: Home, database_url: str, rows: Rows) -> None:
    cleared: list[list[tuple[object, ...]]] = []
    with home.api() as api:
        env = environment(database_url, api)
        for line in ("--fresh --yes", "--fresh --yes", "--fresh --yes", "", "--fresh --yes"):
            with Running(home, env, line) as scheduler:
                if not cleared:
                    until(lambda: rows(CLEARED))
                    scheduler.process.kill()  # in the middle of it
                    until(lambda: not rows(OURS))
                else:
                    assert scheduler.made(2).stop() == 0
            cleared.append(rows(CLEARED))
    once, twice = ([("artemis", times), ("defillama", times)] for times in (1, 2))
    assert cleared[1:] == [once, once, once, twice]


def test_a_fresh_start_pulls_again_what_it_has_cleared_of_a_slot_that_was_done(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    with home.api() as api:
        env = environment(database_url, api)
        for line in ("", "--fresh --yes"):
            with Running(home, env, line, SHORT_CHECK) as scheduler:
                scheduler.made(2)
                until(lambda: home.lies(rows) == [], seconds=5)
                assert scheduler.stop() == 0


def test_a_fresh_start_that_has_nothing_left_to_clear_asks_nobody(home: Home, database_url: str, rows: Rows) -> None:
    terminal, end = os.openpty()
    os.write(terminal, b"no\n")
    with home.api() as api:
        env = environment(database_url, api)
        with Running(home, env, "--fresh --yes") as scheduler:
            assert scheduler.made().stop() == 0
        command = [sys.executable, "scheduler.py", "--fresh"]
        with subprocess.Popen(  # noqa: S603 - our own script
            command, stdin=end, stdout=subprocess.PIPE, cwd=home.root, env=env, text=True
        ) as process:
            until(lambda: rows("SELECT FROM pulls WHERE kind = 'backfill' AND calls = 0") or process.poll() is not None)
            process.terminate()
            said = process.communicate(timeout=STOP)[0]
    os.close(terminal)
    os.close(end)
    assert (process.returncode, "Write yes" in said) == (0, False), said


def test_a_fresh_start_beside_a_run_by_hand_is_no_second_scheduler(home: Home, database_url: str, rows: Rows) -> None:
    with (
        closing(SessionLock(Database(database_url, Path()), "pull artemis")),
        home.api() as api,
        Running(home, environment(database_url, api), "--fresh --yes") as scheduler,
    ):
        until(lambda: "another pull artemis" in scheduler.complained() or scheduler.said("another pull artemis"))
        if not scheduler.complained():
            scheduler.process.terminate()
        assert scheduler.process.wait(STOP) in {0, 1}  # waited for, or refused; no supervisor starts it again after a 3
    assert rows(CLEARED) == []


def test_a_long_fresh_start_is_not_taken_for_a_hung_process(
    home: Home, database_url: str, session: Connection, tmp_path: Path
) -> None:
    session.autocommit = False
    session.cursor().execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")  # so that clearing takes for ever
    with service_manager(tmp_path / "notify") as heard, home.api() as api:
        env = environment(database_url, api, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        with Running(home, env, "--fresh --yes"):
            until(lambda: api.requests)
            until(lambda: "READY=1" not in heard or heard.count("WATCHDOG=1") > 2, seconds=5)
    session.rollback()
