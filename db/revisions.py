"""The table revisions: values of closed days that were replaced. All times are aware UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db.statements import fetch, filled_in, read_statements

SQL = read_statements("revisions.sql")
BY_SERIES = filled_in(SQL["by_series"], revisions=SQL["revisions"])
LARGEST = filled_in(SQL["largest"], revisions=SQL["revisions"])


class Revision(NamedTuple):
    """One value of a closed day that was replaced."""

    asset: str
    metric: str
    at: datetime
    old: float | None
    new: float | None
    replaced_at: datetime
    pull_id: int | None
    reason: str  # 'sample', 'restated', 'accepted' or 'unknown': see db/schema.sql


class RevisedSeries(NamedTuple):
    """How often and by how much the values of one series were restated; changes are shares of the old value.

    A sample that gave way to the first value of its closed day does not count.
    """

    asset: str
    metric: str
    restatements: int
    points: int  # those of which a value was ever restated
    stored: int  # all points of the series in the table
    median: float | None  # None if every old value was zero
    largest: float | None
    last: datetime


def revisions(
    cursor: Any, source: str, assets: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> list[Revision]:
    """Every revision of a source, of these assets and metrics if given; sorted by series, point and age."""
    statement = f"{SQL['revisions']} ORDER BY asset, metric_name, pulled_at, r.id"
    found = fetch(cursor, statement, {"source": source, "assets": assets, "metrics": metrics})
    return list(map(Revision._make, found))


def revised_series(
    cursor: Any, source: str, assets: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> list[RevisedSeries]:
    """The restated series of a source, the most often restated first."""
    found = fetch(cursor, BY_SERIES, {"source": source, "assets": assets, "metrics": metrics})
    return list(map(RevisedSeries._make, found))


def largest_revisions(cursor: Any, source: str, most: int) -> tuple[list[tuple[Revision, str | None]], int]:
    """The restatements of a source with the largest changes in relation to the old value, and the number of all.

    Each comes with the kind of the run that replaced the value. Only those between two finite numbers count.
    """
    rows = fetch(cursor, LARGEST, {"source": source, "assets": None, "metrics": None, "most": most})
    return [(Revision._make(row), kind) for *row, kind, _ in rows], rows[0][-1] if rows else 0
