"""The command `status` as a process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.embedded import EmbeddedServer
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SessionLock, Sessions, sessions
from db.pulls import last_runs
from db.store import Store
from model.values import Verb
from sources import SOURCES
from sources.config import read_targets
from sources.defillama import DefiLlama
from tests.commands import ROOT, SECONDS, copy_tree, environment, on_terminal, run, run_process, start
from tests.fake_api import FakeApi
from tests.tables import Rows, as_role, ask, end, point
from tests.waiting import until

pytestmark = pytest.mark.cluster

FAILED = """
INSERT INTO pulls (source_name, kind, slot, pulled_at, finished_at, status, calls, failed_calls, failure)
SELECT 'artemis', 'pull', at, at, at, 'error', 3, 2, %s FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at) AS x
"""
# The command, with less time between two screens of a watch.
QUICK = """
import sys
from cli.run_command import main
from cli import status
status.WATCH_SECONDS = 0.2
sys.exit(main(["status", "--watch", *sys.argv[1:]]))
"""
REPORT = {"at", "exit_code", "scheduler", "sources"}
OF_SCHEDULER = {"alive", "state", "problem", "host", "pid", "sources", "started_at", "beaten_at", "doing"}
OF_SOURCE = {
    "source",
    "problems",
    "runs",
    "series",
    "confirmation",
    "rejected",
    "waiting",
    "requests",
    "failed_requests",
    "calls_left",
    "calls_left_at",
    "calls_needed_a_month",
}
OF_RUN = {
    *("verb", "schedule", "state", "last_success", "last_failure", "failure"),
    *("failures_in_a_row", "failing_since", "running_since", "next"),
}
OF_SERIES = {
    *("expected", "fresh", "stale", "never_seen", "quiet", "awaited", "newest", "age_seconds"),
    *("due", "due_live", "due_moves_at", "stalled_since", "stalest"),
}


@pytest.fixture
def scheduler(database: Database) -> Iterator[Heartbeat]:
    """The place and the heartbeat of a scheduler that lives and does nothing: this process."""
    with closing(SessionLock(database, SCHEDULER)), closing(Heartbeat(database, list(SOURCES), fresh=False)) as beat:
        beat.beat("idle")
        yield beat


def status(url: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The command, with a key for Artemis alone."""
    return run("main.py status", *words, env=environment(url) | more)


def report(url: str) -> dict[str, Any]:
    """What --json gives."""
    found: dict[str, Any] = json.loads(status(url, "--json").stdout)
    return found


@contextmanager
def watching(url: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], str]]]:
    """The command with --watch, and a function that reads its output up to a line with some text."""
    line = [sys.executable, "-c", QUICK, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, cwd=ROOT, env=environment(url), encoding="utf-8", **pipes) as process:  # type: ignore[call-overload] # noqa: S603 - our own words

        def read_to(text: str) -> str:
            assert process.stdout
            for found in process.stdout:
                if text in found:
                    return str(found)
            raise AssertionError(f"it ended without {text!r}")

        try:
            yield process, read_to
        finally:
            process.kill()


def test_without_a_database_no_scheduler_is_alive_and_none_is_made(tmp_path: Path) -> None:
    copy_tree(tmp_path / "copy")
    found = run_process("main.py status", env=environment(""), root=tmp_path / "copy")
    assert found.returncode == 3
    assert found.stdout.splitlines() == [
        "! scheduler: no scheduler has ever run here",
        "    start it: systemctl start crypto-metrics, or python scheduler.py",
    ]
    assert found.stderr == ""
    assert not (tmp_path / "copy" / ".data").exists()


def test_a_database_without_tables_has_no_scheduler_and_stays_without(empty_url: str) -> None:
    assert status(empty_url).returncode == 3
    assert ask(empty_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_tables_of_another_version_are_a_wrong_configuration_and_a_server_that_is_away_is_not(
    database_url: str, rows: Rows
) -> None:
    rows("COMMENT ON TABLE metrics IS 'crypto-metrics schema 1'")
    found = status(database_url)
    assert found.returncode == 2
    assert found.stderr.endswith("error: the tables are of another version: python main.py setup\n")
    away = status("postgresql://127.0.0.1:9/none")
    assert (away.returncode, away.stdout) == (4, "")
    assert "check DATABASE_URL and that the server runs" in away.stderr


@pytest.mark.usefixtures("scheduler")
def test_a_scheduler_that_lives_and_has_just_started_is_well_on_one_screen(database_url: str) -> None:
    found = status(database_url)
    lines = found.stdout.splitlines()
    assert found.returncode == 0, found.stdout
    assert lines[0] == "scheduler: alive"
    assert [line.split(":")[0] for line in lines if ": ok " in line] == ["artemis", "defillama"]
    assert len(lines) < 24
    assert max(map(len, lines)) < 100


@pytest.mark.usefixtures("scheduler")
def test_the_keys_of_the_json_are_these(database_url: str) -> None:
    found = report(database_url)
    assert set(found) == REPORT
    assert set(found["scheduler"]) == OF_SCHEDULER
    assert [each["source"] for each in found["sources"]] == list(SOURCES)
    for each in found["sources"]:
        assert set(each) == OF_SOURCE
        assert [set(run) for run in each["runs"]] == [OF_RUN] * 3
        assert set(each["series"]) == OF_SERIES
    assert (found["exit_code"], found["scheduler"]["alive"], found["scheduler"]["state"]) == (0, True, "alive")
    assert found["scheduler"]["pid"] == os.getpid()
    assert datetime.fromisoformat(found["at"]).tzinfo == UTC


def test_the_json_has_its_keys_where_there_has_never_been_a_scheduler(database_url: str, empty_url: str) -> None:
    for url, sources in ((database_url, 2), (empty_url, 0)):
        found = report(url)
        assert (set(found), set(found["scheduler"])) == (REPORT, OF_SCHEDULER)
        assert (found["exit_code"], found["scheduler"]["state"], len(found["sources"])) == (3, "none", sources)


@pytest.mark.usefixtures("scheduler")
def test_wrong_lines_of_a_config_are_shown_beside_the_rest(tmp_path: Path, database_url: str) -> None:
    copy_tree(root := tmp_path / "copy")
    (root / "defillama_config.csv").write_text("asset,kind,metrics\naave-v3,protocol,TLV\nlido,protocol,TVL\nx,,TVL\n")
    found, said = (
        run_process(f"main.py status {form}", env=environment(database_url), root=root) for form in ("", "--json")
    )
    assert (found.returncode, said.returncode) == (1, 1)
    assert "! defillama: 2 lines of its config can't be used:\n" in found.stdout
    assert "/defillama_config.csv:2: unknown metric 'TLV': did you mean TVL?" in said.stdout
    assert "\n  1 series: " in found.stdout
    assert "\nartemis: ok " in found.stdout


@pytest.mark.usefixtures("scheduler")
def test_a_run_that_fails_is_exit_code_1_with_its_reason_cut_on_the_screen_and_whole_in_the_json(
    database_url: str, rows: Rows
) -> None:
    reason = f"data/api/PRICE/: HTTP 500\x1b[31m\nkey s3cr3t-é {'x' * 500}"
    rows(FAILED, reason)
    found = status(database_url, ARTEMIS_API_KEY="s3cr3t")
    assert found.returncode == 1
    lines = found.stdout.splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("! ")]
    assert lines[first].startswith("! artemis: pull has failed ")
    assert lines[first + 1].startswith("    data/api/PRICE/: HTTP 500 [31m key ***-é xxx")
    assert lines[first + 2].endswith("…")
    assert lines[first + 3] == "    run it manually: python main.py pull artemis; log: journalctl -u crypto-metrics"
    assert max(map(len, lines)) < 100
    assert any(line.startswith("artemis: NEEDS ATTENTION ") for line in lines)
    assert "  last 24 h: 3 requests, 2 failed" in lines
    source = json.loads(status(database_url, "--json", ARTEMIS_API_KEY="s3cr3t").stdout)["sources"][0]
    assert source["runs"][0]["failure"] == reason.replace("s3cr3t", "***")
    assert (source["runs"][0]["state"], source["runs"][0]["failures_in_a_row"]) == ("failing", 1)
    assert reason.replace("s3cr3t", "***") in source["problems"][0]


@pytest.mark.usefixtures("scheduler")
def test_on_a_narrow_terminal_the_facts_of_a_run_stand_below_each_other(database_url: str, rows: Rows) -> None:
    rows(FAILED, f"data/api/PRICE/: HTTP 500 {'x' * 500}")
    _, *lines = on_terminal(database_url, "status", columns=60)  # the first line is of the log
    assert max(map(len, lines)) <= 60
    at = lines.index("artemis: NEEDS ATTENTION")
    assert lines[at + 1].startswith("  pull, ")
    assert lines[at + 1].endswith(": FAILING")
    assert [" ".join(line.split()[:2]) for line in lines[at + 2 : at + 5 : 2]] == ["last success", "last failure"]
    assert lines[at + 3].startswith("    next ")
    narrow, full = " ".join(" ".join(lines).split()), status(database_url).stdout.splitlines()
    assert [" ".join(line.split()) in narrow for line in full if " series: " in line] == [True, True]
    assert max(map(len, on_terminal(database_url, "status", columns=4)[1:])) <= 40


@pytest.mark.usefixtures("scheduler")
def test_a_secret_that_would_be_wrapped_is_hidden_whole(database_url: str, rows: Rows) -> None:
    secret = "secret-" * 30
    rows(FAILED, f"data/api/PRICE/: the server says {secret}")
    found = status(database_url, ARTEMIS_API_KEY=secret)
    assert "    data/api/PRICE/: the server says ***\n" in found.stdout
    assert "secret-" not in found.stdout


@pytest.mark.usefixtures("scheduler")
def test_a_series_that_is_stale_is_shown_with_its_newest_day(database_url: str, database: Database, rows: Rows) -> None:
    with closing(Store(database, "artemis", Verb.BACKFILL)) as store:
        store.load([point("sol", metric="PRICE")])
    assert report(database_url)["sources"][0]["series"]["awaited"] == 1  # the scheduler has just started
    rows("UPDATE scheduler SET started_at = now() - interval '3 years'")
    rows("INSERT INTO pulls (source_name, kind, status, pulled_at, finished_at) "
         "VALUES ('artemis', 'backfill', 'success', now() + interval '1 s', now())")  # fmt: skip
    found = report(database_url)
    series = found["sources"][0]["series"]
    assert (series["stale"], series["newest"]) == (1, "2024-01-01T00:00:00+00:00")
    assert series["stalest"] == [{"asset": "sol", "metric": "PRICE", "newest": "2024-01-01T00:00:00+00:00"}]
    assert (
        "1 series is stale, newest point of the oldest: sol PRICE (2024-01-01); " in found["sources"][0]["problems"][-1]
    )
    assert found["exit_code"] == 1


@pytest.mark.usefixtures("scheduler")
def test_series_that_need_a_missing_key_are_not_expected(database_url: str) -> None:
    expected = []
    for key in ("", "key"):
        found = json.loads(status(database_url, "--json", DEFILLAMA_API_KEY=key).stdout)
        expected.append(found["sources"][1]["series"]["expected"])
    configured = read_targets(ROOT / DefiLlama.CONFIG, DefiLlama)
    need_a_key = [target for target in configured if DefiLlama.METRICS[target.metric].needs_key]
    assert need_a_key
    assert expected == [len(configured) - len(need_a_key), len(configured)]


@pytest.mark.usefixtures("scheduler")
def test_a_run_by_hand_that_holds_the_place_of_a_scheduled_run_is_running(
    database_url: str, database: Database
) -> None:
    with closing(SessionLock(database, "pull artemis")):
        found = report(database_url)["sources"]
    assert [run["state"] for run in found[0]["runs"]] == ["running", "waiting", "waiting"]
    assert found[1]["runs"][0]["state"] == "waiting"


@pytest.mark.usefixtures("scheduler")
@pytest.mark.one_server
def test_a_role_that_may_only_select_is_enough_and_nothing_is_written(database_url: str, rows: Rows) -> None:
    role = f"monitor_{database_url.rpartition('_')[2]}"
    rows(f"CREATE ROLE {role} LOGIN")
    try:
        denied = status(as_role(database_url, role))
        assert (denied.returncode, denied.stdout) == (2, "")
        assert "can't be read: permission denied" in denied.stderr
        rows(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        rows(f"ALTER ROLE {role} SET default_transaction_read_only = on")
        found = status(as_role(database_url, role))
        assert (found.returncode, found.stdout.splitlines()[0]) == (0, "scheduler: alive")
    finally:
        rows(f"DROP OWNED BY {role}")
        rows(f"DROP ROLE {role}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_watch_repeats_until_a_signal_ends_it_in_one_line(
    database_url: str, scheduler: Heartbeat, number: int
) -> None:
    with watching(database_url) as (process, read_to):
        read_to("  idle")
        scheduler.beat("artemis pull")
        read_to("  artemis pull")
        process.send_signal(number)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 128 + number
    assert err.splitlines()[1:] == ["interrupted"]


@pytest.mark.one_server
def test_a_watch_reports_a_database_that_goes_away_and_goes_on_when_it_is_back(
    database_url: str, server: EmbeddedServer, rows: Rows
) -> None:
    name = database_url.rpartition("dbname=")[2]
    with watching(database_url) as (_, read_to), watching(database_url, "--json") as (_, read_json_to):
        read_to("scheduler has ever run")
        assert json.loads(read_json_to("{"))["exit_code"] == 3
        ask(server.dsn, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        assert read_to("! test_").endswith("check DATABASE_URL and that the server runs\n")
        assert set(json.loads(read_json_to("error"))) == {"error"}
        ask(server.dsn, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        read_to("scheduler has ever run")
        read_json_to('"exit_code": 3')
    assert rows("SELECT count(*) FROM pulls") == [(0,)]


def test_a_watch_on_a_database_that_does_not_answer_is_still_ended_by_ctrl_c(database_url: str, rows: Rows) -> None:
    with watching(database_url) as (process, read_to), closing(psycopg2.connect(database_url)) as other:
        read_to("scheduler has ever run")
        other.cursor().execute("LOCK TABLE pulls, scheduler")
        until(lambda: rows("SELECT FROM pg_locks WHERE NOT granted"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert err.splitlines()[1:] == ["interrupted"]


def test_a_real_scheduler_is_alive_then_stopped_without_a_failure_then_hung_then_killed(
    database_url: str, database: Database, rows: Rows
) -> None:
    with FakeApi(latency=1.0) as api:
        env = environment(database_url, api)
        with start("scheduler.py --source defillama", env=env) as process:
            until(lambda: rows("SELECT FROM pulls WHERE kind = 'backfill'"))
            found = status(database_url)
            assert (found.returncode, found.stdout.splitlines()[0]) == (0, "scheduler: alive")
            assert "artemis" not in found.stdout
            process.terminate()
            process.communicate(timeout=SECONDS)
        assert report(database_url)["scheduler"]["state"] == "dead"
        assert rows("SELECT failure LIKE 'stopped before %%' FROM pulls WHERE kind = 'backfill'") == [(True,)]
        with closing(database.connect("test")) as session, session.cursor() as cursor:
            last = last_runs(cursor, [("defillama", "backfill")])["defillama", "backfill"]
        assert (last.failures, last.failed, last.ended is None) == (0, None, False)
        with start("scheduler.py --source defillama", env=env) as process:
            until(lambda: rows("SELECT FROM scheduler WHERE pid = %s AND doing <> 'starting'", process.pid))
            assert status(database_url).returncode == 0
            process.send_signal(signal.SIGSTOP)
            rows("UPDATE scheduler SET beaten_at = beaten_at - interval '3 minutes'")
            found = status(database_url)
            assert found.returncode == 3
            assert found.stdout.startswith(f"! scheduler: pid {process.pid} is hung: its last heartbeat was at ")
            process.kill()
            process.communicate(timeout=SECONDS)
    until(lambda: status(database_url).stdout.startswith("! scheduler: no scheduler is alive"))


@pytest.mark.usefixtures("scheduler")
def test_a_scheduler_that_holds_the_place_and_has_sent_no_heartbeat_yet_is_starting(
    database_url: str, rows: Rows
) -> None:
    rows("UPDATE scheduler SET pid = 1, beaten_at = beaten_at - interval '3 days'")  # of the one before
    assert report(database_url)["scheduler"]["state"] == "starting"
    end(rows, "crypto-metrics scheduler")
    assert report(database_url)["scheduler"]["state"] == "dead"


@pytest.mark.usefixtures("scheduler")
def test_the_sessions_of_schedulers_and_the_start_of_the_server_are_seen(session: Connection) -> None:
    with session.cursor() as cursor:
        found = sessions(cursor, SCHEDULER, None)
        cursor.execute("SELECT pg_postmaster_start_time()")
        (started,) = cursor.fetchone() or (None,)
    assert found == Sessions(another=True, server_started=started)
