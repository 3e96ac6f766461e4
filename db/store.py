"""The store: points into metrics, runs into pulls, one run at a time. With schema.sql, all the SQL there is."""

import io
import logging
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg2

from db.setup import Database, reason
from pipeline.errors import ConfigurationError, DatabaseLost, RunRefused
from pipeline.values import DataPoint, Verb

log = logging.getLogger(__name__)
T = TypeVar("T")

RUN_LOCKS = 0x6372_7972  # the first key of the advisory locks that runs hold
RECONNECT_SECONDS = 20.0  # how long a database that went away may take to come back
RECONNECT_PAUSE = 0.5  # seconds
ANALYZE_FROM = 10_000  # inserted rows; fewer need no new statistics
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
LOAD = """
WITH span AS (
    SELECT series, min(at) AS first, max(at) AS last FROM stage GROUP BY series
), series AS MATERIALIZED (
    SELECT name.series, name.asset, name.metric, EXISTS (
        SELECT FROM metrics m WHERE m.source = %(source)s AND m.asset = name.asset AND m.metric_name = name.metric
            AND m.pulled_at BETWEEN span.first AND span.last
    ) AS stored
    FROM unnest(%(assets)s::text[], %(metrics)s::text[]) WITH ORDINALITY AS name (asset, metric, series)
    JOIN span ON span.series = name.series
), point AS (
    SELECT DISTINCT ON (series, at) series, at, value FROM stage ORDER BY series, at, place DESC
), judged AS MATERIALIZED (
    SELECT series, asset, metric, at, value, CASE WHEN stored THEN (
        SELECT m.value IS DISTINCT FROM point.value FROM metrics m WHERE m.source = %(source)s
            AND m.asset = series.asset AND m.metric_name = series.metric AND m.pulled_at = point.at
    ) END AS differs
    FROM point JOIN series USING (series)
), written AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT %(source)s, asset, metric, at, value FROM judged WHERE {wanted} ORDER BY series, at
    ON CONFLICT (source, asset, metric_name, pulled_at) {resolution}
    RETURNING xmax = 0 AS inserted
)
SELECT (SELECT count(*) FROM judged), count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted)
FROM written
"""
UPSERT = LOAD.format(
    wanted="differs IS NOT FALSE",
    resolution="DO UPDATE SET value = excluded.value WHERE metrics.value IS DISTINCT FROM excluded.value",
)
INSERT_NEW = LOAD.format(wanted="differs IS NULL", resolution="DO NOTHING")
LOADS = {Verb.PULL: UPSERT, Verb.BACKFILL: INSERT_NEW}

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
TRY_LOCK = "SELECT pg_try_advisory_lock(%s, %s)"
HOLDER = """
SELECT application_name, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
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

    `on_reconnect` is called with the new session in place, before anything is written again.
    """

    def __init__(self, database: Database, source: str, verb: Verb, on_reconnect: Callable[[], None]) -> None:
        self._database, self._source, self._verb = database, source, verb
        self._on_reconnect = on_reconnect
        self._inserted = 0  # since the planner's statistics were last renewed
        self._session = database.connect(f"{verb} {source}")

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def begin_run(self) -> int:
        """Enter the run into pulls, as an error until it ends; its pull_id."""
        row = self._do(lambda: self._fetch(BEGIN_RUN, {"source": self._source, "kind": self._verb.value}))
        return int(row[0])

    def end_run(self, pull_id: int, end: RunEnd) -> None:
        """Complete the run's row."""
        values = {name: getattr(end, name) for name in RunEnd.__slots__} | {"pull_id": pull_id}
        self._do(lambda: self._fetch(END_RUN, values))

    def load(self, points: Sequence[DataPoint]) -> Counts:
        """Store points in one transaction, by the conflict rule of the run's verb; of one key, the last is taken.

        Raises DatabaseLost where the database is gone for good, ConfigurationError where it may not be written.
        """
        if not points:
            return Counts()
        counts = self._do(lambda: self._load(points))
        self._renew_statistics(counts.new)
        return counts

    def _load(self, points: Sequence[DataPoint]) -> Counts:
        series = sorted({(point.asset, point.metric) for point in points})
        rows = _encode(points, {names: number for number, names in enumerate(series, start=1)})
        names = {"assets": [asset for asset, _ in series], "metrics": [metric for _, metric in series]}
        with self._session, self._session.cursor() as cursor:
            cursor.execute(STAGE)
            cursor.copy_expert("COPY stage FROM STDIN (FORMAT binary)", io.BytesIO(rows))
            cursor.execute(LOADS[self._verb], {"source": self._source, **names})
            row = cursor.fetchone()
        if row is None:
            raise DatabaseLost
        return Counts(row[1], row[2], row[0] - row[1] - row[2])

    def _renew_statistics(self, inserted: int) -> None:
        """Renew the planner's statistics each time the table has doubled; without any it picks the wrong index.

        Autovacuum does it too, but a first backfill outruns it.
        """
        self._inserted += inserted
        if self._inserted < ANALYZE_FROM:
            return

        def analyze() -> None:
            (known,) = self._fetch("SELECT reltuples FROM pg_class WHERE oid = 'metrics'::regclass")
            if self._inserted >= known:
                self._fetch("ANALYZE metrics")
                self._inserted = 0

        self._do(analyze)

    def _fetch(self, statement: str, values: Any = None) -> tuple[Any, ...]:
        """Run one statement in a transaction of its own; its first row, empty where it gives none."""
        with self._session, self._session.cursor() as cursor:
            cursor.execute(statement, values)
            return (cursor.fetchone() or ()) if cursor.description else ()

    def _do(self, work: Callable[[], T]) -> T:
        """Do some work, once more on a new session where the old one was lost; all of it may be repeated."""
        try:
            return self._attempt(work)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if not self._session.closed:
                raise DatabaseLost(f"{self._database}: {reason(error)}") from error
            log.warning("%s went away (%s): reconnecting", self._database, reason(error))
        try:
            self._reconnect()
            return self._attempt(work)
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise DatabaseLost(f"{self._database} went away again: {reason(error)}") from error

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
            except ConfigurationError as error:
                if time.monotonic() > deadline:
                    raise DatabaseLost(f"the database went away and did not come back: {error}") from error
                time.sleep(RECONNECT_PAUSE)
            else:
                break
        self._on_reconnect()


class RunLock:
    """The place of the one run of a source and kind: a session lock that dies with its process."""

    def __init__(self, database: Database, source: str, verb: Verb) -> None:
        """Take the place; raises RunRefused, naming the holder, where it is taken."""
        self._database, self._what = database, f"{verb} {source}"
        self.take()

    def take(self) -> None:
        """Take the place, or take it again after the database went away."""
        self._session = self._database.connect(self._what)
        self._session.autocommit = True
        keys = (RUN_LOCKS, zlib.crc32(self._what.encode()) & 0x7FFF_FFFF)
        with self._session.cursor() as cursor:
            cursor.execute(TRY_LOCK, keys)
            if (cursor.fetchone() or (False,))[0]:
                return
            cursor.execute(HOLDER, keys)
            name, since = cursor.fetchone() or ("another session", "just now")
        self._session.close()
        raise RunRefused(f"another {self._what} is running: {name}, since {since} UTC")

    def release(self) -> None:
        """Give the place up."""
        self._session.close()


def _encode(points: Sequence[DataPoint], numbers: dict[tuple[str, str], int]) -> bytearray:
    """The points as rows of the stage in PostgreSQL's binary COPY format."""
    rows, pack = bytearray(HEADER), ROW.pack
    for place, point in enumerate(points):
        at = round((point.at.timestamp() - EPOCH) * 1_000_000)
        rows += pack(4, 4, numbers[point.asset, point.metric], 4, place, 8, at, 8, point.value)
    rows += TRAILER
    return rows
