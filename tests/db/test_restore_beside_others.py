"""A backup is restored beside what belongs to others: their tables, views and schemas stay as they are."""

from pathlib import Path

import pytest

from db.backup import back_up, restore_backup
from db.embedded import EmbeddedServer
from db.setup import Database, ensure_schema
from db.store import Store
from model.values import Verb
from tests.db.test_backup import file, filled, other
from tests.tables import ask, point, refusal

__all__ = ["file", "filled", "other"]  # fixtures
OBJECTS = "SELECT oid, relname, relnamespace FROM pg_class WHERE relkind IN ('r', 'v') AND oid >= 16384 ORDER BY 1"

pytestmark = pytest.mark.every_postgres


def test_a_table_of_the_user_that_is_also_in_the_backup_is_never_replaced(
    empty_url: str, file: Path, other: Database
) -> None:
    ensure_schema(other)
    ask(empty_url, """CREATE TABLE "of the user's" AS SELECT generate_series(1, 3)""")
    before = ask(empty_url, OBJECTS)
    assert 'relation "of the user\'s" already exists' in refusal(lambda: restore_backup(other, file))
    assert ask(empty_url, OBJECTS) == before
    assert ask(empty_url, """SELECT count(*) FROM "of the user's" """) == [(3,)]


def test_views_of_the_user_on_the_empty_tables_are_never_dropped(empty_url: str, file: Path, other: Database) -> None:
    ensure_schema(other)
    ask(empty_url, "CREATE VIEW mine AS SELECT * FROM daily; CREATE TABLE mine_too AS SELECT 1")
    before = ask(empty_url, OBJECTS)
    assert "view mine depends on view daily" in refusal(lambda: restore_backup(other, file))
    assert ask(empty_url, OBJECTS) == before
    ask(empty_url, "DROP VIEW mine")
    restore_backup(other, file)
    assert ask(empty_url, "SELECT * FROM mine_too") == [(1,)]


def with_schema(url: str, server: EmbeddedServer, schema: str) -> Database:
    return Database(f"{url} options='-c search_path={schema}'", server.directory)


def test_points_in_another_schema_are_never_replaced(
    empty_url: str, server: EmbeddedServer, database_url: str, tmp_path: Path
) -> None:
    ask(database_url, "CREATE SCHEMA foo")
    ask(empty_url, "CREATE SCHEMA foo")
    for url in (database_url, empty_url):
        ensure_schema(database := with_schema(url, server, "foo"))
        store = Store(database, "defillama", Verb.PULL)
        store.begin_run()
        store.load([point()])
        store.close()
    ensure_schema(other := Database(empty_url, server.directory))
    back_up(with_schema(database_url, server, "foo"), made := tmp_path / "foo.dump")
    before = ask(empty_url, OBJECTS)
    assert "is of the schema foo, but new tables go into public" in refusal(lambda: restore_backup(other, made))
    absent = with_schema(empty_url, server, "absent")
    assert "go into no schema" in refusal(lambda: restore_backup(absent, made))
    assert ask(empty_url, OBJECTS) == before
    assert ask(empty_url, "SELECT count(*) FROM foo.metrics") == [(1,)]
