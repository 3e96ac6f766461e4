"""A session that only reads, kept open for many questions."""

import io
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import wait
from typing import Any, NamedTuple, TypeVar

from psycopg2.extensions import PYDATETIME, register_type
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from db.session import KeptSession, fetch
from db.setup import Database
from model.background import in_background

T = TypeVar("T")


class Table(NamedTuple):
    """The rows of any query; a type is PostgreSQL's oid of it."""

    names: Sequence[str]
    types: Sequence[int]
    rows: Sequence[tuple[Any, ...]]


class Reader:
    """One read-only session, opened at the first question and kept; thread-safe, one question at a time.

    If the session was lost, the question is repeated on a new one. Ctrl-C ends a question on the server, too. The
    methods raise ConfigurationError if no session can be opened, the role may not read or the tables are of another
    version, and DatabaseLost if the database does not come back. `table` raises psycopg2.Error for a statement that the
    server refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = KeptSession(database, "query", read_only=True)

    def __str__(self) -> str:
        """One line that says which database it reads, never its password."""
        return str(self._database)

    def rows(self, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
        """All rows of a statement."""
        return self.do(lambda cursor: fetch(cursor, statement, values))

    def table(self, statement: str, values: Any = None) -> Table:
        """The rows of a statement with the names and types of their columns; no columns if it gives no rows.

        Whatever it sets or begins is undone. Timestamps without a time zone are naive, as psycopg2 gives them.
        """

        def work(cursor: Cursor) -> Table:
            register_type(PYDATETIME, cursor)
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

        return self._kept.do(lambda session: _interruptible(session, work), raw=True)

    def copy(self, statement: str, values: Any = None) -> memoryview:
        """The rows of a query in PostgreSQL's binary COPY format."""

        def work(cursor: Cursor) -> memoryview:
            out = io.BytesIO()
            cursor.copy_expert(f"COPY ({cursor.mogrify(statement, values).decode()}) TO STDOUT (FORMAT binary)", out)
            return out.getbuffer()

        return self.do(work)

    def do(self, work: Callable[[Cursor], T]) -> T:
        """What the work gives, which may be repeated once on a new session."""
        return self._kept.do(lambda session: _interruptible(session, work))

    def close(self) -> None:
        """End the session, and release the database."""
        self._kept.close()
        self._database.close()


def _interruptible(session: Connection, work: Callable[[Cursor], T]) -> T:
    """What the work gives. While the driver waits, it hears no signal; so the main thread lets another thread wait."""
    with session.cursor() as cursor:
        if threading.current_thread() is not threading.main_thread():
            return work(cursor)
        future = in_background(lambda: work(cursor))
        try:
            wait([future])
        except KeyboardInterrupt:
            session.cancel()
            wait([future])
            raise
        return future.result()
