"""An ending of a question: rows for people and files, the metrics of an asset side by side by time."""

from collections.abc import Iterator
from datetime import datetime

from db.reader import Reader
from query.csv_and_json import Cells
from query.question import Question, newest, portions, time_of

POINTS = 50_000  # held at once


def side_by_side(reader: Reader, question: Question) -> Iterator[Cells]:
    """(asset, time, a value for each metric of the question), sorted by asset and time.

    A value is None where the asset has no point at that time. The series are those of one source.
    """
    metrics = question.metrics
    for part, columns in portions(reader, question, POINTS):
        places = [(series.asset, metrics.index(series.metric)) for series in part.series]
        found: dict[tuple[str, int], list[float | None]] = {}
        for number, at, value in columns.rows():
            asset, place = places[number]
            values = found.get((asset, at))
            if values is None:
                values = found[asset, at] = [None] * len(metrics)
            values[place] = value if value == value else None
        for asset, at in sorted(found):
            yield asset, time_of(at), *found[asset, at]


def newest_of_each(reader: Reader, question: Question) -> list[tuple[str, datetime, float | None]]:
    """(asset, time, value) of the newest point of each series that has any, in the order of the question."""
    return [
        (question.series[number].asset, time_of(at), value if value == value else None)
        for number, at, value in sorted(newest(reader, question).rows())
    ]
