"""Measures how fast the store loads, beside a plain COPY of the same points into the same indexed table.

python -m benchmarks.load [POINTS]

The last line is a backfill while pulls of the same series run beside it, as after a start of the scheduler.
"""

import io
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg2

from db.embedded import EmbeddedServer
from db.setup import Database, ensure_schema
from db.store import Store
from model.values import DataPoint, Verb
from sources.base import BaseSource

DAYS = 2_000
BATCH = 50_000
ROUNDS = 2


def main() -> None:
    """Load the same points in each way in turn, into an empty table or over stored rows; print rates and ratios."""
    points = make_points(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000)
    number = len(points)
    with tempfile.TemporaryDirectory() as directory:
        server = EmbeddedServer(Path(directory))
        database = Database(server.dsn, Path(directory))
        ensure_schema(database)
        for _ in range(ROUNDS):
            plain = measure(server.dsn, lambda: copy(server.dsn, points), empty=True)
            ours = measure(server.dsn, lambda: load(database, Verb.BACKFILL, points), empty=True)
            again = measure(server.dsn, lambda: load(database, Verb.BACKFILL, points), empty=False)
            upsert = measure(server.dsn, lambda: load(database, Verb.PULL, points), empty=False)
            both = measure(server.dsn, lambda: load_beside_pulls(database, points), empty=True)
            print(f"PostgreSQL {server.version}: {number:,} points, rows/s: plain COPY {number / plain:,.0f}")
            for name, seconds in (
                ("backfill, new", ours),
                ("backfill, stored", again),
                ("pull, unchanged", upsert),
                ("backfill beside pulls", both),
            ):
                print(f"  {name:22} {number / seconds:9,.0f}  {plain / seconds:.0%} of plain COPY")
        server.release()


def make_points(number: int) -> list[DataPoint]:
    """At most this number of points, in series of DAYS points as in answers; the series are in random order."""
    random.seed(1)
    first = datetime(2019, 1, 1, tzinfo=UTC)
    days = [first + timedelta(days=day) for day in range(DAYS)]
    metrics = ("TVL", "FEES", "REVENUE", "DEX_VOLUME")
    series = [(f"protocol-{place // 4:04d}", metrics[place % 4]) for place in range(number // DAYS)]
    random.shuffle(series)
    return [
        DataPoint(asset, metric, at, random.random() * 1e9)  # noqa: S311 (values to load)
        for asset, metric in series
        for at in days
    ]


def measure(dsn: str, work: Callable[[], None], *, empty: bool) -> float:
    """Seconds that some work takes after a checkpoint, on an empty table or on the table as it is."""
    with psycopg2.connect(dsn) as session, session.cursor() as cursor:
        if empty:
            cursor.execute("TRUNCATE metrics")
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute("CHECKPOINT")
    session.close()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def copy(dsn: str, points: Sequence[DataPoint]) -> None:
    """The upper limit of the rate: text rows, a transaction for each batch, no comparison with stored rows."""
    with psycopg2.connect(dsn) as session, session.cursor() as cursor:
        for first in range(0, len(points), BATCH):
            rows = "".join(
                f"benchmark\t{point.asset}\t{point.metric}\t{point.at}\t{point.value!r}\n"
                for point in points[first : first + BATCH]
            )
            cursor.copy_expert(
                "COPY metrics (source, asset, metric_name, pulled_at, value) FROM STDIN", io.StringIO(rows)
            )
            session.commit()


def load(database: Database, verb: Verb, points: Sequence[DataPoint]) -> None:
    """Load the points as a run does."""
    store = Store(database, "benchmark", verb)
    for first in range(0, len(points), BATCH):
        store.load(points[first : first + BATCH])
    store.close()


def load_beside_pulls(database: Database, points: Sequence[DataPoint]) -> None:
    """Load the points while a pull stores the last PULL_DAYS days of each series, again and again, from before on."""
    live = [point for place, point in enumerate(points) if place % DAYS >= DAYS - BaseSource.PULL_DAYS]
    load(database, Verb.PULL, live)
    stop = threading.Event()

    def pull() -> None:
        while not stop.is_set():
            load(database, Verb.PULL, live)

    beside = threading.Thread(target=pull)
    beside.start()
    load(database, Verb.BACKFILL, points)
    stop.set()
    beside.join()


if __name__ == "__main__":
    main()
