"""Tables that are distributed to a cluster of PostgreSQL servers with Citus: each server has the rows of some assets.

All writers connect to the coordinator. Citus can't plan the statements of a load, which read and write several tables
at once. So a load works on copies of the rows concerned, in temporary tables of the same names, and writes the changes
back at its end. The SQL is the same as on one server.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from db.statements import fetch_one, filled_in, read_statements

SQL = read_statements("cluster.sql")
# What is copied of each table, and its key.
COPIED = {
    "metrics": ("of_points", "source asset metric_name pulled_at"),
    "revisions": ("of_points", "source asset metric_name pulled_at id"),
    "coverage": ("of_series", "source asset metric_name"),
    "refused": ("of_series", "source asset metric_name reason"),
    "quarantine": ("of_series", "source asset metric_name pulled_at"),
    "loads": ("of_ids", ""),  # nothing deletes or changes a row of it here
}


def has_citus(cursor: Any) -> bool:
    """Whether the database has the extension Citus."""
    return fetch_one(cursor, SQL["has_citus"]) == (True,)


def is_distributed(cursor: Any) -> bool:
    """Whether the tables are distributed to a cluster."""
    return has_citus(cursor) and fetch_one(cursor, SQL["is_distributed"]) == (True,)


@contextmanager
def working_copy(cursor: Any, scope: str, values: Mapping[str, Any]) -> Iterator[None]:
    """In a cluster, copy the rows in `scope` into temporary tables, and write the changes back when the block ends.

    On one server, this does nothing.

    The scope is a statement with the values, which selects source, asset, metric and the first and last time.
    """
    if not is_distributed(cursor):
        yield
        return
    (schema,) = fetch_one(cursor, SQL["schema"])
    cursor.execute(filled_in(SQL["scope"], scope=scope), values)
    for table, (rows, _) in COPIED.items():
        cursor.execute(filled_in(SQL["copy"], rows=SQL[rows], table=table, schema=schema))
    cursor.execute(filled_in(SQL["next_revision"], schema=schema))
    yield
    for table, (_, key) in COPIED.items():
        parts = {"key": " AND ".join(f"there.{column} = old.{column}" for column in key.split())}
        parts |= {"table": table, "schema": schema}
        if key:
            cursor.execute(filled_in(SQL["remove"], **parts))
        cursor.execute(filled_in(SQL["add"], **parts))
