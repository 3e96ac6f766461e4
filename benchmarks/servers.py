"""Temporary PostgreSQL servers with our tables: empty, or with many series in the order in which pulls store them."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import psycopg2
from psycopg2.extensions import parse_dsn

from db.database import Database
from db.embedded import EmbeddedServer
from db.postgres_programs import program_directories
from db.setup import ensure_schema

SOURCE = "benchmark"
VACUUM = "VACUUM ANALYZE"
WITHOUT_INDEXES = """
ALTER TABLE metrics DROP CONSTRAINT metrics_pkey;
DROP INDEX idx_metrics_unique, idx_metrics_cross_section;
"""
INDEXES = """
SET maintenance_work_mem = '512MB';
ALTER TABLE metrics ADD PRIMARY KEY (id);
CREATE UNIQUE INDEX idx_metrics_unique ON metrics (source, asset, metric_name, pulled_at);
CREATE INDEX idx_metrics_cross_section ON metrics (source, metric_name, pulled_at);
"""

# One day in a hundred has no point: there the API had nothing.
FILL = """
CREATE TABLE series AS
SELECT number, 'asset-' || lpad((number / %(per_asset)s)::text, 6, '0') AS asset,
    'METRIC_' || number %% %(per_asset)s AS metric
FROM generate_series(0, %(series)s - 1) AS number;

INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
SELECT %(source)s, asset, metric, %(today)s::date - day, random() * 1e9
FROM series, generate_series(1, %(days)s) AS day
WHERE hashint8(number * 1000003::bigint + day) %% 100 <> 0;

INSERT INTO coverage (source, asset, metric_name, answered, found, row_count)
SELECT source, asset, metric_name, datemultirange(daterange(%(today)s::date - %(days)s, %(today)s::date)),
    range_agg(daterange(pulled_at::date, pulled_at::date + 1)), count(*)
FROM metrics GROUP BY source, asset, metric_name;

INSERT INTO loads (source, first_id, last_id, loaded_at)
SELECT source, min(id), max(id), now() AT TIME ZONE 'UTC' FROM metrics GROUP BY source;
"""
SET_FOUND_COUNT = "UPDATE coverage SET found_count = (SELECT sum(upper(part) - lower(part)) FROM unnest(found) AS part)"


class Server:
    """A server in a folder of its own, as long as the block of `server` lasts."""

    def __init__(self, directory: Path, programs: Path) -> None:
        self._directory = directory
        with patch("db.embedded.program_directories", lambda: [programs]):
            self._embedded = EmbeddedServer(directory)
        self.dsn, self.version = self._embedded.dsn, self._embedded.version
        self.database = Database(self.dsn, directory)
        ensure_schema(self.database)

    @property
    def url(self) -> str:
        """The same as `dsn`, in the form that all peers take."""
        return f"postgresql://metrics:none@{quote(parse_dsn(self.dsn)['host'], safe='')}:5432/metrics"

    def run(self, *statements: str, values: Any = None) -> list[tuple[Any, ...]]:
        """Run statements, each in its own transaction; the rows of the last one."""
        with closing(psycopg2.connect(self.dsn)) as session, session.cursor() as cursor:
            session.autocommit = True
            for statement in statements:
                cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def cold(self, work: Callable[[], object]) -> Callable[[], object]:
        """The work after a restart of the server, with none of its files in memory."""
        self._embedded.release()
        for file in (self._directory / "data" / "base").rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._embedded = EmbeddedServer(self._directory)
        return work

    def release(self) -> None:
        """Stop the server."""
        self._embedded.release()


@contextmanager
def server(programs: Path | None = None) -> Iterator[Server]:
    """A server with our tables, of the PostgreSQL in a folder of programs; of the best one found by default."""
    with tempfile.TemporaryDirectory() as directory:
        made = Server(Path(directory), programs or program_directories()[0])
        try:
            yield made
        finally:
            made.release()


@contextmanager
def filled(series: int, days: int, metrics: int, programs: Path | None = None) -> Iterator[Server]:
    """A server with this many series, and this many `metrics` for each asset: asset-000000 METRIC_0 and so on."""
    with server(programs) as made:
        fill(made, series, days, metrics)
        yield made


def fill(made: Server, series: int, days: int, metrics: int) -> None:
    """Store this many series; the tables must be empty."""
    values = {"source": SOURCE, "series": series, "days": days, "per_asset": metrics}
    values["today"] = datetime.now(UTC).date()
    made.run(WITHOUT_INDEXES, FILL, INDEXES, SET_FOUND_COUNT, VACUUM, values=values)
