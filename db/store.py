"""The store: points into metrics, runs into pulls. SQL stands in db/ and nowhere else."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import psycopg2
from psycopg2.extensions import TransactionRollbackError

from db import coverage
from db.load import Counts, Load
from db.setup import UNWRITABLE, Database, alive, naive, reason
from model.errors import ConfigurationError, DatabaseLost
from model.values import Answered, DataPoint, Target, Verb, Window

log = logging.getLogger(__name__)
T = TypeVar("T")

RECONNECT_SECONDS = 20.0  # how long a database that went away may take to come back
RECONNECT_PAUSE = 0.5  # seconds

STOPPED = "stopped before"  # how the failure of a run begins that has ended early and failed in nothing

# An earlier run of this source and kind without an end was killed: its lock is free, or we would not be here.
BEGIN_RUN = """
WITH killed AS (
    UPDATE pulls SET failure = 'the process ended before the run did'
    WHERE source_name = %(source)s AND kind = %(kind)s AND finished_at IS NULL AND failure IS NULL
)
INSERT INTO pulls (source_name, kind, slot, status) VALUES (%(source)s, %(kind)s, %(slot)s, 'error') RETURNING pull_id
"""
# A clock that jumps back must not make an open day of a closed one. A run more than a day ahead is not believed: each
# day would count as closed as soon as it comes, until that time is there.
LATEST_DAY = """
SELECT max(pulled_at) FILTER (WHERE pulled_at < today + 2)::date, max(pulled_at)::date, today
FROM pulls, (SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today) AS clock
WHERE source_name = %(source)s GROUP BY today
"""
END_RUN = """
UPDATE pulls SET status = %(status)s, records_count = %(records)s, finished_at = now(), calls = %(calls)s,
    failed_calls = %(failed)s, points_received = %(received)s, failure = %(failure)s,
    points_differing = %(differing)s
WHERE pull_id = %(pull_id)s
"""
# Autovacuum does it too, but not in an embedded server that lives for a pull of a minute.
OUTGROWN = """
SELECT pg_relation_size(oid) > 2 * relpages * current_setting('block_size')::bigint FROM pg_class
WHERE oid = 'metrics'::regclass
"""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """What the row of a run says in the end."""

    status: str
    records: int
    calls: int
    failed: int
    received: int
    failure: str | None
    differing: int = 0


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
        self._pull_id: int | None = None
        self._latest_day = date.min
        self._session = database.connect(f"{verb} {source}")

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def missing(self, targets: Iterable[Target], window: Window) -> dict[coverage.Name, list[Window]]:
        """The days of a window that a backfill has to ask for, of each series (asset, metric) that has any."""
        return self._do(lambda: self._using(lambda cursor: coverage.missing(cursor, self._source, targets, window)))

    def maps(
        self,
        today: datetime,
        own_times: Mapping[str, timedelta],
        assets: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
    ) -> list[coverage.SeriesMap]:
        """What is there of each series ever asked for: see `db.coverage.series_maps`."""
        names = today, own_times, assets, metrics
        return self._do(lambda: self._using(lambda cursor: coverage.series_maps(cursor, self._source, *names)))

    def begin_run(self, live_only: Collection[str] = (), slot: datetime | None = None) -> int:
        """Enter the run into pulls, as an error until it ends; its pull_id.

        `live_only` names metrics without history; `slot` is that of the schedule for which the run is made.
        What a clock that was ahead has claimed to be covered is no longer.
        """
        values = {"source": self._source, "kind": self._verb.value, "slot": slot and naive(slot)}
        row = self._do(lambda: self._fetch(BEGIN_RUN, values))
        self._pull_id = int(row[0])
        self._latest_day, latest, today = self._do(lambda: self._fetch(LATEST_DAY, {"source": self._source}))
        forget = coverage.forget_future
        forgotten = self._do(lambda: self._using(lambda cursor: forget(cursor, self._source, live_only)))
        if latest > today:
            log.warning("the clock says %s, but %s had a run on %s: check it", today, self._source, latest)
        if forgotten:
            log.warning(
                "%s: %d series were covered beyond yesterday (%s is open), by a clock that was ahead: asked for again",
                self._source, forgotten, today,
            )  # fmt: skip
        return self._pull_id

    def end_run(self, pull_id: int, end: RunEnd) -> None:
        """Complete the run's row, and renew the planner's statistics where the table has doubled since the last."""
        values = {name: getattr(end, name) for name in RunEnd.__slots__} | {"pull_id": pull_id}
        if end.failure:  # it may quote an answer, and PostgreSQL has no text for these
            values["failure"] = end.failure.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        self._do(lambda: self._fetch(END_RUN, values))
        self._do(self._renew_statistics)

    def load(self, points: Sequence[DataPoint], answered: Sequence[Answered] = ()) -> Counts:
        """Store points in one transaction, by the conflict rule of the run's verb; of one key, the last is taken.

        With them goes what was answered, points or none, into the coverage. Raises DatabaseLost where the database
        is gone for good, ConfigurationError where it may not be written.
        """
        if not points and not answered:
            return Counts()
        load = Load(self._source, self._verb, points, answered)

        def write() -> Counts:
            self._hold()
            return load.write(self._session, self._pull_id, self._latest_day)

        return self._do(write)

    def _renew_statistics(self) -> None:
        if self._fetch(OUTGROWN) == (True,):
            self._fetch("ANALYZE metrics")

    def _using(self, work: Callable[[Any], T]) -> T:
        """Do some work with a cursor, in a transaction of its own."""
        with self._session, self._session.cursor() as cursor:
            return work(cursor)

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
        except DatabaseLost as error:  # as of the session that holds our place
            log.warning("%s: reconnecting", error)
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
        except UNWRITABLE as error:
            raise ConfigurationError(f"{self._database} can't be written: {reason(error)}") from error

    def _reconnect(self) -> None:
        self._session.close()
        deadline = time.monotonic() + RECONNECT_SECONDS
        while True:
            try:
                self._database.reopen()
                self._session = self._database.connect(f"{self._verb} {self._source}")
                self._hold()
            except (ConfigurationError, DatabaseLost, psycopg2.Error) as error:  # it is not there yet, or not for long
                if time.monotonic() > deadline or self._stop.wait(RECONNECT_PAUSE):
                    raise DatabaseLost(f"the database went away and did not come back: {error}") from error
            else:
                return
