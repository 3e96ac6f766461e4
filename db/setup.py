"""Which database is used, and its schema."""

import hashlib
import threading
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)
from psycopg2.extensions import parse_dsn

from db.embedded import EmbeddedServer
from db.session import alive, in_transaction, is_away, open_session, reason
from model.errors import ConfigurationError, DatabaseAway, DatabaseLost

SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_LOCK = 0x6372_7970  # pg_advisory_xact_lock: one process upgrades at a time


class Database:
    """Where the tables are: at DATABASE_URL, or in an embedded server that runs while this object holds it."""

    def __init__(self, url: str, embedded_directory: Path) -> None:
        """Raises ConfigurationError if the URL is invalid or the embedded server can't run."""
        self._directory = embedded_directory
        self._reopening = threading.Lock()
        self._server = None if url else EmbeddedServer.acquire(embedded_directory)
        dsn = self._server.dsn if self._server else url
        try:
            self._parts = parse_dsn(dsn)
        except psycopg2.ProgrammingError:
            raise ConfigurationError(
                "DATABASE_URL is no PostgreSQL connection string: write postgresql://user:password@host:5432/database"
            ) from None
        names = [self._parts.get(name, "") for name in ("host", "port", "dbname")]
        if "://" in dsn and any("@" in name and name in dsn for name in names):
            # Half of the password stands where libpq reads a name, and would be printed.
            raise ConfigurationError("DATABASE_URL: write an @ in the password as %40, a / as %2F and a ? as %3F")

    def __str__(self) -> str:
        """One line that says which database this is, never its password."""
        if self._server:
            return f"embedded PostgreSQL {self._server.version} in {self._directory}"
        part = self._parts.get
        host = part("host") or part("hostaddr") or "the local socket"
        return f"{part('dbname') or part('user') or 'the default database'} on {host}:{part('port') or 5432}"

    def connect(self, purpose: str) -> Connection:
        """A session of db.session.

        Raises DatabaseAway if no server answers, ConfigurationError if the server refuses it or is too old.
        """
        try:
            return open_session(self, self._parts, purpose)
        except psycopg2.Error as error:
            kind = DatabaseAway if is_away(error) else ConfigurationError
            remedy = "run python main.py setup" if self._server else "check DATABASE_URL and that the server runs"
            raise kind(f"{self}: {reason(error)}: {remedy}") from None

    def reopen(self) -> None:
        """Start the embedded server again if it has died; does nothing for another server. Thread-safe."""
        with self._reopening:
            if self._server:
                old, self._server = self._server, EmbeddedServer.acquire(self._directory)
                old.release()

    def close(self) -> None:
        """Release the embedded server; the last process to do so stops it."""
        if self._server:
            self._server.release()


def ensure_schema(database: Database, *, always: bool = False) -> bool:
    """Create or upgrade the tables if they are not as in schema.sql; True if anything was run.

    Safe to call from several processes at once. `always` runs it even if it was run before. Raises ConfigurationError
    if the database does not allow it, DatabaseLost if it goes away.
    """
    text = SCHEMA.read_text(encoding="utf-8")
    mark = _wanted_mark()
    with closing(database.connect("setup")) as session:
        try:
            with session, session.cursor() as cursor:
                if not always and _mark(cursor) == mark:
                    return False
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                cursor.execute(text)
                cursor.execute("COMMENT ON TABLE metrics IS %s", (mark,))
        except psycopg2.Error as error:
            if alive(session):
                raise ConfigurationError(f"{database}: the tables can't be created: {reason(error)}") from None
            raise DatabaseLost(f"{database} went away: {reason(error)}") from None
    return True


def has_tables(cursor: psycopg2.extensions.cursor) -> bool:
    """Whether the database has tables of this project, of any version."""
    cursor.execute("SELECT to_regclass('pulls') IS NOT NULL AND to_regclass('metrics') IS NOT NULL")
    return cursor.fetchone() == (True,)


def has_schema(database: Database) -> bool:
    """Whether the tables are those of this version."""
    with closing(database.connect("check schema")) as session:
        return in_transaction(session, _mark) == _wanted_mark()


def need_schema(database: Database) -> None:
    """Raise ConfigurationError if the tables are not those of this version; read-only commands upgrade nothing."""
    if not has_schema(database):
        raise ConfigurationError("the tables are of another version: python main.py setup")


def _wanted_mark() -> str:
    return f"crypto-metrics schema {hashlib.sha256(SCHEMA.read_bytes()).hexdigest()[:16]}"


def _mark(cursor: psycopg2.extensions.cursor) -> str | None:
    cursor.execute("SELECT obj_description(to_regclass('metrics'), 'pg_class') WHERE to_regclass('pulls') IS NOT NULL")
    row = cursor.fetchone()
    return row[0] if row else None
