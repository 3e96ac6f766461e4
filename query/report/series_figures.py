"""The figures of a series in the report: its latest value, those 1, 7 and 30 days before, and its chart."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from db.reader import Reader
from model.amount_text import UNIT_MARKS
from model.values import DAY, Metric, Rhythm, Series
from query.flag_rules import Day, days_of
from query.question import Question, answer, time_of
from query.report.changes import values_before
from query.report.line_chart import draw
from sources import metric_of, unit_of


def figures(reader: Reader, series: Iterable[Series], today: datetime) -> Iterator[dict[str, Any]]:
    """The figures of each series that has a value of a closed day, in the same order; one is read at a time.

    The open day counts only where the metric exists only live: beside sums of whole days, the sum of half a day would
    look like a fall. A value of the open day has no changes.
    """
    for each in series:
        metric = metric_of(each.source, each.metric) or Metric("", frozenset())
        end = today + DAY if metric.live_only else today
        rows = sorted(answer(reader, Question([each])).rows())
        if days := days_of(((time_of(at), value) for _, at, value in rows), metric, Rhythm.DAILY, end.date()):
            yield _figures(each, days, is_open=days[-1].date == today.date())


def _figures(series: Series, days: list[Day], *, is_open: bool) -> dict[str, Any]:
    values, unit = [day.value for day in days], unit_of([series])
    return {
        "series": series,
        "unit": unit,
        "unit_text": "" if unit in UNIT_MARKS else unit,
        "points": len(days),
        "first": days[0].date,
        "last": days[-1].date,
        "is_open": is_open,
        "latest": values[-1],
        "before": {} if is_open else values_before(days),
        "low": min(values),
        "high": max(values),
        "chart": draw(days, unit),
    }
