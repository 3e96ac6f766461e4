"""One load: points into metrics, and in the same transaction what they replace, cover and tell of time."""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from model.errors import DatabaseLost
from model.values import Answered, DataPoint, Verb

LOAD_LOCKS = 0x6372_7973  # the first key of the advisory locks of loads
EPOCH = datetime(2000, 1, 1, tzinfo=UTC).timestamp()  # PostgreSQL's own zero of time
HEADER, ROW, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.Struct("!hiiiiiqid"), struct.pack("!h", -1)

# Writers of one source take turns, each in a transaction whose later statements see all that the ones before did:
# so what a load judges is what it replaces, and its ids are a range of their own, in the order of time.
TAKE_TURN = "SELECT pg_advisory_xact_lock(%s, %s)"

STAGE = """
CREATE TEMPORARY TABLE IF NOT EXISTS stage (series INTEGER, place INTEGER, at TIMESTAMP, value DOUBLE PRECISION)
ON COMMIT DELETE ROWS
"""

NAMES = """
SELECT * FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(shifts)s::interval[], %(api_ids)s::text[])
    WITH ORDINALITY AS name (asset, metric, shift, api_id, series)
"""

# Where the API gives the points of a day their own times, a row of that day may stand at a time that it does not give,
# or no longer: the sample that the live pull left at the day's midnight, or what was the day's last record when a
# backfill came. The day's final value goes into that row, and makes no second one beside it. The rows of a day are
# asked for as a span of keys, for the reason given below.
FINAL_VALUES = f"""
WITH name AS ({NAMES}), day AS (
    SELECT series, asset, metric, shift, date_trunc('day', at + shift) AS day, max(at) AS last, array_agg(at) AS times
    FROM stage JOIN name USING (series) GROUP BY series, asset, metric, shift, date_trunc('day', at + shift)
), held AS MATERIALIZED (
    SELECT day.*, stored FROM day, LATERAL (
        SELECT array_agg(m.pulled_at ORDER BY m.pulled_at) AS stored FROM metrics m WHERE m.source = %(source)s
            AND (m.asset, m.metric_name, m.pulled_at) >= (day.asset, day.metric, day - shift)
            AND (m.asset, m.metric_name, m.pulled_at) < (day.asset, day.metric, day - shift + interval '1 day')
    ) AS those WHERE NOT stored <@ times
), target AS (
    SELECT series, last, times, stored, day AS at FROM held WHERE day = ANY(stored) AND day <> ALL(times)
    UNION SELECT series, last, times, stored, stored[cardinality(stored)] FROM held WHERE NOT stored && times
), copied AS (
    INSERT INTO stage SELECT series, place, target.at, value FROM stage JOIN target USING (series)
    WHERE stage.at = last
)
DELETE FROM stage USING target, unnest(times) AS given (at)
WHERE stage.series = target.series AND stage.at = given.at AND given.at <> ALL(stored)
"""  # noqa: S608 - our own text

# The stage is reduced to one row a key, the later point winning, and each row judged by what is stored. Only what is
# to be written reaches the INSERT, since ON CONFLICT would draw a serial value for every row offered. A series with
# nothing stored in its span is not probed point by point. Writing in the order of the key keeps concurrent loads
# from deadlocking.
#
# Both look-ups ask for the first row of a span of keys in the order of idx_metrics_unique: no other index serves
# that, whatever the planner's statistics say. Asked with one condition a column, the planner took
# idx_metrics_cross_section where the statistics were missing or old, and read all assets of a date for each point.
#
# A day that the API once had and has no more keeps its rows, and is found no longer. What is known of a series was
# known of the identifier by which the API was asked: where this is another now, that begins anew.
LOAD = """
WITH instant AS MATERIALIZED (
    SELECT at, greatest(at::date, %(latest_day)s::date) AS open_day
    FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at) AS clock
), span AS (
    SELECT series, min(at) AS first, max(at) AS last FROM stage GROUP BY series
), series AS MATERIALIZED (
    SELECT name.*, (
        SELECT true FROM metrics m WHERE m.source = %(source)s
            AND (m.asset, m.metric_name, m.pulled_at) >= (name.asset, name.metric, span.first)
            AND (m.asset, m.metric_name, m.pulled_at) <= (name.asset, name.metric, span.last)
        ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
    ) AS stored
    FROM ({names}) AS name LEFT JOIN span USING (series)
), point AS (
    SELECT DISTINCT ON (series, at) series, at, value FROM stage ORDER BY series, at, place DESC
), judged AS (
    SELECT series, at, point.value, old.stored, old.value AS old_value,
        old.stored AND old.value IS DISTINCT FROM point.value AS differs
    FROM point JOIN series USING (series) LEFT JOIN LATERAL (
        SELECT true AS stored, m.value FROM metrics m WHERE series.stored AND m.source = %(source)s
            AND (m.asset, m.metric_name, m.pulled_at) >= (series.asset, series.metric, point.at)
            AND (m.asset, m.metric_name, m.pulled_at) <= (series.asset, series.metric, point.at)
        ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT 1
    ) AS old ON true
), written AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT %(source)s, asset, metric, at, value FROM judged JOIN series USING (series) WHERE {wanted}
    ORDER BY series, at
    {conflict}
    RETURNING id, xmax = 0 AS inserted
), loaded AS (
    INSERT INTO loads (source, first_id, last_id, loaded_at, pull_id)
    SELECT %(source)s, min(id), max(id), (SELECT at FROM instant), %(pull_id)s FROM written WHERE inserted
    HAVING count(*) > 0
), revised AS (
    INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, pull_id)
    SELECT %(source)s, asset, metric, judged.at, old_value, instant.at, %(pull_id)s
    FROM judged JOIN series USING (series), instant WHERE differs AND {revises} AND judged.at < open_day
), asked AS (
    SELECT series, range_agg(daterange(first, last)) AS days
    FROM unnest(%(asked)s::int[], %(firsts)s::date[], %(lasts)s::date[]) AS days (series, first, last)
    GROUP BY series
), given AS (
    SELECT series, range_agg(daterange((at + shift)::date, (at + shift)::date + 1)) AS days,
        count(*) FILTER (WHERE judged.stored IS NULL) AS new
    FROM judged JOIN series USING (series) GROUP BY series
), old AS (
    SELECT series, coverage.api_id, row_count, CASE WHEN another THEN '{{}}' ELSE answered END AS answered,
        CASE WHEN another THEN '{{}}' ELSE found END AS found
    FROM series JOIN coverage
        ON (coverage.source, coverage.asset, metric_name) = (%(source)s, series.asset, series.metric),
        LATERAL (SELECT coverage.api_id <> series.api_id AS another) AS changed
), answer AS (
    SELECT series.asset, series.metric, coalesce(series.api_id, old.api_id) AS api_id,
        coalesce(asked.days, '{{}}') AS asked, coalesce(asked.days * given.days, '{{}}') AS found,
        coalesce(given.new, 0) AS new, coalesce(old.answered, '{{}}') AS old_answered,
        coalesce(old.found, '{{}}') AS old_found, coalesce(old.row_count, 0) AS old_row_count,
        coalesce(old.found * asked.days - coalesce(given.days, '{{}}'), '{{}}') AS withdrawn
    FROM series LEFT JOIN asked USING (series) LEFT JOIN given USING (series) LEFT JOIN old USING (series)
), covered AS (
    INSERT INTO coverage (source, asset, metric_name, answered, found, row_count, found_count, api_id)
    SELECT %(source)s, asset, metric, old_answered + asked, now_found, old_row_count + new,
        (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(now_found) AS part), api_id
    FROM answer, LATERAL (SELECT old_found - withdrawn + found AS now_found) AS held ORDER BY asset, metric
    ON CONFLICT (source, asset, metric_name) DO UPDATE
    SET answered = excluded.answered, found = excluded.found, row_count = excluded.row_count,
        found_count = excluded.found_count, api_id = excluded.api_id
    WHERE (coverage.answered, coverage.found, coverage.row_count, coverage.found_count, coverage.api_id)
        IS DISTINCT FROM
        (excluded.answered, excluded.found, excluded.row_count, excluded.found_count, excluded.api_id)
)
SELECT (SELECT count(*) FROM point), count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted),
    (SELECT count(*) FROM judged WHERE differs),
    (SELECT coalesce(sum(upper(days) - lower(days)), 0)::int FROM answer, unnest(withdrawn) AS days)
FROM written
"""
KEY = "(source, asset, metric_name, pulled_at)"
CHANGE = "DO UPDATE SET value = excluded.value WHERE metrics.value IS DISTINCT FROM excluded.value"
NEW = "judged.stored IS NULL"
UPSERT = LOAD.format(names=NAMES, wanted=f"({NEW} OR differs)", conflict=f"ON CONFLICT {KEY} {CHANGE}", revises="true")
INSERT_NEW = LOAD.format(names=NAMES, wanted=NEW, conflict=f"ON CONFLICT {KEY} DO NOTHING", revises="false")
# The clause costs a quarter of the time, for rows that have just been seen to be new. So a backfill first goes
# without it; where a writer that takes no turn came between, the index refuses the load, which is repeated with it.
INSERT_SEEN_NEW = LOAD.format(names=NAMES, wanted=NEW, conflict="", revises="false")
LOADS = {Verb.PULL: (UPSERT,), Verb.BACKFILL: (INSERT_SEEN_NEW, INSERT_NEW), Verb.SETTLE: (UPSERT,)}


@dataclass(slots=True)
class Counts:
    """Points of a load, one for each key: new in the table, changed there, or there already."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: int = 0  # there with another value, which a backfill keeps
    withdrawn: int = 0  # days of series for which the API had data once, and has none now

    def add(self, other: "Counts") -> None:
        """Count another load in."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def take_turn(cursor: Any, source: str) -> None:
    """Wait until no other transaction writes what is stored of a source; until the end of this one none will."""
    cursor.execute(TAKE_TURN, (LOAD_LOCKS, zlib.crc32(source.encode()) & 0x7FFF_FFFF))


class Load:
    """What one load brings, encoded once, so that it can be repeated."""

    def __init__(self, source: str, verb: Verb, points: Sequence[DataPoint], answered: Sequence[Answered]) -> None:
        self._source, self._verb = source, verb
        answers = {(each.asset, each.metric): each for each in answered}
        names = sorted(answers.keys() | {(point.asset, point.metric) for point in points})
        numbers = {name: number for number, name in enumerate(names, start=1)}
        asked = [(numbers[each.asset, each.metric], each.days) for each in answered if each.days]
        self._rows = _encode(points, numbers)
        self._values: dict[str, Any] = {
            "source": source,
            "assets": [asset for asset, _ in names],
            "metrics": [metric for _, metric in names],
            "shifts": [answers[name].shift if name in answers else timedelta() for name in names],
            "api_ids": [answers[name].api_id if name in answers else None for name in names],
            "asked": [number for number, _ in asked],
            "firsts": [days.start.date() for _, days in asked],
            "lasts": [days.end.date() for _, days in asked],
        }

    def write(self, session: Connection, pull_id: int | None, latest_day: date) -> Counts:
        """Write it in one transaction; values replaced before `latest_day`, or before today, become revisions."""
        first, *again = LOADS[self._verb]
        values = {**self._values, "pull_id": pull_id, "latest_day": latest_day}
        try:
            return self._write(session, first, values)
        except psycopg2.errors.UniqueViolation:
            if not again:
                raise
            return self._write(session, again[0], values)

    def _write(self, session: Connection, statement: str, values: dict[str, Any]) -> Counts:
        with session, session.cursor() as cursor:
            cursor.execute(STAGE)
            cursor.copy_expert("COPY stage FROM STDIN (FORMAT binary)", io.BytesIO(self._rows))
            take_turn(cursor, self._source)
            if self._verb is Verb.SETTLE:
                cursor.execute(FINAL_VALUES, values)
            cursor.execute(statement, values)
            row = cursor.fetchone()
        if row is None:
            raise DatabaseLost
        points, new, changed, differing, withdrawn = row
        kept = differing if self._verb is Verb.BACKFILL else 0
        return Counts(new, changed, points - new - changed - kept, kept, withdrawn)


def _encode(points: Sequence[DataPoint], numbers: dict[tuple[str, str], int]) -> bytearray:
    """The points as rows of the stage in PostgreSQL's binary COPY format."""
    rows, pack = bytearray(HEADER), ROW.pack
    for place, point in enumerate(points):
        at = round((point.at.timestamp() - EPOCH) * 1_000_000)
        rows += pack(4, 4, numbers[point.asset, point.metric], 4, place, 8, at, 8, point.value)
    rows += TRAILER
    return rows
