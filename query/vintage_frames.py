"""The functions of query_data about the values that points had over time, as DataFrames. Loads pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from db import vintages as stored
from db.session import clock
from query.answers import described, question_of
from query.frames import INDEX, TIME, table
from query.query_session import SESSION
from query.vintages import need_vintages, vintages_of
from sources import shift_of

if TYPE_CHECKING:
    import pandas as pd

    from query.time_arguments import When

SHARES = [f"changed_after_{days}d" for days in stored.AGES]
ALL = "all"  # the name of the last row


def vintages(asset: str, metric: str, source: str | None = None, start: When = None, end: When = None) -> pd.DataFrame:
    """Every value that each point of a series had: value, known_at, known_until, reason; by time and known_at.

    `as_of` shows a value from `known_at` up to but excluding `known_until`, which is NaT for the present value. The
    reason says why the value replaced the one before it, as in revisions(); it is "first" for the first one. Points of
    the open day are left out. A live-only metric has no vintages.
    """
    question = question_of(lambda names: names.many(metric, [asset], source), start, end)
    rows = [(each.at, *each[1:]) for each in vintages_of(SESSION.reader(), need_vintages(question))]
    columns = {INDEX: TIME, "value": float, "known_at": TIME, "known_until": TIME, "reason": object}
    made = table(rows, columns).set_index(INDEX)
    return described(made, question, asset=asset, metric=metric, source=source, start=start, end=end)


def first_release(
    asset: str, metric: str, source: str | None = None, start: When = None, end: When = None
) -> pd.DataFrame:
    """Each point of a series with its value as first known: value, known_at. See vintages()."""
    every = vintages(asset, metric, source, start, end)
    return every.loc[every["reason"] == stored.FIRST, ["value", "known_at"]]


def finality(metric: str, source: str | None = None) -> pd.DataFrame:
    """How late the values of a metric change, indexed by asset; the last row, "all", is that of all assets.

    `points` counts those of closed days. `changed_after_3d` is the share of points that changed more than three days
    after the end of their day. Only points that were known at that age, and that have reached it, can tell: the share
    is of these, and NaN if there are none; a history that was fetched years later tells nothing of its first days.
    `largest_change`, relative to the old value, and `last_change_days`, the greatest age of a value that changed, are
    of all changes seen here; NaN if there were none. Samples, values observed while their day was open, do not count.
    """
    question, reader = need_vintages(question_of(lambda names: names.many(metric, None, source))), SESSION.reader()
    series, now = question.series[0], reader.do(clock)
    shift = shift_of(series.source, series.metric)
    found = reader.do(lambda cursor: stored.finality(cursor, series.source, series.metric, shift, now))
    rows = [(each.asset or ALL, each.points, *each.shares, each.largest, each.last) for each in found]
    shares = dict.fromkeys([*SHARES, "largest_change", "last_change_days"], float)
    return table(rows, {"asset": object, "points": int, **shares}).set_index("asset")
