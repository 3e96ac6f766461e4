"""Points as numpy arrays, sorted by series and time. Loads numpy."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from db.reader import KNOWN_AT, WITHDRAWN, BaseReader, Columns
from model.values import DAY, Series
from query.question import EPOCH, MICROSECOND, Question, answer
from sources import shift_of

COPY_ROW = [("", "V6"), ("series", ">i4"), ("", "V4"), ("at", ">i8"), ("", "V4"), ("value", ">f8")]  # as ROW
COPY_EXTRAS = {KNOWN_AT: ">i8", WITHDRAWN: "?"}  # as EXTRAS
EPOCH_SINCE_1970 = np.datetime64(EPOCH.replace(tzinfo=None), "us").astype(np.int64)  # microseconds
DAY_LENGTH = DAY // MICROSECOND

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


def points(reader: BaseReader, question: Question) -> Points:
    """The points that a question selects."""
    return arrays_of(answer(reader, question), question)


def arrays_of(columns: Columns, question: Question) -> Points:
    """The answer to a question as arrays, with one point a day if it is daily."""
    found = sorted_points(columns)
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
