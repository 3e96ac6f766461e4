"""The store: points into metrics, runs into pulls. SQL stands in db/ and nowhere else."""

import io
import logging
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from db.setup import Database, alive, reason
from pipeline.errors import ConfigurationError, DatabaseLost
from pipeline.values import DataPoint, Verb

log = logging.getLogger(__name__)
T = TypeVar("T")

RECONNECT_SECONDS = 20.0  # how long a database that went away may take to come back
RECONNECT_PAUSE = 0.5  # seconds
EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # PostgreSQL's own zero of time
HEADER, ROW, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.Struct("!hiiiiiqid"), struct.pack("!h", -1)

STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage (series INTEGER, place INTEGER, at TIMESTAMP, value DOUBLE PRECISION)
ON COMMIT DELETE ROWS
"""

# The stage is reduced to one row a key, the later point winning, and each row judged: NULL new, true changed,
# false already there. Only what is to be written reaches the INSERT, since ON CONFLICT would draw a serial value
# for every row offered. A series with nothing stored in its span is not probed point by point. Writing in the
# order of the key keeps concurrent loads from deadlocking.
#
# Both look-ups ask for the first row of a span of keys in the order of idx_metrics_unique: no other index serves
# that, whatever the planner's statistics say. Asked with one condition a column, the planner took
# idx_metrics_cross_section where the statistics were missing or old, and read all assets of a date for each point.
LOAD = """
WITH span AS (
    SELECT series, min(at) AS first, max(at) AS last FROM stage GROUP BY series
), series AS MATERIALIZED (
    SELECT name.series, name.asset, name.metric, (
        SELECT true FROM metrics m WHERE m.source = %(source)s
            AND (m.asset, m.metric_name, m.pulled_at) >= (name.asset, name.metric, span.first)
            AND (m.asset, m.metric_name, m.pulled_at) <= (name.asset, name.metric, span.last)
        ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
    ) AS stored
    FROM unnest(%(assets)s::text[], %(metrics)s::text[]) WITH ORDINALITY AS name (asset, metric, series)
    JOIN span ON span.series = name.series
), point AS (
    SELECT DISTINCT ON (series, at) series, at, value FROM stage ORDER BY series, at, place DESC
), judged AS (
    SELECT series, asset, metric, at, value, CASE WHEN stored THEN (
        SELECT m.value IS DISTINCT FROM point.value FROM metrics m WHERE m.source = %(source)s
            AND (m.asset, m.metric_name, m.pulled_at) >= (series.asset, series.metric, point.at)
            AND (m.asset, m.metric_name, m.pulled_at) <= (series.asset, series.metric, point.at)
        ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
    ) END AS differs
    FROM point JOIN series USING (series)
), written AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT %(source)s, asset, metric, at, value FROM judged WHERE {wanted} ORDER BY series, at
    {conflict}
    RETURNING xmax = 0 AS inserted
)
SELECT (SELECT count(*) FROM point), count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted)
FROM written
"""
KEY = "(source, asset, metric_name, pulled_at)"
CHANGE = "DO UPDATE SET value = excluded.value WHERE metrics.value IS DISTINCT FROM excluded.value"
UPSERT = LOAD.format(wanted="differs IS NOT FALSE", conflict=f"ON CONFLICT {KEY} {CHANGE}")
INSERT_NEW = LOAD.format(wanted="differs IS NULL", conflict=f"ON CONFLICT {KEY} DO NOTHING")
# The clause costs a quarter of the time, for rows that have just been seen to be new. So a backfill first goes
# without it; where another writer came between, the index refuses the load, which is repeated with the clause.
INSERT_SEEN_NEW = LOAD.format(wanted="differs IS NULL", conflict="")
LOADS = {Verb.PULL: (UPSERT,), Verb.BACKFILL: (INSERT_SEEN_NEW, INSERT_NEW)}

# An earlier run of this source and kind without an end was killed: its lock is free, or we would not be here.
BEGIN_RUN = """
WITH killed AS (
    UPDATE pulls SET failure = 'the process ended before the run did'
    WHERE source_name = %(source)s AND kind = %(kind)s AND finished_at IS NULL AND failure IS NULL
)
INSERT INTO pulls (source_name, kind, status) VALUES (%(source)s, %(kind)s, 'error') RETURNING pull_id
"""
END_RUN = """
UPDATE pulls SET status = %(status)s, records_count = %(records)s, finished_at = now(), calls = %(calls)s,
    failed_calls = %(failed)s, points_received = %(received)s, failure = %(failure)s
WHERE pull_id = %(pull_id)s
"""
# Autovacuum does it too, but not in an embedded server that lives for a pull of a minute.
OUTGROWN = """
SELECT pg_relation_size(oid) > 2 * relpages * current_setting('block_size')::bigint FROM pg_class
WHERE oid = 'metrics'::regclass
"""


@dataclass(slots=True)
class Counts:
    """Points of a load, one for each key: new in the table, changed there, or there already."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0

    def add(self, other: "Counts") -> None:
        """Count another load in."""
        self.new += other.new
        self.changed += other.changed
        self.unchanged += other.unchanged


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What the row of a run says in the end."""

    status: str
    records: int
    calls: int
    failed: int
    received: int
    failure: str | None


class Store:
    """The tables, for one run of one source; reconnects once where the database went away.

    `hold` makes sure, before each load and after a reconnect, that the run still has its place; `stop` ends the wait
    for a database that is away.
    """

    def __init__(
        self,
        database: Database,
        source: str,
        verb: Verb,
        hold: Callable[[], None],
        stop: threading.Event | None = None,
    ) -> None:
        self._database, self._source, self._verb = database, source, verb
        self._hold, self._stop = hold, stop or threading.Event()
        self._session = database.connect(f"{verb} {source}")

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def begin_run(self) -> int:
        """Enter the run into pulls, as an error until it ends; its pull_id."""
        row = self._do(lambda: self._fetch(BEGIN_RUN, {"source": self._source, "kind": self._verb.value}))
        return int(row[0])

    def end_run(self, pull_id: int, end: RunEnd) -> None:
        """Complete the run's row, and renew the planner's statistics where the table has doubled since the last."""
        values = {name: getattr(end, name) for name in RunEnd.__slots__} | {"pull_id": pull_id}
        if end.failure:  # it may quote an answer, and PostgreSQL has no text for these
            values["failure"] = end.failure.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        self._do(lambda: self._fetch(END_RUN, values))
        self._do(self._renew_statistics)

    def load(self, points: Sequence[DataPoint]) -> Counts:
        """Store points in one transaction, by the conflict rule of the run's verb; of one key, the last is taken.

        Raises DatabaseLost where the database is gone for good, ConfigurationError where it may not be written.
        """
        if not points:
            return Counts()
        return self._do(lambda: self._load(points))

    def _load(self, points: Sequence[DataPoint]) -> Counts:
        series = sorted({(point.asset, point.metric) for point in points})
        rows = _encode(points, {names: number for number, names in enumerate(series, start=1)})
        names = {"assets": [asset for asset, _ in series], "metrics": [metric for _, metric in series]}
        self._hold()
        first, *again = LOADS[self._verb]
        try:
            return self._write(rows, first, names)
        except psycopg2.errors.UniqueViolation:
            if not again:
                raise
            return self._write(rows, again[0], names)

    def _write(self, rows: bytearray, statement: str, names: dict[str, list[str]]) -> Counts:
        with self._session, self._session.cursor() as cursor:
            cursor.execute(STAGE)
            cursor.copy_expert("COPY stage FROM STDIN (FORMAT binary)", io.BytesIO(rows))
            cursor.execute(statement, {"source": self._source, **names})
            row = cursor.fetchone()
        if row is None:
            raise DatabaseLost
        return Counts(row[1], row[2], row[0] - row[1] - row[2])

    def _renew_statistics(self) -> None:
        if self._fetch(OUTGROWN) == (True,):
            self._fetch("ANALYZE metrics")

    def _fetch(self, statement: str, values: Any = None) -> tuple[Any, ...]:
        """Run one statement in a transaction of its own; its first row, empty where it gives none."""
        with self._session, self._session.cursor() as cursor:
            cursor.execute(statement, values)
            return (cursor.fetchone() or ()) if cursor.description else ()

    def _do(self, work: Callable[[], T]) -> T:
        """Do some work, once more on a new session where the old one was lost; all of it may be repeated."""
        try:
            return self._attempt(work)
        except TransactionRollbackError as error:  # a conflict with another writer
            log.info("%s: %s: repeating", self._database, reason(error))
            return self._attempt(work)
        except ConfigurationError:
            if alive(self._session):
                raise
            log.warning("%s went away: reconnecting", self._database)
        except psycopg2.Error as error:
            if alive(self._session):
                self._give_up(error)
            log.warning("%s went away (%s): reconnecting", self._database, reason(error))
        self._reconnect()
        try:
            return self._attempt(work)
        except psycopg2.Error as error:
            if alive(self._session):
                self._give_up(error)
            raise DatabaseLost(f"{self._database} went away again: {reason(error)}") from error

    def _give_up(self, error: psycopg2.Error) -> NoReturn:
        """Raise what a statement's failure on a session alive means: a full disk and the like, or a bug of ours."""
        if isinstance(error, psycopg2.OperationalError):
            raise DatabaseLost(f"{self._database}: {reason(error)}") from error
        raise error

    def _attempt(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (psycopg2.errors.ReadOnlySqlTransaction, psycopg2.errors.InsufficientPrivilege) as error:
            raise ConfigurationError(f"{self._database} can't be written: {reason(error)}") from error

    def _reconnect(self) -> None:
        self._session.close()
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                self._database.reopen()
                self._session = self._database.connect(f"{self._verb} {self._source}")
                self._hold()
            except (ConfigurationError, psycopg2.Error) as error:  # it is not there yet, or not for long
                if time.monotonic() > deadline or self._stop.wait(RECONNECT_PAUSE):
                    raise DatabaseLost(f"the database went away and did not come back: {error}") from error
            else:
                return


def _encode(points: Sequence[DataPoint], numbers: dict[tuple[str, str], int]) -> bytearray:
    """The points as rows of the stage in PostgreSQL's binary COPY format."""
    rows, pack = bytearray(HEADER), ROW.pack
    for place, point in enumerate(points):
        at = round((point.at.timestamp() - EPOCH) * 1_000_000)
        rows += pack(4, 4, numbers[point.asset, point.metric], 4, place, 8, at, 8, point.value)
    rows += TRAILER
    return rows
