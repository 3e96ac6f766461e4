"""Sessions: how one is opened, what its errors mean for the caller, and how a lost one is replaced.

Every session is in UTC. It gives and takes aware UTC times, while the tables hold naive ones.
"""

import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import psycopg2
from psycopg2.extensions import PYDATETIME, TransactionRollbackError, new_type, register_type
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from model.errors import ConfigurationError, DatabaseLost, PipelineError

log = logging.getLogger(__name__)
T = TypeVar("T")

OLDEST = 14  # the first PostgreSQL with multiranges
RECONNECT_PAUSE = 0.5  # seconds between two attempts
TIMESTAMP = 1114  # PostgreSQL's oid of the type
# jit: the planner's costs of a load make it compile the statement, which takes longer than running it. The keepalives
# of the server end the session, and with it the locks, of a host that has crashed.
SETTINGS = """
SET TIME ZONE 'UTC'; SET jit = off; SET default_transaction_isolation = 'read committed'; SET idle_session_timeout = 0;
SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3
"""
CONNECT: dict[str, Any] = {  # libpq parameters, unless the URL has them
    "client_encoding": "UTF8",
    "connect_timeout": 10,  # seconds, as are the next two, which notice a server that has vanished
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds; while data is under way no keepalives are sent
}


class Connectable(Protocol):
    """What opens sessions on one database, and whose text names it: db.setup.Database."""

    def connect(self, purpose: str) -> Connection:
        """A new session."""

    def reopen(self) -> None:
        """Start a server of ours again if it has died."""


def open_session(database: Connectable, parameters: Mapping[str, Any], purpose: str) -> Connection:
    """A session with our settings; its application_name says what it is for.

    Raises psycopg2.Error if the server refuses it, ConfigurationError if the server is too old.
    """
    name = session_name(purpose, os.getpid(), socket.gethostname())
    session: Connection = psycopg2.connect(**{**CONNECT, **parameters, "application_name": name})
    if (version := session.server_version // 10_000) < OLDEST:
        session.close()
        raise ConfigurationError(f"{database} is PostgreSQL {version}: {OLDEST} or newer is needed")
    register_type(new_type((TIMESTAMP,), "UTC_TIMESTAMP", _aware), session)
    with session, session.cursor() as cursor:
        cursor.execute(SETTINGS)
    return session


def session_name(purpose: str, pid: int, host: str) -> str:
    """The application_name of a process's session, cut to the length that PostgreSQL keeps."""
    return f"crypto-metrics {purpose} {pid}@{host}"[:63]


def _aware(text: str | bytes | None, cursor: Cursor) -> datetime | None:
    at: datetime | None = PYDATETIME(text, cursor)
    return at and at.replace(tzinfo=UTC)


def in_transaction(session: Connection, work: Callable[[Cursor], T]) -> T:
    """Do some work with a cursor in a transaction of its own."""
    with session, session.cursor() as cursor:
        return work(cursor)


def fetch(cursor: Any, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    cursor.execute(statement, values)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def fetch_one(cursor: Any, statement: str, values: Any = None) -> tuple[Any, ...]:
    """The row of a statement that always gives exactly one."""
    (row,) = fetch(cursor, statement, values)
    return row


def clock(cursor: Any) -> datetime:
    """The time by the database's clock, which dates all runs."""
    now: datetime = fetch_one(cursor, "SELECT clock_timestamp() AT TIME ZONE 'UTC'")[0]
    return now


def alive(session: Connection) -> bool:
    """Whether a session that is in no transaction answers; if not, it is closed.

    Only a question shows it: psycopg2 reports a crash of the server as an error of a statement, and leaves `closed`.
    """
    try:
        session.cursor().execute("SELECT")
        session.rollback()
    except psycopg2.Error:
        session.close()
        return False
    return True


@contextmanager
def session_for(database: Connectable, purpose: str, access: str = "written") -> Iterator[Connection]:
    """A session that is closed at the end, with errors as from `plain_errors`."""
    with closing(database.connect(purpose)) as session, plain_errors(session, database, access):
        yield session


@contextmanager
def plain_errors(session: Connection, database: Connectable | str, access: str = "written") -> Iterator[None]:
    """Raise the errors of a session as `named_error` names them. All transactions must end within."""
    try:
        yield
    except psycopg2.Error as error:
        if named := named_error(error, session, database, access):
            raise named from error
        raise


def named_error(
    error: psycopg2.Error, session: Connection, database: Connectable | str, access: str
) -> PipelineError | None:
    """What an error of a session means for the caller; None for a bug. A session that was lost is closed.

    ConfigurationError: the role has no `access` ("read", "written"), or the tables are of another version.
    DatabaseLost: the session was lost, or the server can't go on, as with a full disk.
    """
    lost = not alive(session)
    if isinstance(error, psycopg2.errors.InsufficientPrivilege) or (
        access == "written" and isinstance(error, psycopg2.errors.ReadOnlySqlTransaction)
    ):
        return ConfigurationError(f"{database} can't be {access}: {reason(error)}")
    if isinstance(error, psycopg2.errors.UndefinedTable | psycopg2.errors.UndefinedColumn):
        return ConfigurationError(
            f"{database}: tables or columns of this version are missing ({reason(error)}): "
            "python main.py setup creates them"
        )
    if lost:
        return DatabaseLost(f"{database} went away: {reason(error)}")
    return DatabaseLost(f"{database}: {reason(error)}") if isinstance(error, psycopg2.OperationalError) else None


def is_away(error: psycopg2.Error) -> bool:
    """Whether a failed connection means that no server runs there, or none that takes sessions now.

    Before there is a session, errors have no code. But what a server itself says begins with FATAL.
    """
    text = reason(error)
    passing = re.search("starting up|shutting down|recovery|too many clients|connection slots", text)
    return isinstance(error, psycopg2.OperationalError) and ("FATAL" not in text or passing is not None)


def reason(error: psycopg2.Error) -> str:
    """The first line of what the server said; if the error came from leaving a lost session, of the error before."""
    first = error.__context__ if isinstance(error.__context__, psycopg2.Error) else error
    return (str(first).strip().splitlines() or [type(first).__name__])[0]


class KeptSession:
    """One session, opened when it is first used, and replaced when it was lost. Thread-safe: one work at a time.

    `patience` is how many seconds a database that went away may take to come back; `stop` ends this wait.
    `check_place`, called after each reconnect, raises if the caller may not go on.
    """

    def __init__(
        self,
        database: Connectable,
        purpose: str,
        *,
        read_only: bool = False,
        patience: float = 0.0,
        stop: threading.Event | None = None,
        check_place: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._purpose, self._read_only = database, purpose, read_only
        self._patience, self._stop, self._check_place = patience, stop or threading.Event(), check_place
        self._turn = threading.Lock()
        self.session: Connection | None = None

    def open(self) -> Connection:
        """Open a new session; raises as Database.connect does."""
        self.session = self._database.connect(self._purpose)
        if self._read_only:
            self.session.set_session(readonly=True, autocommit=True)  # each statement sees all that is committed
        return self.session

    def close(self) -> None:
        """End the session; it does not wait for its turn, so that a stop does not wait for a database that is away."""
        if self.session:
            self.session.close()

    def do_once(self, work: Callable[[Connection], T]) -> T:
        """Do some work; if the last work has lost the session, on a new one. Raises as `named_error` names."""
        with self._turn:
            session = self.session if self.session and not self.session.closed else self.open()
            return self._do(session, work)

    def do(self, work: Callable[[Connection], T], *, raw: bool = False) -> T:
        """Do some work, and once more if the session was lost or another writer was in conflict. Raises as `do_once`.

        With `raw`, an error of a statement is raised as it is.
        """
        with self._turn:
            session = self.session or self.open()
            try:
                return self._do(session, work, raw=raw)
            except (DatabaseLost, ConfigurationError) as error:
                if not session.closed and not isinstance(error.__cause__, TransactionRollbackError):
                    raise
                worth_a_warning = session.closed and not self._read_only
                log.log(logging.WARNING if worth_a_warning else logging.INFO, "%s: trying once more", error)
            return self._do(self._reconnected() if session.closed else session, work, raw=raw)

    def _do(self, session: Connection, work: Callable[[Connection], T], *, raw: bool = False) -> T:
        try:
            return work(session)
        except psycopg2.Error as error:
            named = named_error(error, session, self._database, "read" if self._read_only else "written")
            refused = not session.closed and not isinstance(error, psycopg2.errors.InsufficientPrivilege)
            if named is None or (raw and refused):
                raise
            raise named from error
        except DatabaseLost:  # of the session that holds the caller's place
            session.close()
            raise
        except ConfigurationError as error:  # likewise, if ours is lost too
            if alive(session):
                raise
            raise DatabaseLost(f"{self._database} went away") from error

    def _reconnected(self) -> Connection:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                self._database.reopen()
                session = self.open()
                self._check_place()
            except (ConfigurationError, DatabaseLost, psycopg2.Error) as error:  # not there yet, or only briefly
                if time.monotonic() > deadline or self._stop.wait(RECONNECT_PAUSE):
                    raise DatabaseLost(f"the database went away and did not come back: {error}") from error
            else:
                return session
