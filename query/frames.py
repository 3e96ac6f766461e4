"""Points as DataFrames under UTC times, sorted and unique, with nothing filled in. Loads pandas."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from db.points import on_day
from db.reader import KNOWN_AT, NEVER, WITHDRAWN, Reader, Table
from db.statements import fetch
from model.errors import BadQuestion
from model.values import DAY, Series, Window, midnight
from query.point_arrays import EPOCH_SINCE_1970, Integers, Points
from query.question import Question
from query.time_arguments import lag_text
from sources import shift_of, unit_of

NO_EXTRA = {KNOWN_AT: NEVER, WITHDRAWN: False}  # where a wide frame has no point
TIMESTAMP, NUMERIC = 1114, 1700  # PostgreSQL's oids; a timestamp is naive UTC in every table here
TIME = "time"  # the type of a column of UTC times
MOST_CELLS = 250_000_000  # of a wide frame: they take 2 GB
INDEX = "pulled_at"  # the time of a point, as the table calls it


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


def wide(points: Points, series: Sequence[Series], labels: Sequence[str]) -> pd.DataFrame:
    """A column for each series; NaN means no point. Raises BadQuestion if the frame would take too much memory.

    A column is named by its "asset" or "metric", by both on two levels, or by all names of the series ("series"). With
    extras, there is one more level above: "value" and the extras.
    """
    columns, times = _columns(series, labels), np.unique(points.at)
    if len(times) * len(columns) * (1 + len(points.extras)) > MOST_CELLS:
        raise BadQuestion(
            f"a frame of {len(times):,} times and {len(columns):,} columns takes too much memory: give a window, ask "
            "for fewer series, use daily=True where times differ, or read chunks()"
        )
    index, places = _index(times), (points.series, np.searchsorted(times, points.at))
    cells = np.full((len(columns), len(times)), np.nan)
    cells[places] = points.value
    made = pd.DataFrame(cells.T, index=index, columns=columns)
    if points.extras:
        parts = {"value": made}
        for extra, values in points.extras.items():
            marks = np.full(cells.shape, NO_EXTRA[extra], dtype=values.dtype)
            marks[places] = values
            parts[extra] = pd.DataFrame(dict(enumerate(_extra(extra, row) for row in marks)), index=index)
            parts[extra].columns = columns
        made = pd.concat(parts, axis=1, names=["column"])
    made.attrs["limits"] = _limits(points, len(columns))
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


def with_attrs(made: pd.DataFrame, question: Question, asked: Mapping[str, Any]) -> pd.DataFrame:
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


def _columns(series: Sequence[Series], labels: Sequence[str]) -> pd.Index:
    names = [[str(each) if label == "series" else getattr(each, label) for each in series] for label in labels]
    if len(labels) > 1:
        return pd.MultiIndex.from_arrays(names, names=list(labels))
    return pd.Index(names[0], name=labels[0])


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
