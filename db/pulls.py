"""The table pulls, which has a row for each run: written by runs, read by the scheduler, status and reports.

All times are aware UTC. A pair (source, kind) names a kind of run, such as ("artemis", "pull").
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from db.statements import arrays, fetch, fetch_one, filled_in, read_statements

SQL = read_statements("pulls.sql")
NEWEST_RUNS = SQL["newest_runs"]  # for a frame: its columns are those of the table
STOPPED = "stopped before"  # the failure of a run that was stopped, and in which nothing failed, begins so


class RunEnd(NamedTuple):
    """How a run ended, for its row in pulls."""

    status: str
    records: int
    calls: int
    failed: int
    received: int
    failure: str | None
    differing: int = 0


class LastRuns(NamedTuple):
    """How the last runs of a source and kind went."""

    began_well: datetime | None = None  # when the last successful one began
    succeeded: datetime | None = None  # when that one ended
    failed: datetime | None = None  # when the last one began that failed or was killed
    failure: str | None = None
    failures: int = 0  # of scheduled runs, in a row since the last success
    failing_since: datetime | None = None  # when the first of these began
    running_since: datetime | None = None  # when the latest one began, if it has no end; it may have been killed
    ended: datetime | None = None  # when the last one ended, successful or not


class Failure(NamedTuple):
    """The failed runs of one source and kind; those that were killed, and so have no end, are a group of their own."""

    source: str
    kind: str | None
    killed: bool
    failure: str | None  # of the last run
    times: int
    first: datetime
    last: datetime
    pull_id: int  # of the last run


class RecentRuns(NamedTuple):
    """How the runs since a given time went."""

    runs: int  # those that have ended or were killed
    failed: int
    under_way: int
    failures: tuple[Failure, ...]  # the newest first


def begin_run(cursor: Any, source: str, kind: str, slot: datetime | None) -> int:
    """Enter a run, which counts as failed until it ends; returns its pull_id. `slot` is None for a manual run."""
    (pull_id,) = fetch_one(cursor, SQL["begin_run"], {"source": source, "kind": kind, "slot": slot})
    return int(pull_id)


def latest_day(cursor: Any, source: str) -> tuple[date, date, date]:
    """The latest day of a run of a source, without runs dated more than a day ahead, and with them; and today."""
    credible, stored, today = fetch_one(cursor, SQL["latest_day"], {"source": source})
    return credible, stored, today


def end_run(cursor: Any, pull_id: int, end: RunEnd) -> None:
    """Complete the row of a run."""
    values = end._asdict() | {"pull_id": pull_id}
    if end.failure:  # it may quote an answer with characters that PostgreSQL can't store as text
        values["failure"] = end.failure.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    cursor.execute(SQL["end_run"], values)


def enter_refused_run(cursor: Any, source: str, kind: str, slot: datetime, failure: str) -> None:
    """Enter the run of a slot that failed before it began."""
    cursor.execute(SQL["enter_refused_run"], {"source": source, "kind": kind, "slot": slot, "failure": failure})


def clear_future_slots(cursor: Any, sources: Sequence[str], now: datetime) -> None:
    """Remove the slot of each run dated after `now`, while a clock was ahead: these slots are still to come."""
    cursor.execute(SQL["clear_future_slots"], {"sources": list(sources), "now": now})


def first_runs(cursor: Any, sources: Sequence[str]) -> dict[str, datetime]:
    """When the first run of each of these sources began; a source that never had one is absent."""
    return {name: at for name, at in fetch(cursor, SQL["first_runs"], {"sources": list(sources)}) if at}


def tries(
    cursor: Any, slots: Sequence[tuple[str, str, datetime]], first_pull_id: int
) -> list[tuple[int, datetime | None, bool, bool]]:
    """The runs for these slots (source, kind, slot), in the order in which they began.

    Each row is the index of the slot, when the run ended (None while it runs, or if it was killed), whether it
    succeeded and its source was not cleared since, and whether its pull_id is greater than `first_pull_id`.
    """
    values = arrays("sources kinds slots", slots) | {"first_pull_id": first_pull_id}
    return [(index, ended, done, ours) for index, ended, done, ours in fetch(cursor, SQL["tries"], values)]


def cleared(cursor: Any, after: int | None) -> frozenset[str]:
    """The sources that a fresh start has cleared since the run with this pull_id."""
    return frozenset(name for (name,) in fetch(cursor, SQL["cleared"], {"after": after}))


def last_runs(cursor: Any, kinds: Sequence[tuple[str, str]]) -> dict[tuple[str, str], LastRuns]:
    """How the last runs of these sources and kinds went."""
    values = arrays("sources kinds", kinds) | {"stopped": f"{STOPPED} %"}
    return {(name, kind): LastRuns._make(row) for name, kind, *row in fetch(cursor, SQL["last_runs"], values)}


def calls_of_last_day(cursor: Any, source: str) -> tuple[int, int]:
    """How many calls the runs of a source made in the last 24 hours, and how many of them failed."""
    calls, failed = fetch_one(cursor, SQL["calls_of_last_day"], {"source": source})
    return calls, failed


def under_way(cursor: Any, held: Sequence[tuple[str, str]]) -> list[int]:
    """The pull_id of each run under way, given the sources and kinds whose place a process holds."""
    return [pull_id for (pull_id,) in fetch(cursor, SQL["under_way"], arrays("sources kinds", held))]


def recent_runs(cursor: Any, sources: Sequence[str], since: datetime, under_way: Sequence[int]) -> RecentRuns:
    """How the runs of these sources since a given time went, without those under way."""
    values = {"sources": list(sources), "since": since, "under_way": list(under_way), "stopped": f"{STOPPED} %"}
    runs, failed = fetch_one(cursor, filled_in(SQL["recent_numbers"], recent=SQL["recent"]), values)
    failures = fetch(cursor, filled_in(SQL["recent_failures"], recent=SQL["recent"]), values)
    return RecentRuns(runs, failed, len(under_way), tuple(map(Failure._make, failures)))
