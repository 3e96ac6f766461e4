"""Rows kept in a compressed CSV file before they are cleared, and brought back."""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from db.load import take_turn
from db.setup import Database, session_for
from model.errors import ConfigurationError
from model.values import MAX_ASSET, MAX_METRIC, Target, Window

# `at` is when a row of metrics was loaded, and when a value of revisions was replaced; `pull_id` the run that did it.
COLUMNS = ("table", "source", "asset", "metric_name", "pulled_at", "value", "at", "pull_id")
METRICS, REVISIONS = "metrics", "revisions"
LINES_A_COPY = 50_000

SAVE = """
COPY (
    SELECT 'metrics', m.source, m.asset, m.metric_name, m.pulled_at, m.value, loads.loaded_at, loads.pull_id
    FROM metrics m
    LEFT JOIN unnest(%(assets)s::text[], %(metrics)s::text[], %(api_ids)s::text[]) AS again (asset, metric, api_id)
        ON again.asset = m.asset AND again.metric = m.metric_name
    LEFT JOIN LATERAL (
        SELECT * FROM loads WHERE loads.source = m.source AND first_id <= m.id ORDER BY first_id DESC LIMIT 1
    ) AS loads ON loads.last_id >= m.id
    LEFT JOIN coverage c ON (c.source, c.asset, c.metric_name) = (m.source, m.asset, m.metric_name)
    WHERE m.source = %(source)s AND (
        again.asset IS NULL OR m.pulled_at < %(start)s::date OR m.pulled_at >= %(end)s::date
        OR NOT coalesce(c.found, '{}') @> m.pulled_at::date  -- a live sample, or what the API has no more
        OR NOT coalesce(c.answered, '{}') @> (%(end)s::date - 1)  -- it does not answer for it any more
        OR c.api_id <> again.api_id  -- it answered for something else
    )
    UNION ALL (
        SELECT 'revisions', source, asset, metric_name, pulled_at, value, replaced_at, pull_id
        FROM revisions WHERE source = %(source)s ORDER BY id
    )
) TO STDOUT (FORMAT csv)
"""
CLEAR = """
WITH cleared AS (
    DELETE FROM metrics WHERE source = %(source)s RETURNING 1
), others AS (
    DELETE FROM coverage WHERE source = %(source)s
), loaded AS (
    DELETE FROM loads WHERE source = %(source)s
), revised AS (
    DELETE FROM revisions WHERE source = %(source)s
)
INSERT INTO pulls (source_name, kind, status, records_count, finished_at)
SELECT %(source)s, 'fresh', 'success', count(*), now() FROM cleared RETURNING records_count
"""

STAGE = """
CREATE TEMPORARY TABLE kept (
    line INTEGER, kind TEXT, source TEXT, asset TEXT, metric_name TEXT, pulled_at TIMESTAMP, value DOUBLE PRECISION,
    at TIMESTAMP, pull_id INTEGER
) ON COMMIT DROP
"""
# In the order in which they were loaded first, so that each load of then is again a range of ids.
RESTORE_METRICS = """
WITH fitting AS (
    SELECT DISTINCT ON (source, asset, metric_name, pulled_at) source, asset, metric_name, pulled_at, value, pull_id,
        coalesce(at, statement_timestamp() AT TIME ZONE 'UTC') AS at
    FROM kept WHERE kind = 'metrics' ORDER BY source, asset, metric_name, pulled_at, line
), judged AS (
    SELECT fitting.*, m.id IS NOT NULL AS stored, m.value IS DISTINCT FROM fitting.value AS differs
    FROM fitting LEFT JOIN metrics m ON (m.source, m.asset, m.metric_name, m.pulled_at)
        = (fitting.source, fitting.asset, fitting.metric_name, fitting.pulled_at)
), written AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT source, asset, metric_name, pulled_at, value FROM judged WHERE NOT stored
    ORDER BY source, at, pull_id, asset, metric_name, pulled_at
    ON CONFLICT (source, asset, metric_name, pulled_at) DO NOTHING
    RETURNING id, source, asset, metric_name, pulled_at
), placed AS (
    SELECT written.*, at, pull_id FROM written JOIN fitting USING (source, asset, metric_name, pulled_at)
), loaded AS (
    INSERT INTO loads (source, first_id, last_id, loaded_at, pull_id)
    SELECT source, min(id), max(id), at, pull_id FROM placed GROUP BY source, at, pull_id
), covered AS (
    INSERT INTO coverage AS c (source, asset, metric_name, answered, found, row_count, found_count)
    SELECT source, asset, metric_name, days, days, number,
        (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(days) AS part)
    FROM (
        SELECT source, asset, metric_name, count(*) AS number, coalesce(
            range_agg(daterange(pulled_at::date, pulled_at::date + 1)) FILTER (WHERE live.metric IS NOT NULL), '{}'
        ) AS days
        FROM placed LEFT JOIN unnest(%(live_sources)s::text[], %(live_only)s::text[]) AS live (origin, metric)
            ON live.origin = source AND live.metric = metric_name
        GROUP BY source, asset, metric_name
    ) AS series ORDER BY source, asset, metric_name
    ON CONFLICT (source, asset, metric_name) DO UPDATE SET answered = c.answered + excluded.answered,
        found = c.found + excluded.found, row_count = c.row_count + excluded.row_count,
        found_count = (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(c.found + excluded.found) AS part)
)
SELECT (SELECT count(*) FROM written), count(*) FILTER (WHERE stored AND NOT differs),
    count(*) FILTER (WHERE stored AND differs)
FROM judged
"""
# The revisions of a point that have been made since get new numbers, behind the ones before them. Each of both keeps
# its order, so it counts as no later than any that follows it there.
RESTORE_REVISIONS = """
WITH fitting AS (
    SELECT source, asset, metric_name, pulled_at, value, at AS replaced_at, pull_id, min(line) AS place
    FROM kept WHERE kind = 'revisions' GROUP BY source, asset, metric_name, pulled_at, value, at, pull_id
), back AS MATERIALIZED (
    SELECT * FROM fitting WHERE NOT EXISTS (
        SELECT FROM revisions r
        WHERE (r.source, r.asset, r.metric_name, r.pulled_at, r.replaced_at)
            = (fitting.source, fitting.asset, fitting.metric_name, fitting.pulled_at, fitting.replaced_at)
            AND r.value IS NOT DISTINCT FROM fitting.value
    )
), since AS (
    DELETE FROM revisions r USING (SELECT DISTINCT source, asset, metric_name, pulled_at FROM back) AS point
    WHERE (r.source, r.asset, r.metric_name, r.pulled_at)
        = (point.source, point.asset, point.metric_name, point.pulled_at)
    RETURNING r.source, r.asset, r.metric_name, r.pulled_at, r.value, r.replaced_at, r.pull_id, r.id
), written AS (
    INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, pull_id)
    SELECT source, asset, metric_name, pulled_at, value, replaced_at, pull_id
    FROM (SELECT 0 AS part, * FROM back UNION ALL SELECT 1, * FROM since) AS each
    ORDER BY min(replaced_at) OVER (
        PARTITION BY source, asset, metric_name, pulled_at, part ORDER BY place DESC
    ), part, place
)
SELECT (SELECT count(*) FROM back), (SELECT count(*) FROM fitting) - (SELECT count(*) FROM back)
"""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a file brought back: rows of metrics, and revisions."""

    new: int
    unchanged: int
    kept: int  # stored with another value, which stays
    revisions: int
    revisions_unchanged: int


def save(database: Database, source: str, again: Sequence[Target], window: Window, file: Path) -> int:
    """Write the rows of a source into a file, all its revisions too; how many rows. Takes its place when it is whole.

    Left out are the points that a refill gets again: those of the series in `again`, on the days of `window` for which
    the API had data when last asked; but of a series for which it has not answered up to the end of `window`, nothing.
    Raises ConfigurationError where the file can't be written or the tables not be read, DatabaseLost.
    """
    values = {"source": source, "start": window.start.date(), "end": window.end.date()}
    values |= {"assets": [target.asset for target in again], "metrics": [target.metric for target in again]}
    values |= {"api_ids": [target.id for target in again]}
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with session_for(database, f"save {source}", "read") as session, session, session.cursor() as cursor:
            with part.open("wb") as raw:
                with gzip.open(raw, "wb", compresslevel=6) as packed:
                    packed.write(f"{','.join(COLUMNS)}\n".encode())
                    cursor.execute("SET LOCAL datestyle = 'ISO'")
                    cursor.copy_expert(cursor.mogrify(SAVE, values).decode(), packed)
                rows: int = cursor.rowcount
                raw.flush()
                os.fsync(raw.fileno())
            part.replace(file)
            _sync(file.parent)  # before anything is cleared
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error}") from error
    return rows


def clear(database: Database, source: str) -> int:
    """Delete all that is stored of a source but the log of its runs, where this is entered; how many points.

    Raises ConfigurationError where the tables can't be written, DatabaseLost.
    """
    with session_for(database, f"clear {source}") as session:
        with session, session.cursor() as cursor:
            take_turn(cursor, source)
            cursor.execute(CLEAR, {"source": source})
            rows = int((cursor.fetchone() or (0,))[0])
        session.autocommit = True
        session.cursor().execute("VACUUM metrics")  # so that the refill takes the place of what was there
    return rows


def restore(database: Database, file: Path, live_only: Mapping[str, Collection[str]]) -> Restored:
    """Bring the rows of a file back, in one transaction; those that are there already stay as they are.

    `live_only` names, by source, the metrics that exist only live. Raises ConfigurationError, with the line, where
    the file is none that `save` writes, or where the tables can't be written; DatabaseLost. Then nothing is written.
    """
    pairs = [(source, metric) for source, metrics in live_only.items() for metric in metrics]
    values = {"live_sources": [source for source, _ in pairs], "live_only": [metric for _, metric in pairs]}
    with session_for(database, f"restore {file.name}") as session, session, session.cursor() as cursor:
        cursor.execute(STAGE)
        sources = _copy(cursor, file, live_only)
        for source in sorted(sources):
            take_turn(cursor, source)
        cursor.execute(RESTORE_METRICS, values)
        new, unchanged, kept = cursor.fetchone() or (0, 0, 0)
        cursor.execute(RESTORE_REVISIONS)
        revised, revised_before = cursor.fetchone() or (0, 0)
    return Restored(new, unchanged, kept, revised, revised_before)


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, so that a power cut leaves them."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(cursor: Any, file: Path, known: Collection[str]) -> set[str]:
    """Put the checked lines of a file on the stage; the sources they name."""
    sources: set[str] = set()
    chunk = io.StringIO()
    writer = csv.writer(chunk)

    def flush() -> None:
        chunk.seek(0)
        cursor.copy_expert("COPY kept FROM STDIN (FORMAT csv)", chunk)
        chunk.seek(0)
        chunk.truncate()

    for number, row in _rows(file, known):
        sources.add(row[1])
        writer.writerow([number, *row])
        if number % LINES_A_COPY == 0:
            flush()
    flush()
    return sources


def _rows(file: Path, known: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    line = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
            reader = csv.reader(text, strict=True)
            for row in reader:
                if not line and tuple(row) != COLUMNS:
                    raise ValueError(f"the header is {','.join(row)[:80]!r}: {','.join(COLUMNS)} would be right")
                if line:
                    _check(row, known)
                    yield line, row
                line = reader.line_num
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: there is no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ConfigurationError(f"{file}: no whole file that a fresh start has written: {error}") from None
    except (ValueError, csv.Error) as error:
        raise ConfigurationError(f"{file}:{line + 1}: {error}") from None
    if not line:
        raise ConfigurationError(f"{file}:1: the file is empty")


def _check(row: Sequence[str], known: Collection[str]) -> None:
    """Raise ValueError where a line can't have been written by `save`."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} fields in place of {len(COLUMNS)}")
    table, source, asset, metric, pulled_at, value, at, pull_id = row
    if table not in (METRICS, REVISIONS):
        raise ValueError(f"table {table!r}: {METRICS} or {REVISIONS} would be right")
    if source not in known:
        raise ValueError(f"unknown source {source!r}: known are {', '.join(sorted(known))}")
    if not (0 < len(asset) <= MAX_ASSET and 0 < len(metric) <= MAX_METRIC) or "\0" in asset + metric:
        raise ValueError(f"asset {asset[:40]!r} or metric {metric[:40]!r} does not fit its column")
    for name, text in (("pulled_at", pulled_at), ("at", at)):
        if text or name == "pulled_at" or table == REVISIONS:
            _time(name, text)
    if value and not _finite(value):
        raise ValueError(f"value {value[:40]!r} is no finite number")
    if pull_id and not (re.fullmatch("[0-9]{1,10}", pull_id) and int(pull_id) < 2**31):
        raise ValueError(f"pull_id {pull_id[:40]!r} is no whole number")


def _time(name: str, text: str) -> None:
    try:
        if not re.fullmatch(r"[0-9-]{10} [0-9:]{8}(\.[0-9]{1,6})?", text):
            raise ValueError
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text[:40]!r} is no time such as 2026-01-31 00:00:00") from None


def _finite(text: str) -> bool:
    """Whether it is a number as PostgreSQL reads it: neither infinite nor so small that a double has nothing for it."""
    if not re.fullmatch(r"[+-]?[0-9]*\.?[0-9]*(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        return False
    try:
        number = float(text)
    except ValueError:
        return False
    return isfinite(number) and (number != 0 or not re.match("[^e]*[1-9]", text, re.IGNORECASE))
