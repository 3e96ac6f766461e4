"""The table quarantine: values of closed days that the API has restated, until they are adopted.

A value is `new` until a settle has judged it. What is not doubtful is adopted then, unless another value of the series
is doubtful: then it is held back. A doubtful value is `waiting` until a person accepts or rejects it, or the API takes
it back. A `rejected` one is not adopted as long as the API gives it, unless a person accepts it later.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db.coverage import Name
from db.load import take_turn
from db.statements import arrays, fetch, fetch_one, read_statements
from model.values import ENOUGH_DATES, Reason, Window

SQL = read_statements("quarantine.sql")
NO_SHIFT = timedelta()
RESTATED, ACCEPTED = "restated", "accepted"  # reasons of revisions: see schema.sql


class ComparedPoint(NamedTuple):
    """A stored point, and what the API says now where it says something else."""

    at: datetime
    stored: float | None
    restated: bool  # whether the API says something else
    value: float | None  # what it says; None if it says nothing else, or no longer has the point
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


class Rejected(NamedTuple):
    """How many values of a series a person has rejected, which the API still gives."""

    asset: str
    metric: str
    values: int


class Adopted(NamedTuple):
    """The numbers of points that were given the API's values, and of those that the API no longer has."""

    changed: int
    withdrawn: int


def series_with(cursor: Any, source: str, *states: str) -> list[Name]:
    """The series (asset, metric) with values that have one of these states, sorted."""
    found = fetch(cursor, SQL["series"], {"source": source, "states": list(states)})
    return [(asset, metric) for asset, metric in found]


def compared_as_a_whole(cursor: Any, source: str, start: datetime) -> set[Name]:
    """The series of which a settle must compare all days, since something waits or is undecided from before `start`."""
    found = fetch(cursor, SQL["compared_as_a_whole"], {"source": source, "start": start})
    return {(asset, metric) for asset, metric in found}


def rejected(cursor: Any, source: str) -> list[Rejected]:
    """The series of which the stored values are kept against the API; sorted."""
    return list(map(Rejected._make, fetch(cursor, SQL["rejected"], {"source": source})))


def undecided(cursor: Any, source: str) -> list[Name]:
    """The series (asset, metric) with new or waiting values, sorted."""
    return series_with(cursor, source, "new", "waiting")


def waiting(cursor: Any, source: str) -> list[Waiting]:
    """The series of a source with values that wait for a person, sorted."""
    return list(map(Waiting._make, fetch(cursor, SQL["waiting"], {"source": source})))


def compared_points(cursor: Any, source: str, name: Name) -> list[ComparedPoint]:
    """All points of a series, sorted by time. What was rejected does not count as restated."""
    rows = fetch(cursor, SQL["compared"], {"source": source, "asset": name[0], "metric": name[1]})
    said = {at: (True, value, state == "waiting") for at, value, state in rows if state}
    agreed = (False, None, False)
    return sorted(ComparedPoint(at, stored, *said.get(at, agreed)) for at, stored, state in rows if not state)


def adopt(
    cursor: Any, source: str, names: Sequence[Name], own_times: Mapping[str, timedelta], reason: str, run: int | None
) -> Adopted:
    """Write values of these series into metrics, and keep the old ones as revisions for this reason.

    A run adopts the new values that it or an earlier run has received; a person accepts those that wait.
    """
    take_turn(cursor, source)
    state = "waiting" if reason == ACCEPTED else "new"
    shifts = [own_times.get(metric, NO_SHIFT) for _, metric in names]
    values = {"source": source, "shifts": shifts, "reason": reason, "pull_id": run, "state": state}
    return Adopted._make(fetch_one(cursor, SQL["adopt"], values | arrays("assets metrics", names)))


def hold(cursor: Any, source: str, name: Name, times: Sequence[datetime]) -> None:
    """Have the new values of a series at these times wait for a person."""
    cursor.execute(SQL["hold"], {"source": source, "asset": name[0], "metric": name[1], "times": list(times)})


def reject(cursor: Any, source: str, name: Name) -> int:
    """Keep the stored values of a series, where others wait, for as long as the API gives the same other ones.

    Returns how many these are.
    """
    take_turn(cursor, source)
    values = {"source": source, "asset": name[0], "metric": name[1]}
    cursor.execute(SQL["reject"], values | {"missing": Reason.WITHDRAWN, "enough": ENOUGH_DATES})
    return int(cursor.rowcount)


def reconsider(cursor: Any, source: str, name: Name) -> None:
    """Have the rejected values of a series wait again."""
    cursor.execute(SQL["reconsider"], {"source": source, "asset": name[0], "metric": name[1]})


def verify(cursor: Any, source: str, compared: Iterable[tuple[Name, Window]], run: int) -> None:
    """Note that a run has compared these days of series: a series is verified if all its answered days are among them.

    A series with undecided values is not verified.
    """
    parts = [(*name, days.start.date(), days.end.date()) for name, days in compared]
    values = {
        "source": source,
        "pull_id": run,
        "enough": ENOUGH_DATES,
        "flaws": [each for each in Reason if each.is_flaw],
    }
    cursor.execute(SQL["verify"], values | arrays("assets metrics firsts lasts", parts))
