"""A backup and its restore: every row of every table, completely or not at all, and what is refused."""

import random
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from db.backup import back_up, check_backup, restore_backup, row_counts
from db.database import Database
from db.embedded import EmbeddedServer
from db.postgres_programs import client_program, program_directories
from db.setup import MARK, TABLES_VERSION, ensure_schema
from db.store import Store
from model.errors import DatabaseLost
from model.values import Verb
from tests.faults.machine_faults import small_disk
from tests.tables import Opener, as_role, ask, asked, grid, point, refusal
from tests.waiting import until

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
# What no load writes.
OTHERS = """
INSERT INTO scheduler VALUES (true, 'host', 7, '{artemis}', now(), now(), 'waiting', 0, NULL);
INSERT INTO refused VALUES ('artemis', 'sol', 'PRICE', 'a reason', '{[2024-01-01,2024-01-05)}', 3, '2024-02-01');
INSERT INTO api_limits VALUES ('artemis abc', 'request_delay', 0.1, now());
INSERT INTO identities VALUES ('artemis', '', 'sol', 'solana', 'Solana', 'Sol', NULL);
INSERT INTO quarantine VALUES ('artemis', 'sol', 'PRICE', '2024-01-01', NULL, 'waiting', now(), 1);
INSERT INTO notified VALUES ('artemis', 'runs', 'pull', now());
CREATE TABLE "of the user's" (note text); INSERT INTO "of the user's" VALUES ('BEGIN;');
"""

pytestmark = pytest.mark.every_postgres


@pytest.fixture
def filled(database: Database, database_url: str, open_store: Opener) -> Database:
    """A database with rows in every table: points, old values, coverage, a point that waits, and the rest."""
    store = open_store(Verb.SETTLE)
    store.begin_run()
    store.load(grid(3, 50), [asked(0, 50, f"asset-{number}") for number in range(3)])
    store.load(grid(3, 50, value=0.1 + 0.2), [asked(0, 50, f"asset-{number}") for number in range(3)])
    ask(database_url, OTHERS)
    return database


@pytest.fixture
def other(empty_url: str, server: EmbeddedServer) -> Database:
    """An empty database."""
    return Database(empty_url, server.directory)


@pytest.fixture
def file(tmp_path: Path, filled: Database) -> Path:
    """A backup."""
    back_up(filled, made := tmp_path / "metrics.dump")
    return made


@pytest.fixture
def while_locked(database_url: str) -> Callable[..., None]:
    """A function that does some work while a backup waits for a table that is locked."""
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def meet(meanwhile: Callable[[], None], backup: Callable[[], None]) -> None:
        with ThreadPoolExecutor(1) as pool, closing(psycopg2.connect(database_url)) as holder:
            holder.cursor().execute("LOCK TABLE revisions IN ACCESS EXCLUSIVE MODE")
            running = pool.submit(backup)
            until(lambda: ask(database_url, waiting))
            meanwhile()
            running.result()

    return meet


@pytest.fixture
def oldest(servers: Callable[[Path], EmbeddedServer]) -> Iterator[Database]:
    """An empty database of the oldest PostgreSQL found here."""
    server = servers(program_directories()[-1])
    with closing(psycopg2.connect(server.dsn.replace("dbname=metrics", "dbname=postgres"))) as session:
        session.autocommit = True
        session.cursor().execute("CREATE DATABASE moved TEMPLATE template1")
        yield Database(server.dsn.replace("dbname=metrics", "dbname=moved"), server.directory)
        session.cursor().execute("DROP DATABASE moved WITH (FORCE)")


def contents(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables as text, in which no digit is lost."""
    return {name: ask(url, f'SELECT t::text FROM "{name}" AS t ORDER BY 1') for (name,) in ask(url, TABLES)}  # noqa: S608


def tables(url: str) -> list[Any]:
    return ask(url, TABLES)


def test_every_row_of_every_table_comes_back(database_url: str, empty_url: str, file: Path, other: Database) -> None:
    check_backup(file)
    restore_backup(other, file)
    before = contents(database_url)
    assert [name for name, rows in before.items() if not rows] == []
    assert len(before["revisions"]) == 150
    assert contents(empty_url) == before
    assert not ensure_schema(other)  # it has the mark of this version
    assert row_counts(other)["public.metrics"] == 150
    assert row_counts(other)['public."of the user\'s"'] == 1


@pytest.mark.one_server
def test_a_backup_can_be_restored_into_an_older_postgresql(database_url: str, file: Path, oldest: Database) -> None:
    restore_backup(oldest, file)
    assert contents(oldest.conninfo()[0]) == contents(database_url)


@pytest.mark.one_server
def test_indexes_columns_and_sequences_come_back(
    database_url: str, empty_url: str, file: Path, other: Database
) -> None:
    restore_backup(other, file)
    for query in (
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
        "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
        "SELECT table_name, column_name, data_type, column_default FROM information_schema.columns "
        "WHERE table_schema = 'public' ORDER BY 1, 2",
    ):
        assert ask(empty_url, query) == ask(database_url, query) != []
    store = Store(other, "defillama", Verb.PULL)
    store.begin_run()
    assert store.load([point("new-asset")]).new == 1
    store.close()
    assert ask(empty_url, "SELECT count(*), count(DISTINCT id) FROM metrics") == [(151, 151)]


def test_the_empty_tables_of_setup_are_replaced(database_url: str, empty_url: str, file: Path, other: Database) -> None:
    ensure_schema(other)
    restore_backup(other, file)
    assert contents(empty_url) == contents(database_url)


@pytest.mark.parametrize("there", [
    "INSERT INTO metrics (pulled_at, source, asset, metric_name, value) VALUES (now(), 'a', 'b', 'c', 1)",
    "INSERT INTO pulls (source_name, status) VALUES ('artemis', 'error')",
])  # fmt: skip
def test_a_database_with_points_or_runs_is_left_as_it_is(
    there: str, empty_url: str, file: Path, other: Database
) -> None:
    ensure_schema(other)
    ask(empty_url, there)
    before = contents(empty_url)
    assert "it has points or runs" in refusal(lambda: restore_backup(other, file))
    assert contents(empty_url) == before


def test_a_table_metrics_of_somebody_else_is_never_replaced(empty_url: str, file: Path, other: Database) -> None:
    ask(empty_url, "CREATE TABLE metrics (horses text); INSERT INTO metrics VALUES ('12')")
    assert 'relation "metrics" already exists' in refusal(lambda: restore_backup(other, file))
    assert contents(empty_url) == {"metrics": [("(12)",)]}


def test_a_table_of_somebody_else_is_never_replaced(empty_url: str, file: Path, other: Database) -> None:
    ask(empty_url, "CREATE TABLE loads (cargo text); INSERT INTO loads VALUES ('coal')")
    assert 'relation "loads" already exists' in refusal(lambda: restore_backup(other, file))
    assert contents(empty_url) == {"loads": [("(coal)",)]}


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_of_a_damaged_backup_nothing_is_restored(share: float, empty_url: str, file: Path, other: Database) -> None:
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])

    def attempt() -> None:
        check_backup(file)
        restore_backup(other, file)

    assert "backup" in refusal(attempt)
    assert tables(empty_url) == []


def test_noise_in_a_backup_is_noticed(empty_url: str, file: Path, other: Database) -> None:
    damaged = bytearray(file.read_bytes())
    place = len(damaged) - 2000
    damaged[place : place + 500] = random.Random(1).randbytes(500)  # noqa: S311 - the same in each run
    file.write_bytes(damaged)
    assert "nothing was restored" in refusal(lambda: restore_backup(other, file))
    assert tables(empty_url) == []


@pytest.mark.parametrize(("content", "said"), [
    (b"", "not a complete backup"),
    (b"hello", "not a complete backup"),
    (b"--\n-- PostgreSQL database dump\n--\n\nSET statement_timeout = 0;\n" * 20, "text format dump"),
])  # fmt: skip
def test_a_file_that_is_no_backup_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (other := tmp_path / "other").write_bytes(content)
    assert said in refusal(lambda: check_backup(other))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "there is no such file" in refusal(lambda: check_backup(tmp_path / "absent"))
    assert "there is no such file" in refusal(lambda: check_backup(tmp_path))


def test_a_backup_of_a_newer_postgresql_is_refused(file: Path) -> None:
    newer = bytearray(file.read_bytes())
    newer[6] = 99  # the minor version of the format, after b"PGDMP" and the major one
    file.write_bytes(newer)
    assert "a newer PostgreSQL made this backup" in refusal(lambda: check_backup(file))


def marked(url: str, database: Database, mark: str | None, file: Path) -> None:
    text = f"'{mark}'" if mark else "NULL"
    ask(url, f"COMMENT ON TABLE metrics IS {text}")
    back_up(database, file)


def test_a_backup_with_newer_tables_is_refused(database_url: str, filled: Database, tmp_path: Path) -> None:
    mark = MARK.replace(f" {TABLES_VERSION} ", f" {TABLES_VERSION + 1} ")
    marked(database_url, filled, mark, made := tmp_path / "newer.dump")
    assert "update the program first" in refusal(lambda: check_backup(made))


@pytest.mark.parametrize(
    "mark", ["crypto-metrics schema 0123456789abcdef", "crypto-metrics schema 0 0123456789abcdef", "of mine", None]
)
def test_a_backup_with_older_tables_is_restored_and_upgraded(
    mark: str | None, database_url: str, empty_url: str, filled: Database, other: Database, tmp_path: Path
) -> None:
    ask(database_url, "ALTER TABLE coverage DROP COLUMN withdrawn_at")
    marked(database_url, filled, mark, made := tmp_path / "older.dump")
    check_backup(made)
    restore_backup(other, made)
    assert ensure_schema(other)
    assert ask(empty_url, "SELECT count(*), count(withdrawn_at) FROM coverage") == [(3, 0)]


def test_a_backup_of_another_database_is_refused(empty_url: str, other: Database, tmp_path: Path) -> None:
    assert "there is nothing to back up" in refusal(lambda: back_up(other, tmp_path / "metrics.dump"))
    assert list(tmp_path.iterdir()) == []
    ask(empty_url, "CREATE TABLE metrics (of_somebody_else text)")
    dump, _ = client_program("pg_dump")
    subprocess.run([dump, "-Fc", "-f", tmp_path / "other.dump", "-d", empty_url], check=True)  # noqa: S603 - ours
    assert "a backup of another database" in refusal(lambda: check_backup(tmp_path / "other.dump"))


@pytest.mark.one_server
def test_a_role_without_the_right_is_refused_and_no_file_is_left(
    database_url: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    ask(database_url, "DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    stranger = Database(as_role(database_url, "stranger"), server.directory)
    assert "permission denied for table" in refusal(lambda: back_up(stranger, tmp_path / "metrics.dump"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["absent/metrics.dump", "folder"])
def test_a_file_that_cannot_be_written_is_refused(place: str, filled: Database, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert "can't be written" in refusal(lambda: back_up(filled, tmp_path / place))


def test_on_a_full_disk_the_old_backup_stays(filled: Database) -> None:
    try:
        with small_disk(1) as folder:
            (folder / "metrics.dump").write_bytes(b"the old one")
            (folder / "padding").write_bytes(bytes(1_030_000))
            said = refusal(lambda: back_up(filled, folder / "metrics.dump"))
            assert "No space left on device" in said
            assert sorted(path.name for path in folder.iterdir()) == ["metrics.dump", "padding"]
            assert (folder / "metrics.dump").read_bytes() == b"the old one"
    except subprocess.CalledProcessError:
        pytest.skip("this account may not mount")


@pytest.mark.one_server
def test_an_older_pg_dump_is_refused_with_what_to_install(
    server: EmbeddedServer, filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    major = int(server.version.split(".")[0])
    older = [place for place in program_directories() if place.parent.name.isdigit() and int(place.parent.name) < major]
    if not older:
        pytest.skip("no older PostgreSQL is here")
    monkeypatch.setattr("db.postgres_programs.program_directories", lambda: older)
    monkeypatch.setenv("PATH", str(older[0]))
    said = refusal(lambda: back_up(filled, tmp_path / "metrics.dump"))
    assert f"pg_dump {older[0].parent.name} can't read" in said
    assert said.endswith(f"install postgresql-client-{major}")


def test_a_database_that_goes_away_is_told_so(
    database_url: str, filled: Database, tmp_path: Path, while_locked: Callable[..., None]
) -> None:
    def gone() -> None:
        end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name LIKE '% backup %'"
        ask(database_url, end)

    with pytest.raises(DatabaseLost, match="went away"):
        while_locked(gone, lambda: back_up(filled, tmp_path / "metrics.dump"))
    assert list(tmp_path.iterdir()) == []
