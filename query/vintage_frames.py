"""DataFrames about the values that points had over time: vintages, first releases, finality. Loads pandas."""

import pandas as pd

from db import vintages as stored
from db.reader import Reader
from db.session import clock
from query.frames import INDEX, TIME, table
from query.question import Question
from query.vintages import vintages_of
from sources import shift_of

SHARES = [f"changed_after_{days}d" for days in stored.AGES]
ALL = "all"  # the name of the last row


def vintages(reader: Reader, question: Question) -> pd.DataFrame:
    """A row for each value that a point of the one series had."""
    rows = [(each.at, *each[1:]) for each in vintages_of(reader, question)]
    columns = {INDEX: TIME, "value": float, "known_at": TIME, "known_until": TIME, "reason": object}
    return table(rows, columns).set_index(INDEX)


def first_release(reader: Reader, question: Question) -> pd.DataFrame:
    """Each point of the one series with the first of its values that was known."""
    every = vintages(reader, question)
    return every.loc[every["reason"] == stored.FIRST, ["value", "known_at"]]


def finality(reader: Reader, question: Question) -> pd.DataFrame:
    """How late the values of a metric change, for each asset and for all."""
    series, now = question.series[0], reader.do(clock)
    shift = shift_of(series.source, series.metric)
    found = reader.do(lambda cursor: stored.finality(cursor, series.source, series.metric, shift, now))
    rows = [(each.asset or ALL, each.points, *each.shares, each.largest, each.last) for each in found]
    shares = dict.fromkeys([*SHARES, "largest_change", "last_change_days"], float)
    return table(rows, {"asset": object, "points": int, **shares}).set_index("asset")
