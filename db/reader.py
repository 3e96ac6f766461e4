"""A read-only session, kept open for many queries, and the two forms of their results: Table and Columns."""

import io
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ, PYDATETIME, register_type

from db.cluster import is_distributed
from db.database import Database
from db.load import hold_loads
from db.session import KeptSession, session_for
from db.statements import Connection, Cursor, T, in_transaction
from model.background import in_background

# The layout of points in PostgreSQL's binary COPY: all rows have the same length.
HEADER, TRAILER = 19, 2  # bytes before and after the rows
ROW = ">6xi4xq4xd"  # without the number of fields (2 bytes) and the length of each field (4 bytes)
# Further columns of a query: since when the value is known, and whether the provider has withdrawn its day.
KNOWN_AT, WITHDRAWN = "known_at", "withdrawn"
EXTRAS = {KNOWN_AT: "q", WITHDRAWN: "?"}
# Asks each server, which shows its state of this moment from then on in the same session. So it may have only one.
FIRST_IN_A_CLUSTER = "SET LOCAL citus.max_adaptive_executor_pool_size = 1; SELECT count(*) FROM refused"
NEVER = -(2**63)  # in KNOWN_AT: `as_of` does not show the value at any time


class Table(NamedTuple):
    """The rows of any query; a type is PostgreSQL's oid for it."""

    names: Sequence[str]
    types: Sequence[int]
    rows: Sequence[tuple[Any, ...]]


class Columns(NamedTuple):
    """Points as (number of the series, microseconds since 2000-01-01 UTC, value); the value is NaN for a NULL.

    Extras follow the value: `known_at` in microseconds, too, or NEVER; `withdrawn` as a boolean.

    numpy reads a column from the bytes without copying them; `rows` needs no numpy, so that a command starts quickly.
    """

    data: memoryview
    extras: Sequence[str] = ()

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Each point, in the order in which PostgreSQL sent it: usually by series and time, but that is not certain."""
        return self._row().iter_unpack(self.data)

    def until(self, last: int) -> "Columns":
        """The points up to and including a time."""
        pack = self._row().pack
        return Columns(memoryview(b"".join(pack(*row) for row in self.rows() if row[1] <= last)), self.extras)

    def _row(self) -> struct.Struct:
        return struct.Struct(ROW + "".join(f"4x{EXTRAS[extra]}" for extra in self.extras))


class BaseReader(ABC):
    """What reads points: the kept session, or one snapshot of the tables."""

    @abstractmethod
    def do(self, work: Callable[[Cursor], T]) -> T:
        """The result of the work, which only reads."""

    def copy(self, statement: str, values: Any = None, extras: Sequence[str] = ()) -> Columns:
        """The result of a statement of db.points that selects series, time, value and these extras."""
        return self.do(lambda cursor: copied(cursor, statement, values, extras))


class Snapshot(BaseReader):
    """Reads in one transaction of a session; see Reader.snapshot."""

    def __init__(self, session: Connection) -> None:
        self._session = session

    def do(self, work: Callable[[Cursor], T]) -> T:
        with self._session.cursor() as cursor:
            return _interruptible(self._session, lambda: work(cursor))


class Reader(BaseReader):
    """One read-only session, opened at the first query and kept; thread-safe, one query at a time.

    If the session was lost, the query is repeated on a new one. Ctrl-C also cancels a query on the server. The methods
    raise ConfigurationError if no session can be opened, the role may not read or the tables are of another version,
    and DatabaseLost if the database does not come back. `table` raises psycopg2.Error for a statement that the server
    refuses.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept = KeptSession(database, "query", read_only=True)

    def __str__(self) -> str:
        """One line that says which database it reads, never its password."""
        return str(self._database)

    def table(self, statement: str, values: Any = None) -> Table:
        """The rows of a statement with the names and types of their columns; no columns if it is not a query.

        It runs in a transaction that is rolled back. Timestamps without a time zone are naive datetimes.
        """

        def work(cursor: Cursor) -> Table:
            register_type(PYDATETIME, cursor)
            try:
                cursor.execute(statement, values)
                if cursor.description is None:
                    return Table([], [], [])
                names, types = zip(*((column.name, column.type_code) for column in cursor.description), strict=True)
                return Table(names, types, cursor.fetchall())
            finally:
                if not cursor.connection.closed:
                    cursor.connection.rollback()

        return self._kept.do(lambda session: _interruptible(session, partial(in_transaction, session, work)), raw=True)

    def do(self, work: Callable[[Cursor], T]) -> T:
        """The result of the work, which is repeated once on a new session if the session was lost."""
        return self._kept.do(lambda session: _interruptible(session, partial(in_transaction, session, work)))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Yield a reader whose queries all see what is stored now, in one transaction that ends with the block.

        A lost session is not replaced: its state of the tables is gone, and DatabaseLost is raised.
        """
        with session_for(self._database, "query", "read") as session:
            distributed = in_transaction(session, is_distributed)
            session.isolation_level = ISOLATION_LEVEL_REPEATABLE_READ
            snapshot = Snapshot(session)
            if distributed:
                with session_for(self._database, "snapshot", "read") as other, other, other.cursor() as gate:
                    hold_loads(gate)
                    snapshot.do(lambda cursor: cursor.execute(FIRST_IN_A_CLUSTER))
            else:
                snapshot.do(lambda cursor: cursor.execute("SELECT 1"))  # PostgreSQL takes it at the first query
            yield snapshot

    def close(self) -> None:
        """Close the session and release the database."""
        self._kept.close()
        self._database.close()


def copied(cursor: Cursor, statement: str, values: Any = None, extras: Sequence[str] = ()) -> Columns:
    """The result of a statement of db.points that selects series, time, value and these extras."""
    out = io.BytesIO()
    cursor.copy_expert(f"COPY ({cursor.mogrify(statement, values).decode()}) TO STDOUT (FORMAT binary)", out)
    return Columns(out.getbuffer()[HEADER:-TRAILER], extras)


def _interruptible(session: Connection, work: Callable[[], T]) -> T:
    """The result of the work on a session.

    A thread that waits in the driver handles no signal, so the main thread uses another.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    begun, ended = threading.Event(), threading.Event()

    def run() -> T:
        begun.set()
        try:
            return work()
        finally:
            ended.set()

    try:
        future = in_background(run)
        wait([future])
    except KeyboardInterrupt:  # it may come while the thread starts, and before the server has the query
        if begun.wait(1.0):
            while not ended.is_set():
                session.cancel()
                ended.wait(0.1)
        raise
    return future.result()
