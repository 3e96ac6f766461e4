"""Points out of metrics: whole series, the latest of each, those of one day; now, and as they were known before."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.setup import naive
from model.values import Series, Window

WANTED = """unnest(%(sources)s::text[], %(assets)s::text[], %(metrics)s::text[])
    WITH ORDINALITY AS wanted (source, asset, metric, number)"""

# A row was known once the load that brought it in was done: its id lies in the range of that load. Its value was then
# the one that the first revision since has replaced: the one after the last until then, in the order in which they were
# made, in which their times are not where a clock was ahead and has been put right. Of a day that was still open
# nothing is told: the values that a live pull overwrites from hour to hour are not kept.
KNOWN = """
WITH known AS MATERIALIZED (
    SELECT source, range_agg(int8range(first_id, last_id, '[]')) AS ids FROM loads
    WHERE loaded_at <= %(as_of)s GROUP BY source
)
"""
SINCE = """LEFT JOIN LATERAL (
    SELECT r.id, r.value FROM revisions r
    WHERE (r.source, r.asset, r.metric_name, r.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
        AND r.id > coalesce((
            SELECT max(u.id) FROM revisions u
            WHERE (u.source, u.asset, u.metric_name, u.pulled_at) = (m.source, m.asset, m.metric_name, m.pulled_at)
                AND u.replaced_at <= %(as_of)s
        ), 0)
    ORDER BY r.id LIMIT 1
) AS since ON true"""
VALUE_THEN = "CASE WHEN since.id IS NULL THEN m.value ELSE since.value END"
THEN = "known.ids @> m.id::bigint AND m.pulled_at < %(as_of)s::timestamp::date"

# Spans of keys in the order of idx_metrics_unique, which no other index serves, whatever the planner's statistics say:
# see the look-ups of db/load.py. A value that other hands have made NULL is told as NaN, so that all rows of a COPY are
# of one length.
SERIES = """
SELECT number::int - 1, point.pulled_at, coalesce(point.value, 'NaN') FROM {wanted}, LATERAL (
    SELECT m.pulled_at, {value} AS value FROM metrics m {since}
    WHERE m.source = wanted.source
        AND (m.asset, m.metric_name, m.pulled_at) >= (wanted.asset, wanted.metric, %(start)s::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) < (wanted.asset, wanted.metric, %(end)s::timestamp) AND {then}
    ORDER BY m.asset, m.metric_name, m.pulled_at LIMIT %(most)s
) AS point
"""
LATEST = """
SELECT number::int - 1, point.pulled_at, coalesce(point.value, 'NaN') FROM {wanted}, LATERAL (
    SELECT m.pulled_at, {value} AS value FROM metrics m {since}
    WHERE m.source = wanted.source
        AND (m.asset, m.metric_name, m.pulled_at) >= (wanted.asset, wanted.metric, '-infinity'::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) <= (wanted.asset, wanted.metric, 'infinity'::timestamp) AND {then}
    ORDER BY m.asset DESC, m.metric_name DESC, m.pulled_at DESC LIMIT 1
) AS point ORDER BY number
"""
ON_DAY = """
SELECT m.asset, m.pulled_at, {value} FROM metrics m {since} {known}
WHERE m.source = %(source)s AND m.metric_name = %(metric)s AND m.pulled_at >= %(start)s AND m.pulled_at < %(end)s
    AND {then}
ORDER BY m.pulled_at, m.asset
"""


class Statement(NamedTuple):
    """A statement with its values."""

    text: str
    values: dict[str, Any]


def of_series(
    series: Sequence[Series], window: Window, as_of: datetime | None = None, most: int | None = None
) -> Statement:
    """Every point of these series in a window: (number of the series, time, value), of each series sorted by time.

    With `as_of`, as they were known at that instant: a point that had not been stored, or whose day was still open,
    is absent. With `most`, the first so many of each series. A value that is NULL comes as NaN.
    """
    span = {"start": naive(window.start), "end": naive(window.end), "most": most}
    return _statement(SERIES, as_of, _wanted(series) | span)


def latest(series: Sequence[Series], as_of: datetime | None = None) -> Statement:
    """The newest point of each of these series that has any: (number of the series, time, value), NaN for NULL."""
    return _statement(LATEST, as_of, _wanted(series))


def on_day(source: str, metric: str, window: Window, as_of: datetime | None = None) -> Statement:
    """The points of a metric in a short window, all assets: (asset, time, value), sorted by time."""
    span = {"start": naive(window.start), "end": naive(window.end)}
    return _statement(ON_DAY, as_of, {"source": source, "metric": metric} | span)


def _statement(template: str, as_of: datetime | None, values: dict[str, Any]) -> Statement:
    if as_of is None:
        parts = {"wanted": WANTED, "value": "m.value", "since": "", "then": "true", "known": ""}
        return Statement(template.format(**parts), values)
    parts = {
        "wanted": f"{WANTED} JOIN known USING (source)",
        "value": VALUE_THEN,
        "since": SINCE,
        "then": THEN,
        "known": "JOIN known ON known.source = m.source",
    }
    return Statement(KNOWN + template.format(**parts), values | {"as_of": naive(as_of)})


def _wanted(series: Sequence[Series]) -> dict[str, Any]:
    return {
        "sources": [each.source for each in series],
        "assets": [each.asset for each in series],
        "metrics": [each.metric for each in series],
    }
