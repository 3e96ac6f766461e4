"""The embedded database under a newer PostgreSQL: with real data of an older one, real servers and real kills."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from db import embedded
from db.backup import back_up, row_counts
from db.database import Database
from db.embedded import EmbeddedServer
from db.embedded_upgrade import upgrade_embedded
from db.listening import PASSWORD_FILE, password_of
from db.postgres_programs import data_major, program_directories
from db.roles import ensure_reader
from db.setup import TABLES, ensure_schema
from db.store import Store
from model.values import Verb
from tests.commands import SECONDS, copy_tree, environment, run_process, start
from tests.db.test_embedded import HOLD, line, process
from tests.db.test_listening import login, port
from tests.tables import ask, asked, grid, refusal
from tests.waiting import until

__all__ = ["port"]  # a fixture
NEWEST = program_directories()[0]
OLDER = [place for place in program_directories() if place != NEWEST]
MOMENTS = ("metrics.dump", "data.new", "data")  # what is in the folder of the new server, one after another
POINTS = "SELECT t::text FROM metrics AS t ORDER BY 1"

pytestmark = pytest.mark.skipif(not OLDER, reason="data of an older PostgreSQL needs its programs: install one")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of an embedded database of the older PostgreSQL, stopped, and a backup of it."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "program_directories", lambda: OLDER)
        with closing(Database("", folder / "postgres")) as database:
            ensure_schema(database)
            with closing(Store(database, "defillama", Verb.BACKFILL)) as store:
                store.begin_run()
                store.load(grid(3, 50), [asked(0, 50, f"asset-{number}") for number in range(3)])
            back_up(database, folder / "metrics.dump")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root(template: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository with that database as its own; no server is left running in it."""
    copy_tree(root := tmp_path / "copy")
    (root / ".data").mkdir()
    copy = ("/bin/cp", "-a", template / "postgres", root / ".data")  # with its owner
    subprocess.run(copy, check=True)  # noqa: S603 - our own folders
    yield root
    left = [pid for data in (root / ".data").rglob("data*") for pid in embedded._server_processes(data)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.fixture
def home(root: Path) -> Path:
    """The folder of its database."""
    return root / ".data" / "postgres"


@pytest.fixture
def without_old_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after pip has replaced the PostgreSQL of the package."""
    for module in ("db.embedded", "db.embedded_upgrade"):
        monkeypatch.setattr(f"{module}.program_directories", lambda: [NEWEST])


def points(home: Path) -> list[tuple[Any, ...]]:
    server = EmbeddedServer(home)
    try:
        return ask(server.dsn, POINTS)
    finally:
        server.release()


def names(home: Path) -> list[str]:
    """What is in the folder; the old data under the name that its version and the time give it."""
    return sorted(name[:7] if name.startswith("data-") else name for name in os.listdir(home))  # noqa: PTH208


def test_one_command_moves_all_rows_and_keeps_the_old_data(root: Path, home: Path) -> None:
    before = points(home)
    old = data_major(home / "data")
    done = run_process("main.py upgrade-database", env=environment(""), root=root)
    assert done.returncode == 0, done.stderr
    assert f"moved from PostgreSQL {old} to {data_major(home / 'data')}: " in done.stdout
    assert f"rows in {len(TABLES)} tables, the same number in each as before" in done.stdout
    assert points(home) == before
    assert len(before) == 150
    assert names(home) == ["data", f"data-{old}", "gate", "holders"]
    (kept,) = home.glob("data-*")
    assert str(kept) in done.stdout
    assert (kept.stat().st_uid, data_major(kept)) == ((home / "data").stat().st_uid, old)
    again = run_process("main.py upgrade-database", env=environment(""), root=root)
    assert (again.returncode, "is of the newest PostgreSQL already" in again.stdout) == (0, True)
    kept.rename(home / "data.kept")
    shutil.rmtree(home / "data")
    (home / "data.kept").rename(home / "data")
    assert points(home) == before  # the old data still works, too


def test_the_password_of_the_port_and_the_readers_move_too(root: Path, home: Path, port: int) -> None:
    server = EmbeddedServer(home, port)
    password, reader = password_of(home), ensure_reader(Database(server.dsn, home), "metrics_reader")
    server.release()
    done = run_process("main.py upgrade-database", env=environment(""), root=root)
    assert (done.returncode, done.stdout.endswith("with their passwords: metrics_reader\n")) == (0, True), done.stderr
    server = EmbeddedServer(home, port)
    assert password_of(home) == password
    assert ask(login(port, password), POINTS) == points(home)
    as_reader = login(port, str(reader.password)).replace("user=metrics", "user=metrics_reader")
    assert ask(as_reader, "SELECT count(*) FROM metrics_as_of(now())") == [(150,)]
    server.release()


@pytest.mark.usefixtures("without_old_programs")
def test_the_password_of_the_port_also_works_on_the_data_of_a_backup(home: Path, template: Path, port: int) -> None:
    (home / PASSWORD_FILE).write_text("of the old data")
    assert upgrade_embedded(home, template / "metrics.dump") is not None
    server = EmbeddedServer(home, port)
    assert ask(login(port, "of the old data"), "SELECT count(*) FROM metrics") == [(150,)]
    server.release()


def test_while_both_are_here_the_old_one_serves_and_a_warning_names_the_command(root: Path) -> None:
    done = run_process("main.py psql", "SELECT count(*) FROM metrics", env=environment(""), root=root)
    assert (done.returncode, "150" in done.stdout) == (0, True)
    (warning,) = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert warning.endswith("while both are here, python main.py upgrade-database moves the data")


@pytest.mark.usefixtures("without_old_programs")
def test_without_the_old_programs_one_line_names_the_command_that_restores_a_backup(home: Path, template: Path) -> None:
    major = data_major(home / "data")
    for attempt in (lambda: EmbeddedServer(home), lambda: upgrade_embedded(home)):
        said = refusal(attempt)
        assert f"was created by PostgreSQL {major}, but " in said
        assert "python main.py upgrade-database FILE moves the data of a backup" in said
    done = upgrade_embedded(home, template / "metrics.dump")
    assert done is not None
    assert done.rows["public.metrics"] == len(points(home)) == 150
    assert done.kept.is_dir()


@pytest.mark.usefixtures("without_old_programs")
def test_a_damaged_backup_leaves_everything_as_it_was(home: Path, template: Path, tmp_path: Path) -> None:
    whole = (template / "metrics.dump").read_bytes()
    (cut := tmp_path / "cut.dump").write_bytes(whole[: len(whole) * 3 // 4])
    assert "not a complete backup" in refusal(lambda: upgrade_embedded(home, cut))
    place = whole.index(b"\x78\x9c") + 100  # in the first compressed rows
    cut.write_bytes(whole[:place] + bytes(50) + whole[place + 50 :])
    assert "nothing was restored: the backup is damaged: " in refusal(lambda: upgrade_embedded(home, cut))
    assert names(home) == ["data", "gate", "holders"]
    assert upgrade_embedded(home, template / "metrics.dump") is not None
    assert len(points(home)) == 150


def test_nothing_is_moved_while_another_process_uses_the_database(home: Path) -> None:
    server = EmbeddedServer(home)
    assert "stop everything that uses the embedded database first" in refusal(lambda: upgrade_embedded(home))
    server.release()
    assert "upgrade" not in names(home)


@pytest.mark.usefixtures("without_old_programs")
def test_a_server_that_a_killed_process_has_left_is_stopped_before_the_data_is_moved(
    home: Path, template: Path
) -> None:
    with process(HOLD, home) as holder:
        assert line(holder).startswith("host=")
    assert embedded._server_processes(home / "data")
    done = upgrade_embedded(home, template / "metrics.dump")
    assert done is not None
    assert not [pid for data in home.glob("data*") for pid in embedded._server_processes(data)]
    assert data_major(home / "data") == done.new
    assert len(points(home)) == 150


@pytest.mark.parametrize(
    "moment", ["data/postmaster.pid", *(pytest.param(name, marks=pytest.mark.long) for name in MOMENTS)]
)
def test_a_kill_in_the_middle_leaves_the_old_data_in_use_and_the_command_can_be_repeated(
    moment: str, root: Path, home: Path
) -> None:
    with start("main.py upgrade-database", env=environment(""), root=root) as process:
        until((home / "upgrade" / moment).exists)
        process.kill()
        process.wait(SECONDS)
    assert len(points(home)) == 150
    assert not list(home.glob("data-*"))
    done = upgrade_embedded(home)
    assert done is not None
    assert len(points(home)) == 150
    assert names(home) == ["data", f"data-{done.old}", "gate", "holders"]


def test_sigterm_in_the_middle_stops_both_servers(root: Path, home: Path) -> None:
    with start("main.py upgrade-database", env=environment(""), root=root) as process:
        until((home / "upgrade" / "data" / "postmaster.pid").exists)
        process.terminate()
        assert process.wait(SECONDS) == 143
    assert not embedded._server_processes(home / "data")
    assert not embedded._server_processes(home / "upgrade" / "data")
    assert len(points(home)) == 150


def test_after_a_kill_between_the_last_two_steps_the_next_start_makes_the_last_one(home: Path) -> None:
    before = points(home)
    done = upgrade_embedded(home)
    assert done is not None
    (home / "data").rename(home / embedded.UPGRADED)
    assert points(home) == before
    assert data_major(home / "data") == done.new
    (home / "data").rename(home / embedded.UPGRADED)
    assert upgrade_embedded(home) is None
    assert points(home) == before


def test_data_of_a_newer_postgresql_is_refused_without_a_command_that_cannot_help(home: Path) -> None:
    (home / "data" / "PG_VERSION").write_text("99\n")
    for attempt in (lambda: EmbeddedServer(home), lambda: upgrade_embedded(home)):
        said = refusal(attempt)
        assert "was created by PostgreSQL 99, but " in said
        assert "upgrade-database" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_new_data_belongs_to_the_owner_of_the_old_one(home: Path) -> None:
    for path in (home / "data", *(home / "data").rglob("*")):
        os.lchown(path, 65534, 65534)
    home.parents[3].chmod(0o755)
    assert upgrade_embedded(home) is not None
    assert {path.stat().st_uid for path in (home / "data").rglob("*")} == {65534}
    assert len(points(home)) == 150


def test_with_a_database_url_or_without_a_database_there_is_nothing_to_move(tmp_path: Path, empty_url: str) -> None:
    copy_tree(bare := tmp_path / "bare")
    done = run_process("main.py upgrade-database", env=environment(empty_url), root=bare)
    assert (done.returncode, done.stderr) == (
        2, "error: DATABASE_URL is set: upgrade the server there with its own tools\n",
    )  # fmt: skip
    done = run_process("main.py upgrade-database", env=environment(""), root=bare)
    assert (done.returncode, "there is no embedded database in" in done.stderr) == (2, True)
    assert not (bare / ".data").exists()


def test_tables_of_the_user_move_too(home: Path) -> None:
    server = EmbeddedServer(home)
    ask(
        server.dsn, "CREATE TABLE notes AS SELECT generate_series(1, 7) AS n; CREATE VIEW v AS SELECT max(n) FROM notes"
    )
    server.release()
    done = upgrade_embedded(home)
    assert done is not None
    assert done.rows["public.notes"] == 7
    server = EmbeddedServer(home)
    assert ask(server.dsn, "SELECT * FROM v") == [(7,)]
    assert row_counts(Database(server.dsn, home)) == done.rows
    server.release()
