"""Statements for points: whole series, the latest of each, those of one day; as stored now, or as known at an instant.

All times are aware UTC.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from db.statements import arrays, fetch, filled_in, read_statements
from model.values import ENOUGH_DATES, Series, Window

SQL = read_statements("points.sql")


Statement = tuple[str, dict[str, Any]]  # with its values


class Age(NamedTuple):
    """How old a series is, and how far it is confirmed."""

    asset: str
    metric: str
    newest: datetime | None  # the time of its newest point, None if it has none
    answered: date | None  # the last day for which the API has answered, with data or without
    verified_at: datetime | None = None  # start of the last settle that has compared all its answered days
    withdrawn: int = 0  # days that the API had once and no longer has; their values are stored
    withdrawn_at: datetime | None = None  # when the last of them was withdrawn


def of_series(
    series: Sequence[Series], window: Window, as_of: datetime | None = None, most: int | None = None
) -> Statement:
    """Every point of these series in a window: (number of the series, time, value), sorted by time within each series.

    With `as_of`, points are as they were known at that instant: a point that was not stored then, or whose day was
    still open, is absent. With `most`, only the first points of each series, up to this number. NULL becomes NaN.
    """
    span = {"start": window.start, "end": window.end, "most": most}
    return _statement("of_series", as_of, arrays("sources assets metrics", series) | span)


def latest(series: Sequence[Series], as_of: datetime | None = None) -> Statement:
    """The newest point of each of these series that has any: (number of the series, time, value), NaN for NULL."""
    return _statement("latest", as_of, arrays("sources assets metrics", series))


def on_day(source: str, metric: str, window: Window, as_of: datetime | None = None) -> Statement:
    """The points of a metric in a short window, all assets: (asset, time, value), sorted by time."""
    span = {"start": window.start, "end": window.end}
    return _statement("on_day", as_of, {"source": source, "metric": metric} | span)


def ages(cursor: Any, source: str, series: Sequence[tuple[str, str]]) -> list[Age]:
    """How old these series (asset, metric) of a source are."""
    values = {"source": source, "enough": ENOUGH_DATES, **arrays("assets metrics", series)}
    return list(map(Age._make, fetch(cursor, SQL["ages"], values)))


def _statement(name: str, as_of: datetime | None, values: dict[str, Any]) -> Statement:
    if as_of is None:
        parts = {"value": "m.value", "since": "", "then": "true", "known": "", "wanted": SQL["wanted"]}
        return filled_in(SQL[name], **parts), values
    parts = {
        "wanted": f"{SQL['wanted']} JOIN known USING (source)",
        "value": SQL["then_value"],
        "since": SQL["then_since"],
        "then": SQL["then_stored"],
        "known": "JOIN known ON known.source = m.source",
    }
    return f"{SQL['then_known']} {filled_in(SQL[name], **parts)}", values | {"as_of": as_of}
