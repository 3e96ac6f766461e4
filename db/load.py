"""One load: in one transaction, points are written, and loads, revisions, coverage and refused days are updated.

Values of closed days that the API has restated are not written: they go into quarantine, see db/quarantine.py.
"""

import io
import logging
import struct
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2

from db.cluster import working_copy
from db.lock import holders_of
from db.statements import Connection, arrays, fetch, fetch_one, filled_in, read_statements
from model.values import Answered, DataPoint, Refused, Verb

log = logging.getLogger(__name__)

SILENT_SECONDS = 5  # of waiting for another load
LOAD_LOCKS = 0x6372_7973  # the first key of the advisory locks of loads
COPY_EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # from which PostgreSQL counts time
HEADER, ROW, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.Struct("!hiiiiiqid"), struct.pack("!h", -1)

SQL = read_statements("load.sql")
LOOK_UP = filled_in(SQL["look_up"], names=SQL["names"])
FINAL_VALUES = filled_in(SQL["final_values"], names=SQL["names"])
SCOPE = filled_in(SQL["scope"], names=SQL["names"])
LOAD = filled_in(SQL["load"], names=SQL["names"])
NEW_OR_ADOPTED = "(old_id IS NULL OR differs AND reason IS DISTINCT FROM 'restated')"
UPSERT = filled_in(LOAD, wanted=NEW_OR_ADOPTED, conflict=SQL["do_update"], revises="true")
INSERT = filled_in(LOAD, wanted="old_id IS NULL", revises="false")
INSERT_OR_SKIP = filled_in(INSERT, conflict=SQL["do_nothing"])
INSERT_OR_FAIL = filled_in(INSERT, conflict="")
FORGET_REFUSED = filled_in(SQL["forget_refused"], names=SQL["names"])
TAKE_TURN_SOON = filled_in(SQL["take_turn_soon"], take_turn=SQL["take_turn"])


@dataclass(slots=True)
class Counts:
    """What a load did with its points; several points of one key count as one."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: int = 0  # the table keeps another value: in a backfill, or until the restatement is adopted
    withdrawn: int = 0  # days of series for which the API once had data and now has none

    def add(self, other: "Counts") -> None:
        """Add the counts of another load."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def take_turn(cursor: Any, source: str) -> None:
    """Wait until no other transaction writes data of a source; until this transaction ends, others wait for it.

    After SILENT_SECONDS, a log line says which session this one waits for.
    """
    keys = LOAD_LOCKS, zlib.crc32(source.encode()) & 0x7FFF_FFFF
    values = {"first": keys[0], "second": keys[1], "patience": f"{SILENT_SECONDS}s"}
    try:
        cursor.execute(TAKE_TURN_SOON, values)
    except psycopg2.errors.LockNotAvailable:
        cursor.execute("ROLLBACK TO SAVEPOINT turn")
        holders = "; ".join(f"{name}, connected since {since}" for _, name, since in holders_of(cursor, keys))
        log.warning("%s: waiting for another session to end its load: %s", source, holders or "it has just ended")
        cursor.execute(SQL["take_turn"], values)


def hold_loads(cursor: Any) -> None:
    """Wait until no load of any source is under way; until this transaction ends, all loads wait.

    Who reads a cluster needs this: each server shows the rows as they are when it is first asked, and a load might come
    in between.
    """
    for (source,) in fetch(cursor, "SELECT DISTINCT source_name FROM pulls ORDER BY source_name"):
        take_turn(cursor, source)


class Load:
    """The points, answers and refused days of one load, encoded once, so that repeating the load costs less."""

    def __init__(
        self,
        source: str,
        verb: Verb,
        points: Sequence[DataPoint],
        answered: Sequence[Answered],
        refused: Sequence[Refused] = (),
        withdrawn: Sequence[Answered] = (),
    ) -> None:
        self._source, self._verb = source, verb
        answers = {(each.asset, each.metric): each for each in answered}
        names = sorted(answers.keys() | {(point.asset, point.metric) for point in points})
        numbers = {name: number for number, name in enumerate(names, start=1)}
        requested = [(numbers[each.asset, each.metric], each.days) for each in answered if each.days]
        self._rows = bytearray(HEADER)  # of the stage, in PostgreSQL's binary COPY format
        for place, point in enumerate(points):
            at = round((point.at.timestamp() - COPY_EPOCH) * 1_000_000)
            self._rows += ROW.pack(4, 4, numbers[point.asset, point.metric], 4, place, 8, at, 8, point.value)
        self._rows += TRAILER
        self._values: dict[str, Any] = {
            "source": source,
            **arrays("assets metrics", names),
            "shifts": [answers[name].shift if name in answers else timedelta() for name in names],
            "api_ids": [answers[name].api_id if name in answers else None for name in names],
            "requested": [number for number, _ in requested],
            "firsts": [days.start.date() for _, days in requested],
            "lasts": [days.end.date() for _, days in requested],
        }
        self._refused = [(*each[:3], each.days.start.date(), each.days.end.date(), each.on) for each in refused]
        self._withdrawn = [
            (each.asset, each.metric, each.shift, each.days.start.date(), each.days.end.date())
            for each in withdrawn
            if each.days
        ]

    def write(
        self, session: Connection, pull_id: int | None, latest_day: date, live_only: Collection[str] = ()
    ) -> Counts:
        """Write the load in one transaction.

        Of days before today or `latest_day`, replaced values become revisions, and restated ones go into quarantine.
        Of the metrics in `live_only`, which have no history, a value that is replaced after its day was a sample.
        """
        values = {**self._values, "pull_id": pull_id, "latest_day": latest_day, "live_only": list(live_only)}
        if self._verb is not Verb.BACKFILL:
            return self._write(session, UPSERT, values)
        # ON CONFLICT takes a quarter of the time, and is needed only if a writer that takes no turns has just written
        # the same rows: then the unique index refuses the load, and the load is repeated with ON CONFLICT.
        try:
            return self._write(session, INSERT_OR_FAIL, values)
        except psycopg2.errors.UniqueViolation:
            return self._write(session, INSERT_OR_SKIP, values)

    def _write(self, session: Connection, statement: str, values: dict[str, Any]) -> Counts:
        refused = arrays("assets metrics reasons firsts lasts on", self._refused)
        withdrawn = arrays("assets metrics shifts firsts lasts", self._withdrawn)
        with session, session.cursor() as cursor:
            cursor.execute(SQL["stage"])
            cursor.copy_expert(SQL["fill_stage"], io.BytesIO(self._rows))
            take_turn(cursor, self._source)
            with working_copy(cursor, SCOPE, values | _named("refused", refused) | _named("withdrawn", withdrawn)):
                cursor.execute(LOOK_UP, values)
                if self._verb is Verb.SETTLE:
                    cursor.execute(FINAL_VALUES, values)
                points, new, changed, kept, gone = fetch_one(cursor, statement, values)
                cursor.execute(FORGET_REFUSED, values)
                cursor.execute(SQL["refuse"], {"source": self._source, **refused})
                if self._withdrawn:
                    cursor.execute(SQL["quarantine_withdrawn"], values | withdrawn)
        return Counts(new, changed, points - new - changed - kept, kept, gone)


def _named(what: str, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {f"{what}_{name}": values for name, values in columns.items()}
