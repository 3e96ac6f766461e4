"""Lets days pass for a database: everything in it becomes older, so that today is later for the data.

No clock is faked: runs, servers and the database keep the real time, and each compares it with what is stored.
"""

from itertools import groupby

from db.views import VIEWS
from tests.tables import Rows

OLDER_DAYS = """
CREATE OR REPLACE FUNCTION pg_temp.older(days datemultirange, number integer) RETURNS datemultirange LANGUAGE sql AS $$
    SELECT coalesce(range_agg(daterange(lower(part) - number, upper(part) - number)), '{}') FROM unnest(days) AS part
$$
"""
COLUMNS = """
SELECT relname, attname, format_type(atttypid, NULL) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 ORDER BY relname, attnum
"""
OLDER = {  # by the type of a column
    "timestamp without time zone": "{column} - interval '{days} days'",
    "date": "{column} - {days}",
    "datemultirange": "pg_temp.older({column}, {days})",
}


def age(rows: Rows, days: int = 1) -> None:
    """Move every time and every day in all tables so many days into the past.

    Each table is rewritten as a whole: an UPDATE of metrics would break the unique index while a point takes the place
    of the one before it.
    """
    rows(OLDER_DAYS)
    rows("DROP VIEW daily, latest, assets, series_health, runs; DROP FUNCTION metrics_as_of")  # which use the columns
    for table, columns in groupby(rows(COLUMNS), key=lambda column: column[0]):
        changes = [
            f"ALTER COLUMN {name} TYPE {kind} USING {OLDER[kind].format(column=name, days=days)}"
            for _, name, kind in columns
            if kind in OLDER
        ]
        if changes:
            rows(f"ALTER TABLE {table} {', '.join(changes)}")
    rows("; ".join(VIEWS.values()))
