"""What is covered: which days of a series the API has answered for, and which of those the table holds."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from db.load import take_turn
from model.values import Target, Window

Name = tuple[str, str]  # asset, metric

# What was answered for another identifier of the API says nothing of this one. Which it was is not known of old rows.
MISSING = """
SELECT name.asset, name.metric, lower(days), upper(days)
FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(api_ids)s::text[]) AS name (asset, metric, api_id)
LEFT JOIN coverage ON (coverage.source, coverage.asset, metric_name) = (%(source)s, name.asset, name.metric)
        AND coalesce(coverage.api_id = name.api_id, true),
    unnest(datemultirange(daterange(%(start)s::date, %(end)s::date)) - coalesce(answered, '{}')) AS days
ORDER BY 1, 2, 3
"""

# No answer speaks of a day before it has closed, but for values that exist only live. A claim of one was made by a
# clock that was ahead of this one.
FORGET_FUTURE = """
WITH beyond AS (
    SELECT asset, metric_name, datemultirange(daterange(
        (clock_timestamp() AT TIME ZONE 'UTC')::date + CASE WHEN metric_name = ANY(%(live_only)s) THEN 1 ELSE 0 END,
        NULL
    )) AS days FROM coverage WHERE source = %(source)s
)
UPDATE coverage c SET answered = answered - beyond.days, found = found - beyond.days,
    found_count = (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(found - beyond.days) AS part)
FROM beyond
WHERE source = %(source)s AND c.asset = beyond.asset AND c.metric_name = beyond.metric_name AND answered && beyond.days
"""

# To look at every row of a series costs as much as ten to count them, and to count all of a metric hardly anything, in
# the small index. So the rows are looked at one by one only where something is in doubt: where the table does not have
# as many rows as the loads have put there, nor one for each day found (less those of live values beside them), where
# `found` is not what the loads have left, or where the points have times of their own.
MAP = """
WITH whole AS MATERIALIZED (
    SELECT metric_name FROM (
        SELECT metric_name, count(*) AS rows FROM metrics
        WHERE source = %(source)s AND %(assets)s::text[] IS NULL
            AND (%(metrics)s::text[] IS NULL OR metric_name = ANY(%(metrics)s))
        GROUP BY metric_name
    ) AS held JOIN (
        SELECT metric_name, sum(row_count) AS rows FROM coverage WHERE source = %(source)s GROUP BY metric_name
    ) AS put USING (metric_name, rows)
), series AS MATERIALIZED (
    SELECT c.source, c.asset, c.metric_name, own.metric IS NOT NULL AS own_times, coalesce(own.shift, '0') AS shift,
        c.answered * past AS answered, c.found * past AS found, row_count, found_count,
        (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(c.found) AS part) AS claimed,
        (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(c.found - past) AS part) AS claimed_open,
        CASE WHEN whole.metric_name IS NOT NULL THEN row_count ELSE (
            SELECT count(*) FROM metrics m
            WHERE m.source = c.source AND m.asset = c.asset AND m.metric_name = c.metric_name
        ) END AS rows, (
            SELECT count(*) FROM metrics m WHERE m.source = c.source AND m.asset = c.asset
                AND m.metric_name = c.metric_name AND m.pulled_at >= %(today)s::date
        ) AS open_rows
    FROM coverage c CROSS JOIN (SELECT datemultirange(daterange(NULL, %(today)s::date)) AS past) AS past
    LEFT JOIN whole USING (metric_name)
    LEFT JOIN unnest(%(own_times)s::text[], %(shifts)s::interval[]) AS own (metric, shift)
        ON own.metric = c.metric_name
    WHERE c.source = %(source)s AND (%(assets)s::text[] IS NULL OR c.asset = ANY(%(assets)s))
        AND (%(metrics)s::text[] IS NULL OR c.metric_name = ANY(%(metrics)s))
), judged AS MATERIALIZED (
    SELECT series.*, rows - open_rows - claimed + claimed_open AS more,  -- than one for each day found
        NOT own_times AND rows = row_count AND claimed = found_count AS sound
    FROM series
), held AS MATERIALIZED (
    SELECT judged.*, CASE WHEN sound AND more = 0 THEN found WHEN sound AND more = beside.rows THEN found + beside.days
    ELSE (
        SELECT coalesce(range_agg(daterange(day, day + 1)), '{}') FROM (
            SELECT DISTINCT (m.pulled_at + shift)::date AS day FROM metrics m
            WHERE m.source = judged.source AND m.asset = judged.asset AND m.metric_name = judged.metric_name
        ) AS each WHERE day < %(today)s
    ) END AS days
    FROM judged LEFT JOIN LATERAL (
        SELECT count(*) AS rows, range_agg(daterange(day, day + 1)) AS days
        FROM unnest(datemultirange(daterange(NULL, %(today)s::date)) - found) AS part, LATERAL (
            SELECT m.pulled_at::date AS day FROM metrics m WHERE m.source = judged.source AND m.asset = judged.asset
                AND m.metric_name = judged.metric_name
                AND m.pulled_at >= coalesce(lower(part), '-infinity') AND m.pulled_at < upper(part)
        ) AS row WHERE sound AND more > 0
    ) AS beside ON true
)
SELECT asset, metric_name, answered,
    (SELECT coalesce(sum(upper(part) - lower(part)), 0)::int FROM unnest(days) AS part),
    CASE WHEN isempty(answered + days) THEN '{}'
    ELSE datemultirange(daterange(lower(answered + days), %(today)s::date)) END - answered - days,
    answered * datemultirange(daterange(lower(days + found), NULL)) - found - days,
    found - days
FROM held ORDER BY asset, metric_name
"""

FORGET_LOST = """
UPDATE coverage SET found = kept.days,
    found_count = (SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(kept.days) AS part)
FROM (
    SELECT lost.asset, metric, found - range_agg(daterange(first, last)) AS days
    FROM unnest(%(assets)s::text[], %(metrics)s::text[], %(firsts)s::date[], %(lasts)s::date[])
        AS lost (asset, metric, first, last)
    JOIN coverage ON (coverage.source, coverage.asset, metric_name) = (%(source)s, lost.asset, lost.metric)
    GROUP BY lost.asset, metric, found
) AS kept
WHERE coverage.source = %(source)s AND coverage.asset = kept.asset AND metric_name = kept.metric
"""
KNOWN = "SELECT asset, metric_name FROM coverage WHERE source = %s"


class SeriesMap(NamedTuple):
    """One series by closed days, each list sorted: what was asked for, and which days are not there and why."""

    asset: str
    metric: str
    answered: list[Window]  # asked for, and answered
    days: int  # that the table has
    never: list[Window]  # since the first day known: not there and never asked for
    empty: list[Window]  # asked for, and the API had nothing
    lost: list[Window]  # the API had them, and the table has not


def missing(cursor: Any, source: str, targets: Iterable[Target], window: Window) -> dict[Name, list[Window]]:
    """The days of a window for which the API has not answered yet, of each series that has such days."""
    ids = {(target.asset, target.metric): target.id for target in targets}
    values = {"source": source, "start": window.start.date(), "end": window.end.date()}
    values |= {"assets": [asset for asset, _ in ids], "metrics": [metric for _, metric in ids]}
    values |= {"api_ids": list(ids.values())}
    cursor.execute(MISSING, values)
    found: dict[Name, list[Window]] = {}
    for asset, metric, start, end in cursor:
        found.setdefault((asset, metric), []).append(Window(_midnight(start), _midnight(end)))
    return found


def forget_future(cursor: Any, source: str, live_only: Collection[str]) -> int:
    """Drop what a clock that was ahead has claimed of days that are still to come; of how many series."""
    take_turn(cursor, source)
    cursor.execute(FORGET_FUTURE, {"source": source, "live_only": list(live_only)})
    return int(cursor.rowcount)


def forget_lost(cursor: Any, source: str, maps: Iterable[SeriesMap]) -> None:
    """Claim no longer that the table has the days that were lost of these series."""
    lost = [(series.asset, series.metric, window) for series in maps for window in series.lost]
    take_turn(cursor, source)
    values: dict[str, Any] = {"source": source}
    values |= {"assets": [asset for asset, _, _ in lost], "metrics": [metric for _, metric, _ in lost]}
    values |= {
        "firsts": [window.start.date() for *_, window in lost],
        "lasts": [window.end.date() for *_, window in lost],
    }
    cursor.execute(FORGET_LOST, values)


def series_maps(
    cursor: Any,
    source: str,
    today: datetime,
    own_times: Mapping[str, timedelta],
    assets: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> list[SeriesMap]:
    """The map of every series ever asked for, of these assets and metrics if given, sorted; the days before `today`.

    `own_times` names the metrics whose points are not dated at midnight, with what is added to their times.
    """
    values = {"source": source, "today": today.date(), "assets": assets, "metrics": metrics}
    values |= {"own_times": list(own_times), "shifts": list(own_times.values())}
    cursor.execute(MAP, values)
    return [
        SeriesMap(asset, metric, _windows(answered), days, _windows(never), _windows(empty), _windows(lost))
        for asset, metric, answered, days, never, empty, lost in cursor
    ]


def known_series(cursor: Any, source: str) -> list[Name]:
    """Every series ever asked for."""
    cursor.execute(KNOWN, (source,))
    return list(cursor)


def _windows(multirange: str) -> list[Window]:
    pairs = re.findall(r"([\d-]+),([\d-]+)", multirange)
    return [Window(_midnight(start), _midnight(end)) for start, end in pairs]


def _midnight(day: Any) -> datetime:
    return datetime.fromisoformat(str(day)).replace(tzinfo=UTC)
