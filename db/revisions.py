"""What was known when: values as of an instant, and the revisions since."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.setup import aware, naive

# A row was known once the load that brought it in was done: its id lies in the range of that load. Its value was then
# the one that the first revision since has replaced: the one after the last until then, in the order in which they were
# made, in which their times are not where a clock was ahead and has been put right. Of a day that was still open
# nothing is told: the values that a live pull overwrites from hour to hour are not kept.
AS_OF = """
WITH known AS MATERIALIZED (
    SELECT range_agg(int8range(first_id, last_id, '[]')) AS ids FROM loads
    WHERE source = %(source)s AND loaded_at <= %(as_of)s
)
SELECT m.pulled_at, CASE WHEN since.id IS NULL THEN m.value ELSE since.value END
FROM metrics m JOIN known ON known.ids @> m.id::bigint LEFT JOIN LATERAL (
    SELECT r.id, r.value FROM revisions r
    WHERE (r.source, r.asset, r.metric_name, r.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
        AND r.id > coalesce((
            SELECT max(u.id) FROM revisions u
            WHERE (u.source, u.asset, u.metric_name, u.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
                AND u.replaced_at <= %(as_of)s
        ), 0)
    ORDER BY r.id LIMIT 1
) AS since ON true
WHERE m.source = %(source)s AND m.asset = %(asset)s AND m.metric_name = %(metric)s
    AND m.pulled_at >= %(start)s AND m.pulled_at < %(end)s AND m.pulled_at < %(as_of)s::timestamp::date
ORDER BY m.pulled_at
"""
NOW = """
SELECT pulled_at, value FROM metrics
WHERE source = %(source)s AND asset = %(asset)s AND metric_name = %(metric)s
    AND pulled_at >= %(start)s AND pulled_at < %(end)s
ORDER BY pulled_at
"""

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


def values(
    cursor: Any, source: str, asset: str, metric: str, start: datetime, end: datetime, as_of: datetime | None = None
) -> list[tuple[datetime, float | None]]:
    """The points of a series in [start, end), sorted; with `as_of`, as they were known at that instant.

    All times are aware UTC. A point that had not been stored by then, or whose day was still open, is absent.
    """
    given = {"source": source, "asset": asset, "metric": metric, "start": naive(start), "end": naive(end)}
    cursor.execute(AS_OF if as_of else NOW, given | ({"as_of": naive(as_of)} if as_of else {}))
    return [(aware(at), value) for at, value in cursor]


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
