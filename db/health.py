"""What the tables say of how the pipeline is: its runs, its requests, and how old each series is."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from db.heartbeat import Beat
from db.setup import aware, session_name
from db.store import STOPPED

HAS_TABLES = "SELECT to_regclass('pulls') IS NOT NULL AND to_regclass('metrics') IS NOT NULL"
# All of pulls is read twice in the end: to look for the last failure of what never failed would do no less, six times.
# A run that a stop has cut short, as its failure says (see Summary.end), has not failed; nor has one that was killed,
# which has no end. Those by hand are tried again by nobody.
LAST_RUNS = """
WITH last AS (
    SELECT source_name, kind, max(pull_id) AS latest, max(finished_at) AS ended,
        max(pull_id) FILTER (WHERE finished_at IS NOT NULL AND status <> 'error') AS good,
        max(pull_id) FILTER (WHERE status = 'error' AND failure NOT LIKE %(stopped)s) AS bad
    FROM pulls GROUP BY source_name, kind
)
SELECT wanted.source, wanted.kind, good.pulled_at, good.finished_at, bad.pulled_at, bad.failure, tries, since,
    CASE WHEN run.finished_at IS NULL AND run.failure IS NULL THEN run.pulled_at END, last.ended
FROM unnest(%(sources)s::text[], %(kinds)s::text[]) AS wanted (source, kind)
LEFT JOIN last ON (last.source_name, last.kind) = (wanted.source, wanted.kind)
LEFT JOIN pulls AS good ON good.pull_id = last.good
LEFT JOIN pulls AS bad ON bad.pull_id = last.bad
LEFT JOIN pulls AS run ON run.pull_id = last.latest
LEFT JOIN LATERAL (
    SELECT count(*) AS tries, min(pulled_at) AS since FROM pulls
    WHERE pull_id > coalesce(last.good, 0) AND (source_name, kind) = (wanted.source, wanted.kind)
        AND status = 'error' AND finished_at IS NOT NULL AND slot IS NOT NULL
        AND coalesce(failure, '') NOT LIKE %(stopped)s
) AS failing ON true
"""
LAST_DAY = """
SELECT coalesce(sum(calls), 0), coalesce(sum(failed_calls), 0) FROM pulls
WHERE source_name = %(source)s AND pulled_at > clock_timestamp() AT TIME ZONE 'UTC' - interval '1 day'
"""
# The last row of a span of keys in the order of idx_metrics_unique, which no other index serves, whatever the
# planner's statistics say: see the look-ups of db/load.py.
AGES = """
SELECT wanted.asset, wanted.metric, (
    SELECT pulled_at FROM metrics m WHERE m.source = %(source)s
        AND (m.asset, m.metric_name, m.pulled_at) >= (wanted.asset, wanted.metric, '-infinity'::timestamp)
        AND (m.asset, m.metric_name, m.pulled_at) <= (wanted.asset, wanted.metric, 'infinity'::timestamp)
    ORDER BY m.asset DESC, m.metric_name DESC, m.pulled_at DESC LIMIT 1
), (
    SELECT upper(answered) - 1 FROM coverage c
    WHERE c.source = %(source)s AND c.asset = wanted.asset AND c.metric_name = wanted.metric
)
FROM unnest(%(assets)s::text[], %(metrics)s::text[]) AS wanted (asset, metric)
"""
RUNS = """
SELECT * FROM pulls WHERE (%(source)s::text IS NULL OR source_name = %(source)s)
    AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(status)s::text IS NULL OR status = %(status)s)
ORDER BY pull_id DESC LIMIT %(last)s
"""
SESSIONS = """
SELECT application_name, pg_postmaster_start_time() AT TIME ZONE 'UTC'
FROM (VALUES (1)) AS always LEFT JOIN pg_stat_activity ON datname = current_database() AND application_name LIKE %s
"""


class LastRuns(NamedTuple):
    """How the runs of a source and kind last went."""

    began_well: datetime | None = None  # when the last one began that succeeded
    succeeded: datetime | None = None  # when it ended
    failed: datetime | None = None  # when the last one began that failed, or was killed
    failure: str | None = None
    failures: int = 0  # of scheduled ones, in a row since the last success
    failing_since: datetime | None = None  # when the first of these began
    running_since: datetime | None = None  # when the latest one began, where it has not ended; it may have been killed
    ended: datetime | None = None  # when the last one ended, well or not


class Age(NamedTuple):
    """How old a series is."""

    asset: str
    metric: str
    newest: datetime | None  # the time of its newest point, None where it has none
    answered: date | None  # the last day that the API has answered for, with data or without


class Sessions(NamedTuple):
    """Whose sessions the server sees, and since when it has been running itself."""

    another: bool  # a process other than the one that told of itself last is there as a scheduler, and that one is not
    server_started: datetime


def has_tables(cursor: Any) -> bool:
    """Whether there are tables of the pipeline, of whatever version."""
    cursor.execute(HAS_TABLES)
    return bool(cursor.fetchone()[0])


def last_runs(cursor: Any, kinds: Sequence[tuple[str, str]]) -> dict[tuple[str, str], LastRuns]:
    """How the runs of these sources and kinds last went."""
    values = {"sources": [name for name, _ in kinds], "kinds": [kind for _, kind in kinds], "stopped": f"{STOPPED} %"}
    cursor.execute(LAST_RUNS, values)
    return {
        (name, kind): LastRuns._make(aware(value) if isinstance(value, datetime) else value for value in row)
        for name, kind, *row in cursor
    }


def last_day(cursor: Any, source: str) -> tuple[int, int]:
    """How many calls a source's runs of the last 24 hours have made, and how many of them failed."""
    cursor.execute(LAST_DAY, {"source": source})
    calls, failed = cursor.fetchone()
    return int(calls), int(failed)


def ages(cursor: Any, source: str, series: Sequence[tuple[str, str]]) -> list[Age]:
    """How old these series (asset, metric) of a source are."""
    values = {"source": source, "assets": [asset for asset, _ in series], "metrics": [metric for _, metric in series]}
    cursor.execute(AGES, values)
    return [Age(asset, metric, newest and aware(newest), answered) for asset, metric, newest, answered in cursor]


def clock(cursor: Any) -> datetime:
    """The time by the database's clock."""
    cursor.execute("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
    return aware(cursor.fetchone()[0])


def sessions(cursor: Any, place: str, beat: Beat | None) -> Sessions:
    """Whose sessions for a place the server sees."""
    whose, _, _ = session_name(place, 0, "").rpartition(" ")
    cursor.execute(SESSIONS, (f"{whose} %",))
    names, started = zip(*cursor, strict=True)
    own = session_name(place, beat.pid, beat.host) if beat else None
    return Sessions(any(names) and own not in names, aware(started[0]))
