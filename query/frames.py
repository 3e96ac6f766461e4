"""Points as DataFrames under UTC times, sorted and unique, with nothing filled in. Loads pandas."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from db.points import on_day
from db.reader import KNOWN_AT, NEVER, WITHDRAWN, Columns, Reader, Table
from db.statements import fetch
from model.errors import BadQuestion
from model.values import DAY, Series, Window, midnight
from query.question import EPOCH, MICROSECOND, Question, answer
from query.time_arguments import lag_text
from sources import shift_of, unit_of

COPY_ROW = [("", "V6"), ("series", ">i4"), ("", "V4"), ("at", ">i8"), ("", "V4"), ("value", ">f8")]  # as ROW
COPY_EXTRAS = {KNOWN_AT: ">i8", WITHDRAWN: "?"}  # as EXTRAS
NO_EXTRA = {KNOWN_AT: NEVER, WITHDRAWN: False}  # where a wide frame has no point
EPOCH_SINCE_1970 = np.datetime64(EPOCH.replace(tzinfo=None), "us").astype(np.int64)  # microseconds
DAY_LENGTH = DAY // MICROSECOND
TIMESTAMP, NUMERIC = 1114, 1700  # PostgreSQL's oids; a timestamp is naive UTC in every table here
TIME = "time"  # the type of a column of UTC times
MOST_CELLS = 250_000_000  # of a wide frame: they take 2 GB
INDEX = "pulled_at"  # the time of a point, as the table calls it

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Points(NamedTuple):
    """Points of several series, sorted by series and time."""

    series: Integers  # the number of the series
    at: Integers  # microseconds, as in Columns
    value: Floats
    extras: Mapping[str, npt.NDArray[Any]] = {}

    def chosen(self, positions: npt.NDArray[Any]) -> "Points":
        """The points at these positions."""
        extras = {name: values[positions] for name, values in self.extras.items()}
        return Points(self.series[positions], self.at[positions], self.value[positions], extras)


def points(reader: Reader, question: Question) -> Points:
    """The points that a question selects."""
    found = sorted_points(answer(reader, question))
    if not question.daily:
        return found
    found = by_day(found, question.series)
    start, end = ((each - EPOCH) // MICROSECOND for each in question.window)
    return found.chosen((found.at >= start) & (found.at < end))


def sorted_points(columns: Columns) -> Points:
    """The same points as arrays, sorted by series and time."""
    more = [field for extra in columns.extras for field in (("", "V4"), (extra, COPY_EXTRAS[extra]))]
    rows = np.frombuffer(columns.data, np.dtype([*COPY_ROW, *more]))
    extras = {extra: rows[extra].astype(rows[extra].dtype.newbyteorder("=")) for extra in columns.extras}
    series, at = rows["series"].astype(np.int64), rows["at"].astype(np.int64)
    points = Points(series, at, rows["value"].astype(np.float64), extras)
    if np.any(points.series[1:] < points.series[:-1]):  # rarely: usually they are sorted, but SQL promises no order
        return points.chosen(np.argsort(points.series, kind="stable"))
    return points


def cross_section(reader: Reader, question: Question, day: datetime) -> pd.DataFrame:
    """The last point of this metric that each asset has on one UTC day (given as its midnight), as in `by_asset`.

    The question has one series, whose asset does not count.
    """
    (series,) = question.series
    shift = shift_of(series.source, series.metric)
    try:
        window = Window(day - shift, day - shift + DAY)
    except OverflowError:
        raise BadQuestion(f"no series can have points on {day.date()}: give a date from 2000 on") from None
    statement = on_day(series.source, series.metric, window, question.as_of, question.how)
    rows = reader.do(lambda cursor: fetch(cursor, *statement))
    if shift:  # a row at midnight was dated by a pull, and counts as earlier than any time that the API gave
        rows.sort(key=lambda row: (row[1] != midnight(row[1]), row[1]))
    return by_asset({row[0]: row for row in rows}.values(), question.extras)


def by_asset(rows: Iterable[tuple[Any, ...]], extras: Sequence[str] = ()) -> pd.DataFrame:
    """Rows of (asset, time, value, extras) as a frame with the value, time and extras of each asset."""
    cells = sorted(((asset, value, at, *more) for asset, at, value, *more in rows), key=itemgetter(0))
    kinds = {extra: TIME if extra == KNOWN_AT else bool for extra in extras}
    return table(cells, {"asset": object, "value": float, INDEX: TIME, **kinds}).set_index("asset")


def by_day(points: Points, series: Sequence[Series]) -> Points:
    """The last point of each day, dated at its midnight.

    If the API gives times of its own, the metric's shift says to which day a time belongs: a price observed 20 s before
    midnight is the price of that midnight. In such a series, a row at midnight was dated by a pull, and counts as
    earlier than any time that the API gave.
    """
    shifts = np.array([shift_of(each.source, each.metric) // MICROSECOND for each in series], dtype=np.int64)
    moved = points.at + shifts[points.series]
    day = moved - moved % DAY_LENGTH
    if shifts.any():  # without a shift, a midnight is the first time of its day anyway
        order = np.lexsort((points.at, points.at % DAY_LENGTH != 0, day, points.series))
        points, day = points.chosen(order), day[order]
    last = np.ones(len(day), dtype=bool)
    last[:-1] = (day[1:] != day[:-1]) | (points.series[1:] != points.series[:-1])
    return points._replace(at=day).chosen(last)


def wide(points: Points, series: Sequence[Series], label: str) -> pd.DataFrame:
    """A column for each series, named by its "asset", "metric", or all of its names ("series"); NaN means no point.

    With extras, it has two levels of columns: "value" and the extras above, the series below. Raises BadQuestion if the
    frame would take too much memory.
    """
    labels = [str(each) if label == "series" else getattr(each, label) for each in series]
    times = np.unique(points.at)
    if len(times) * len(labels) * (1 + len(points.extras)) > MOST_CELLS:
        raise BadQuestion(
            f"a frame of {len(times):,} times and {len(labels):,} columns takes too much memory: give a window, ask "
            "for fewer series, use daily=True where times differ, or read chunks()"
        )
    index, places = _index(times), (points.series, np.searchsorted(times, points.at))
    cells = np.full((len(labels), len(times)), np.nan)
    cells[places] = points.value
    made = pd.DataFrame(cells.T, index=index, columns=pd.Index(labels, name=label))
    if points.extras:
        parts = {"value": made}
        for extra, values in points.extras.items():
            marks = np.full(cells.shape, NO_EXTRA[extra], dtype=values.dtype)
            marks[places] = values
            each = (_extra(extra, row) for row in marks)
            parts[extra] = pd.DataFrame(dict(zip(labels, each, strict=True)), index=index, columns=made.columns)
        made = pd.concat(parts, axis=1, names=["column"])
    made.attrs["limits"] = _limits(points, len(labels))
    return made


def one(points: Points) -> pd.DataFrame:
    """The points of one series as a column `value`, and a column for each extra."""
    made = pd.DataFrame({"value": points.value, **_extras(points)}, index=_index(points.at))
    made.attrs["limits"] = _limits(points, 1)
    return made


def long(points: Points, series: Sequence[Series]) -> pd.DataFrame:
    """A row for each point: asset, metric, value and extras, under its time; sorted by series and time."""
    columns: dict[str, Any] = {}
    for name in ("asset", "metric"):
        codes, texts = pd.factorize(np.array([getattr(each, name) for each in series], dtype=object))
        columns[name] = pd.Categorical.from_codes(codes[points.series], pd.Index(texts))
    return pd.DataFrame({**columns, "value": points.value, **_extras(points)}, index=_index(points.at))


def table(rows: Iterable[Sequence[Any]], columns: Mapping[str, Any]) -> pd.DataFrame:
    """Rows as a frame whose columns have these types even without a row; TIME is the type of UTC times."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    for name, kind in columns.items():
        frame[name] = _utc(frame[name]) if kind is TIME else frame[name].astype(kind)
    return frame


def any_table(found: Table) -> pd.DataFrame:
    """The rows of any query, with timestamps as UTC and decimals as floats."""
    frame = pd.DataFrame(found.rows, columns=range(len(found.names)))  # by number, since two may have one name
    for number, kind in enumerate(found.types):
        if kind == TIMESTAMP:
            frame[number] = _utc(frame[number])
        elif kind == NUMERIC:
            frame[number] = frame[number].astype(float)
    return frame.set_axis(pd.Index(found.names), axis=1)


def described(made: pd.DataFrame, question: Question, asked: Mapping[str, Any]) -> pd.DataFrame:
    """The frame with the arguments and the series found in its `attrs`; as text, since pandas copies and saves them."""
    for name in ("source", "asset", "metric"):
        each = {getattr(series, name) for series in question.series}
        made.attrs[name] = each.pop() if len(each) == 1 else ""  # empty if the series differ in it
    made.attrs["series"] = "; ".join(map(str, question.series))
    given = {name: value for name, value in asked.items() if value is not None}
    said = {name: ", ".join(map(str, each)) if isinstance(each, list) else str(each) for name, each in given.items()}
    as_of = question.as_of and question.as_of.isoformat()
    lag = None if question.lag is None else lag_text(question.lag)
    made.attrs |= {"unit": unit_of(question.series), "as_of": as_of, "lag": lag, "asked": said}
    return made


def _limits(points: Points, count: int) -> str:
    """The smallest value, the largest value, the last time and the last value of each series, as text.

    pandas keeps attrs through arithmetic; plot_columns.py compares a column with these to see whether it was computed.
    """
    texts = []
    for first, end in pairwise(np.searchsorted(points.series, np.arange(count + 1))):
        there = np.arange(first, end)[np.isfinite(points.value[first:end])]
        value, at = points.value[there], points.at[there]
        texts.append(f"{value.min()} {value.max()} {at[-1] + EPOCH_SINCE_1970} {value[-1]}" if there.size else "")
    return "; ".join(texts)


def _utc(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return pd.to_datetime(column, utc=True).dt.as_unit("us")


def _index(at: Integers) -> pd.DatetimeIndex:
    return pd.DatetimeIndex((at + EPOCH_SINCE_1970).view("datetime64[us]"), name=INDEX).tz_localize("UTC")


def _extras(points: Points) -> dict[str, Any]:
    return {extra: _extra(extra, values) for extra, values in points.extras.items()}


def _extra(extra: str, values: npt.NDArray[Any]) -> Any:
    """The cells of a column: UTC times, NaT for a value that was never known; or booleans."""
    if extra != KNOWN_AT:
        return values
    times = np.where(values == NEVER, NEVER, values + EPOCH_SINCE_1970)  # numpy shows the smallest number as NaT
    return pd.DatetimeIndex(times.view("datetime64[us]")).tz_localize("UTC")
