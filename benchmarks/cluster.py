"""Loads and reads on a Citus cluster of 1, 2 and 4 workers, which is at TEST_CITUS_URL, beside one of its servers."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import query_data as q
from benchmarks.load import load, make_points
from benchmarks.rows import Row, Setting, in_turn, seconds
from db.database import Database
from model.settings import DATABASE_URL
from model.text import counted
from model.values import Verb
from tests.citus import URL, Cluster, nodes

WORKERS = (1, 2, 4)
POINTS, LONG_POINTS = 400_000, 4_000_000
SPREAD = """
SELECT max(size) / avg(size) FROM (
    SELECT sum(shard_size) AS size FROM citus_shards WHERE table_name = 'metrics'::regclass GROUP BY nodename, nodeport
) AS server
"""
NEW, KNOWN = "points new", "points known"


def measure(setting: Setting) -> Iterator[Row]:
    """One server, then each number of workers that the cluster has; nothing without a cluster."""
    if not URL:
        sys.stderr.write("the cluster is left out: TEST_CITUS_URL is not set\n")
        return
    alone, _ = of_cluster(setting, 0)
    most = len(nodes()) - 1
    for workers in [number for number in WORKERS if number <= most]:
        taken, largest = of_cluster(setting, workers)
        for what, ours in taken.items():
            unit = "points/s" if what in (NEW, KNOWN) else "ms"
            yield Row(f"{counted(workers, 'worker')}: {what}", ours, unit, "one server", alone[what])
        yield Row(f"{counted(workers, 'worker')}: the largest one", largest, "of an even share", "an even share", 1.0)


def of_cluster(setting: Setting, workers: int) -> tuple[dict[str, float], float]:
    """Rates of loads and milliseconds of reads with this many workers; the bytes of the largest ÷ an even share."""
    points = make_points(LONG_POINTS if setting.long else POINTS)
    assets = sorted({point.asset for point in points})
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), workers)
        try:
            with cluster.database("loaded", "metrics") as url, patch.dict(os.environ, {DATABASE_URL: url}):
                database = Database(url, Path(folder))
                new, known = (seconds(lambda: load(database, Verb.BACKFILL, points)) for _ in range(2))
                reads = {
                    "a series": lambda: q.series(assets[0], "TVL"),
                    "the latest of a metric": lambda: q.latest("TVL"),
                    f"a panel of {len(points) // 4:,} points": lambda: q.panel("TVL", assets),
                }
                taken = in_turn(setting.rounds, list(reads.values()))
                largest = cluster.on_coordinator(url, SPREAD)[0][0] if workers else 1
        finally:
            cluster.release()
    rates = {NEW: len(points) / new, KNOWN: len(points) / known}
    return rates | {name: each * 1000 for name, each in zip(reads, taken, strict=True)}, float(largest)
