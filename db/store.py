"""The store: what one run of one source reads and writes."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from db import api_limits, coverage, identities, pulls, quarantine
from db.api_limits import KnownLimit, Limit
from db.database import Database
from db.identities import Identity
from db.load import Counts, Load
from db.quarantine import Adopted, ComparedPoint
from db.session import KeptSession
from db.statements import Connection, Cursor, T, fetch_one, in_transaction
from model.values import Answered, DataPoint, Refused, Target, Verb, Window

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 20.0  # how long a database that went away may take to come back
# Autovacuum also renews statistics, but not in an embedded server that runs for only a minute.
HAS_DOUBLED = """
SELECT pg_relation_size(oid) > 2 * relpages * current_setting('block_size')::bigint FROM pg_class
WHERE oid = 'metrics'::regclass
"""


class Store:
    """The tables for one run of one source. A lost session is replaced, and its work is repeated once.

    `check_place` raises if the run no longer holds its place; it is called before each load and after a reconnect.
    `stop` ends the wait for a database that is away. The methods raise DatabaseLost if the database does not come back,
    ConfigurationError if it can't be written.
    """

    def __init__(
        self,
        database: Database,
        source: str,
        verb: Verb,
        check_place: Callable[[], None] = lambda: None,
        stop: threading.Event | None = None,
    ) -> None:
        self._source, self._verb, self._check_place = source, verb, check_place
        self._pull_id: int | None = None
        self._latest_day = date.min
        self._live_only: Collection[str] = ()
        self._kept = KeptSession(
            database, f"{verb} {source}", patience=RECONNECT_SECONDS, stop=stop, check_place=check_place
        )
        self._kept.open()

    def close(self) -> None:
        """End the session."""
        self._kept.close()

    def missing(self, targets: Iterable[Target], window: Window) -> dict[coverage.Name, list[Window]]:
        """The days of a window that a backfill has to request, for each series (asset, metric) that has any."""
        return self._do(lambda cursor: coverage.missing(cursor, self._source, targets, window))

    def known(self, targets: Iterable[Target]) -> dict[coverage.Name, coverage.Known]:
        """What the tables know of each of these series that was ever requested."""
        return self._do(lambda cursor: coverage.known_series(cursor, self._source, targets))

    def maps(self, today: datetime, own_times: Mapping[str, timedelta]) -> list[coverage.SeriesMap]:
        """A map of the days before `today` for each series ever requested: see `db.coverage.series_maps`."""
        return self._do(lambda cursor: coverage.series_maps(cursor, self._source, today, own_times))

    def api_limits(self, account: str) -> dict[Limit, KnownLimit]:
        """The limits of an account that earlier runs have found."""
        return self._do(lambda cursor: api_limits.api_limits(cursor, account))

    def set_api_limits(self, account: str, values: Mapping[Limit, float]) -> None:
        """Remember limits that this run has found."""
        if values:
            self._do(lambda cursor: api_limits.set_api_limits(cursor, account, values))

    def identities(self) -> list[Identity]:
        """Which assets the API means by the identifiers of config rows, as far as earlier runs have seen."""
        return self._do(lambda cursor: identities.identities(cursor, self._source))

    def set_identities(self, rows: Sequence[Identity]) -> None:
        """Remember what this run has seen."""
        if rows:
            self._do(lambda cursor: identities.set_identities(cursor, self._source, rows))

    def begin_run(self, live_only: Collection[str] = (), slot: datetime | None = None) -> int:
        """Enter the run into pulls, where it counts as an error until it ends; returns its pull_id.

        `live_only` names the metrics without history; `slot` is the slot of the schedule, None for a manual run.
        Coverage of days to come, recorded while a clock was ahead, is dropped.
        """
        source, kind = self._source, self._verb.value

        def begin(cursor: Cursor) -> tuple[int, tuple[date, date, date], int]:
            pull_id = pulls.begin_run(cursor, source, kind, slot)
            return pull_id, pulls.latest_day(cursor, source), coverage.forget_future(cursor, source, live_only)

        self._live_only = live_only
        self._pull_id, (self._latest_day, stored, today), dropped = self._do(begin)
        if stored > today:
            log.warning("the clock says %s, but %s had a run on %s: check the clock", today, source, stored)
        if dropped:
            log.warning(
                "%s: days after yesterday were marked as covered for %d series, because a clock was ahead: "
                "these days will be requested again (today is %s)",
                source, dropped, today,
            )  # fmt: skip
        return self._pull_id

    def end_run(self, pull_id: int, end: pulls.RunEnd) -> None:
        """Complete the run's row; renew the planner's statistics if metrics has doubled in size since the last time."""
        self._do(lambda cursor: pulls.end_run(cursor, pull_id, end))
        if self._do(lambda cursor: fetch_one(cursor, HAS_DOUBLED)) == (True,):
            self._do(lambda cursor: cursor.execute("ANALYZE metrics"))

    def load(
        self,
        points: Sequence[DataPoint],
        answered: Sequence[Answered] = (),
        refused: Sequence[Refused] = (),
        withdrawn: Sequence[Answered] = (),
    ) -> Counts:
        """Store points and coverage in one transaction, by the conflict rule of the run's verb.

        `answered` names the series for which the API has answered, with points or without; `refused` has the days for
        which the answer can hardly be true, and `withdrawn` those whose stored points the API no longer has: they go
        into quarantine. If several points have one key, the last one is stored.
        """
        if not points and not answered:
            return Counts()
        load = Load(self._source, self._verb, points, answered, refused, withdrawn)

        def write(session: Connection) -> Counts:
            self._check_place()
            return load.write(session, self._pull_id, self._latest_day, self._live_only)

        return self._kept.do(write)

    def undecided(self) -> list[coverage.Name]:
        """The series that have new or waiting values in quarantine."""
        return self._do(lambda cursor: quarantine.undecided(cursor, self._source))

    def compared_points(self, name: coverage.Name) -> list[ComparedPoint]:
        """All stored points of a series, with what the API says now."""
        return self._do(lambda cursor: quarantine.compared_points(cursor, self._source, name))

    def adopt(self, names: Sequence[coverage.Name], own_times: Mapping[str, timedelta]) -> Adopted:
        """Adopt the new values of these series as usual restatements: see `db.quarantine.adopt`."""
        if not names:
            return Adopted(0, 0)
        reason, run = quarantine.RESTATED, self._pull_id
        return self._write(lambda cursor: quarantine.adopt(cursor, self._source, names, own_times, reason, run))

    def compared_as_a_whole(self, start: datetime) -> set[coverage.Name]:
        """The series of which a settle must compare all days: see `db.quarantine.compared_as_a_whole`."""
        return self._do(lambda cursor: quarantine.compared_as_a_whole(cursor, self._source, start))

    def hold(self, name: coverage.Name, points: Iterable[ComparedPoint]) -> None:
        """Have new values of a series wait for a person."""
        times = [each.at for each in points]
        self._write(lambda cursor: quarantine.hold(cursor, self._source, name, times))

    def verify(self, compared: Mapping[coverage.Name, Sequence[Window]]) -> None:
        """Note that this run has compared these days of series with the API."""
        pull_id, parts = self._pull_id, [(name, days) for name, windows in compared.items() for days in windows]
        if pull_id is not None and parts:
            self._write(lambda cursor: quarantine.verify(cursor, self._source, parts, pull_id))

    def _write(self, work: Callable[[Any], T]) -> T:
        """Do some work if the run still holds its place."""

        def checked(cursor: Cursor) -> T:
            self._check_place()
            return work(cursor)

        return self._do(checked)

    def _do(self, work: Callable[[Any], T]) -> T:
        return self._kept.do(lambda session: in_transaction(session, work))
