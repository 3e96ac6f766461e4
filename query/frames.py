"""From points to DataFrames: UTC times down, sorted and unique, and nothing filled in. Loads pandas."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from db import points as ask
from db.reader import Reader, Table
from model.errors import BadQuestion
from model.values import DAY, Series, Window, midnight
from query.dates import LATEST
from sources import metric_of, unit_of
from sources.base import EARLIEST

# One row of a binary COPY of (integer, timestamp, double precision): how many fields, and each with its length.
ROW = np.dtype(
    {
        "names": ["fields", "length", "series", "length_at", "at", "length_value", "value"],
        "formats": [">i2", ">i4", ">i4", ">i4", ">i8", ">i4", ">f8"],
    }
)
HEADER, TRAILER = 19, 2  # bytes around the rows
EPOCH = np.datetime64("2000-01-01", "us").astype(np.int64)  # from which PostgreSQL counts its microseconds
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY_LENGTH = DAY // MICROSECOND
TIMESTAMP, NUMERIC = 1114, 1700  # PostgreSQL's oids; a timestamp is naive UTC in every table here
TIME = "time"  # the type of a column of UTC times
MOST_CELLS = 250_000_000  # of a wide frame: 2 GB
INDEX = "pulled_at"  # the time of a point, as the table calls it

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Points(NamedTuple):
    """Points of several series, sorted by series and time."""

    series: Integers  # the number of the series
    at: Integers  # microseconds since 1970, UTC
    value: Floats

    def at_rows(self, chosen: npt.NDArray[Any]) -> "Points":
        """The points at these positions."""
        return Points(self.series[chosen], self.at[chosen], self.value[chosen])


def points(
    reader: Reader, series: Sequence[Series], window: Window, as_of: datetime | None = None, *, daily: bool = False
) -> Points:
    """The points of these series in a window, as they were known at an instant if told.

    With `daily` one a day, of the days whose midnights lie in the window.
    """
    if not daily:
        return decode(reader.copy(*ask.of_series(series, window, as_of)))
    # Points of a day may lie outside of it, by less than a day: all of them are asked for, and whole days told.
    around = Window(max(window.start, EARLIEST) - DAY, min(window.end, LATEST - DAY) + DAY)
    found = by_day(decode(reader.copy(*ask.of_series(series, around, as_of))), series)
    start, end = ((each - UNIX_EPOCH) // MICROSECOND for each in window)
    return found.at_rows((found.at >= start) & (found.at < end))


def on_day(reader: Reader, source: str, metric: str, day: datetime, as_of: datetime | None = None) -> pd.DataFrame:
    """The last point that each asset has for one UTC day, given by its midnight: value and time, by asset."""
    shift, own_times = _own_times(Series(source, "", metric))
    try:
        span = Window(day - shift, day - shift + DAY)
    except OverflowError:
        raise BadQuestion(f"{day.date()} is no day that can have points") from None
    rows = reader.rows(*ask.on_day(source, metric, span, as_of))
    if own_times:  # a row at midnight was dated so by a pull, and comes before what was observed
        rows.sort(key=lambda row: (row[1] != midnight(row[1]), row[1]))
    return by_asset({asset: (asset, value, at) for asset, at, value in rows}.values())


def by_asset(rows: Iterable[tuple[str, float | None, datetime]]) -> pd.DataFrame:
    """Value and time of each asset."""
    return table(sorted(rows), {"asset": object, "value": float, INDEX: TIME}).set_index("asset")


def decode(data: memoryview) -> Points:
    """The points in the bytes of a COPY of db.points.of_series."""
    rows = np.frombuffer(data, ROW, count=(len(data) - HEADER - TRAILER) // ROW.itemsize, offset=HEADER)
    points = Points(rows["series"].astype(np.int64), rows["at"] + EPOCH, rows["value"].astype(np.float64))
    if np.any(points.series[1:] < points.series[:-1]):  # nearly always they are sorted, but SQL promises no order
        return points.at_rows(np.argsort(points.series, kind="stable"))
    return points


def by_day(points: Points, series: Sequence[Series]) -> Points:
    """One point a day, dated at its midnight: the last of those whose date, or the day it stands for, it is.

    Histories with times of their own are dated as the source says (a price seen 20 s before midnight is that of the
    midnight), and there a row at midnight itself, which a live pull has dated so, comes before all others of its day.
    """
    own = [_own_times(each) for each in series]
    shifts = np.array([shift // MICROSECOND for shift, _ in own], dtype=np.int64)
    own_times = np.array([are for _, are in own], dtype=bool)
    moved = points.at + shifts[points.series]
    day = moved - moved % DAY_LENGTH
    if own_times.any():
        observed = (points.at % DAY_LENGTH != 0) & own_times[points.series]
        order = np.lexsort((points.at, observed, day, points.series))
        points, day = points.at_rows(order), day[order]
    last = np.ones(len(day), dtype=bool)
    last[:-1] = (day[1:] != day[:-1]) | (points.series[1:] != points.series[:-1])
    return Points(points.series[last], day[last], points.value[last])


def wide(points: Points, labels: Sequence[str], name: str) -> pd.DataFrame:
    """A column for each series, NaN where it has no point; raises BadQuestion where it would not fit the memory."""
    times = np.unique(points.at)
    if len(times) * len(labels) > MOST_CELLS:
        raise BadQuestion(
            f"a frame of {len(times):,} times and {len(labels):,} columns takes too much memory: ask for a window, for "
            "fewer, with daily=True where times differ, or go through chunks()"
        )
    cells = np.full((len(labels), len(times)), np.nan)
    cells[points.series, np.searchsorted(times, points.at)] = points.value
    return pd.DataFrame(cells.T, index=_index(times), columns=pd.Index(labels, name=name))


def one(points: Points) -> pd.DataFrame:
    """The points of one series as a column `value`."""
    return pd.DataFrame({"value": points.value}, index=_index(points.at))


def long(points: Points, series: Sequence[Series]) -> pd.DataFrame:
    """A row for each point: asset, metric, value, under its time; sorted by series and time."""
    columns = {
        "asset": pd.Categorical.from_codes(*_codes(points.series, [each.asset for each in series])),
        "metric": pd.Categorical.from_codes(*_codes(points.series, [each.metric for each in series])),
    }
    return pd.DataFrame(columns | {"value": points.value}, index=_index(points.at))


def table(rows: Iterable[Sequence[Any]], columns: Mapping[str, Any]) -> pd.DataFrame:
    """Rows as a frame whose columns have these types, TIME being that of UTC times, also where there is no row."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    for name, kind in columns.items():
        frame[name] = _utc(frame[name]) if kind is TIME else frame[name].astype(kind)
    return frame


def any_table(found: Table) -> pd.DataFrame:
    """The rows of any query; its timestamps are UTC, its decimals floats."""
    columns = [pd.Series([row[position] for row in found.rows]) for position in range(len(found.names))]
    typed = [_typed(column, kind) for column, kind in zip(columns, found.types, strict=True)]
    frame = pd.concat(typed, axis=1) if typed else pd.DataFrame()
    return frame.set_axis(pd.Index(found.names), axis=1)


def described(
    made: pd.DataFrame, found: Sequence[Series], as_of: datetime | None, asked: dict[str, Any]
) -> pd.DataFrame:
    """The frame with what was found and asked for, as text: pandas copies `attrs` often, and saves them as JSON."""
    for name in ("source", "asset", "metric"):
        each = {getattr(series, name) for series in found}
        made.attrs[name] = each.pop() if len(each) == 1 else ""  # where columns differ in it
    made.attrs["series"] = "; ".join(map(str, found))
    said = {name: _text(value) for name, value in asked.items() if value is not None}
    made.attrs |= {"unit": unit_of(found), "as_of": as_of and as_of.isoformat(), "asked": said}
    return made


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _typed(column: "pd.Series[Any]", kind: int) -> "pd.Series[Any]":
    if kind == TIMESTAMP:
        return _utc(column)
    return column.astype(float) if kind == NUMERIC else column


def _utc(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return pd.to_datetime(column, utc=True).dt.as_unit("us")


def _index(at: Integers) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(at.view("datetime64[us]"), name=INDEX).tz_localize("UTC")


def _codes(numbers: Integers, names: Sequence[str]) -> tuple[npt.NDArray[Any], pd.Index]:
    codes, categories = pd.factorize(np.array(names, dtype=object))
    return codes[numbers], pd.Index(categories)


def _own_times(series: Series) -> tuple[timedelta, bool]:
    """What is added to the time of a point before its date is taken as its day, and whether times are the API's own."""
    metric = metric_of(series.source, series.metric)
    return (metric.shift, metric.own_times) if metric else (timedelta(), False)
