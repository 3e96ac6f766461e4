"""Saves rows in a compressed CSV file before a fresh start clears them, and restores them from it."""

import gzip
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from db.cluster import working_copy
from db.database import Database, reason
from db.load import take_turn
from db.session import session_for
from db.statements import arrays, fetch, fetch_one, filled_in, read_statements
from model.errors import ConfigurationError
from model.files import atomic_write, sync_folder
from model.settings import MAIN
from model.text import printable
from model.values import Target, Window

# `at` is when a row of metrics was loaded or a value of revisions was replaced; `pull_id` is the run that did it, and
# `reason` says why a value was replaced.
COLUMNS = ("table", "source", "asset", "metric_name", "pulled_at", "value", "at", "pull_id", "reason")
HEADERS = {",".join(COLUMNS): ", reason", ",".join(COLUMNS[:-1]): ""}  # those of files of older versions too

SQL = read_statements("archive.sql")


class Restored(NamedTuple):
    """The numbers of rows of metrics, and of revisions, that a file had."""

    new: int  # restored
    unchanged: int
    kept: int  # the table has another value, and keeps it
    revisions: int
    revisions_unchanged: int


def save(database: Database, source: str, refetched: Sequence[Target], window: Window, file: Path) -> int:
    """Write rows and all revisions of a source into a file; returns their number. The file appears when it is complete.

    Points that the backfill of a fresh start will fetch again are left out: those of the series in `refetched`, on the
    days of `window` for which the API last had data. But a series for which the API has not answered up to the end of
    `window` is saved completely. Raises ConfigurationError if the file can't be written or the tables can't be read,
    DatabaseLost if the database goes away.
    """
    values = arrays("assets metrics api_ids", refetched)
    span = {"source": source, "start": window.start.date(), "end": window.end.date()}
    try:
        file.parent.mkdir(0o700, parents=True, exist_ok=True)
        with atomic_write(file) as part, gzip.open(part, "wb", compresslevel=6) as packed:
            packed.write(f"{','.join(COLUMNS)}\n".encode())
            with session_for(database, f"save {source}", "read") as session, session, session.cursor() as cursor:
                cursor.copy_expert(cursor.mogrify(SQL["save"], values | span).decode(), packed)
                rows: int = cursor.rowcount
        sync_folder(file.parent)  # before anything is cleared
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error}") from error
    return rows


def check_clearable(database: Database) -> None:
    """Raise ConfigurationError if the role can't delete points, before anything is saved."""
    with session_for(database, "check rights") as session, session, session.cursor() as cursor:
        cursor.execute("DELETE FROM metrics WHERE false")


def clear(database: Database, source: str) -> int:
    """Delete the points of a source and what is known of them, and record that in pulls.

    Returns the number of deleted points. Raises ConfigurationError if the tables can't be written, DatabaseLost if the
    database goes away.
    """
    with session_for(database, f"clear {source}") as session:
        with session, session.cursor() as cursor:
            take_turn(cursor, source)
            (rows,) = fetch_one(cursor, SQL["clear"], {"source": source})
        session.autocommit = True
        session.cursor().execute("VACUUM metrics")  # so that the backfill can use the space
    return int(rows)


def restore(database: Database, file: Path, live_only: Mapping[str, Collection[str]]) -> Restored:
    """Restore the rows of a file in one transaction; rows that are stored already stay as they are.

    `live_only` names, by source, the metrics that exist only live. Raises ConfigurationError, with the line, if `save`
    can't have written the file, ConfigurationError if the tables can't be written, and DatabaseLost if the database
    goes away. Then nothing is written.
    """
    pairs = [(source, metric) for source, metrics in live_only.items() for metric in metrics]
    with session_for(database, f"restore {file.name}") as session, session, session.cursor() as cursor:
        _stage(cursor, file, live_only)
        for (source,) in fetch(cursor, SQL["staged_sources"]):
            take_turn(cursor, source)
        with working_copy(cursor, SQL["scope"], {}):
            revisions = fetch_one(cursor, SQL["restore_revisions"])  # before the rows: it looks at the stored ones
            metrics = fetch_one(cursor, SQL["restore_metrics"], arrays("live_sources live_only", pairs))
    return Restored(*metrics, *revisions)


def _stage(cursor: Any, file: Path, known: Collection[str]) -> None:
    """Copy the lines of a file into the stage, whose types and constraints refuse what `save` can't have written."""
    cursor.execute(filled_in(SQL["stage"], main=MAIN), {"known": list(known)})
    try:
        with gzip.open(file) as lines:
            header = lines.readline().decode(errors="replace").rstrip("\r\n")
            quoted = False
            for number, line in enumerate(lines, start=2):  # to the end, so that an incomplete file is noticed
                if not quoted and line.rstrip() == rb"\.":  # before version 18, PostgreSQL stops reading here
                    raise ConfigurationError(f"{file}:{number}: remove this line: a fresh start does not write it")
                quoted ^= line.count(b'"') % 2 == 1
            if header not in HEADERS:
                raise ConfigurationError(f"{file}:1: the header is {header[:80]!r} instead of {','.join(COLUMNS)}")
            lines.seek(0)
            cursor.copy_expert(filled_in(SQL["fill_stage"], reason=HEADERS[header]), lines)
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: there is no such file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"{file}: not a complete file written by a fresh start: {error}") from None
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        # The context is 'COPY kept, line 3, column value: "1,5"', in the language of the server.
        line, text = re.findall(r"(\d+)[,: ]*(.*)", error.diag.context or "")[0]
        what = error.diag.constraint_name or reason(error)
        raise ConfigurationError(f"{file}:{line}: {what}{text and f' in {printable(text)}'}") from None
