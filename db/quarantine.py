"""The table quarantine: values of closed days that the API has restated, until they are adopted or rejected."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db.coverage import Name
from db.load import take_turn
from db.statements import arrays, fetch, fetch_one, read_statements
from model.values import Window

SQL = read_statements("quarantine.sql")
NO_SHIFT = timedelta()


class ComparedPoint(NamedTuple):
    """A stored point, and what the API says now where it says something else."""

    at: datetime
    stored: float | None
    restated: bool  # whether the API says something else
    value: float | None  # what it says; None if it no longer has the point, or is not restated
    waits: bool = False  # whether an earlier run has found this doubtful


class Waiting(NamedTuple):
    """The values of one series that wait for a person; times are aware UTC."""

    asset: str
    metric: str
    days: int  # that would change
    zero: int  # of these, to zero
    withdrawn: int  # of these, the API no longer has them
    stored: int  # closed days of the series in metrics
    first: datetime  # the time of the first point that would change
    last: datetime  # and of the last one
    factor: float | None  # the median of new to stored values; None if none of them are numbers other than zero
    old: float | None  # the stored value of the last point
    new: float | None  # and the one that the API gives now; None if it has none
    since: datetime  # when the API first gave one of these values


class Adopted(NamedTuple):
    """The numbers of points that were given the API's values, and of those that the API no longer has."""

    changed: int
    withdrawn: int


def undecided(cursor: Any, source: str) -> list[Name]:
    """The series (asset, metric) with values about which nobody has decided, sorted."""
    return _series(cursor, source, ["new", "waiting"])


def waiting_series(cursor: Any, source: str) -> list[Name]:
    """The series (asset, metric) with values that wait for a person, sorted."""
    return _series(cursor, source, ["waiting"])


def waiting(
    cursor: Any, source: str, assets: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> list[Waiting]:
    """The series of a source with values that wait for a person, of these assets and metrics if given; sorted."""
    found = fetch(cursor, SQL["waiting"], {"source": source, "assets": assets, "metrics": metrics})
    return list(map(Waiting._make, found))


def compared_points(cursor: Any, source: str, name: Name) -> list[ComparedPoint]:
    """All points of a series, sorted by time. What was rejected does not count as restated."""
    values = {"source": source, "asset": name[0], "metric": name[1]}
    return list(map(ComparedPoint._make, fetch(cursor, SQL["compared"], values)))


def adopt(
    cursor: Any,
    source: str,
    names: Sequence[Name],
    own_times: Mapping[str, timedelta],
    reason: str,
    pull_id: int | None,
) -> Adopted:
    """Write the undecided values of these series into metrics, and keep the old ones as revisions for this reason."""
    take_turn(cursor, source)
    shifts = [own_times.get(metric, NO_SHIFT) for _, metric in names]
    values = {"source": source, "shifts": shifts, "reason": reason, "pull_id": pull_id}
    return Adopted._make(fetch_one(cursor, SQL["adopt"], values | arrays("assets metrics", names)))


def hold(cursor: Any, source: str, points: Iterable[tuple[str, str, datetime]]) -> int:
    """Have undecided values wait for a person, by series and time of the point; returns how many they are.

    The other undecided values of these series are neither adopted nor rejected while they wait.
    """
    take_turn(cursor, source)
    cursor.execute(SQL["hold"], {"source": source, **arrays("assets metrics times", points)})
    return int(cursor.rowcount)


def reject(cursor: Any, source: str, names: Sequence[Name]) -> int:
    """Keep the stored values of these series, where others wait, for as long as the API gives the same other ones."""
    take_turn(cursor, source)
    cursor.execute(SQL["reject"], {"source": source, **arrays("assets metrics", names)})
    return int(cursor.rowcount)


def verify(cursor: Any, source: str, compared: Iterable[tuple[Name, Window]], pull_id: int) -> None:
    """Note that a run has compared these days of series: a series is verified if all its answered days are among them.

    A series about which a person must decide is not verified.
    """
    parts = [(*name, days.start.date(), days.end.date()) for name, days in compared]
    values = {"source": source, "pull_id": pull_id}
    cursor.execute(SQL["verify"], values | arrays("assets metrics firsts lasts", parts))


def _series(cursor: Any, source: str, states: Sequence[str]) -> list[Name]:
    found = fetch(cursor, SQL["series"], {"source": source, "states": states})
    return [(asset, metric) for asset, metric in found]
