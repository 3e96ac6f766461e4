"""Measures how long query_data takes, beside pandas.read_sql for the same frame.

python -m benchmarks.query [SERIES DAYS]
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pandas as pd
import psycopg2

import query_data as q
from benchmarks.filled_tables import SOURCE, filled
from model.settings import DATABASE_URL
from query.csv_and_json import newest_of_each
from query.query_session import QuerySession
from query.question import Question

ROUNDS = 5
METRICS = 5  # for each asset
PANEL = 2_000_000  # points, at most
READ_SQL = """
SELECT asset, pulled_at, value FROM metrics WHERE source = %s AND metric_name = %s AND asset = ANY(%s)
    AND pulled_at >= '2000-01-01' AND pulled_at < '2100-01-01' ORDER BY asset, pulled_at
"""


def main() -> None:
    """Fill a temporary database; print milliseconds, values/s and ratios, each the best of a few rounds."""
    series, days = (int(word) for word in sys.argv[1:] or ("10000", "2000"))
    warnings.filterwarnings("ignore", "pandas only supports SQLAlchemy", UserWarning)  # it works nevertheless
    with filled(series, days, METRICS) as url, closing(psycopg2.connect(url)) as session:
        os.environ[DATABASE_URL] = url
        assets = [f"asset-{number:06d}" for number in range(min(PANEL // days, series // METRICS))]
        middle = q.series(assets[0], "METRIC_1").index[days // 2]

        def read(assets: list[str]) -> pd.DataFrame:
            frame = pd.read_sql(READ_SQL, session, params=(SOURCE, "METRIC_1", assets))
            return frame.pivot(index="pulled_at", columns="asset", values="value").tz_localize("UTC")

        pd.testing.assert_frame_equal(q.panel("METRIC_1", assets), read(assets), check_index_type=False)
        report("a series", lambda: q.series(assets[0], "METRIC_1"), lambda: read(assets[:1]))
        report("a cross-section", lambda: q.cross_section("METRIC_1", middle))
        report("the latest of a metric", lambda: q.latest("METRIC_1"))
        asking = QuerySession()
        every = [each.series for each in asking.stored()]
        report(f"the latest of {len(every):,} series", lambda: newest_of_each(asking.reader(), Question(every)))
        report("a panel", lambda: q.panel("METRIC_1", assets), lambda: read(assets))


def report(name: str, ours: Callable[[], Any], theirs: Callable[[], Any] | None = None) -> None:
    """Measure our way, and theirs if given, in turn; print one line."""
    seconds, other = [], []
    for _ in range(ROUNDS):
        seconds.append(timed(ours))
        other += [timed(theirs)] if theirs else []
    frame = ours()
    points = len(frame) if "value" in frame or isinstance(frame, list) else int(frame.count().sum())
    line = f"{name:26} {min(seconds) * 1000:9,.1f} ms  {points:11,} values  {points / min(seconds):13,.0f}/s"
    print(f"{line}  read_sql takes {min(other) / min(seconds):.1f} times as long" if other else line)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
