"""Runs that meet another run, a signal, or the end of their database: what is stored, recorded and said."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.embedded import EmbeddedServer
from tests.commands import (
    ROOT,
    SECONDS,
    Rows,
    answered,
    copy_tree,
    defillama_pull,
    differences,
    environment,
    run,
    start,
    stored,
    today,
    write,
)
from tests.fake_api import FakeApi
from tests.waiting import until

ENDED = "SELECT status, records_count, calls, failed_calls, failure FROM pulls WHERE finished_at IS NOT NULL"
PARENTS = "asset,kind,metrics,id\n" + "".join(f"p{number},protocol,TVL,parent#p{number}\n" for number in range(40))
FEW_PARENTS = "\n".join(PARENTS.splitlines()[:16])
OURS = """
SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'crypto-metrics %%' AND datname = current_database()
"""
END_OURS = OURS.replace("pid", "pid, pg_terminate_backend(pid)", 1)


def test_a_second_run_is_told_who_holds_the_place_and_another_kind_runs_beside_it(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    file = write(tmp_path, "asset,kind,metrics,id\naave,protocol,TVL,parent#aave\n")
    with (
        FakeApi(latency=SECONDS) as slow,
        FakeApi() as api,
        start("main.py pull defillama --config", file, env=environment(database_url, slow)) as first,
    ):
        until(lambda: slow.requests)
        second = run("main.py pull defillama --config", file, env=environment(database_url, slow))
        beside = run("main.py backfill defillama --config", file, env=environment(database_url, api))
        slow.closing.set()  # so that the first run gets its answer
        first.communicate(timeout=SECONDS)
    assert (second.returncode, second.stdout) == (1, "")
    held = f"error: another pull defillama is running: crypto-metrics pull defillama {first.pid}@"
    assert second.stderr.splitlines()[-1].startswith(held)
    assert (first.returncode, beside.returncode) == (0, 0)
    assert rows("SELECT kind, status FROM pulls ORDER BY kind") == [("backfill", "success"), ("pull", "success")]


def test_what_was_fetched_is_stored_while_the_other_calls_hang(tmp_path: Path, database_url: str, rows: Rows) -> None:
    file = write(tmp_path, "asset,kind,metrics,id\np0,protocol,TVL,parent#p0\np1,protocol,TVL,parent#p1\n")
    with (
        FakeApi(broken={"/tvl/p1": "hang"}, hang=600) as api,
        start("main.py pull defillama --config", file, env=environment(database_url, api)) as process,
    ):
        until(lambda: rows("SELECT asset FROM metrics") == [("p0",)])
        assert process.poll() is None
        process.kill()


def test_a_killed_run_is_marked_by_the_next_one_which_completes_the_table(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    file = write(tmp_path, FEW_PARENTS)
    with FakeApi(latency=0.1) as api:
        env = environment(database_url, api)
        with start("main.py pull defillama --config", file, env=env) as process:
            until(lambda: len(answered(api)) >= 5)
            process.kill()
        assert rows("SELECT status, finished_at, failure FROM pulls") == [("error", None, None)]
        until(lambda: not rows(OURS))
        done = run("main.py pull defillama --config", file, env=env)
    assert done.returncode == 0, done.stderr
    assert differences(stored(rows, "defillama"), defillama_pull(FEW_PARENTS, today())) == []
    assert rows("SELECT status, failure FROM pulls ORDER BY pull_id") == [
        ("error", "the process ended before the run did"),
        ("success", None),
    ]


@pytest.mark.parametrize(
    ("number", "hanging"), [(signal.SIGINT, False), (signal.SIGTERM, True), (signal.SIGHUP, False)]
)
def test_a_signal_ends_a_run_soon_with_what_has_been_fetched_stored(
    number: signal.Signals, hanging: bool, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    broken = {r"/tvl/p[012]\?": "hang"} if hanging else {}
    with (
        FakeApi(latency=0.3, hang=60, broken=broken) as api,
        start(
            "main.py pull defillama --config", write(tmp_path, PARENTS), env=environment(database_url, api)
        ) as process,
    ):
        until(lambda: len(answered(api)) >= 5)
        fetched = {path.rpartition("/")[2] for path in answered(api)}
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 1
    found = stored(rows, "defillama")
    assert fetched <= {asset for asset, _, _ in found}
    assert found.items() <= defillama_pull(PARENTS, today()).items()
    [(status, records, calls, failed, failure)] = rows(ENDED)
    assert (status, records, failed) == ("error", len(found), 0)
    assert failure == f"stopped before the last {40 - int(str(calls))} calls"
    assert f"  stopped: {40 - int(str(calls))} calls were not made\n" in out
    assert f"{number.name}: storing what has been fetched; a second signal ends the process at once" in err
    assert "Traceback" not in err


def test_a_signal_in_the_first_run_of_all_keeps_the_next_one_from_starting(database_url: str, rows: Rows) -> None:
    with (
        FakeApi(latency=0.5) as api,
        start("main.py pull all --metric PRICE", env=environment(database_url, api)) as process,
    ):
        until(lambda: api.requests)
        process.terminate()
        out, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert out.endswith("\ndefillama pull: not started, since the command was stopped\n")
    assert rows("SELECT source_name, finished_at IS NOT NULL FROM pulls") == [("artemis", True)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_the_embedded_database_is_made_leaves_no_server(tmp_path: Path, number: signal.Signals) -> None:
    copy_tree(tmp_path / "copy")
    with FakeApi() as api:
        env = environment("", api)
        with start("main.py pull defillama", env=env, root=tmp_path / "copy") as process:
            assert process.stderr is not None
            until(lambda: (tmp_path / "copy" / ".data" / "postgres" / "gate").exists())
            process.send_signal(number)
            _, err = process.communicate(timeout=SECONDS)
        assert api.requests == []
    assert (process.returncode, err.splitlines()[-1]) == (128 + number, "interrupted")
    assert not list((tmp_path / "copy").rglob("postmaster.pid"))


def test_nohup_is_obeyed(tmp_path: Path, database_url: str) -> None:
    file = write(tmp_path, FEW_PARENTS)
    with FakeApi(latency=0.2) as api:
        line = ["nohup", sys.executable, "main.py", "pull", "defillama", "--config", str(file)]
        env = environment(database_url, api)
        with subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603 - ours
            until(lambda: api.requests)
            process.send_signal(signal.SIGHUP)
            process.communicate(timeout=SECONDS)
    assert process.returncode == 0


def test_sigterm_during_the_imports_is_not_lost() -> None:
    program = """
import os, signal, sys
class Interrupting:  # as code that swallows any exception: `except:`, a destructor, a callback of a weak reference
    def find_spec(name, *_):
        if name == "cli.gaps":
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except BaseException:
                pass
sys.meta_path.insert(0, Interrupting)
from cli.run_command import main
main(["gaps"])
"""
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, cwd=ROOT, env=environment(""), capture_output=True, check=False)  # noqa: S603 - ours
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, b"", b"")


def test_a_second_signal_ends_a_run_at_once(tmp_path: Path, database_url: str, session: Connection) -> None:
    session.autocommit = False
    session.cursor().execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")  # so that storing takes for ever
    with (
        FakeApi(latency=0.1) as api,
        start(
            "main.py pull defillama --config", write(tmp_path, PARENTS), env=environment(database_url, api)
        ) as process,
    ):
        until(lambda: len(answered(api)) >= 5)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        until(lambda: "SIGINT" in process.stderr.readline())  # type: ignore[union-attr]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == -signal.SIGINT
    session.rollback()


def test_a_run_outlives_sessions_that_are_ended(tmp_path: Path, database_url: str, rows: Rows) -> None:
    with (
        FakeApi(latency=0.1) as api,
        start(
            "main.py pull defillama --config", write(tmp_path, PARENTS), env=environment(database_url, api)
        ) as process,
    ):
        until(lambda: len(answered(api)) >= 5)
        assert rows(END_OURS)
        until(lambda: rows("SELECT 1 FROM metrics LIMIT 1"))  # it has connected again, and stored what it had
        assert rows(END_OURS)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    assert differences(stored(rows, "defillama"), defillama_pull(PARENTS, today())) == []
    assert rows("SELECT status, records_count FROM pulls") == [("success", 40)]
    assert err.count("went away") >= 2


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server that a test may kill."""
    server = EmbeddedServer(tmp_path / "own")
    yield server
    server.release()


def _crash(server: EmbeddedServer) -> None:
    """What pg_ctl stop -m immediate does."""
    pid = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGQUIT)
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_run_outlives_a_crash_of_the_server(tmp_path: Path, own_server: EmbeddedServer) -> None:
    with (
        FakeApi(latency=0.1) as api,
        start(
            "main.py pull defillama --config", write(tmp_path, PARENTS), env=environment(own_server.dsn, api)
        ) as process,
    ):
        until(lambda: len(answered(api)) >= 5)
        _crash(own_server)
        restarted = EmbeddedServer(own_server.directory)
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, err
    with closing(psycopg2.connect(own_server.dsn)) as session, session.cursor() as cursor:
        cursor.execute("SELECT asset, value FROM metrics")
        wanted = defillama_pull(PARENTS, today())
        assert sorted(cursor.fetchall()) == sorted((asset, value) for (asset, _, _), value in wanted.items())
        cursor.execute("SELECT status, records_count FROM pulls")
        assert cursor.fetchall() == [("success", 40)]
    restarted.release()


@pytest.mark.parametrize("seconds", [0.5, pytest.param(None, marks=pytest.mark.long)])
def test_a_database_that_is_gone_for_good_ends_a_run_with_one_line(
    seconds: float | None, tmp_path: Path, own_server: EmbeddedServer
) -> None:
    script = tmp_path / "impatient.py"  # the command, which waits for so long only
    wait = "" if seconds is None else f"db.store.RECONNECT_SECONDS = {seconds}"
    script.write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nimport db.store, main\n{wait}\nmain.main()\n")
    script.write_text(script.read_text().replace("main.main()", "sys.exit(main.main())"))
    with FakeApi(latency=0.1) as api:
        env = environment(own_server.dsn, api)
        with start("impatient.py pull defillama --config", write(tmp_path, PARENTS), env=env, root=tmp_path) as process:
            until(lambda: len(answered(api)) >= 5)
            _crash(own_server)
            out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (1, "")
    *_, away, error = err.splitlines()
    assert "went away" in away
    assert error.startswith("error: the database went away and did not come back: ")
    assert "Traceback" not in err


def test_a_database_that_may_not_be_written_is_one_clear_line(
    tmp_path: Path, database_url: str, session: Connection
) -> None:
    name = session.info.dbname
    session.cursor().execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with FakeApi() as api:
        done = run("main.py pull defillama --config", write(tmp_path, PARENTS), env=environment(database_url, api))
        assert api.requests == []
    assert (done.returncode, done.stdout) == (2, "")
    assert re.search(r"\nerror: .* can't be written: .*read-only transaction\n$", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
