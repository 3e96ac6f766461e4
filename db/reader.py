"""A session that only reads, kept open for many questions."""

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import Any, NamedTuple, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from db.setup import FOREIGN, Database, alive, not_ours, reason
from model.background import in_background
from model.errors import ConfigurationError, DatabaseAway, DatabaseLost

T = TypeVar("T")


class Table(NamedTuple):
    """The rows of any query; a type is PostgreSQL's oid of it."""

    names: Sequence[str]
    types: Sequence[int]
    rows: Sequence[tuple[Any, ...]]


class Reader:
    """One read-only session, opened at the first question and kept; thread-safe, one question at a time.

    Where the database went away since, it is opened anew. Ctrl-C ends a question on the server, too. The methods raise
    ConfigurationError where no session can be had, the role may not read or the tables are not ours, DatabaseLost where
    it is lost and does not come back; `table` raises psycopg2.Error for a statement that the server refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._session: Connection | None = None

    def __str__(self) -> str:
        """One line that says which database it reads, never its password."""
        return str(self._database)

    def rows(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        return self.do(lambda cursor: _all(cursor, statement, values))

    def table(self, statement: str, values: Any = None) -> Table:
        """The rows of a statement with the names and types of their columns; no columns where it gives no rows.

        Whatever it sets or begins is undone.
        """

        def work(cursor: Cursor) -> Table:
            cursor.execute("BEGIN READ ONLY")
            try:
                cursor.execute(statement, values)
                if cursor.description is None:
                    return Table([], [], [])
                names, types = zip(*((column.name, column.type_code) for column in cursor.description), strict=True)
                return Table(names, types, cursor.fetchall())
            finally:
                if not cursor.connection.closed:
                    cursor.execute("ROLLBACK")

        return self._do(work)

    def copy(self, statement: str, values: Any = None) -> memoryview:
        """The rows of a query in PostgreSQL's binary COPY format."""

        def work(cursor: Cursor) -> memoryview:
            out = io.BytesIO()
            cursor.copy_expert(f"COPY ({cursor.mogrify(statement, values).decode()}) TO STDOUT (FORMAT binary)", out)
            return out.getbuffer()

        return self.do(work)

    def do(self, work: Callable[[Cursor], T]) -> T:
        """What the work gives, which may be done once more on a new session."""
        try:
            return self._do(work)
        except FOREIGN as error:
            raise not_ours(self._database, error) from error

    def _do(self, work: Callable[[Cursor], T]) -> T:
        with self._turn:
            try:
                return self._attempt(work)
            except psycopg2.errors.InsufficientPrivilege as error:
                raise ConfigurationError(f"{self._database} can't be read: {reason(error)}") from error
            except psycopg2.Error as error:
                if self._session and alive(self._session):
                    raise
                lost = error
            try:
                self._database.reopen()
                self._session = None
                return self._attempt(work)
            except (psycopg2.Error, DatabaseAway) as error:
                if self._session and alive(self._session):
                    raise
                raise DatabaseLost(f"{self._database} went away: {reason(lost)}") from error

    def close(self) -> None:
        """End the session, and let go of the database."""
        with self._turn:
            if self._session:
                self._session.close()
            self._database.close()

    def _attempt(self, work: Callable[[Cursor], T]) -> T:
        session = self._session or self._open()
        with session.cursor() as cursor:
            return _interruptible(session, lambda: work(cursor))

    def _open(self) -> Connection:
        self._session = self._database.connect("query")
        self._session.set_session(readonly=True, autocommit=True)  # each statement sees what is stored by then
        return self._session


def _all(cursor: Cursor, statement: str, values: Any) -> list[tuple[Any, ...]]:
    cursor.execute(statement, values)
    return cursor.fetchall()


def _interruptible(session: Connection, work: Callable[[], T]) -> T:
    """What the work gives. The driver hears no signal while it waits, so the main thread waits for another one."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    future = in_background(work)
    try:
        wait([future])
    except KeyboardInterrupt:
        session.cancel()
        wait([future])
        raise
    return future.result()
