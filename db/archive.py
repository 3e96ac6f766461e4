"""Rows saved in a compressed CSV file before a fresh start clears them, and restored from it."""

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

from db.load import take_turn
from db.session import fetch_one, session_for
from db.setup import Database
from db.statements import read_statements
from model.errors import ConfigurationError
from model.values import MAX_ASSET, MAX_METRIC, Target, Window

# `at` is when a row of metrics was loaded or a value of revisions was replaced; `pull_id` is the run that did it.
COLUMNS = ("table", "source", "asset", "metric_name", "pulled_at", "value", "at", "pull_id")
METRICS, REVISIONS = "metrics", "revisions"
LINES_A_COPY = 50_000

SQL = read_statements("archive.sql")


@dataclass(frozen=True, slots=True)
class Restored:
    """How many rows of metrics, and how many revisions, a file had."""

    new: int  # restored
    unchanged: int
    kept: int  # stored with another value, which was kept
    revisions: int
    revisions_unchanged: int


def save(database: Database, source: str, again: Sequence[Target], window: Window, file: Path) -> int:
    """Write the rows of a source and all its revisions into a file; how many rows. The file appears when it is whole.

    Points that a refill will fetch again are left out: those of the series in `again`, on the days of `window` for
    which the API last had data. But a series for which the API has not answered up to the end of `window` is saved
    completely. Raises ConfigurationError if the file can't be written or the tables can't be read, DatabaseLost.
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
                    cursor.copy_expert(cursor.mogrify(SQL["save"], values).decode(), packed)
                rows: int = cursor.rowcount
                raw.flush()
                os.fsync(raw.fileno())
            part.replace(file)
            _sync(file.parent)  # before anything is cleared
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error}") from error
    return rows


def clear(database: Database, source: str) -> int:
    """Delete everything stored of a source except its rows in pulls, where this is recorded; how many points.

    Raises ConfigurationError if the tables can't be written, DatabaseLost.
    """
    with session_for(database, f"clear {source}") as session:
        with session, session.cursor() as cursor:
            take_turn(cursor, source)
            (rows,) = fetch_one(cursor, SQL["clear"], {"source": source})
        session.autocommit = True
        session.cursor().execute("VACUUM metrics")  # so that the refill can use the space
    return int(rows)


def restore(database: Database, file: Path, live_only: Mapping[str, Collection[str]]) -> Restored:
    """Restore the rows of a file in one transaction; rows that are stored already stay as they are.

    `live_only` names, by source, the metrics that exist only live. Raises ConfigurationError, with the line, if the
    file was not written by `save`, or if the tables can't be written; DatabaseLost. Then nothing is written.
    """
    pairs = [(source, metric) for source, metrics in live_only.items() for metric in metrics]
    values = {"live_sources": [source for source, _ in pairs], "live_only": [metric for _, metric in pairs]}
    with session_for(database, f"restore {file.name}") as session, session, session.cursor() as cursor:
        cursor.execute(SQL["stage"])
        sources = _copy(cursor, file, live_only)
        for source in sorted(sources):
            take_turn(cursor, source)
        metrics = fetch_one(cursor, SQL["restore_metrics"], values)
        revisions = fetch_one(cursor, SQL["restore_revisions"])
    return Restored(*metrics, *revisions)


def _sync(folder: Path) -> None:
    """Write the file names of a folder to the disk, so that they survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy(cursor: Any, file: Path, known: Collection[str]) -> set[str]:
    """Copy the lines of a file, once checked, into the stage; the sources that they name."""
    sources: set[str] = set()
    rows = _rows(file, known)
    while some := list(islice(rows, LINES_A_COPY)):
        chunk = io.StringIO()
        csv.writer(chunk).writerows([number, *row] for number, row in some)
        chunk.seek(0)
        cursor.copy_expert("COPY kept FROM STDIN (FORMAT csv)", chunk)
        sources |= {source for _, (_, source, *_) in some}
    return sources


def _rows(file: Path, known: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    line = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
            reader = csv.reader(text, strict=True)
            for row in reader:
                if not line and tuple(row) != COLUMNS:
                    raise ValueError(f"the header is {','.join(row)[:80]!r} instead of {','.join(COLUMNS)}")
                if line:
                    _check(row, known)
                    yield line, row
                line = reader.line_num
    except FileNotFoundError:
        raise ConfigurationError(f"{file}: there is no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ConfigurationError(f"{file}: not a complete file written by a fresh start: {error}") from None
    except (ValueError, csv.Error) as error:
        raise ConfigurationError(f"{file}:{line + 1}: {error}") from None
    if not line:
        raise ConfigurationError(f"{file}:1: the file is empty")


def _check(row: Sequence[str], known: Collection[str]) -> None:
    """Raise ValueError if a line can't have been written by `save`."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(row)} fields instead of {len(COLUMNS)}")
    table, source, asset, metric, pulled_at, value, at, pull_id = row
    if table not in (METRICS, REVISIONS):
        raise ValueError(f"table {table!r}: write {METRICS} or {REVISIONS}")
    if source not in known:
        raise ValueError(f"unknown source {source!r}: known are {', '.join(sorted(known))}")
    if not (0 < len(asset) <= MAX_ASSET and 0 < len(metric) <= MAX_METRIC) or "\0" in asset + metric:
        raise ValueError(f"asset {asset[:40]!r} or metric {metric[:40]!r} does not fit its column")
    for name, text in (("pulled_at", pulled_at), ("at", at)):
        if text or name == "pulled_at" or table == REVISIONS:
            _time(name, text)
    if value and not _finite(value):
        raise ValueError(f"value {value[:40]!r} is not a finite number")
    if pull_id and not (re.fullmatch("[0-9]{1,10}", pull_id) and int(pull_id) < 2**31):
        raise ValueError(f"pull_id {pull_id[:40]!r} is not a whole number below 2147483648")


def _time(name: str, text: str) -> None:
    try:
        if not re.fullmatch(r"[0-9-]{10} [0-9:]{8}(\.[0-9]{1,6})?", text):
            raise ValueError
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} {text[:40]!r} is not a time such as 2026-01-31 00:00:00") from None


def _finite(text: str) -> bool:
    """Whether it is a number as PostgreSQL reads it: neither infinite nor so small that a double has nothing for it."""
    if not re.fullmatch(r"[+-]?[0-9]*\.?[0-9]*(e[+-]?[0-9]+)?", text, re.IGNORECASE):
        return False
    try:
        number = float(text)
    except ValueError:
        return False
    return isfinite(number) and (number != 0 or not re.match("[^e]*[1-9]", text, re.IGNORECASE))
