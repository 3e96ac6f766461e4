"""The role that may only read: what it can do, through psql and through our commands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.database import Database
from db.listening import password_of
from db.roles import TABLES_AND_VIEWS, ensure_reader
from model.settings import ROOT
from model.values import Verb
from pipeline.tables import ensure_tables
from tests.commands import environment, run
from tests.db.test_embedded import home
from tests.db.test_listening import port
from tests.fake_api import FakeApi
from tests.psql import psql, run_psql
from tests.tables import Opener, Rows, as_role, ask, asked, points, refusal

pytestmark = pytest.mark.every_postgres
__all__ = ["home", "port"]  # fixtures


@pytest.fixture
def reader_name(rows: Rows) -> Iterator[str]:
    """The name of a reader of this test, which is dropped at the end."""
    [(database,)] = rows("SELECT current_database()")
    name = f"reader_of_{database}"
    yield name
    if rows("SELECT FROM pg_roles WHERE rolname = %s", name):
        rows(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_reader_reads_everything_through_psql_and_our_commands(
    reader_name: str, database_url: str, open_store: Opener, tmp_path: Path
) -> None:
    open_store(Verb.BACKFILL).load(points(0, 1, 2), [asked(0, 3)])
    assert run("main.py setup --reader", reader_name, env=environment(database_url)).returncode == 0
    url = as_role(database_url, reader_name)
    for table in TABLES_AND_VIEWS:
        psql(url, f"SELECT * FROM {table}")  # noqa: S608 - our own tables
    assert psql(url, "SELECT count(*) FROM metrics_as_of(now())") == [("3",)]
    for command in ("query solana TVL --format csv", "query solana TVL --as-of 2026-01-01 --format csv", "latest TVL",
                    "vintages solana TVL", "gaps defillama", "revisions defillama", "psql"):  # fmt: skip
        words = ("SELECT 1",) if command == "psql" else ()
        done = run(f"main.py {command}", *words, env=environment(url))
        assert done.returncode == 0, done.stderr
    assert run(f"main.py report --out {tmp_path / 'page.html'}", env=environment(url)).returncode == 0
    status = run("main.py status", env=environment(url))
    assert (status.returncode, "denied" in status.stdout + status.stderr) == (3, False)


@pytest.mark.one_server
def test_a_reader_that_tries_to_write_gets_one_line_and_nothing_is_done(
    reader_name: str, database: Database, database_url: str, rows: Rows
) -> None:
    ensure_reader(database, reader_name)
    url, before = as_role(database_url, reader_name), list(ROOT.glob("saved/*"))
    for statement in ("INSERT INTO metrics (source) VALUES ('a')", "DELETE FROM pulls", "CREATE TABLE mine (x INT)",
                      "SET default_transaction_read_only = off; UPDATE metrics SET value = 1",
                      "SET default_transaction_read_only = off; CREATE TABLE mine (x INT)"):  # fmt: skip
        done = run_psql(url, statement)
        assert done.returncode != 0
        assert re.search("read-only transaction|permission denied", done.stderr)
    with FakeApi() as api:
        for command in ("pull artemis --asset btc", "backfill artemis --asset btc", "settle artemis --asset btc",
                        "fresh artemis --yes", "setup", "setup --reader other"):  # fmt: skip
            done = run(f"main.py {command}", env=environment(url, api))
            [line] = [line for line in done.stderr.splitlines() if " INFO " not in line]
            assert (done.returncode, line[:7]) == (2, "error: "), done.stderr
            assert re.search("can't be (written|created): cannot execute [A-Z ]+ in a read-only transaction", line)
    assert rows("SELECT FROM pulls") == rows("SELECT FROM metrics") == []
    assert list(ROOT.glob("saved/*")) == before
    assert rows("SELECT FROM pg_roles WHERE rolname = 'other'") == []


@pytest.mark.one_server
def test_setup_prints_a_new_password_once_and_keeps_it(reader_name: str, database_url: str, rows: Rows) -> None:
    stored = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{reader_name}'"  # noqa: S608 - our own name
    first = run("main.py setup --reader", reader_name, env=environment(database_url))
    [password] = re.findall(r"shown only now: (\S{32})\n", first.stdout)
    assert password not in first.stderr
    assert f"{reader_name} may read: postgresql://{reader_name}@/" in first.stdout
    [(verifier,)] = rows(stored)
    assert verifier.startswith("SCRAM-SHA-256$")
    again = run("main.py setup --reader", reader_name, env=environment(database_url))
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "its password is as before")
    assert rows(stored) == [(verifier,)]
    given = run("main.py setup --reader", reader_name, env=environment(database_url, READER_PASSWORD="s3cr3t"))  # noqa: S106
    assert given.stdout.splitlines()[-1] == "its password is that of READER_PASSWORD"
    assert "s3cr3t" not in given.stdout + given.stderr
    assert rows(stored) != [(verifier,)]


@pytest.mark.parametrize(
    "wrong", ["", "Reader", "my-reader", "pg_reader", "public", "none", "a" * 64, 'x"; DROP', "1st"]
)
def test_a_name_that_is_no_good_is_refused(wrong: str, database: Database, rows: Rows) -> None:
    before = rows("SELECT rolname FROM pg_roles ORDER BY 1")
    assert "can't be the name of a reader: write small letters" in refusal(lambda: ensure_reader(database, wrong))
    done = run("main.py setup --reader", wrong, env=environment("postgresql://nowhere:9/"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {wrong!r} can't be the name of a reader")
    assert rows("SELECT rolname FROM pg_roles ORDER BY 1") == before


@pytest.mark.one_server
def test_a_role_that_others_have_created_is_refused_and_stays_as_it_is(
    reader_name: str, database: Database, rows: Rows
) -> None:
    rows(f"CREATE ROLE {reader_name} LOGIN SUPERUSER")
    assert "exists already, and setup --reader has not created it" in refusal(
        lambda: ensure_reader(database, reader_name, "password")
    )
    assert "choose another name" in refusal(lambda: ensure_reader(database, "metrics"))
    assert rows("SELECT rolconfig, rolsuper FROM pg_roles WHERE rolname = %s", reader_name) == [(None, True)]


@pytest.mark.parametrize(("right", "said"), [("", "permission denied to create role"), ("CREATEROLE", "can't give")])
@pytest.mark.one_server
def test_a_role_without_the_rights_for_it_gets_one_line_and_creates_nothing(
    right: str, said: str, reader_name: str, database_url: str, rows: Rows
) -> None:
    creator = f"creator_{reader_name}"
    rows(f"CREATE ROLE {creator} LOGIN {right}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {creator}")
    try:
        database = Database(as_role(database_url, creator), Path())
        assert said in refusal(lambda: ensure_reader(database, reader_name))
        assert rows("SELECT FROM pg_roles WHERE rolname = %s", reader_name) == []
    finally:
        rows(f"DROP OWNED BY {creator}; DROP ROLE {creator}")


def test_a_reader_sees_what_is_created_later_and_a_right_to_write_is_named(
    reader_name: str, database: Database, database_url: str, rows: Rows
) -> None:
    assert ensure_reader(database, reader_name).may_write == []
    rows("CREATE TABLE later AS SELECT 1 AS number")
    assert psql(as_role(database_url, reader_name), "SELECT number FROM later") == [("1",)]
    rows("GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT DELETE ON metrics TO PUBLIC")
    assert ensure_reader(database, reader_name).may_write == ["CREATE on schema public", "DELETE on metrics"]


def test_an_owner_who_may_create_roles_removes_a_reader_as_the_docs_say(
    reader_name: str, empty_url: str, rows: Rows
) -> None:
    docs = (ROOT / "docs" / "tools.md").read_text(encoding="utf-8")
    [remove] = re.findall(r"To remove the role.*?```text\n(.*?)```", docs, flags=re.DOTALL)
    owner = f"owner_{reader_name}"
    rows(f"CREATE ROLE {owner} LOGIN CREATEROLE")
    [(database,)] = ask(empty_url, "SELECT current_database()")
    rows(f"ALTER DATABASE {database} OWNER TO {owner}")
    try:
        ask(empty_url, f"ALTER SCHEMA public OWNER TO {owner}")
        url = as_role(empty_url, owner)
        ensure_tables(Database(url, Path()))
        ensure_reader(Database(url, Path()), reader_name)
        psql(url, remove.replace("metrics_reader", reader_name))
        assert rows("SELECT FROM pg_roles WHERE rolname = %s", reader_name) == []
    finally:
        ask(empty_url, f"REASSIGN OWNED BY {owner} TO metrics; DROP OWNED BY {owner}")
        rows(f"DROP ROLE {owner}")


@pytest.mark.one_server
def test_readers_may_read_every_table_and_view_of_ours(rows: Rows) -> None:
    made = rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')")
    assert {name for (name,) in made} == set(TABLES_AND_VIEWS)


def test_a_reader_logs_in_with_its_password_where_the_embedded_server_listens(home: Path, port: int) -> None:
    database = Database("", home, port)
    try:
        ask(database.url(with_password=True), "SELECT 1")
        ensure_tables(database)
        made = ensure_reader(database, "reader").password
        assert made
        url = database.url(user="reader", password=made, with_password=True)
        assert ask(url, "SELECT count(*), current_user FROM metrics") == [(0, "reader")]
        for wrong in ("", "wrong", password_of(home)):
            login = database.url(user="reader", password=wrong, with_password=True)
            assert "password" in run_psql(login, "SELECT 1").stderr
    finally:
        database.close()
