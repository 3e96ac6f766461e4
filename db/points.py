"""Statements for points: whole series, the latest of each, those of one day; as stored now, or as known at an instant.

All times are aware UTC. Statements that select extras have these as further columns, see db.reader.EXTRAS.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from db.coverage import MOST_NAMES
from db.statements import arrays, fetch, filled_in, read_statements
from model.values import ENOUGH_DATES, Series, Window

SQL = read_statements("points.sql")
ROW_LOAD = SQL["load"]  # joins the load of each row of metrics AS m, as `load`

Statement = tuple[str, dict[str, Any]]  # with its values


class How(NamedTuple):
    """How points are shown: each as it was known so long after its day had closed, and with which extras.

    With a lag, a point for which that instant is later than `as_of`, or than now, is absent.
    """

    lag: timedelta | None = None
    extras: Sequence[str] = ()
    shifts: Sequence[timedelta] = ()  # of the metric of each series; not needed without a lag and extras


PLAIN = How()

# What names the shift and the series of a point in each statement.
BY_SERIES = {"shift": "wanted.shift", "ids": "wanted.ids", "table": "coverage"}
BY_SERIES["series"] = "wanted.source, wanted.asset, wanted.metric"
BY_METRIC = {"shift": "(%(shifts)s::interval[])[1]", "ids": "known.ids", "table": "m"}
BY_METRIC["series"] = "m.source, m.asset, m.metric_name"

# How a statement for a binary COPY, whose rows have the same length, selects each extra.
NAMES = {"known_at": "coalesce(point.known_at, '-infinity')", "withdrawn": "point.withdrawn"}


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
    series: Sequence[Series], window: Window, as_of: datetime | None = None, most: int | None = None, how: How = PLAIN
) -> Statement:
    """Every point of these series in a window: (number of the series, time, value), sorted by time within each series.

    With `as_of`, points are as they were known at that instant: a point that was not stored then, or whose day was
    still open, is absent. With `most`, only the first points of each series, up to this number. NULL becomes NaN.
    """
    span = {"start": window.start, "end": window.end, "most": most}
    return _statement("of_series", as_of, arrays("sources assets metrics", series) | span, how)


def latest(series: Sequence[Series], as_of: datetime | None = None, how: How = PLAIN) -> Statement:
    """The newest point of each of these series that has any: (number of the series, time, value), NaN for NULL."""
    return _statement("latest", as_of, arrays("sources assets metrics", series), how)


def on_day(source: str, metric: str, window: Window, as_of: datetime | None = None, how: How = PLAIN) -> Statement:
    """The points of a metric in a short window, all assets: (asset, time, value), sorted by time."""
    span = {"start": window.start, "end": window.end}
    return _statement("on_day", as_of, {"source": source, "metric": metric} | span, how)


def withdrawn_days(cursor: Any, series: Sequence[Series]) -> list[tuple[Series, date, date]]:
    """The first and the last of each span of days that the provider has withdrawn from these series."""
    sources, assets, metrics = ({each[place] for each in series} for place in range(3))
    few = list(assets) if len(assets) <= MOST_NAMES else None
    values = {"sources": list(sources), "metrics": list(metrics), "assets": few}
    wanted = set(series)
    found = fetch(cursor, SQL["withdrawn_days"], values)
    return [(Series(*names), first, last) for *names, first, last in found if Series(*names) in wanted]


def ages(cursor: Any, source: str, series: Sequence[tuple[str, str]]) -> list[Age]:
    """How old these series (asset, metric) of a source are."""
    values = {"source": source, "enough": ENOUGH_DATES, **arrays("assets metrics", series)}
    found = {row[:2]: Age._make(row) for row in fetch(cursor, SQL["ages"], values)}
    return [found.get(name) or Age(*name, None, None) for name in series]


def _statement(name: str, as_of: datetime | None, values: dict[str, Any], how: How) -> Statement:
    """A statement for points with a lag, as of an instant, or as stored now."""
    by = BY_METRIC if name == "on_day" else BY_SERIES
    wanted = SQL["wanted_with_shifts" if how.shifts else "wanted"]
    first = known = columns = covered = ""
    value, since = SQL["then_value"], SQL["then_since"]
    if how.lag is not None:
        then, instant = SQL["lag_stored"], SQL["lag_instant"]
    elif as_of is not None:
        then, instant = SQL["then_stored"], "%(as_of)s::timestamp"
        first, columns, known = f"{SQL['then_known']} ", ", ids", "JOIN known ON known.source = {table}.source"
    else:
        then, instant = "true", "'infinity'::timestamp"
        value, since = "m.value", ""
    if how.lag is not None or "known_at" in how.extras:
        since = f"{SQL['load']} {since}"
    if "withdrawn" in how.extras:
        covered = SQL["covered"]
    extras = "".join(f", {SQL[extra]} AS {extra}" for extra in how.extras)
    names = "".join(f", {NAMES[extra]}" for extra in how.extras)
    parts = {"wanted": wanted, "columns": columns, "known": known, "covered": covered}
    parts |= {"value": value, "since": since, "then": then, "extras": extras, "names": names, "instant": instant}
    text = filled_in(first + SQL[name], **parts, **by)
    return text, values | {"as_of": as_of, "lag": how.lag, "shifts": list(how.shifts)}
