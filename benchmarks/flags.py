"""Measures how long the flags of many series take, and how much of it is reading, for windows of several lengths.

python -m benchmarks.flags [SERIES DAYS]
"""

import resource
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import psycopg2

from benchmarks.filled_tables import SOURCE, filled
from db.points import of_series
from db.reader import copied
from model.values import DAY, Series, Window, midnight
from query.flags import DAYS_BEFORE, stored_flags

WINDOWS = (30, 90, 365)  # days: check and the report; q.flags(); a year
ROUNDS = 3


def main() -> None:
    """Print for each window the best of some rounds in seconds, the number of flags, and the peak of the memory."""
    count, days = (int(word) for word in sys.argv[1:] or ("2000", "1825"))
    today = midnight(datetime.now(UTC))
    with filled(count, days, metrics=10) as url, closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT asset, metric FROM series ORDER BY asset, metric")
        series = [Series(SOURCE, asset, metric) for asset, metric in cursor.fetchall()]
        for length in WINDOWS:
            start, whole, reading = today - length * DAY, [], []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                found = stored_flags(cursor, series, {}, start, today)
                whole.append(time.perf_counter() - began)
                began = time.perf_counter()
                copied(cursor, *of_series(series, Window(start - DAYS_BEFORE, today)))
                reading.append(time.perf_counter() - began)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"  {length} days: {min(whole):.2f} s, of which reading {min(reading):.2f} s; "
                f"{len(found):,} flags; peak {peak:.0f} MB"
            )


if __name__ == "__main__":
    main()
