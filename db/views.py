"""The views for other tools, and the facts about metrics that they need; docs/tables.md describes both."""

import hashlib
from collections.abc import Collection
from typing import Any

from db.statements import arrays, fetch, filled_in, read_statements
from model.errors import ConfigurationError
from model.settings import MAIN
from model.values import MetricFacts

SQL, POINTS = read_statements("views.sql"), read_statements("points.sql")
PARTS = {part: POINTS[f"then_{part}"] for part in ("known", "since", "value", "stored")}
VIEWS = filled_in(SQL["views"], **PARTS, instant="(as_of AT TIME ZONE 'UTC')")
READABLE = ("metric_facts", "daily", "latest", "assets", "series_health", "runs")
NAMES = (*READABLE, "metrics_as_of")


def create_views(cursor: Any, where: str) -> None:
    """Create or replace the views, the table of facts and the function, in the schema of the tables.

    `where` names the database. Raises ConfigurationError if another object has one of the names: it is not replaced.
    """
    if taken := [name for (name,) in fetch(cursor, SQL["taken"], {"names": list(NAMES)})]:
        raise ConfigurationError(
            f"{where}: {', '.join(taken)} exists already, made by other hands, and is not replaced: rename it, "
            f"and run {MAIN} setup"
        )
    cursor.execute(VIEWS)


def has_facts(cursor: Any, facts: Collection[MetricFacts]) -> bool:
    """Whether these facts were stored last; it needs no right to read them."""
    return fetch(cursor, "SELECT obj_description(to_regclass('metric_facts'), 'pg_class')") == [(_mark(facts),)]


def store_facts(cursor: Any, facts: Collection[MetricFacts]) -> None:
    """Replace the facts in the table."""
    cursor.execute(SQL["replace_facts"], arrays("sources metrics units shifts live_only", facts))
    cursor.execute("COMMENT ON TABLE metric_facts IS %s", (_mark(facts),))


def _mark(facts: Collection[MetricFacts]) -> str:
    """The comment of the table with these facts."""
    version = hashlib.sha256(repr(sorted(facts)).encode()).hexdigest()[:16]
    return f"crypto-metrics: what the program knows about each metric of a source; version {version}"
