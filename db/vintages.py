"""Every value that a point had, since when and until when it was known, and why it changed. All times are aware UTC."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db.points import ROW_LOAD
from db.statements import fetch, filled_in, read_statements
from model.values import Series, Window

SQL = read_statements("vintages.sql")
AGES = (1, 3, 7, 30)  # days since the end of the day of a point
FIRST = "first"  # the reason of a point's first vintage
PARTS = {"vintages": SQL["vintages"], "visible": SQL["visible"], "load": ROW_LOAD}
OF_SERIES = filled_in(SQL["of_series"], **PARTS)
SHARES = ", ".join(filled_in(SQL["share"], days=str(days)) for days in AGES)
FINALITY = filled_in(SQL["finality"], shares=SHARES, shift="%(shift)s::interval", **PARTS)


class Vintage(NamedTuple):
    """A value of a point, and when `as_of` shows it: from `known_at` up to but excluding `known_until`.

    The reason says why it replaced the value before it: see db/schema.sql. It is FIRST for the first vintage of a
    point, and "unknown" for NULL.
    """

    at: datetime
    value: float | None
    known_at: datetime | None  # None if other hands have written the point: then `as_of` never shows it
    known_until: datetime | None  # None for the present value
    reason: str


class Finality(NamedTuple):
    """How often and how late the values of a metric changed after the end of their day, for one asset or all."""

    asset: str | None  # None for all
    points: int  # of closed days
    shares: Sequence[float | None]  # that changed after each of AGES, of the points that can tell; None if none can
    largest: float | None  # the largest change as a share of the old value, None if there is none
    last: float | None  # the greatest age at a change, in days, None if there is none


def vintages(cursor: Any, series: Series, window: Window) -> list[Vintage]:
    """All vintages of a series in a window; sorted by the time of their points, and then by age."""
    values = {**series._asdict(), "start": window.start, "end": window.end}
    return list(map(Vintage._make, fetch(cursor, OF_SERIES, values)))


def finality(cursor: Any, source: str, metric: str, shift: timedelta, now: datetime) -> list[Finality]:
    """The finality of each asset that has the metric, sorted; the last is that of all."""
    values = {"source": source, "metric": metric, "shift": shift, "now": now}
    return [
        Finality(asset, points, shares, largest, last)
        for asset, points, *shares, largest, last in fetch(cursor, FINALITY, values)
    ]
