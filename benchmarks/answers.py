"""Gaps, flags and files of all series: how long they take beside the bare reading of the same points."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.commands import environment, run
from benchmarks.rows import Row, Setting, in_turn, seconds
from benchmarks.servers import SOURCE, filled
from db.coverage import series_maps
from db.points import of_series
from db.reader import copied
from model.values import DAY, Series, Window, midnight
from query.flags import DAYS_BEFORE, stored_flags

METRICS = 5  # of an asset
SHORT, LONG = (2_000, 1_000), (10_000, 2_000)  # series and days
WINDOWS = (30, 90, 365)  # days of flags: check and the report; q.flags(); a year
RANGES = f"""
SELECT asset, metric_name, range_agg(daterange(pulled_at::date, pulled_at::date + 1))
FROM metrics WHERE source = '{SOURCE}' GROUP BY asset, metric_name
"""  # noqa: S608 - our own name
EVERY = f"query all {' '.join(f'METRIC_{number}' for number in range(METRICS))} --source {SOURCE}"
FILES = ((EVERY, "points.csv"), (EVERY, "points.parquet"), ("export", "exported"))


def measure(setting: Setting) -> Iterator[Row]:
    """All three on one table."""
    series, days = LONG if setting.long else SHORT
    table = f"{series:,} series, {series * days / 1e6:g} million points"
    with filled(series, days, METRICS) as made:
        with closing(psycopg2.connect(made.dsn)) as session, session.cursor() as cursor:
            yield from _gaps_and_flags(setting, cursor, table)
        yield from _files(made.dsn, table)


def _gaps_and_flags(setting: Setting, cursor: Any, table: str) -> Iterator[Row]:
    today = midnight(datetime.now(UTC))
    maps = partial(series_maps, cursor, SOURCE, today, {})
    ours, theirs = in_turn(setting.rounds, [maps, partial(cursor.execute, RANGES)])
    yield Row(f"{table}: the gaps of all", ours, "s", "range_agg of all points", theirs)
    series = [Series(SOURCE, each.asset, each.metric) for each in maps()]
    for length in WINDOWS:
        start = today - length * DAY
        read = partial(copied, cursor, *of_series(series, Window(start - DAYS_BEFORE, today)))
        ours, theirs = in_turn(setting.rounds, [partial(stored_flags, cursor, series, {}, start, today), read])
        yield Row(f"{table}: flags of {length} days", ours, "s", "binary COPY", theirs)


def _files(dsn: str, table: str) -> Iterator[Row]:
    bare = seconds(partial(_copy, dsn))
    with tempfile.TemporaryDirectory() as folder:
        for command, name in FILES:
            out = Path(folder, name)
            usage = run(["main.py", *command.split(), "--out", out], environment(dsn))
            size = sum(file.stat().st_size for file in ([out] if out.is_file() else out.rglob("*.parquet")))
            yield Row(f"{table} as {name}: {size / 1e6:,.0f} MB", usage.seconds, "s", "COPY of the table", bare)
            yield Row(f"{table} as {name}: memory", usage.memory, "MB")


def _copy(dsn: str) -> None:
    with closing(psycopg2.connect(dsn)) as session, session.cursor() as cursor, Path(os.devnull).open("wb") as nowhere:
        cursor.copy_expert("COPY metrics TO STDOUT", nowhere)
