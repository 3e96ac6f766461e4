"""The commands `backup` and `restore-backup`: beside runs, interrupted, and what other users can see of them."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.embedded import EmbeddedServer
from tests.commands import SECONDS, Rows, copy_tree, environment, run, run_process, start, write
from tests.fake_api import FakeApi
from tests.tables import ask
from tests.waiting import until

WAITING = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
CONFIG = "asset,kind,metrics,id\n" + "".join(f"p{number},protocol,TVL,parent#p{number}\n" for number in range(5))
OURS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crypto-metrics %'"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
POINTS = "SELECT source, asset, metric_name, pulled_at, value FROM metrics ORDER BY 1, 2, 3, 4"


@pytest.fixture
def locked(database_url: str) -> Iterator[Connection]:
    """A session that holds a table, so that a backup waits in its middle."""
    with closing(psycopg2.connect(database_url)) as holder:
        holder.cursor().execute("LOCK TABLE revisions IN ACCESS EXCLUSIVE MODE")
        yield holder


def test_a_backup_moves_everything_to_another_database_and_runs_go_on_there(
    tmp_path: Path, database_url: str, empty_url: str
) -> None:
    config, file = write(tmp_path, CONFIG), tmp_path / "metrics.dump"
    with FakeApi() as api:
        for line in ("main.py backfill defillama --config", "main.py pull defillama --config"):
            assert run(line, config, env=environment(database_url, api)).returncode == 0
        done = run("main.py backup", file, env=environment(database_url))
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f" MB; to restore it: python main.py restore-backup {file}\n")
        done = run("main.py restore-backup", file, env=environment(empty_url))
        assert done.returncode == 0, done.stderr
        (points,) = ask(database_url, "SELECT count(*) FROM metrics")[0]
        assert f"{points:,} points and all that is known of them are restored into test_" in done.stdout
        assert ask(empty_url, POINTS) == ask(database_url, POINTS) != []
        done = run("main.py pull defillama --config", config, env=environment(empty_url, api))
    assert "0 new, 0 changed, 5 unchanged" in done.stdout
    again = run("main.py restore-backup", file, env=environment(empty_url))
    assert (again.returncode, again.stdout) == (2, "")
    assert "it has points or runs, and a backup is restored into an empty database\n" in again.stderr


def test_a_backup_beside_a_run_has_all_of_an_answer_or_nothing(
    tmp_path: Path, database_url: str, empty_url: str, rows: Rows
) -> None:
    config, file = write(tmp_path, CONFIG), tmp_path / "metrics.dump"
    with FakeApi(latency=0.2) as api, start("main.py backfill defillama --config", config,
                                            env=environment(database_url, api)) as running:  # fmt: skip
        until(lambda: rows("SELECT FROM metrics"))
        assert run("main.py backup", file, env=environment(database_url)).returncode == 0
        running.communicate(timeout=SECONDS)
        assert running.returncode == 0
    assert run("main.py restore-backup", file, env=environment(empty_url)).returncode == 0
    counted = "SELECT asset, row_count FROM coverage WHERE row_count > 0 ORDER BY 1"
    assert ask(empty_url, counted) == ask(empty_url, "SELECT asset, count(*) FROM metrics GROUP BY 1 ORDER BY 1") != []


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_backup_leaves_no_file(
    how: signal.Signals, code: int, tmp_path: Path, database_url: str, locked: Connection
) -> None:
    (folder := tmp_path / "backups").mkdir()
    with start("main.py backup", folder / "metrics.dump", env=environment(database_url)) as process:
        until(lambda: ask(database_url, WAITING))
        process.send_signal(how)
        assert process.wait(SECONDS) == code
        locked.rollback()
    assert not (folder / "metrics.dump").exists()
    assert how is signal.SIGKILL or list(folder.iterdir()) == []


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_restore_leaves_the_database_as_it_was(
    how: signal.Signals, code: int, tmp_path: Path, database_url: str, empty_url: str
) -> None:
    file = tmp_path / "metrics.dump"
    assert run("main.py backup", file, env=environment(database_url)).returncode == 0
    with closing(psycopg2.connect(empty_url)) as holder:
        holder.cursor().execute("CREATE TABLE revisions (note text)")  # the restore waits for the end of this
        with start("main.py restore-backup", file, env=environment(empty_url)) as process:
            until(lambda: ask(empty_url, WAITING))
            process.send_signal(how)
            assert process.wait(SECONDS) == code
            holder.rollback()
    until(lambda: not ask(empty_url, OURS))
    whole = ask(database_url, TABLES)
    assert ask(empty_url, TABLES) in ([], whole if how is signal.SIGKILL else [])  # psql may have had all of it


@pytest.mark.parametrize("line", ["main.py backup", "main.py restore-backup"])
def test_the_password_is_in_no_list_of_processes(
    line: str, tmp_path: Path, database_url: str, empty_url: str, server: EmbeddedServer
) -> None:
    file = tmp_path / "metrics.dump"
    assert run("main.py backup", file, env=environment(database_url)).returncode == 0
    url = empty_url if "restore" in line else database_url
    name = url.split("dbname=")[1]
    secret = f"postgresql://metrics:s3cret@/{name}?host={str(server._sockets).replace('/', '%2F')}"
    with closing(psycopg2.connect(url)) as holder:
        held = "CREATE TABLE revisions (note text)" if "restore" in line else "LOCK TABLE revisions"
        holder.cursor().execute(held)
        with start(line, file, env=environment(secret)) as process:
            until(lambda: ask(url, WAITING))
            children = subprocess.run(["/bin/ps", "axww", "-o", "args"], capture_output=True, text=True, check=True)
            process.send_signal(signal.SIGTERM)
            said = "".join(process.communicate(timeout=SECONDS))
        holder.rollback()
    assert f"dbname={name}" in children.stdout
    assert "s3cret" not in children.stdout + said


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    copy_tree(root := tmp_path / "copy")
    done = run_process("main.py backup a.dump", env=environment(""), root=root, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "there is no database yet" in done.stderr
    (tmp_path / "a.dump").write_text("hello")
    done = run_process("main.py restore-backup a.dump", env=environment(""), root=root, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "not a complete backup" in done.stderr
    assert not (root / ".data").exists()


def test_a_backup_is_for_its_owner_alone(tmp_path: Path, database_url: str) -> None:
    assert run("main.py backup", file := tmp_path / "metrics.dump", env=environment(database_url)).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
