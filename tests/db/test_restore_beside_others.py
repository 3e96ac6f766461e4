"""A backup is restored beside what belongs to others: their tables, views and schemas stay as they are."""

from pathlib import Path

import pytest

from db.backup import back_up, restore_backup
from db.database import Database
from db.embedded import EmbeddedServer
from db.setup import TABLES, ensure_schema
from db.store import Store
from model.values import Verb
from pipeline.tables import ensure_tables
from tests.db.test_backup import file, filled, other
from tests.tables import as_role, ask, point, refusal

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


@pytest.mark.usefixtures("filled")
@pytest.mark.one_server
def test_a_backup_of_our_tables_alone_needs_no_right_on_those_of_others_and_all_of_ours_comes_back(
    database_url: str, empty_url: str, other: Database, server: EmbeddedServer, tmp_path: Path
) -> None:
    ask(database_url, "CREATE VIEW mine AS SELECT * FROM daily; CREATE MATERIALIZED VIEW kept AS SELECT * FROM mine")
    ask(database_url, "DROP ROLE IF EXISTS reads_ours; CREATE ROLE reads_ours LOGIN")
    ask(database_url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads_ours")
    ask(database_url, "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reads_ours; CREATE TABLE notes (note text)")
    role = Database(as_role(database_url, "reads_ours"), server.directory)
    assert "permission denied for table notes" in refusal(lambda: back_up(role, tmp_path / "whole.dump"))
    back_up(role, made := tmp_path / "ours.dump", only_ours=True)
    restore_backup(other, made)
    assert ensure_tables(other, always=True)  # makes the views, as restore-backup does
    assert not ensure_tables(other)
    ours = [*TABLES, "daily", "series_health"]
    for name in ours:
        rows = f"SELECT t::text FROM {name} AS t ORDER BY 1"  # noqa: S608 - our own names
        assert ask(empty_url, rows) == ask(database_url, rows), name
    for query in (
        "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
        "SELECT obj_description('metrics'::regclass), obj_description('metric_facts'::regclass)",
    ):
        assert ask(empty_url, query) == ask(database_url, query) != []
    assert ask(empty_url, "SELECT to_regclass('notes'), to_regclass('mine')") == [(None, None)]


def test_a_backup_of_the_whole_database_has_views_of_the_user_on_ours(
    database_url: str, empty_url: str, filled: Database, other: Database, tmp_path: Path
) -> None:
    ask(database_url, "CREATE VIEW mine AS SELECT * FROM daily; CREATE MATERIALIZED VIEW kept AS SELECT * FROM mine")
    back_up(filled, made := tmp_path / "whole.dump")
    restore_backup(other, made)
    ensure_schema(other, always=True)
    assert ask(empty_url, "SELECT count(*) FROM kept") == ask(database_url, "SELECT count(*) FROM daily")


def test_a_backup_of_our_tables_in_a_schema_can_be_restored_into_a_schema_of_that_name(
    database_url: str, empty_url: str, server: EmbeddedServer, tmp_path: Path
) -> None:
    for url in (database_url, empty_url):
        ask(url, 'CREATE SCHEMA "Foo"')
    ensure_schema(source := with_schema(database_url, server, '"Foo"'))
    back_up(source, made := tmp_path / "foo.dump", only_ours=True)
    restore_backup(target := with_schema(empty_url, server, '"Foo"'), made)
    assert ensure_schema(target, always=True)
    assert ask(empty_url, """SELECT count(*) FROM "Foo".daily""") == [(0,)]
