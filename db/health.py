"""What the tables say of how the pipeline is: its runs, its requests, and how old each series is."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

LAST_RUNS = """
SELECT wanted.source, wanted.kind, good.finished_at, bad.pulled_at, bad.failure
FROM unnest(%(sources)s::text[], %(kinds)s::text[]) AS wanted (source, kind)
LEFT JOIN LATERAL (
    SELECT finished_at FROM pulls WHERE (source_name, kind) = (wanted.source, wanted.kind)
        AND finished_at IS NOT NULL AND status <> 'error' ORDER BY pull_id DESC LIMIT 1
) AS good ON true
LEFT JOIN LATERAL (
    SELECT pulled_at, failure FROM pulls WHERE (source_name, kind) = (wanted.source, wanted.kind)
        AND (finished_at IS NOT NULL OR failure IS NOT NULL) AND status = 'error' ORDER BY pull_id DESC LIMIT 1
) AS bad ON true
"""
LAST_DAY = """
SELECT coalesce(sum(calls), 0), coalesce(sum(failed_calls), 0) FROM pulls
WHERE source_name = %(source)s AND pulled_at > clock_timestamp() AT TIME ZONE 'UTC' - interval '1 day'
"""
AGES = """
SELECT wanted.asset, wanted.metric, (
    SELECT pulled_at FROM metrics m
    WHERE m.source = %(source)s AND m.asset = wanted.asset AND m.metric_name = wanted.metric
    ORDER BY pulled_at DESC LIMIT 1
), upper(answered) - 1
FROM unnest(%(assets)s::text[], %(metrics)s::text[]) AS wanted (asset, metric)
LEFT JOIN coverage ON (coverage.source, coverage.asset, coverage.metric_name)
    = (%(source)s, wanted.asset, wanted.metric)
"""


class LastRuns(NamedTuple):
    """How the runs of a source and kind last went."""

    succeeded: datetime | None  # when the last one ended that did
    failed: datetime | None  # when the last one began that did not
    failure: str | None


class Age(NamedTuple):
    """How old a series is."""

    asset: str
    metric: str
    newest: datetime | None  # the time of its newest point, None where it has none
    answered: date | None  # the last day that the API has answered for, with data or without


def last_runs(cursor: Any, kinds: Sequence[tuple[str, str]]) -> dict[tuple[str, str], LastRuns]:
    """How the runs of these sources and kinds last went."""
    cursor.execute(LAST_RUNS, {"sources": [name for name, _ in kinds], "kinds": [kind for _, kind in kinds]})
    return {(name, kind): LastRuns(_utc(good), _utc(bad), failure) for name, kind, good, bad, failure in cursor}


def last_day(cursor: Any, source: str) -> tuple[int, int]:
    """How many calls a source's runs of the last 24 hours have made, and how many of them failed."""
    cursor.execute(LAST_DAY, {"source": source})
    calls, failed = cursor.fetchone()
    return int(calls), int(failed)


def ages(cursor: Any, source: str, series: Sequence[tuple[str, str]]) -> list[Age]:
    """How old these series (asset, metric) of a source are."""
    values = {"source": source, "assets": [asset for asset, _ in series], "metrics": [metric for _, metric in series]}
    cursor.execute(AGES, values)
    return [Age(asset, metric, _utc(newest), answered) for asset, metric, newest, answered in cursor]


def _utc(at: datetime | None) -> datetime | None:
    return at.replace(tzinfo=UTC) if at else None
