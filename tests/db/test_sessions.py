"""Which database is used, the error if it can't be, and the sessions on it."""

import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.embedded import EmbeddedServer
from db.session import session_for
from model.settings import ROOT
from tests.tables import OF_SESSIONS, Rows, as_role, ask, refusal
from tests.waiting import until

pytestmark = pytest.mark.every_postgres


@pytest.fixture
def guarded(server: EmbeddedServer) -> Iterator[tuple[str, str]]:
    """A role that needs a password, and the password."""
    password = f"it's a {secrets.token_hex(8)} @/?%"
    rules = server.directory / "data" / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    with closing(psycopg2.connect(server.dsn)) as session, session, session.cursor() as cursor:
        cursor.execute("CREATE ROLE guarded LOGIN PASSWORD %s", (password,))
    rules.write_text(f"local all guarded scram-sha-256\n{before}", encoding="utf-8")
    ask(server.dsn, "SELECT pg_reload_conf()")
    yield "guarded", password
    rules.write_text(before, encoding="utf-8")
    ask(server.dsn, "SELECT pg_reload_conf()")
    ask(server.dsn, "DROP ROLE guarded")


@pytest.mark.one_server
def test_a_missing_database_is_named(server: EmbeddedServer) -> None:
    url = server.dsn.replace("dbname=metrics", "dbname=nowhere")
    message = refusal(lambda: Database(url, Path()).connect("test"))
    assert 'database "nowhere" does not exist' in message
    assert message.endswith(": check DATABASE_URL and that the server runs")


def test_a_port_where_nobody_listens_is_named() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        url = f"postgresql://me:s3cret@127.0.0.1:{port}/db"
        message = refusal(lambda: Database(url, Path()).connect("test"), "s3cret", code=4)
    assert f"db on 127.0.0.1:{port}: " in message
    assert "Connection refused" in message


def test_a_host_that_does_not_exist_is_named() -> None:
    url = "postgresql://me:s3cret@no-such-host.invalid/db"
    message = refusal(lambda: Database(url, Path()).connect("test"), "s3cret", code=4)
    assert 'could not translate host name "no-such-host.invalid"' in message


@pytest.mark.one_server
def test_a_right_password_is_taken_and_a_wrong_one_refused_unprinted(
    server: EmbeddedServer, guarded: tuple[str, str]
) -> None:
    role, password = guarded
    written = password.replace("'", r"\'")
    place = as_role(server.dsn, role)
    Database(f"{place} password='{written}'", Path()).connect("test").close()
    wrong = Database(f"{place} password='x{written}x'", Path())
    message = refusal(lambda: wrong.connect("test"), *re.findall(r"\w{8,}", password), password)
    assert 'password authentication failed for user "guarded"' in message
    unset = Database(place, Path())
    assert "no password supplied" in refusal(lambda: unset.connect("test"))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg2://me:s3cret@host/db",
        "mysql://me:s3cret@host/db?a=s3cret",
        "https://me:s3cret@host",
        "s3cret",
        "me:s3cret@host",
        "postgresql://me:s3cret%zz@host/db",
        "postgresql://me:s3cret@[::1/db",
        "host=h password='s3cret",
        "postgresql://me:pa@s3cret@host/db",
        "postgresql://me:pa/s3cret@host/db",
        "postgresql://me:pa/x/s3cret@host/db",
        "postgresql://me:pa/x?s3cret@host/db",
        "postgresql://me:p@s3cret%40w@host/db",
        "postgresql://me:p/s3cret%40w@host/db",
        "postgresql://me:p@s3cret%zz@host/db",
    ],
)
def test_what_is_no_database_url_is_refused_without_showing_it(url: str) -> None:
    assert refusal(lambda: Database(url, Path()), "s3cret").startswith("DATABASE_URL")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:s3cret@host:6543/db", "db on host:6543"),
        ("postgres://me:p%40ss@host/db", "db on host:5432"),
        ("postgresql://me:p?ss@host/my%40db", "my@db on host:5432"),
        ("postgresql://me@/db?host=/run/pg&password=s3cret", "db on /run/pg:5432"),
        ("host=h dbname=db password='s3 cret' user=me", "db on h:5432"),
        ("user=me password=s3cret", "me on the local socket:5432"),
        ("postgresql://me:s3cret@%40abstract/db", "db on @abstract:5432"),
        ("host=/home/me@work/pg dbname=db password=s3cret", "db on /home/me@work/pg:5432"),
    ],
)
def test_a_database_is_called_by_its_name_and_place_and_never_by_its_password(url: str, message: str) -> None:
    assert str(Database(url, Path())) == message


@pytest.mark.one_server
def test_without_a_url_the_embedded_server_is_used_and_named(server: EmbeddedServer) -> None:
    database = Database("", server.directory)
    assert str(database) == f"embedded PostgreSQL {server.version} in {server.directory}"
    with closing(database.connect("test")) as session:
        assert session.info.dbname == "metrics"
    database.close()
    assert ask(server.dsn, "SELECT 1") == [(1,)]


def test_every_session_is_in_utc_and_says_what_it_is_for(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGAPPNAME", "other")
    database = Database(f"{empty_url} application_name=mine connect_timeout=77", Path())
    with closing(database.connect("pull artemis")) as session, session.cursor() as cursor:
        for _ in range(2):
            cursor.execute("SELECT current_setting('timezone'), current_setting('application_name')")
            zone, name = cursor.fetchone() or ("", "")
            assert zone == "UTC"
            assert name.startswith("crypto-metrics pull artemis ")
            session.rollback()
        assert session.encoding == "UTF8"
        assert session.info.dsn_parameters["connect_timeout"] == "77"


def test_sessions_read_what_is_committed_whatever_the_database_prefers(
    monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_isolation=serializable -c idle_session_timeout=1h")
    with closing(database.connect("test")) as session, session.cursor() as cursor:
        cursor.execute("SELECT current_setting('transaction_isolation'), current_setting('idle_session_timeout')")
        assert cursor.fetchone() == ("read committed", "0")


def test_a_load_is_not_compiled(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c jit=on")
    with closing(database.connect("test")) as session, session.cursor() as cursor:
        cursor.execute("SHOW jit")
        assert cursor.fetchone() == ("off",)


def test_a_session_for_reading_writes_nothing(database: Database) -> None:
    with (
        pytest.raises(psycopg2.errors.ReadOnlySqlTransaction),
        session_for(database, "test", "read") as session,
        session,
        session.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM metrics")


def test_a_purpose_of_any_length_makes_a_session(database: Database) -> None:
    database.connect("é" * 200).close()


def test_a_statement_ends_with_its_process_also_if_that_was_killed(
    database_url: str, session: Connection, rows: Rows
) -> None:
    session.autocommit = False
    session.cursor().execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")
    code = (
        "import sys; from pathlib import Path; from db.setup import Database; "
        "Database(sys.argv[1], Path()).connect('to be killed').cursor().execute('SELECT FROM metrics')"
    )
    waiting = f"SELECT {OF_SESSIONS} '%%to be killed%%' AND wait_event_type = 'Lock'"
    with subprocess.Popen([sys.executable, "-c", code, database_url], cwd=ROOT) as process:  # noqa: S603
        until(lambda: rows(waiting))
        process.kill()
    until(lambda: not rows(waiting))
