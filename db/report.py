"""What the report asks of the tables beyond the other questions: the largest revisions, and the runs that failed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.revisions import REVISIONS
from db.setup import aware, naive
from db.store import STOPPED

# A change from zero has no size in relation to it, nor has one that no double can hold: they come last. Nothing is told
# of a row that is gone, nor of what other hands have made no number.
LARGEST = f"""
SELECT asset, metric_name, each.pulled_at, old, new, replaced_at, each.pull_id, kind, count(*) OVER ()
FROM ({REVISIONS}) AS each LEFT JOIN pulls ON pulls.pull_id = each.pull_id
WHERE new <> old AND abs(old) < 'Infinity' AND abs(new) < 'Infinity'
ORDER BY CASE WHEN abs(old) > 1e-100 AND abs(new) < 1e100 THEN abs(new - old) / abs(old) END DESC NULLS LAST,
    replaced_at DESC, asset, metric_name, each.pulled_at
LIMIT %(most)s
"""  # noqa: S608 - our own text
# The last runs of these kinds, as far as they have no end.
UNDER_WAY = """
SELECT pull_id FROM (
    SELECT DISTINCT ON (source_name, kind) pull_id, finished_at
    FROM unnest(%(sources)s::text[], %(kinds)s::text[]) AS held (source_name, kind)
    JOIN pulls USING (source_name, kind) ORDER BY source_name, kind, pull_id DESC
) AS latest WHERE finished_at IS NULL
"""
# A run that a stop has cut short, as its failure says, has not failed.
RUNS = """
WITH runs AS (
    SELECT *, status = 'error' AND coalesce(failure, '') NOT LIKE %(stopped)s AS failed FROM pulls
    WHERE source_name = ANY(%(sources)s) AND pulled_at >= %(since)s AND pull_id <> ALL(%(under_way)s)
)
"""
NUMBERS = f"{RUNS} SELECT count(*), count(*) FILTER (WHERE failed) FROM runs"  # noqa: S608 - our own text
# A run that fails is made again and again, and mostly for the same reason, whose words differ: calls fail in no order.
FAILED = f"""
{RUNS} SELECT source_name, kind, finished_at IS NULL, (array_agg(failure ORDER BY pull_id DESC))[1],
    count(*), min(pulled_at), max(pulled_at), max(pull_id)
FROM runs WHERE failed GROUP BY source_name, kind, finished_at IS NULL ORDER BY max(pull_id) DESC
"""  # noqa: S608 - our own text


class Restatement(NamedTuple):
    """A value of a closed day that was replaced by another, and by which run; times in aware UTC."""

    asset: str
    metric: str
    at: datetime
    old: float
    new: float
    replaced_at: datetime
    pull_id: int | None
    kind: str | None


class Failure(NamedTuple):
    """Runs of one kind that failed, or that were killed and have no end. Times in aware UTC."""

    source: str
    kind: str | None
    endless: bool
    failure: str | None  # of the last
    times: int
    first: datetime
    last: datetime
    pull_id: int  # of the last


class Lately(NamedTuple):
    """How runs went."""

    runs: int  # that have ended, or were killed
    failed: int
    under_way: int
    failures: tuple[Failure, ...]  # those of one kind together, the newest first


def largest_revisions(cursor: Any, source: str, most: int) -> tuple[list[Restatement], int]:
    """The revisions of a source that changed a value most in relation to it, the largest first; of how many."""
    cursor.execute(LARGEST, {"source": source, "assets": None, "metrics": None, "most": most})
    rows = cursor.fetchall()
    found = [
        Restatement(asset, metric, aware(at), old, new, aware(replaced_at), pull_id, kind)
        for asset, metric, at, old, new, replaced_at, pull_id, kind, _ in rows
    ]
    return found, rows[0][-1] if rows else 0


def under_way(cursor: Any, held: Sequence[tuple[str, str]]) -> list[int]:
    """The runs that are being made, where the places of these sources and kinds are held."""
    cursor.execute(UNDER_WAY, {"sources": [source for source, _ in held], "kinds": [kind for _, kind in held]})
    return [pull_id for (pull_id,) in cursor]


def lately(cursor: Any, sources: Sequence[str], since: datetime, under_way: Sequence[int]) -> Lately:
    """How the runs of sources went that began since an aware time, but for those that are under way."""
    values = {"sources": list(sources), "since": naive(since), "under_way": list(under_way)}
    values["stopped"] = f"{STOPPED} %"
    cursor.execute(NUMBERS, values)
    runs, failed = cursor.fetchone()
    cursor.execute(FAILED, values)
    found = tuple(
        Failure(source, kind, endless, failure, times, aware(first), aware(last), pull_id)
        for source, kind, endless, failure, times, first, last, pull_id in cursor
    )
    return Lately(runs, failed, len(under_way), found)
