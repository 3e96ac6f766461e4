"""Values of closed days that were replaced: each, and how often and by how much."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.setup import aware

# What replaced a value is what the next revision replaced, or what is stored now.
REVISIONS = """
SELECT r.asset, r.metric_name, r.pulled_at, r.value AS old,
    CASE WHEN lead(r.id) OVER later IS NULL THEN m.value ELSE lead(r.value) OVER later END AS new,
    r.replaced_at, r.pull_id
FROM revisions r LEFT JOIN metrics m ON (m.source, m.asset, m.metric_name, m.pulled_at)
    = (r.source, r.asset, r.metric_name, r.pulled_at)
WHERE r.source = %(source)s AND (%(assets)s::text[] IS NULL OR r.asset = ANY(%(assets)s))
    AND (%(metrics)s::text[] IS NULL OR r.metric_name = ANY(%(metrics)s))
WINDOW later AS (PARTITION BY r.asset, r.metric_name, r.pulled_at ORDER BY r.id)
"""
LISTED = f"{REVISIONS} ORDER BY asset, metric_name, pulled_at, r.id"
BY_SERIES = f"""
SELECT asset, metric_name, count(*), count(DISTINCT pulled_at), (
    SELECT count(*) FROM metrics m WHERE m.source = %(source)s AND m.asset = each.asset
        AND m.metric_name = each.metric_name
), percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(new - old) / nullif(abs(old), 0)),
    max(abs(new - old) / nullif(abs(old), 0)), max(replaced_at)
FROM ({REVISIONS}) AS each GROUP BY asset, metric_name ORDER BY count(*) DESC, asset, metric_name
"""  # noqa: S608 - our own text


class Revision(NamedTuple):
    """One value of a closed day that was replaced; times in aware UTC."""

    asset: str
    metric: str
    at: datetime
    old: float | None
    new: float | None
    replaced_at: datetime
    pull_id: int | None


class Restated(NamedTuple):
    """How often and by how much the values of one series were replaced; changes are shares of the old value."""

    asset: str
    metric: str
    revisions: int
    points: int  # that were ever replaced
    stored: int  # points that the table has
    median: float | None  # None where every old value was zero
    largest: float | None
    last: datetime


def revisions(
    cursor: Any, source: str, assets: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> list[Revision]:
    """Every revision of a source, of these assets and metrics if given, by series and point, the oldest first."""
    cursor.execute(LISTED, {"source": source, "assets": assets, "metrics": metrics})
    return [
        Revision(asset, metric, aware(at), old, new, aware(replaced_at), pull_id)
        for asset, metric, at, old, new, replaced_at, pull_id in cursor
    ]


def restated(
    cursor: Any, source: str, assets: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> list[Restated]:
    """The revised series of a source, the most often revised first."""
    cursor.execute(BY_SERIES, {"source": source, "assets": assets, "metrics": metrics})
    return [Restated._make((*row[:-1], aware(row[-1]))) for row in cursor]
