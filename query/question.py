"""How points are read from the tables: a question names series, SQL returns columns, at once or in portions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NamedTuple

from db.coverage import stored_series
from db.points import of_series
from db.reader import Columns, Reader
from model.values import DAY, Series, Window
from query.time_arguments import ALWAYS, LATEST
from sources.base import EARLIEST

POINTS_A_DAY = 24  # the most that a series has, for an estimate of the points in a window
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # the times of Columns count from here
MICROSECOND = timedelta(microseconds=1)


class Question(NamedTuple):
    """Which points to read: of these series, in a window; with `as_of`, as they were known at that instant.

    With `daily`, one point a day, for the days whose midnights lie in the window.
    """

    series: Sequence[Series]
    window: Window = ALWAYS
    as_of: datetime | None = None
    daily: bool = False

    @property
    def metrics(self) -> list[str]:
        """The metrics of the series, in the order in which they first appear."""
        return list(dict.fromkeys(each.metric for each in self.series))


def answer(reader: Reader, question: Question, most: int | None = None) -> Columns:
    """The points that a question selects; with `most`, only the first points of each series, up to this number.

    For a daily question, the answer also has the points of one day before and one day after the window: they may belong
    to days in the window.
    """
    series, window, as_of, daily = question
    if daily:
        window = Window(max(window.start, EARLIEST) - DAY, min(window.end, LATEST - DAY) + DAY)
    return reader.copy(*of_series(series, window, as_of, most))


def portions(reader: Reader, question: Question, most: int) -> Iterator[tuple[Question, Columns]]:
    """The same question in parts of about `most` points, each with its answer; sorted by source and asset.

    A part has one or more whole assets, or a span of time of one asset that has more points. Each part is read on its
    own: no transaction is open while the caller works, and each part shows what was stored when it was read.
    """
    for part in _whole_assets(reader, question, most):
        if len({each[:2] for each in part.series}) > 1:
            yield part, answer(reader, part)
        else:
            yield from _pieces(reader, part, most)


def time_of(microseconds: int) -> datetime:
    """A time of Columns, in aware UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def _whole_assets(reader: Reader, question: Question, most: int) -> Iterator[Question]:
    """Parts of one or more whole assets; a part of several assets has at most `most` points."""
    if len({each[:2] for each in question.series}) == 1:
        yield question
        return
    known = reader.do(lambda cursor: stored_series(cursor, metrics=question.metrics))
    counts = {each.series: each.points for each in known}
    fits = ((question.window.end - question.window.start) // DAY + 1) * POINTS_A_DAY
    part, held = list[Series](), 0
    for _, group in groupby(sorted(question.series, key=lambda each: each[:2]), key=lambda each: each[:2]):
        series = list(group)
        size = sum(min(counts.get(each, 0), fits) for each in series)
        if part and held + size > most:
            yield question._replace(series=part)
            part, held = [], 0
        part, held = [*part, *series], held + size
    yield question._replace(series=part)


def _pieces(reader: Reader, question: Question, most: int) -> Iterator[tuple[Question, Columns]]:
    """Parts of one asset: each reads the same number of points of each series, and ends at the time that all reach."""
    each = most // len(question.series) or 1
    start: datetime | None = question.window.start
    while start:
        part = question._replace(window=Window(start, question.window.end))
        columns = answer(reader, part, each)
        counts, lasts = Counter[int](), dict[int, int]()
        for number, at, _ in columns.rows():  # each series is sorted by time
            counts[number] += 1
            lasts[number] = at
        reached = min((last for number, last in lasts.items() if counts[number] == each), default=None)
        if reached is not None and max(lasts.values()) > reached:
            columns = columns.until(reached)
        if columns.data or start == question.window.start:  # no empty part after the last point
            yield part, columns
        start = None if reached is None else time_of(reached) + MICROSECOND
