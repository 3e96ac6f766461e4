"""The views for other tools, and the facts about metrics that they need; docs/tables.md describes both."""

from collections.abc import Collection, Sequence
from typing import Any

import psycopg2

from db.cluster import is_distributed
from db.pulls import STOPPED
from db.statements import arrays, fetch, filled_in, read_statements
from model.values import EARLIEST, ENOUGH_DATES, MetricFacts, Reason

SQL, POINTS = read_statements("views.sql"), read_statements("points.sql")
PARTS = {part: POINTS[f"then_{part}"] for part in ("known", "since", "value", "stored")}
READABLE = ("daily", "latest", "assets", "series_health", "runs")
NAMES = (*READABLE, "metrics_as_of")
PARTS |= {
    "instant": "(as_of AT TIME ZONE 'UTC')",
    "ids": "known.ids",
    "stopped": STOPPED,
    "flaws": ", ".join(f"'{reason}'" for reason in Reason if reason.is_flaw),
    "enough": str(ENOUGH_DATES),
    "earliest": f"{EARLIEST:%Y-%m-%d}",
}
# What differs between one server and a cluster.
ALONE = ("daily_rows", "unanswered", "as_of_body")
DISTRIBUTED = ("daily_rows_distributed", "unanswered_distributed", "as_of_body_distributed")


def _views(variants: Sequence[str]) -> dict[str, str]:
    parts = {part: SQL[name] for part, name in zip(ALONE, variants, strict=True)} | {"as_of_rows": SQL["as_of_rows"]}
    return {name: filled_in(SQL[name], **parts, **PARTS) for name in NAMES}


VIEWS, VIEWS_DISTRIBUTED = _views(ALONE), _views(DISTRIBUTED)
OTHER_COLUMNS = "42P13"  # PostgreSQL's code: CREATE OR REPLACE FUNCTION can't change the columns of the result


def create_views(cursor: Any) -> list[str]:
    """Create or replace the views and the function, in the schema of the tables; returns what keeps some from it.

    Each is created or left as it was by itself, so that no run stops because of one. What others have made is not
    replaced.
    """
    ours, views = found(cursor), VIEWS_DISTRIBUTED if is_distributed(cursor) else VIEWS
    return [f"{name} {problem}" for name in NAMES if (problem := _create(cursor, name, views[name], ours))]


def found(cursor: Any) -> dict[str, bool]:
    """What exists under the names of our views and our function, and whether it is ours."""
    ours: dict[str, bool] = {}
    for name, is_ours in fetch(cursor, SQL["found"], {"names": list(NAMES)}):
        ours[name] = is_ours and ours.get(name, True)  # functions of one name may take other arguments
    return ours


def _create(cursor: Any, name: str, statement: str, ours: dict[str, bool]) -> str:
    """Create or replace a view or function; returns why it can't be, or an empty text."""
    if not ours.get(name, True):
        return "exists already, made by others, and is not replaced (rename it)"
    failed = _attempt(cursor, statement)
    if failed and failed.pgcode == OTHER_COLUMNS:
        failed = _attempt(cursor, f"DROP FUNCTION {name}; {statement}")
    return f"can't be created ({failed.diag.message_primary})" if failed else ""


def store_facts(cursor: Any, facts: Collection[MetricFacts]) -> str:
    """Replace the facts in the table, unless they are the same; returns why they can't be, or an empty text."""
    failed = _attempt(cursor, "SELECT source, metric_name, unit, shift, live_only FROM metric_facts")
    if not failed:
        if sorted(cursor.fetchall()) == sorted(facts):
            return ""
        failed = _attempt(cursor, SQL["replace_facts"], arrays("sources metrics units shifts live_only", facts))
    return f"the facts about metrics can't be stored ({failed.diag.message_primary})" if failed else ""


def _attempt(cursor: Any, statement: str, values: Any = None) -> psycopg2.Error | None:
    """Run a statement in a transaction that goes on if it fails; returns the error."""
    cursor.execute("SAVEPOINT attempt")
    try:
        cursor.execute(statement, values)
    except psycopg2.Error as error:
        cursor.execute("ROLLBACK TO SAVEPOINT attempt")  # raises if the session is lost
        return error
    return None
