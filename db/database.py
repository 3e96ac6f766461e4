"""Which database is used, and how a session on it is opened.

Every session is in UTC: it takes and returns aware times, and the tables hold naive ones.
"""

import os
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import wait
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

import psycopg2
from psycopg2.extensions import PYDATETIME, make_dsn, new_type, parse_dsn, register_type

from db.embedded import EmbeddedServer
from db.listening import HOST, password_of
from db.statements import Connection, Cursor, fetch_one
from db.url import url_of
from model.background import in_background
from model.errors import ConfigurationError, DatabaseAway
from model.settings import DATABASE_SECRETS, MAIN

OLDEST = 14  # the first PostgreSQL with multiranges
CANCEL_SECONDS = 0.5  # for the requests to cancel, which a server that is gone does not take
TIMESTAMP = 1114  # PostgreSQL's oid of the type
# What a session depends on, whatever the role or the database has set. jit is off, because the planner would compile
# the statement of a load, which takes longer than running it. With the keepalives, the server ends the session of a
# host that has crashed, and so releases its locks. No timeout of the server ends a load: a stopped command cancels it.
SESSION_SETTINGS = """
SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; SET extra_float_digits = 1; SET jit = off;
SET default_transaction_isolation = 'read committed'; SET statement_timeout = 0; SET lock_timeout = 0;
SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
DO $$ BEGIN
    SET client_connection_check_interval = '1s'; -- a statement ends when its process does, however that ended
EXCEPTION WHEN invalid_parameter_value THEN NULL; -- the server's system can't check
END $$
"""
SINCE_17 = "; SET transaction_timeout = 0"
POOLER_SECONDS = 10.0  # in which a pooler must open a second session
BACKEND_PID = "SELECT pg_backend_pid()"
CONNECT: dict[str, Any] = {  # libpq parameters, unless the URL has them
    "client_encoding": "UTF8",
    "connect_timeout": 10,  # seconds, as the next two: the keepalives detect a server that is gone
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds; while data is under way no keepalives are sent
}


class Database:
    """Where the tables are: at DATABASE_URL, or in an embedded server that runs while this object holds it."""

    def __init__(self, url: str, embedded_directory: Path, embedded_port: int = 0) -> None:
        """With a port, an embedded server also listens on it, on loopback.

        Raises ConfigurationError if the URL is invalid or the embedded server can't run.
        """
        self._directory, self._port = embedded_directory, embedded_port
        self._reopening = threading.Lock()
        self._sessions: WeakSet[Connection] = WeakSet()
        self._server = None if url else EmbeddedServer(embedded_directory, embedded_port)
        dsn = self._server.dsn if self._server else url
        try:
            self._parts = parse_dsn(dsn)
        except UnicodeDecodeError:
            raise ConfigurationError(
                "DATABASE_URL: a %-code is not UTF-8: write % itself as %25, and é as %C3%A9"
            ) from None
        except psycopg2.ProgrammingError:
            raise ConfigurationError(
                "DATABASE_URL is not a PostgreSQL connection string: write postgresql://user:password@host:5432/database"
            ) from None
        path = dsn.partition("://")[2].partition("?")[0].partition("/")[2]
        host = self._parts.get("host", "").removeprefix("@")  # which begins the name of an abstract socket
        if "://" in dsn and "@" in f"{host} {self._parts.get('port', '')} {path}":
            # libpq reads half of the password as the name of a host or database, and it would be printed.
            raise ConfigurationError("DATABASE_URL: write an @ in the password as %40, a / as %2F and a ? as %3F")

    def __str__(self) -> str:
        """Which database this is, in one line, without its password."""
        if self._server:
            return f"embedded PostgreSQL {self._server.version} in {self._directory}"
        part = self._parts.get
        host = part("host") or part("hostaddr") or "the local socket"
        return f"{part('dbname') or part('user') or 'the default database'} on {host}:{part('port') or 5432}"

    def conninfo(self) -> tuple[str, str]:
        """The connection string for another program, without its password; and the password, empty if there is none.

        Raises ConfigurationError if it has another secret, which a program can't take from its environment.
        """
        if "sslpassword" in self._parts:
            raise ConfigurationError(
                "DATABASE_URL has an sslpassword, which all users of this machine would see in the list of processes: "
                "for psql and backups, name a key without a passphrase in sslkey"
            )
        public = {name: value for name, value in self._parts.items() if name not in DATABASE_SECRETS}
        return make_dsn(**public), self._parts.get("password", "")

    @property
    def listens(self) -> bool:
        """Whether it is an embedded server that listens on loopback."""
        return self._server is not None and self._server.listens

    def url(self, *, with_password: bool = False, **other: str) -> str:
        """The connection string for tools of this machine, with `other` parameters of libpq in place of its own."""
        parts = self._parts
        if self._server and self.listens:
            own = {"host": HOST, "port": str(self._port), "password": password_of(self._directory)}
            parts = {**parts, **own}
        return url_of({**parts, **other}, with_password=with_password)

    def connect(self, purpose: str) -> Connection:
        """A session with our settings; its application_name says what it is for.

        Raises DatabaseAway if no server answers, ConfigurationError if the server refuses the session or is too old,
        or if a pooler does not keep sessions: then nothing is set or written.
        """
        name = session_name(purpose, os.getpid(), socket.gethostname())
        connect = partial(psycopg2.connect, **{**CONNECT, **self._parts, "application_name": name})
        try:
            session: Connection = connect()
            session.autocommit = True  # at first, so that no setting depends on a transaction
            with session.cursor() as cursor:
                if (version := session.server_version // 10_000) < OLDEST:
                    session.close()
                    raise ConfigurationError(f"{self} is PostgreSQL {version}: use {OLDEST} or newer")
                if fetch_one(cursor, BACKEND_PID) != (session.info.backend_pid,) and _is_shared(cursor, connect):
                    session.close()
                    raise ConfigurationError(
                        f"{self}: a pooler in between gives the sessions of this program to others after each "
                        "transaction: connect to PostgreSQL directly, or to a pool in session mode"
                    )
                cursor.execute(SESSION_SETTINGS + (SINCE_17 if version >= 17 else ""))
            register_type(new_type((TIMESTAMP,), "UTC_TIMESTAMP", _aware), session)
            session.autocommit = False
            self._sessions.add(session)
        except psycopg2.Error as error:
            kind = DatabaseAway if _is_away(error) else ConfigurationError
            remedy = f"run {MAIN} setup" if self._server else "check DATABASE_URL and that the server runs"
            raise kind(f"{self}: {reason(error)}: {remedy}") from None
        return session

    def reopen(self) -> None:
        """Start the embedded server again if it has died; does nothing for another server. Thread-safe."""
        with self._reopening:
            if self._server:
                old, self._server = self._server, EmbeddedServer(self._directory, self._port)
                old.release()

    def close(self) -> None:
        """Cancel what a stopped command left running, and release the embedded server: the last user stops it."""
        wait([in_background(session.cancel) for session in list(self._sessions) if not session.closed], CANCEL_SECONDS)
        if self._server:
            self._server.release()


def session_name(purpose: str, pid: int, host: str) -> str:
    """The application_name of a process's session, cut to the length that PostgreSQL keeps."""
    return f"crypto-metrics {purpose} {pid}@{host}"[:63]


def _is_shared(cursor: Cursor, connect: Callable[[], Connection]) -> bool:
    """Whether a pooler shares the server's process of an idle session: a second session gets it, or takes its place."""

    def share() -> bool:
        with closing(connect()) as other, other.cursor() as another:
            first = fetch_one(cursor, BACKEND_PID)
            try:
                second = fetch_one(another, BACKEND_PID)  # in a transaction, which stays open
            except psycopg2.OperationalError:  # a pooler in statement mode has no transactions, and ends the session
                return True
            return second == first or fetch_one(cursor, BACKEND_PID) != first

    checked = in_background(share)
    if not wait([checked], POOLER_SECONDS).done:
        raise psycopg2.OperationalError("the pooler in between opens no second session")
    return checked.result()


def _aware(text: str | bytes | None, cursor: Cursor) -> datetime | None:
    at: datetime | None = PYDATETIME(text, cursor)
    return at and at.replace(tzinfo=UTC)


def _is_away(error: psycopg2.Error) -> bool:
    """Whether a failed connection means that no server runs there, or that it accepts no sessions at the moment.

    Errors of a connection attempt have no code, but a message from a server begins with FATAL.
    """
    text = reason(error)
    passing = re.search("starting up|shutting down|recovery|too many clients|connection slots", text)
    wrong = "FATAL" in text or "no password supplied" in text
    return isinstance(error, psycopg2.OperationalError) and (passing is not None or not wrong)


def reason(error: psycopg2.Error) -> str:
    """The first line of the server's message; if closing a lost session raised the error, that of the error before."""
    first = error.__context__ if isinstance(error.__context__, psycopg2.Error) else error
    return (str(first).strip().splitlines() or [type(first).__name__])[0]


def alive(session: Connection) -> bool:
    """Whether a session outside a transaction answers; if not, it is closed.

    Only a query shows it: if the server crashes, psycopg2 raises an error of a statement and does not set `closed`.
    """
    try:
        session.cursor().execute("SELECT")
        session.rollback()
    except psycopg2.Error:
        session.close()
        return False
    return True
