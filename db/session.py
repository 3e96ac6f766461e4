"""Sessions: what their errors mean for the caller, and how a lost session is replaced."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import psycopg2

from db.database import Database, alive, reason
from db.statements import Connection, T, fetch_one
from model.errors import ConfigurationError, DatabaseLost
from model.settings import MAIN

log = logging.getLogger(__name__)
RECONNECT_PAUSE = 0.5  # seconds between two attempts


def clock(cursor: Any) -> datetime:
    """The time by the database's clock, which dates all runs."""
    now: datetime = fetch_one(cursor, "SELECT clock_timestamp() AT TIME ZONE 'UTC'")[0]
    return now


@contextmanager
def session_for(database: Database, purpose: str, access: str = "written") -> Iterator[Connection]:
    """Open a session that is closed at the end of the block; its errors are those of `plain_errors`.

    With the access "read", its transactions can't write.
    """
    with closing(database.connect(purpose)) as session, plain_errors(session, database, access):
        if access == "read":
            session.readonly = True
        yield session


@contextmanager
def plain_errors(
    session: Connection, database: Database | str, access: str = "written", *, raw: bool = False
) -> Iterator[None]:
    """Translate the errors of a session into those of the pipeline. All transactions must end within the block.

    ConfigurationError: the role lacks the right for `access` ("read", "written"), the tables are of another version, or
    a name has characters that the encoding of the database does not have.
    DatabaseLost: the session was lost and is now closed, or the server can't continue, for example with a full disk.
    Any other error is a bug and is raised as it is. With `raw`, only a lost session and a missing right are translated.
    """
    try:
        yield
    except psycopg2.Error as error:
        lost, denied = not alive(session), isinstance(error, psycopg2.errors.InsufficientPrivilege)
        if raw and not lost and not denied:
            raise
        if denied or (access == "written" and isinstance(error, psycopg2.errors.ReadOnlySqlTransaction)):
            raise ConfigurationError(f"{database} can't be {access}: {reason(error)}") from error
        if isinstance(error, psycopg2.errors.UndefinedTable | psycopg2.errors.UndefinedColumn):
            raise ConfigurationError(
                f"{database}: tables or columns of this version are missing ({reason(error)}): "
                f"{MAIN} setup creates them"
            ) from error
        if isinstance(error, psycopg2.errors.UntranslatableCharacter):
            raise ConfigurationError(
                f"{database} can't store every name ({reason(error)}): use a database with the encoding UTF8"
            ) from error
        # Citus reports as an internal error whatever happens on another server
        if lost or isinstance(error, psycopg2.OperationalError | psycopg2.errors.InternalError_):
            raise DatabaseLost(f"{database}{' went away' if lost else ''}: {reason(error)}") from error
        raise


class KeptSession:
    """One session, opened when it is first used and replaced if it was lost. Thread-safe: one work at a time.

    `patience` is how many seconds a database that went away may take to come back; `stop` ends this wait.
    `check_place`, called after each reconnect, raises if the caller no longer holds its place.
    """

    def __init__(
        self,
        database: Database,
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
            self.session.readonly = True  # of each transaction, not of the session: a pool would keep that
        return self.session

    def close(self) -> None:
        """Close the session without waiting for work under way, so that a stop does not wait for a lost database."""
        if self.session:
            self.session.close()

    def do_once(self, work: Callable[[Connection], T]) -> T:
        """Do some work, on a new session if the last work lost the old one. Raises as `plain_errors` does."""
        with self._turn:
            session = self.session if self.session and not self.session.closed else self.open()
            return self._do(session, work)

    def do(self, work: Callable[[Connection], T], *, raw: bool = False) -> T:
        """Do some work, and retry it once if the session was lost or another writer was in conflict.

        Raises as `do_once` does; with `raw`, an error of a statement is raised as it is.
        """
        with self._turn:
            session = self.session or self.open()
            try:
                return self._do(session, work, raw=raw)
            except (DatabaseLost, ConfigurationError) as error:
                if not session.closed and not isinstance(error.__cause__, psycopg2.extensions.TransactionRollbackError):
                    raise
                worth_a_warning = session.closed and not self._read_only
                log.log(logging.WARNING if worth_a_warning else logging.INFO, "%s: retrying once", error)
            return self._do(self._reconnected() if session.closed else session, work, raw=raw)

    def _do(self, session: Connection, work: Callable[[Connection], T], *, raw: bool = False) -> T:
        with plain_errors(session, self._database, "read" if self._read_only else "written", raw=raw):
            try:
                return work(session)
            except DatabaseLost:  # check_place has lost the session that holds the place
                session.close()
                raise
            except ConfigurationError as error:  # the same, if this session is lost too
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
            except (ConfigurationError, DatabaseLost, psycopg2.Error) as error:  # not back yet, or away again
                if time.monotonic() > deadline or self._stop.wait(RECONNECT_PAUSE):
                    raise DatabaseLost(f"the database went away and did not come back: {error}") from error
            else:
                return session
