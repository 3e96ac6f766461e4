"""Fills a temporary database with many series of daily points, in the order in which pulls store them: day by day."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg2

from db.embedded import EmbeddedServer
from db.setup import Database, ensure_schema

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


@contextmanager
def filled(series: int, days: int, metrics: int) -> Iterator[str]:
    """The DATABASE_URL of a server with this many series, and this many `metrics` for each asset.

    The series are named asset-000000 METRIC_0 and so on.
    """
    values = {"source": SOURCE, "series": series, "days": days, "per_asset": metrics}
    values["today"] = datetime.now(UTC).date()
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory))
        ensure_schema(Database(server.dsn, Path(directory)))
        began = time.perf_counter()
        with closing(psycopg2.connect(server.dsn)) as session, session.cursor() as cursor:
            session.autocommit = True
            for statement in (WITHOUT_INDEXES, FILL, INDEXES, SET_FOUND_COUNT, VACUUM):
                cursor.execute(statement, values)
        print(f"{series:,} series of {days:,} days, filled in {time.perf_counter() - began:.0f} s")
        yield server.dsn
        server.release()
