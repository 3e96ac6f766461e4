"""How points are read from the tables: a question names series, SQL returns columns, at once or in portions."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from db.coverage import stored_series
from db.points import PLAIN, How, latest, of_series, withdrawn_days
from db.reader import KNOWN_AT, NEVER, BaseReader, Columns
from model.values import DAY, EARLIEST, Series, Window, midnight
from query.time_arguments import ALWAYS, LATEST
from sources import shift_of

POINTS_A_DAY = 24  # the most that a series has, for an estimate of the points in a window
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # the times of Columns count from here
MICROSECOND = timedelta(microseconds=1)


class Question(NamedTuple):
    """Which points to read: of these series, in a window; with `as_of`, as they were known at that instant.

    With `daily`, one point a day, for the days whose midnights lie in the window. With `lag`, each point is as it was
    known so long after the end of its day; a point is left out if that is in the future, or after `as_of`. `extras` are
    further columns of the answer: see db.reader.EXTRAS.
    """

    series: Sequence[Series]
    window: Window = ALWAYS
    as_of: datetime | None = None
    daily: bool = False
    lag: timedelta | None = None
    extras: Sequence[str] = ()

    @property
    def how(self) -> How:
        """How the points are shown."""
        if self.lag is None and not self.extras:
            return PLAIN
        return How(self.lag, self.extras, [shift_of(each.source, each.metric) for each in self.series])

    @property
    def metrics(self) -> list[str]:
        """The metrics of the series, in the order in which they first appear."""
        return list(dict.fromkeys(each.metric for each in self.series))


def answer(reader: BaseReader, question: Question, most: int | None = None) -> Columns:
    """The points that a question selects; with `most`, only the first points of each series, up to this number.

    For a daily question, the answer also has the points of one day before and one day after the window: they may belong
    to days in the window.
    """
    window = question.window
    if question.daily:
        window = Window(max(window.start, EARLIEST) - DAY, min(window.end, LATEST - DAY) + DAY)
    return reader.copy(*of_series(question.series, window, question.as_of, most, question.how), question.extras)


def newest(reader: BaseReader, question: Question) -> Columns:
    """The newest point of each series that has any; the window does not count."""
    return reader.copy(*latest(question.series, question.as_of, question.how), question.extras)


def withdrawn_texts(reader: BaseReader, question: Question) -> dict[str, str]:
    """The days in the window that the provider has withdrawn, as text, for each series that has such days."""
    start, end = (min(each, LATEST) for each in question.window)
    if question.daily:  # whole days, whose midnights lie in the window
        start = midnight(min(start, LATEST - DAY) + DAY - MICROSECOND)
    found: dict[str, list[str]] = {}
    for series, first, last in reader.do(lambda cursor: withdrawn_days(cursor, question.series)):
        shift = timedelta() if question.daily else shift_of(series.source, series.metric)
        first = max(first, (start + shift).date())
        last = min(last, (end + shift - MICROSECOND).date())
        if first <= last:
            found.setdefault(str(series), []).append(_days(first, last))
    return {name: ", ".join(days) for name, days in found.items()}


def portions(reader: BaseReader, question: Question, most: int) -> Iterator[tuple[Question, Columns]]:
    """The same question in parts of about `most` points, each with its answer; sorted by source and asset.

    A part has one or more whole assets, or a span of time of one asset that has more points; of a daily question always
    whole assets. Each part is read on its own: no transaction is open while the caller works, and each part shows what
    was stored when it was read.
    """
    for part in _whole_assets(reader, question, most):
        if question.daily or len({each[:2] for each in part.series}) > 1:
            yield part, answer(reader, part)
        else:
            yield from _pieces(reader, part, most)


def time_of(microseconds: int) -> datetime:
    """A time of Columns, in aware UTC."""
    return EPOCH + timedelta(microseconds=microseconds)


def extra_cells(extras: Sequence[str], cells: Sequence[Any]) -> list[Any]:
    """The extras of a row of Columns, with times in aware UTC; None for a value that was never known."""
    return [
        cell if extra != KNOWN_AT else None if cell == NEVER else time_of(cell)
        for extra, cell in zip(extras, cells, strict=True)
    ]


def _days(first: date, last: date) -> str:
    return f"{first}" if first == last else f"{first} to {last}"


def _whole_assets(reader: BaseReader, question: Question, most: int) -> Iterator[Question]:
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


def _pieces(reader: BaseReader, question: Question, most: int) -> Iterator[tuple[Question, Columns]]:
    """Parts of one asset: each reads the same number of points of each series, and ends at the time that all reach."""
    each = most // len(question.series) or 1
    start: datetime | None = question.window.start
    while start:
        part = question._replace(window=Window(start, question.window.end))
        columns = answer(reader, part, each)
        counts, lasts = Counter[int](), dict[int, int]()
        for number, at, *_ in columns.rows():  # each series is sorted by time
            counts[number] += 1
            lasts[number] = at
        reached = min((last for number, last in lasts.items() if counts[number] == each), default=None)
        if reached is not None and max(lasts.values()) > reached:
            columns = columns.until(reached)
        if columns.data or start == question.window.start:  # no empty part after the last point
            yield part, columns
        start = None if reached is None else time_of(reached) + MICROSECOND
