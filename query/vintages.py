"""The vintages of a series: every value that its points had, and since when and until when each was known."""

from db.reader import Reader
from db.session import clock
from db.vintages import Vintage, vintages
from model.errors import BadQuestion
from model.values import Window, midnight
from query.question import Question
from sources import metric_of


def vintages_of(reader: Reader, question: Question) -> list[Vintage]:
    """The vintages of the one series of a question, without points of the open day, whose values may be overwritten."""
    (series,) = question.series
    today = midnight(reader.do(clock))
    window = Window(question.window.start, min(question.window.end, today))
    return reader.do(lambda cursor: vintages(cursor, series, window))


def need_vintages(question: Question) -> Question:
    """The same question; raises BadQuestion if its metric is live-only."""
    for source, _, name in question.series:
        metric = metric_of(source, name)
        if metric and metric.live_only:
            raise BadQuestion(
                f"{name} of {source} is live-only and has no vintages: a pull overwrites its value while the day is "
                "open, and the API has no history that could restate it"
            )
    return question
