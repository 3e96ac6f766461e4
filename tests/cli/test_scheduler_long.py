"""The scheduler in need: killed, without its database, beside another one, after thousands of runs."""

import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SQL, lock_keys
from db.setup import ensure_schema
from pipeline.due import History
from tests.commands import ROOT, Rows, environment
from tests.schedulers import (
    OURS,
    SHORT_CHECK,
    STOP,
    TWICE,
    WATCH_THE_PLACE,
    Home,
    Lanes,
    Running,
    Server,
    service_manager,
    wait_for_room,
)
from tests.waiting import until

log = logging.getLogger(__name__)
T = TypeVar("T")

LEAKED = 6 * 1024  # kilobytes that may come after the first runs: what the allocator keeps of the largest run so far
IDLE_SHARE, IDLE_MEGABYTES = 0.01, 80
TICKS = os.sysconf("SC_CLK_TCK")
SHORT_WAIT_FOR_DATABASE = "cli.scheduler.RETRY_SECONDS = 0.2"
FULL_DISK = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'no space left' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk AFTER INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION full_disk();
"""
WRITTEN = "SELECT (SELECT max(pull_id) FROM pulls), (SELECT count(finished_at) FROM pulls), count(*) FROM metrics"
PULLED = "SELECT count(DISTINCT source_name) FROM pulls WHERE kind = 'pull' AND status = 'success'"
PLACE = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE %s"
CONNECTIONS = "ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A copy of the repository with small configs."""
    return Home.make(tmp_path / "copy")


@pytest.fixture
def server_of_ours(tmp_path: Path) -> Iterator[Server]:
    """A server that the test may end."""
    with closing(Server(tmp_path / "own")) as server:
        yield server


def protocols(number: int) -> str:
    """A config of DefiLlama with so many protocols, each of four series and calls."""
    lines = [f"protocol-{each},protocol,TVL FEES REVENUE DEX_VOLUME" for each in range(number)]
    return "\n".join(["asset,kind,metrics", *lines, ""])


@pytest.mark.parametrize(
    ("kills", "size", "longest"), [(4, 12, 1.8), pytest.param(50, 400, 5.0, marks=pytest.mark.long)]
)
def test_killed_again_and_again_it_completes_the_table_and_does_no_slot_twice(
    kills: int, size: int, longest: float, home: Home, database_url: str, rows: Rows
) -> None:
    home.configure("defillama", protocols(size))
    chance, codes, busy = random.Random(kills), [], 0  # noqa: S311 - no secret
    with home.api(latency=0.1) as api:
        env = environment(database_url, api)
        for number in range(kills):
            with Running(home, env) as scheduler:
                with pytest.raises(subprocess.TimeoutExpired):
                    scheduler.process.wait(chance.uniform(0.1, longest))
                scheduling = bool(scheduler.said("scheduling: "))
                scheduler.process.send_signal((signal.SIGTERM, signal.SIGKILL)[number % 2])
                codes.append(scheduler.process.wait(STOP))
                assert codes[-1] == 0 or number % 2 or not scheduling, scheduler.complained()
                assert "Traceback" not in scheduler.complained()
            busy += bool(rows("SELECT FROM pulls WHERE status = 'error' AND pulled_at > now() - interval '6 s'"))
            until(lambda: not rows(OURS))
        with Running(home, env) as scheduler:
            until(lambda: sum("backfill" in name for _, name, _ in scheduler.runs()) == 2, seconds=100)
            until(lambda: rows(PULLED) == [(2,)])
            assert scheduler.stop() == 0
    log.info("%d kills, %d while runs were under way; exit codes %s", kills, busy, codes)
    log.info("%d requests; %s", len(api.requests), rows("SELECT kind, status, count(*) FROM pulls GROUP BY 1, 2"))
    assert home.lies(rows) == []
    assert rows(TWICE) == []


@pytest.mark.parametrize(("restarts", "size"), [(1, 20), pytest.param(10, 250, marks=pytest.mark.long)])
def test_a_database_that_restarts_is_waited_for_and_written_only_with_the_place_held(
    restarts: int, size: int, home: Home, server_of_ours: Server
) -> None:
    home.configure("defillama", protocols(size))
    server = server_of_ours
    ensure_schema(Database(server.url, Path()))
    server.rows(WATCH_THE_PLACE)
    with home.api(latency=0.2) as api, Running(home, environment(server.url, api), "", SHORT_CHECK) as scheduler:
        for number in range(restarts):
            asked = len(api.requests)
            until(lambda: len(api.requests) > asked + 20)  # noqa: B023 - called at once
            server.end((signal.SIGQUIT, signal.SIGINT)[number % 2])
            until(lambda: len(scheduler.said(": waiting for the database")) == number + 1)  # noqa: B023
            server.start()
            until(lambda: len(scheduler.said("the database is back")) == number + 1)  # noqa: B023
        until(lambda: sum(" 0 failed" in said for _, _, said in scheduler.runs()) >= 4, seconds=100)
        assert scheduler.stop() == 0
    log.info(
        "%d restarts: %s", restarts, server.rows("SELECT kind, status, failure, count(*) FROM pulls GROUP BY 1, 2, 3")
    )
    assert (len(scheduler.said(": waiting for the database")), len(scheduler.said("the database is back"))) == (
        restarts,
        restarts,
    )
    assert home.lies(server.rows) == []
    assert (server.rows(TWICE), server.rows("TABLE unheld")) == ([], [])


def test_started_before_its_database_it_says_once_that_it_waits_and_begins_with_it(
    home: Home, server_of_ours: Server, tmp_path: Path
) -> None:
    server_of_ours.end(signal.SIGINT)
    with home.api() as api, service_manager(tmp_path / "socket") as heard:
        env = environment(server_of_ours.url, api, NOTIFY_SOCKET=str(tmp_path / "socket"))
        with Running(home, env, "", SHORT_WAIT_FOR_DATABASE) as scheduler:
            until(lambda: scheduler.said(": waiting for the database"))
            until(lambda: "EXTEND_TIMEOUT_USEC=" in " ".join(heard))  # so that the start may take so long
            assert "READY=1" not in heard
            server_of_ours.start()
            scheduler.made()
            assert scheduler.stop() == 0
    assert len(scheduler.said(": waiting for the database")) == 1
    assert home.lies(server_of_ours.rows) == []


def test_stopped_while_it_waits_for_its_database_it_ends_well(home: Home) -> None:
    env = environment("postgresql://127.0.0.1:9/nowhere")
    with Running(home, env) as scheduler:
        until(lambda: scheduler.said(": waiting for the database"))
        assert scheduler.stop() == 0


def test_a_database_with_no_session_left_for_it_is_waited_for(home: Home, server_of_ours: Server) -> None:
    with ExitStack() as sessions, home.api() as api:
        [(most,)] = server_of_ours.rows("SHOW max_connections")
        for _ in range(int(most) - 1):  # one is left, for the place
            sessions.enter_context(closing(psycopg2.connect(server_of_ours.url)))
        env = environment(server_of_ours.url, api)
        with Running(home, env, "", SHORT_CHECK, SHORT_WAIT_FOR_DATABASE) as scheduler:
            until(lambda: scheduler.said("too many clients") or scheduler.complained())
            sessions.close()
            scheduler.made()


def test_a_scheduler_whose_place_was_taken_while_the_database_was_away_exits_with_3_and_writes_nothing_more(
    home: Home, database_url: str, session: Connection, rows: Rows
) -> None:
    home.configure("defillama", protocols(20))
    rows("SET application_name = 'crypto-metrics scheduler 1@elsewhere'")
    name, admin = session.info.dbname, database_url.replace(f"dbname={session.info.dbname}", "dbname=postgres")
    with home.api(latency=0.2) as api, Running(home, environment(database_url, api), "", SHORT_CHECK) as scheduler:
        until(lambda: rows("SELECT FROM metrics LIMIT 1"))
        _command(admin, CONNECTIONS.format(name=name, allowed="false"))
        rows("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
             "WHERE datname = current_database() AND pid <> pg_backend_pid()")  # fmt: skip
        assert rows(SQL["try_lock"], *lock_keys(SCHEDULER)) == [(True,)]
        written = rows(WRITTEN)
        _command(admin, CONNECTIONS.format(name=name, allowed="true"))
        assert scheduler.process.wait(30) == 3
    assert scheduler.complained().startswith(
        "error: another scheduler is running: crypto-metrics scheduler 1@elsewhere, since "
    )
    assert rows(WRITTEN) == written


def test_a_scheduler_whose_place_was_taken_exits_with_3_though_a_run_of_it_does_not_end(
    home: Home, database_url: str, rows: Rows
) -> None:
    with closing(psycopg2.connect(database_url)) as blocker, home.api() as api:
        blocker.cursor().execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")  # so that storing takes for ever
        with Running(home, environment(database_url, api), "", "pipeline.scheduler.CHECK_SECONDS = 1.0") as scheduler:
            until(lambda: rows("SELECT FROM pg_locks WHERE NOT granted AND relation = 'metrics'::regclass"))
            until(
                lambda: (
                    rows(PLACE, "crypto-metrics scheduler %")
                    and rows(SQL["try_lock"], *lock_keys(SCHEDULER)) == [(True,)]
                )
            )
            assert scheduler.process.wait(30) == 3, scheduler.said()
        blocker.rollback()
    assert "another scheduler is running" in scheduler.complained()


def _command(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        session.cursor().execute(statement)


@pytest.mark.parametrize("pairs", [3, pytest.param(100, marks=pytest.mark.long)])
def test_of_two_schedulers_started_at_once_one_wins_and_the_other_exits_with_3(
    pairs: int, home: Home, empty_url: str
) -> None:
    first = 0
    with home.api() as api:
        env = environment(empty_url, api)
        for _ in range(pairs):
            with Running(home, env) as one, Running(home, env) as two:
                until(lambda: one.process.poll() is not None or two.process.poll() is not None)
                winner, loser = (two, one) if one.process.poll() is not None else (one, two)
                assert loser.process.wait() == 3
                assert f" {winner.process.pid}@" in loser.complained()
                assert winner.begun().stop() == 0
                first += winner is one
    log.info("of %d pairs the first won %d times", pairs, first)


@pytest.mark.parametrize(("some", "many"), [(50, 300), pytest.param(100, 10_000, marks=pytest.mark.long)])
def test_after_many_runs_it_holds_what_it_held_after_some(some: int, many: int, home: Home, database_url: str) -> None:
    with home.api(broken={"/tvl/": "404"}) as api, (home.root / "log").open("w") as file:
        command = [sys.executable, "-m", "tests.schedulers", str(some), str(many)]
        env = environment(database_url, api)
        done = subprocess.run(  # noqa: S603 - our own program
            command, cwd=home.root, env=env, stdout=subprocess.PIPE, stderr=file, check=False, timeout=3600
        )
    log.info("%s", done.stdout.decode())
    assert done.returncode == 0, (home.root / "log").read_text()[-2000:]
    before, after = (json.loads(line) for line in done.stdout.splitlines())
    assert after["runs"] - before["runs"] >= many - some - 10
    assert (after["descriptors"], after["threads"]) == (before["descriptors"], before["threads"])
    assert after["kilobytes"] <= before["kilobytes"] + LEAKED


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=pytest.mark.long)])
def test_idle_it_costs_next_to_nothing(seconds: int, home: Home, database_url: str) -> None:
    wait_for_room(2 * seconds + 15)
    if seconds >= 60:
        for source in ("defillama", "artemis"):
            home.configure(source, (ROOT / f"{source}_config.csv").read_text())
    with home.api() as api, Running(home, environment(database_url, api)) as scheduler:
        until(lambda: len(scheduler.runs()) == 4, seconds=120)
        before = _cpu(scheduler.process.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            scheduler.process.wait(seconds)
        share = (_cpu(scheduler.process.pid) - before) / seconds
        status = Path(f"/proc/{scheduler.process.pid}/status").read_text()
        megabytes = int(status.split("VmRSS:")[1].split()[0]) / 1024
        log.info(
            "idle for %d s: %.2f %% of a core, %.0f MB; %s", seconds, 100 * share, megabytes, scheduler.said()[-4:]
        )
        assert scheduler.stop() == 0
    assert share < IDLE_SHARE
    assert megabytes < IDLE_MEGABYTES


def _cpu(pid: int) -> float:
    """Seconds of a core that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class SlowLook(Heartbeat):
    """A look at pulls whose answer comes when the runs that were under way have ended."""

    def do(self, work: Callable[[Any], T]) -> T:
        """What the table said before."""
        found = super().do(work)
        if isinstance(found, History):
            until(lambda: not [each for each in threading.enumerate() if each.name.endswith((" pull", " backfill"))])
        return found


def test_a_run_that_ends_while_it_looks_is_not_made_again(
    home: Home, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for_room()
    with home.api(latency=0.3) as api:
        for name, value in environment(database_url, api).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("cli.jobs.ROOT", home.root)
        with closing(Lanes(timedelta(days=1), SlowLook)) as lanes:
            lanes.look()
            until(lambda: len(rows("SELECT FROM pulls")) == 2)  # the backfills; the pulls wait for their ends
            lanes.look()
    assert rows(TWICE) == []


def test_what_a_database_with_a_full_disk_refuses_is_not_asked_for_at_every_look(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    rows(FULL_DISK)
    with home.api() as api, Running(home, environment(database_url, api), "", SHORT_CHECK) as scheduler:
        until(lambda: len(scheduler.said("no space left")) >= 4 and rows("SELECT FROM scheduler WHERE doing = 'idle'"))
        asked = len(api.requests)
        looks: set[object] = set()
        until(lambda: looks.update(rows("SELECT beaten_at FROM scheduler")) or len(looks) > 8)  # type: ignore[func-returns-value]
        assert len(api.requests) == asked  # the first wait is a minute
    assert rows("SELECT DISTINCT status FROM pulls") == [("error",)]
