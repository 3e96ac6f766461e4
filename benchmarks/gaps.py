"""Measures how long the maps of all series take, beside a count of their rows and the straightforward query.

python -m benchmarks.gaps [SERIES DAYS]
"""

import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg2

from benchmarks.filled_tables import SET_FOUND_COUNT, SOURCE, VACUUM, filled
from db.coverage import SERIES_MAPS, SeriesMap, series_maps
from model.values import ENOUGH_DATES, midnight

ROUNDS = 2
# One series in a hundred gets a gap: lost days, a window never requested, or a live row of yesterday without history.
ADD_GAPS = """
DELETE FROM metrics m USING series
WHERE number %% 300 = 0 AND (source, m.asset, metric_name) = (%(source)s, series.asset, metric)
    AND pulled_at = ANY(ARRAY[%(today)s::date - 20, %(today)s::date - 21, %(today)s::date - 400]);

WITH unasked AS (
    SELECT asset, metric, %(today)s::date - 90 AS first, %(today)s::date - 60 AS last FROM series
    WHERE number %% 300 = 1
), gone AS (
    DELETE FROM metrics m USING unasked
    WHERE (source, m.asset, metric_name) = (%(source)s, unasked.asset, metric)
        AND pulled_at >= first AND pulled_at < last
    RETURNING m.asset, metric_name
)
UPDATE coverage c SET row_count = row_count - number, answered = answered - datemultirange(daterange(first, last)),
    found = found - datemultirange(daterange(first, last))
FROM unasked JOIN (SELECT asset, metric_name AS metric, count(*) AS number FROM gone GROUP BY 1, 2) AS gone
    USING (asset, metric)
WHERE (source, c.asset, metric_name) = (%(source)s, unasked.asset, unasked.metric);
"""
ADD_LIVE_ROWS = """
WITH live AS (
    INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT %(source)s, asset, metric, %(today)s::date - 1, 1 FROM series WHERE number %% %(one_in)s = 2 %% %(one_in)s
    ON CONFLICT DO NOTHING RETURNING asset, metric_name
)
UPDATE coverage c SET answered = answered - yesterday, found = found - yesterday,
    row_count = row_count + (SELECT count(*) FROM live WHERE (asset, metric_name) = (c.asset, metric))
FROM series, LATERAL (SELECT datemultirange(daterange(%(today)s::date - 1, %(today)s::date)) AS yesterday) AS day
WHERE number %% %(one_in)s = 2 %% %(one_in)s
    AND (source, c.asset, metric_name) = (%(source)s, series.asset, metric);
"""
COUNT = "SELECT count(*) FROM metrics"
STRAIGHTFORWARD = """
SELECT asset, metric_name, answered, answered - held.days, found - held.days
FROM coverage JOIN (
    SELECT source, asset, metric_name, range_agg(daterange(pulled_at::date, pulled_at::date + 1)) AS days
    FROM metrics WHERE source = %(source)s AND pulled_at < %(today)s GROUP BY source, asset, metric_name
) AS held USING (source, asset, metric_name)
ORDER BY asset, metric_name
"""


def main() -> None:
    """Print seconds and ratios; then once more with a live row of yesterday in every series."""
    series, days = (int(word) for word in sys.argv[1:] or ("10000", "2000"))
    today = midnight(datetime.now(UTC))
    values = {"source": SOURCE, "series": series, "today": today.date(), "one_in": 300}
    values |= {"assets": None, "metrics": None, "own_times": [], "shifts": []}
    values |= {"enough": ENOUGH_DATES, "flaws": [], "not_begun": None}
    with filled(series, days, metrics=10) as url, closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            for statement in (ADD_GAPS, ADD_LIVE_ROWS, SET_FOUND_COUNT, VACUUM):
                cursor.execute(statement, values)
            report(cursor, today, values)
            for statement in (ADD_LIVE_ROWS, SET_FOUND_COUNT, VACUUM):
                cursor.execute(statement, values | {"one_in": 1})
            print("with a live row of yesterday in every series")
            report(cursor, today, values)


def report(cursor: Any, today: datetime, values: dict[str, Any]) -> None:
    """Measure each way a few times in turn; then print a summary of the maps."""
    found: list[SeriesMap] = []
    for _ in range(ROUNDS):
        counting = in_database(cursor, COUNT, values)
        began = time.perf_counter()
        found = series_maps(cursor, SOURCE, today, {})
        ways = {"series_maps": time.perf_counter() - began}
        ways |= {
            "its SQL": in_database(cursor, SERIES_MAPS, values),
            "range_agg": in_database(cursor, STRAIGHTFORWARD, values),
        }
        print(f"  count(*) {counting:.2f} s", end="")
        for name, seconds in ways.items():
            print(f"; {name} {seconds:.2f} s, {seconds / counting:.1f} counts", end="")
        print(f"; range_agg takes {ways['range_agg'] / ways['its SQL']:.1f} times as long as the SQL of series_maps")
    kinds = {kind: sum(bool(getattr(one, kind)) for one in found) for kind in ("never", "empty", "lost")}
    print(f"  {len(found):,} series, {sum(one.days for one in found):,} days; series with days of each kind: {kinds}")


def in_database(cursor: Any, query: str, values: dict[str, Any]) -> float:
    """Seconds until the whole result of a query has arrived; its rows are not decoded."""
    began = time.perf_counter()
    cursor.execute(query, values)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
