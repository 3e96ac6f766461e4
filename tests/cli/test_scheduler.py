"""The scheduler as a process: what it makes, says and records, how it starts and ends. More: test_scheduler_long.py."""

import json
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.lock import SessionLock
from tests.commands import Rows, answered, environment, run_process, stored, today
from tests.schedulers import (
    FIRST_RUNS,
    SHORT_CHECK,
    SHORT_REST,
    SHORT_WAIT,
    STOP,
    TWICE,
    Home,
    Running,
    mend,
    service_manager,
    wait_for_room,
)
from tests.waiting import until

PARENTS = "asset,kind,metrics,id\n" + "".join(f"p{number},protocol,TVL,parent#p{number}\n" for number in range(40))
FEW_PARENTS = "\n".join(PARENTS.splitlines()[:4])
WRONG = FEW_PARENTS.replace("TVL", "TLV")
PULLS = "SELECT status, calls, failure FROM pulls WHERE (source_name, kind) = ('defillama', 'pull') ORDER BY pull_id"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A copy of the repository with small configs."""
    return Home.make(tmp_path / "copy")


def test_a_first_start_fills_the_table_with_the_truth_each_run_one_line_in_utc(
    home: Home, database_url: str, rows: Rows
) -> None:
    began = datetime.now(UTC).replace(microsecond=0)
    with home.api() as api, Running(home, environment(database_url, api, TZ="Pacific/Kiritimati")) as scheduler:
        runs = scheduler.made().runs()
    assert home.lies(rows) == []
    assert sorted(name for _, name, _ in runs) == FIRST_RUNS
    for at, name, figures in runs:
        assert began <= at <= datetime.now(UTC)
        [(status, calls, records)] = rows(
            "SELECT status, calls, records_count FROM pulls WHERE source_name || ' ' || kind = %s", name
        )
        assert status == "success"
        assert figures.startswith(f"{calls:,} calls, 0 failed; ")
        assert f"{records:,} new" in figures
    assert scheduler.complained() == ""


def test_a_restart_in_a_slot_pulls_nothing_and_its_backfill_asks_nothing(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    with home.api() as api:
        with Running(home, environment(database_url, api)) as scheduler:
            assert scheduler.made().stop() == 0
        asked = len(api.requests)
        with Running(home, environment(database_url, api), "", SHORT_CHECK) as scheduler:
            runs = scheduler.made(2).runs()
            assert scheduler.stop() == 0
        assert len(api.requests) == asked
    assert sorted(name for _, name, _ in runs) == ["artemis backfill", "defillama backfill"]
    assert all(": nothing to request: " in f": {figures}" for _, _, figures in runs)
    assert rows("SELECT count(*) FROM pulls WHERE kind = 'pull'") == [(2,)]


@pytest.mark.parametrize(
    ("metrics", "asked"), [("FEES", {"backfill"}), ("FEES_24H", {"pull"})], ids=["only a history", "only live values"]
)
def test_a_kind_of_run_for_which_a_config_has_nothing_is_made_without_a_call(
    metrics: str, asked: set[str], home: Home, database_url: str, rows: Rows
) -> None:
    home.configure("defillama", f"asset,kind,metrics\naave-v3,protocol,{metrics}\n")
    with home.api() as api, Running(home, environment(database_url, api), "--source defillama") as scheduler:
        runs = {name: figures for _, name, figures in scheduler.made(2).runs()}
        assert scheduler.stop() == 0
    done = "SELECT kind, calls > 0 FROM pulls WHERE status = 'success' AND failure IS NULL ORDER BY kind"
    assert rows(done) == [(kind, kind in asked) for kind in ("backfill", "pull")]
    assert [name for name, figures in runs.items() if "nothing to request" in figures] == [
        f"defillama {kind}" for kind in ("backfill", "pull") if kind not in asked
    ]


def test_sigterm_in_a_backfill_stores_and_records_what_was_fetched(home: Home, database_url: str, rows: Rows) -> None:
    home.configure("defillama", PARENTS)
    patient = (
        "pipeline.scheduler.LAST_RUNS_SECONDS = 18",
        "cli.process.SHUTDOWN_SECONDS = 19",
        "sources.fetch.LAST_ANSWERS = 3",
    )
    with (
        home.api(latency=0.5) as api,
        Running(home, environment(database_url, api), "--source defillama", *patient) as scheduler,
    ):
        until(lambda: sum("api/protocol/" in path for path in answered(api)) >= 5)
        fetched = {path.rpartition("/")[2] for path in answered(api) if "api/protocol/" in path}
        assert scheduler.stop() == 0
    table = stored(rows, "defillama")
    assert fetched <= {asset for asset, _, at in table if at.date() < today()}
    assert table.items() <= home.truth("defillama").items()
    [(status, failed, failure, calls)] = rows(
        "SELECT status, failed_calls, failure, calls FROM pulls WHERE kind = 'backfill' AND finished_at IS NOT NULL"
    )
    assert (status, failed, failure) == ("error", 0, f"stopped before the last {41 - int(str(calls))} calls")
    [said] = scheduler.said("defillama backfill: ")
    assert f"stopped: {41 - int(str(calls))} calls were not made" in said
    assert rows("SELECT FROM pulls WHERE finished_at IS NULL") == []


@pytest.mark.parametrize(("signals", "code"), [(1, 0), (2, -signal.SIGTERM)])
def test_a_stop_waits_for_no_database_that_does_not_answer_and_a_second_signal_for_nothing(
    signals: int, code: int, home: Home, database_url: str, session: Connection, rows: Rows
) -> None:
    session.autocommit = False
    session.cursor().execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")  # so that storing takes for ever
    with home.api() as api, Running(home, environment(database_url, api)) as scheduler:
        until(lambda: len(answered(api)) >= 4)  # of the backfills; the pulls wait for their ends
        for _ in range(signals):
            scheduler.process.terminate()
            until(lambda: "SIGTERM: storing what has been fetched" in scheduler.complained(), seconds=STOP)
        assert scheduler.process.wait(STOP) == code
    left = f"SELECT FROM pg_stat_activity WHERE application_name LIKE 'crypto-metrics %% {scheduler.process.pid}@%%'"
    if signals == 1:  # the first one also cancels what waits on the server
        until(lambda: not rows(left))
    session.rollback()


def test_a_second_scheduler_names_the_first_and_exits_with_3(home: Home, database_url: str, rows: Rows) -> None:
    with home.api() as api, Running(home, environment(database_url, api)) as scheduler:
        scheduler.begun()
        [(*entered, _, _, _, _)] = rows("TABLE scheduler")
        second = run_process("scheduler.py", env=environment(database_url, api), root=home.root, cwd=home.root)
        assert second.returncode == 3
        who = f"crypto-metrics scheduler {scheduler.process.pid}@{socket.gethostname()}"[:63]
        (line,) = second.stderr.splitlines()
        assert line.startswith(f"error: another scheduler is running: {who}, since {today()}")
        [(*still, _, _, _, _)] = rows("TABLE scheduler")
        assert still == entered


@pytest.mark.parametrize(
    ("line", "keys", "said"),
    [
        (
            "--source artemis",
            {"ARTEMIS_API_KEY": ""},
            "error: artemis needs a key: write ARTEMIS_API_KEY=… into .env or the environment",
        ),
        ("", {}, "/defillama_config.csv:2: unknown metric 'TLV': did you mean TVL?"),
        ("--source atermis", {}, "scheduler.py: error: argument --source: invalid choice: 'atermis' (choose from "),
        ("", {}, "error: a pull can request none of these series: set DEFILLAMA_API_KEY"),
        (
            "--fresh --yes",
            {},
            "error: a backfill can request none of these series: run python main.py pull defillama",
        ),
        ("--fresh", {}, "error: nobody can confirm the clearing, since standard input is not a terminal: write --yes"),
    ],
)
def test_a_mistake_is_one_clear_line_with_nothing_asked_or_written(
    line: str, keys: dict[str, str], said: str, home: Home, database_url: str, rows: Rows
) -> None:
    if ".csv" in said:
        home.configure("defillama", WRONG)
    if "none of these" in said:  # what needs a key, and what exists only live
        home.configure(
            "defillama", f"asset,kind,metrics\naave-v3,protocol,{'FEES_24H' if line else 'PERPS_VOLUME_24H'}\n"
        )
    with home.api() as api, Running(home, environment(database_url, api, **keys), line) as scheduler:
        assert scheduler.process.wait(30) == 2
        assert api.requests == []
    assert said in scheduler.complained()
    assert "Traceback" not in scheduler.complained()
    assert [rows(f"SELECT FROM {table}") for table in ("pulls", "metrics", "scheduler")] == [[], [], []]


def test_without_a_key_the_other_sources_are_served_and_status_says_what_is_missing(
    home: Home, database_url: str, rows: Rows
) -> None:
    with home.api() as api:
        keyless = environment(database_url, api, ARTEMIS_API_KEY="")
        with Running(home, keyless) as scheduler:
            until(lambda: rows("SELECT FROM pulls WHERE kind = 'pull' AND status = 'success'"))
            done = run_process("main.py status", env=keyless, root=home.root, cwd=home.root)
        assert len(scheduler.said("WARNING artemis needs a key: ")) == 1
    assert {source for (source,) in rows("SELECT source_name FROM pulls")} == {"defillama"}
    assert done.returncode == 1
    assert "\n! artemis: it needs a key\n    write ARTEMIS_API_KEY=… into .env and restart the scheduler" in done.stdout


def test_a_source_whose_api_fails_stops_no_other_and_is_in_pulls_and_in_the_log(
    home: Home, database_url: str, rows: Rows
) -> None:
    with home.api(broken={"/artemis": "404"}) as api, Running(home, environment(database_url, api)) as scheduler:
        scheduler.made()
    assert stored(rows, "defillama") == home.truth("defillama")
    failures = rows("SELECT status, failed_calls > 0, failure FROM pulls WHERE source_name = 'artemis'")
    assert [(status, failed, "HTTP 404" in str(failure)) for status, failed, failure in failures] == [
        ("error", True, True)
    ] * 2
    assert len(scheduler.said("WARNING artemis pull: 2 calls, 2 failed; ")) == 1
    assert "HTTP 404" in scheduler.said("WARNING artemis pull: ")[0]


def test_a_failed_run_is_tried_again_for_the_series_without_an_answer_alone(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    home.configure("defillama", FEW_PARENTS)
    env, changes = "--source defillama", (SHORT_CHECK, SHORT_WAIT)
    with (
        home.api(broken={"/tvl/p1": "404"}) as api,
        Running(home, environment(database_url, api), env, *changes) as scheduler,
    ):
        until(lambda: len(rows(PULLS)) == 2)
        mend(api)
        until(lambda: rows(PULLS)[-1][0] == "success")
        assert scheduler.stop() == 0
        asked = [request.path.rpartition("/")[2] for request in api.requests if "/tvl/" in request.path]
    assert sorted(asked[:3]) == ["p0", "p1", "p2"]
    assert set(asked[3:]) == {"p1"}
    assert [calls for _, calls, _ in rows(PULLS)] == [3] + [1] * len(asked[3:])
    assert rows(TWICE) == []
    assert stored(rows, "defillama") == home.truth("defillama")


def test_a_config_broken_while_it_runs_costs_its_source_alone_until_it_is_corrected(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    home.configure("defillama", FEW_PARENTS)
    with (
        home.api(broken={"/tvl/p1": "404", "/artemis": "404"}) as api,
        Running(home, environment(database_url, api), "", SHORT_CHECK, SHORT_WAIT) as scheduler,
    ):
        until(lambda: rows(PULLS))
        home.configure("defillama", WRONG)
        until(lambda: rows(PULLS)[-1][1] == 0)
        mend(api)
        for run in ("artemis pull", "artemis backfill"):
            until(lambda: any(name == run and " 0 failed" in said for _, name, said in scheduler.runs()))  # noqa: B023
        status, _, failure = rows(PULLS)[-1]
        assert (status, "/defillama_config.csv:2: unknown metric 'TLV'" in str(failure)) == ("error", True)
        assert scheduler.said(f"ERROR defillama pull: {failure}")
        home.configure("defillama", FEW_PARENTS)
        until(lambda: rows(PULLS)[-1][0] == "success")
        assert scheduler.stop() == 0
    assert home.lies(rows) == []


def test_a_pull_by_hand_works_beside_the_scheduler(home: Home, database_url: str, rows: Rows) -> None:
    with home.api() as api, Running(home, environment(database_url, api)) as scheduler:
        scheduler.made()
        done = run_process("main.py pull all", env=environment(database_url, api), root=home.root, cwd=home.root)
        assert done.returncode == 0, done.stderr
        assert scheduler.stop() == 0
    assert rows("SELECT DISTINCT slot, status FROM pulls WHERE pull_id > 4") == [(None, "success")]


def test_a_pull_by_hand_makes_that_of_the_scheduler_wait_and_not_fail(
    home: Home, database_url: str, rows: Rows
) -> None:
    place = SessionLock(Database(database_url, Path()), "pull defillama")
    with (
        home.api() as api,
        Running(home, environment(database_url, api), "", SHORT_CHECK, SHORT_REST) as scheduler,
    ):
        until(lambda: len(scheduler.said("INFO another pull defillama is running: ")) > 1)
        scheduler.made(3)
        assert rows(PULLS) == []
        place.close()
        scheduler.made(4)
    assert [status for status, _, _ in rows(PULLS)] == ["success"]
    assert home.lies(rows) == []


def test_in_the_journal_lines_have_no_dates_of_ours(home: Home, database_url: str) -> None:
    with home.api() as api, Running(home, environment(database_url, api, JOURNAL_STREAM="8:1")) as scheduler:
        until(lambda: len(scheduler.said(" calls, 0 failed; ")) == 4)
        assert {line.split()[0] for line in scheduler.said()} == {"INFO"}


def test_as_json_every_line_is_an_object_and_a_run_has_its_figures(home: Home, database_url: str, rows: Rows) -> None:
    line = "--log-format json --fresh --yes"
    with home.api() as api, Running(home, environment(database_url, api), line) as scheduler:
        until(lambda: len(scheduler.said('"calls"')) == 4)
        assert scheduler.stop() == 0
    lines = [json.loads(line) for line in scheduler.said()]
    assert "SIGTERM: storing" in json.loads(scheduler.complained())["message"]
    assert all(datetime.fromisoformat(each["time"]).utcoffset() is not None for each in lines)
    found = rows("SELECT source_name, kind, status, calls, records_count FROM pulls WHERE kind <> 'fresh'")
    figures = ("source", "kind", "status", "calls", "points_new")
    assert sorted(tuple(each[name] for name in figures) for each in lines if "calls" in each) == sorted(found)


def test_as_json_an_error_is_an_object_too() -> None:
    done = run_process("scheduler.py --log-format json --source artemis", env=environment("", ARTEMIS_API_KEY=""))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, json.loads(line)["level"]) == (2, "ERROR")
    assert json.loads(line)["message"].startswith("artemis needs a key: ")


def test_a_service_manager_hears_that_it_is_ready_what_it_does_that_it_lives_and_that_it_ends(
    home: Home, database_url: str, tmp_path: Path
) -> None:
    with service_manager(tmp_path / "notify") as heard, home.api(latency=0.5) as api:
        env = environment(database_url, api, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        with Running(home, env) as scheduler:
            until(lambda: heard.count("WATCHDOG=1") > 5 and "STATUS=idle" in heard)
            assert scheduler.stop() == 0
    assert (heard[0], heard[-1]) == ("READY=1", "STOPPING=1")
    assert any("defillama backfill: " in each and " calls, " in each for each in heard)


def test_no_key_is_said_or_stored(home: Home, database_url: str, rows: Rows) -> None:
    keys = {"ARTEMIS_API_KEY": "secret-of-artemis", "DEFILLAMA_API_KEY": "secret of llama".replace(" ", "-")}
    with home.api(broken={"": "echo"}) as api, Running(home, environment(database_url, api, **keys)) as scheduler:
        scheduler.made()
        assert scheduler.stop() == 0
    failures = str(rows("SELECT failure FROM pulls"))
    assert failures.count("Bad request") >= 4
    told = "\n".join(scheduler.said()) + scheduler.complained() + failures + str(rows("TABLE scheduler"))
    assert [key for key in keys.values() if key in told] == []


def test_it_loads_no_library_that_it_does_not_need() -> None:
    heavy = "import scheduler, sys; print(sorted({'pandas', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout == "[]\n"
