"""Measures how long the views take, beside the same questions asked through query_data.

python -m benchmarks.views [SERIES DAYS]
"""

import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

import query_data as q
from benchmarks.servers import filled
from model.settings import DATABASE_URL
from model.values import DAY, midnight

ROUNDS = 5
METRICS = 5  # for each asset
SERIES = "source = 'benchmark' AND asset = 'asset-000000' AND metric_name = 'METRIC_1'"
METRIC = "source = 'benchmark' AND metric_name = 'METRIC_1'"


def main() -> None:
    """Fill a temporary database; print milliseconds and ratios, each the best of a few rounds."""
    series, days = (int(word) for word in sys.argv[1:] or ("10000", "2000"))
    with filled(series, days, METRICS) as server:
        os.environ[DATABASE_URL] = server.url
        compare(server.url)


def compare(url: str) -> None:
    """Ask each question of a view and of query_data in turn."""
    end = midnight(datetime.now(UTC))
    start = end - 365 * DAY
    year, day = f"time >= '{start}' AND time < '{end}'", end - 100 * DAY
    asked: list[tuple[str, str, Callable[[], Any]]] = [
        (
            "a series for a year",
            f"daily WHERE {SERIES} AND {year}",
            lambda: q.series("asset-000000", "METRIC_1", start=start, end=end, daily=True),
        ),
        (
            "all days of a series",
            f"daily WHERE {SERIES}",
            lambda: q.series("asset-000000", "METRIC_1", daily=True),
        ),
        (
            "a metric for a year",
            f"daily WHERE {METRIC} AND {year}",
            lambda: q.panel("METRIC_1", start=start, end=end, daily=True),
        ),
        ("a metric on a day", f"daily WHERE {METRIC} AND time = '{day}'", lambda: q.cross_section("METRIC_1", day)),
        ("the latest of a metric", f"latest WHERE {METRIC}", lambda: q.latest("METRIC_1")),
        (
            "a series as of now",
            f"metrics_as_of(now()) WHERE {SERIES}",
            lambda: q.series("asset-000000", "METRIC_1", as_of=datetime.now(UTC)),
        ),
    ]
    with closing(psycopg2.connect(url)) as session:
        for name, question, ours in asked:
            ours_s, view_s, rows = [], [], 0
            for _ in range(ROUNDS):
                view_s.append(timed(partial(copied, session, question)))
                ours_s.append(timed(ours))
                rows = copied(session, question)
            ratio = min(view_s) / min(ours_s)
            print(
                f"{name:24} {rows:9,} rows  view {min(view_s) * 1000:8,.1f} ms  "
                f"query_data {min(ours_s) * 1000:8,.1f} ms  ratio {ratio:.2f}"
            )


def copied(session: Connection, question: str) -> int:
    """How many rows a question has; all are received."""
    out = io.BytesIO()
    with session, session.cursor() as cursor:
        cursor.copy_expert(f"COPY (SELECT * FROM {question}) TO STDOUT", out)  # noqa: S608 - our own questions
    return out.getvalue().count(b"\n")


def timed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
