"""Which database is used, sessions on it, and its schema."""

import hashlib
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)
from psycopg2.extensions import parse_dsn

from db.embedded import EmbeddedServer
from model.errors import ConfigurationError, DatabaseAway, DatabaseLost

log = logging.getLogger(__name__)

# The planner's costs of a load call for compiling it, which takes longer than to run it. The server's keepalives end
# the session, and with it the places, of a host that has crashed.
SESSION = """
SET TIME ZONE 'UTC'; SET jit = off; SET default_transaction_isolation = 'read committed'; SET idle_session_timeout = 0;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""
UNWRITABLE = psycopg2.errors.ReadOnlySqlTransaction, psycopg2.errors.InsufficientPrivilege
FOREIGN = psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn  # other hands have been at the tables
OLDEST = 14  # the first PostgreSQL with multiranges
SCHEMA = Path(__file__).with_name("schema.sql")
SCHEMA_LOCK = 0x6372_7970  # pg_advisory_xact_lock: one process upgrades at a time
CONNECT: dict[str, Any] = {  # libpq parameters, unless the URL has them
    "client_encoding": "UTF8",
    "connect_timeout": 10,  # seconds, as are the next two: they notice a server that is gone without a word
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds; keepalives say nothing while data is under way
}


class Database:
    """Where the tables are: at DATABASE_URL, or in an embedded server that runs while this object holds it."""

    def __init__(self, url: str, embedded_directory: Path) -> None:
        """Raises ConfigurationError where the URL is none or the embedded server can't run."""
        self._directory = embedded_directory
        self._reopening = threading.Lock()
        self._server = None if url else EmbeddedServer.acquire(embedded_directory)
        self._dsn = url or self._server_dsn()
        try:
            self._parts = parse_dsn(self._dsn)
        except psycopg2.ProgrammingError:
            raise ConfigurationError(
                "DATABASE_URL is no PostgreSQL connection string: write postgresql://user:password@host:5432/database"
            ) from None
        names = [self._parts.get(name, "") for name in ("host", "port", "dbname")]
        if "://" in self._dsn and any("@" in name and name in self._dsn for name in names):
            # Half of the password stands where libpq takes it for a name, and would be printed.
            raise ConfigurationError("DATABASE_URL: write an @ in the password as %40, a / as %2F and a ? as %3F")

    def __str__(self) -> str:
        """One line that says which database this is, never its password."""
        if self._server:
            return f"embedded PostgreSQL {self._server.version} in {self._directory}"
        part = self._parts.get
        host = part("host") or part("hostaddr") or "the local socket"
        return f"{part('dbname') or part('user') or 'the default database'} on {host}:{part('port') or 5432}"

    def connect(self, purpose: str) -> Connection:
        """A session in UTC whose application_name says what it is for and who holds it.

        Raises DatabaseAway where no server answers, ConfigurationError where it refuses, or is too old.
        """
        name = session_name(purpose, os.getpid(), socket.gethostname())
        try:
            session: Connection = psycopg2.connect(**{**CONNECT, **self._parts, "application_name": name})
            if session.server_version // 10_000 < OLDEST:
                session.close()
                found = f"{self} is PostgreSQL {session.server_version // 10_000}"
                raise ConfigurationError(f"{found}: {OLDEST} or newer is needed")
            with session, session.cursor() as cursor:
                cursor.execute(SESSION)
        except psycopg2.Error as error:
            kind = DatabaseAway if is_away(error) else ConfigurationError
            raise kind(f"{self}: {reason(error)}: {self._remedy()}") from None
        return session

    def reopen(self) -> None:
        """Start the embedded server again where it has died; nothing for a server that is not ours. Thread-safe."""
        with self._reopening:
            if self._server:
                old, self._server = self._server, EmbeddedServer.acquire(self._directory)
                old.release()

    def close(self) -> None:
        """Let go of the embedded server; the last process to do so stops it."""
        if self._server:
            self._server.release()

    def _server_dsn(self) -> str:
        return self._server.dsn if self._server else ""

    def _remedy(self) -> str:
        return "run python main.py setup" if self._server else "check DATABASE_URL and that the server runs"


def session_name(purpose: str, pid: int, host: str) -> str:
    """The application_name of a process's session, as long as PostgreSQL keeps it."""
    return f"crypto-metrics {purpose} {pid}@{host}"[:63]


def aware(at: datetime) -> datetime:
    """A time of the tables, which hold naive UTC."""
    return at.replace(tzinfo=UTC)


def naive(at: datetime) -> datetime:
    """An aware time as the tables hold it."""
    return at.astimezone(UTC).replace(tzinfo=None)


def ensure_schema(database: Database, *, always: bool = False) -> bool:
    """Create or upgrade the tables where they are not what schema.sql says; True where anything was run.

    Safe to call from several processes at once. `always` runs it even where it was run before. Raises
    ConfigurationError where the database does not let it, DatabaseLost where it goes away.
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
                raise ConfigurationError(f"{database}: the tables can't be made: {reason(error)}") from None
            raise DatabaseLost(f"{database}: {reason(error)}") from None
    return True


def has_schema(database: Database) -> bool:
    """Whether the tables are those of this version."""
    with closing(database.connect("look")) as session, session, session.cursor() as cursor:
        return _mark(cursor) == _wanted_mark()


def need_schema(database: Database) -> None:
    """Raise ConfigurationError where the tables are not those of this version; nothing is upgraded for a look."""
    if not has_schema(database):
        raise ConfigurationError("the tables are of another version: python main.py setup")


def _wanted_mark() -> str:
    return f"crypto-metrics schema {hashlib.sha256(SCHEMA.read_bytes()).hexdigest()[:16]}"


def _mark(cursor: psycopg2.extensions.cursor) -> str | None:
    cursor.execute("SELECT obj_description(to_regclass('metrics'), 'pg_class') WHERE to_regclass('pulls') IS NOT NULL")
    row = cursor.fetchone()
    return row[0] if row else None


def alive(session: Connection) -> bool:
    """Whether a session outside of a transaction answers; one that does not is closed.

    Neither the class of an error nor `closed` tells: psycopg2 takes a crash of the server for an error of a statement.
    """
    try:
        session.cursor().execute("SELECT")
        session.rollback()
    except psycopg2.Error:
        session.close()
        return False
    return True


@contextmanager
def session_for(database: Database, purpose: str, what: str = "written") -> Iterator[Connection]:
    """A session that is closed in the end, with errors as of `plain_errors`."""
    with closing(database.connect(purpose)) as session, plain_errors(session, database, what):
        yield session


@contextmanager
def plain_errors(session: Connection, database: Database | str, what: str = "written") -> Iterator[None]:
    """Name the errors of a session, whose transactions all end within, by what the caller does next.

    Raises ConfigurationError where the database, so called, can't be `what` ("read", "written") by this role;
    DatabaseLost where it goes away or can't go on. Anything else is a bug, and raised as it is.
    """
    try:
        yield
    except UNWRITABLE as error:
        raise ConfigurationError(f"{database} can't be {what}: {reason(error)}") from error
    except FOREIGN as error:
        raise not_ours(database, error) from error
    except psycopg2.Error as error:
        if alive(session) and not isinstance(error, psycopg2.OperationalError):
            raise
        raise DatabaseLost(f"{database}: {reason(error)}") from error


def not_ours(database: Database | str, error: psycopg2.Error) -> ConfigurationError:
    """What to say where a statement of ours finds no such table or column."""
    return ConfigurationError(
        f"{database}: the tables are not those of this version, or not all of them ({reason(error)}): "
        "python main.py setup makes those that are missing"
    )


def is_away(error: psycopg2.Error) -> bool:
    """Whether a failed connection says that there is no server, or none that takes sessions now.

    What a server itself says begins with FATAL, but neither this nor the kind has a code before there is a session.
    """
    told = reason(error)
    passing = re.search("starting up|shutting down|recovery|too many clients|connection slots", told)
    return isinstance(error, psycopg2.OperationalError) and ("FATAL" not in told or passing is not None)


def reason(error: psycopg2.Error) -> str:
    """The server's first line; of an error met while leaving a lost session, the first line of what lost it."""
    told = error.__context__ if isinstance(error.__context__, psycopg2.Error) else error
    return (str(told).strip().splitlines() or [type(told).__name__])[0]
