"""The rate of loads: new, half-new and known points, beside a plain COPY into the same indexed table and other ways."""

import csv
import io
import random
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg2

from benchmarks.rows import Row, Setting, seconds
from benchmarks.servers import VACUUM, Server, fill, server
from db.database import Database
from db.postgres_programs import program_directories
from db.store import Store
from model.values import DataPoint, Verb
from sources.base import BaseSource

SOURCE = "loaded"
DAYS = 2_000
BATCH = 50_000
PEER_POINTS = 100_000
LARGEST_AGAIN = 1_000_000  # points; more are loaded once
SHORT = ((0, (100_000,)), (500, (100_000,)))  # series stored before, and points to load
LONG = ((0, (10_000, 100_000, 1_000_000, 10_000_000)), (10_000, (10_000, 100_000, 1_000_000, 10_000_000)))
CLEAR = (
    f"DELETE FROM metrics WHERE source IN ('{SOURCE}', 'peer')",  # noqa: S608 - our own name
    f"DELETE FROM coverage WHERE source = '{SOURCE}'",  # noqa: S608
    VACUUM,
    "CHECKPOINT",
)
LAST_ID = "SELECT last_value FROM metrics_id_seq"
PEERS = {
    "executemany": "executemany",
    "execute_values": "execute_values",
    "pandas to_sql": "to_sql",
    "dlt merge": "dlt_merge",
}


def measure(setting: Setting) -> Iterator[Row]:
    """Each PostgreSQL found, tables of two sizes, and points of several numbers."""
    for place, programs in enumerate(dict.fromkeys(program_directories())):
        for series, sizes in LONG if setting.long else SHORT:
            with server(programs) as made:
                if series:
                    fill(made, series, DAYS, metrics=5)
                for number in sizes:
                    yield from of_ours(setting, made, make_points(number), series * DAYS)
                if not (place or series):
                    yield from of_peers(setting, made, make_points(PEER_POINTS))


def of_ours(setting: Setting, made: Server, points: Sequence[DataPoint], stored: int) -> Iterator[Row]:
    """Our loads beside plain COPY."""
    number, database = len(points), made.database
    half = [point for place, point in enumerate(points) if place // DAYS % 2]

    def again(verb: Verb) -> Callable[[], None]:
        return lambda: load(database, verb, points)

    ways: dict[str, tuple[Callable[[], None], Sequence[DataPoint], float | None]] = {
        "plain COPY": (lambda: copy(made.dsn, points), (), None),
        "new": (again(Verb.BACKFILL), (), 0.9),
        "half of them new": (again(Verb.BACKFILL), half, None),
        "known": (again(Verb.BACKFILL), points, 1.5),
        "pulled, unchanged": (again(Verb.PULL), points, None),
        "new, beside a pull": (lambda: load_beside_pulls(database, points), (), None),
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    drawn = 0
    for _ in range(1 if number > LARGEST_AGAIN else setting.rounds):
        for way, (work, before, _) in ways.items():
            made.run(*CLEAR)
            load(database, Verb.BACKFILL, before)
            ((first,),) = made.run("CHECKPOINT", LAST_ID)
            taken[way].append(seconds(work))
            drawn += made.run(LAST_ID)[0][0] - first if way == "known" else 0
    rates = {way: number / median(each) for way, each in taken.items()}
    into = f"PostgreSQL {made.version}, " + (f"{stored / 1e6:g} million rows" if stored else "empty")
    limit = rates.pop("plain COPY")
    for way, rate in rates.items():
        yield Row(f"{into}: {number:,} points {way}", rate, "points/s", "plain COPY", limit, at_least=ways[way][2])
    yield Row(f"{into}: ids drawn by {number:,} known points", drawn, "ids", "ON CONFLICT", number, at_most=0)


def of_peers(setting: Setting, made: Server, points: Sequence[DataPoint]) -> Iterator[Row]:
    """New and known points in each way of the peers, in an empty table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "points.csv")
        with file.open("w", encoding="utf-8", newline="") as text:
            csv.writer(text).writerows(
                ("peer", each.asset, each.metric, each.at.replace(tzinfo=None), each.value) for each in points
            )
        made.run(*CLEAR)
        new, known = (seconds(lambda: load(made.database, Verb.BACKFILL, points)) for _ in range(2))
        for peer, way in PEERS.items():
            made.run(*CLEAR)
            for what, ours in (("new", new), ("known", known)):
                if (way, what) != ("to_sql", "known"):  # it can only append
                    theirs = setting.peers.seconds(way, url=made.url, file=str(file))
                    rate = theirs and len(points) / theirs
                    yield Row(f"{len(points):,} points {what}", len(points) / ours, "points/s", peer, rate)


def make_points(number: int) -> list[DataPoint]:
    """This number of points, in series of DAYS points as in answers; the series are in random order."""
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


def copy(dsn: str, points: Sequence[DataPoint]) -> None:
    """The upper limit of the rate: text rows, a transaction for each batch, no comparison with stored rows."""
    with psycopg2.connect(dsn) as session, session.cursor() as cursor:
        for first in range(0, len(points), BATCH):
            rows = "".join(
                f"{SOURCE}\t{point.asset}\t{point.metric}\t{point.at}\t{point.value!r}\n"
                for point in points[first : first + BATCH]
            )
            cursor.copy_expert(
                "COPY metrics (source, asset, metric_name, pulled_at, value) FROM STDIN", io.StringIO(rows)
            )
            session.commit()
    session.close()


def load(database: Database, verb: Verb, points: Sequence[DataPoint]) -> None:
    """Load the points as a run does."""
    store = Store(database, SOURCE, verb)
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
