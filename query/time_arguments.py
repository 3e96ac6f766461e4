"""Turns the time arguments of users into aware UTC times and windows."""

import re
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from model.errors import BadQuestion
from model.values import DAY, Window, midnight
from sources.base import EARLIEST

if TYPE_CHECKING:
    import numpy as np

    When = date | datetime | np.datetime64 | str | None  # a pandas Timestamp is a datetime

LATEST = datetime(9999, 12, 31, tzinfo=UTC)
ALWAYS = Window(EARLIEST, LATEST)


def instant(when: "When") -> datetime | None:
    """The aware UTC time of an argument: a date is its midnight, a time without a zone is UTC, None is None.

    A year or a month is its first midnight, and 30d is the midnight 30 days before today's.

    Raises BadQuestion for anything else; its message names the right forms.
    """
    try:
        return None if when is None else _utc(when)
    except (ValueError, OverflowError) as error:
        raise BadQuestion(
            f"{when!r} is not a time: write 2026-11-17, 2026-11-17T09:00, 2026-11 (its first day), 2026 or 30d (the day"
            " 30 days ago), or give a date, a datetime, a pandas Timestamp or a np.datetime64"
        ) from error


def window(start: "When", end: "When") -> Window:
    """The window [start, end), unlimited on a side that is None; raises BadQuestion if it is empty."""
    span = Window(instant(start) or EARLIEST, instant(end) or LATEST)
    if span.start >= span.end:
        first = f"{EARLIEST:%Y-%m-%d} by default" if start is None else start
        last = f"{LATEST:%Y-%m-%d} by default" if end is None else end
        raise BadQuestion(f"the window is empty: its start, {first}, must be before its end, {last}")
    return span


def _utc(at: Any) -> datetime:
    """The aware UTC time; raises ValueError unless `at` is a date, a time, or text of one."""
    if isinstance(at, str):
        at = _of_text(at)
    if type(at).__module__ == "numpy" and type(at).__name__ == "datetime64":
        import pandas as pd  # a caller with such a value has loaded numpy already

        at = pd.Timestamp(at)
    if not isinstance(at, date) or at != at:
        raise ValueError(at)
    if hasattr(at, "to_pydatetime"):
        at = at.to_pydatetime(warn=False)  # the database has no nanoseconds
    if not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day, tzinfo=UTC)
    utc: datetime = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return utc


def _of_text(text: str) -> datetime:
    if days := re.fullmatch(r"([0-9]+)d", text):
        return midnight(datetime.now(UTC)) - int(days[1]) * DAY
    if re.fullmatch("[0-9]{4}", text):
        return datetime.fromisoformat(f"{text}-01-01")
    if re.fullmatch("[0-9]{4}-[0-9]{2}", text):
        return datetime.fromisoformat(f"{text}-01")
    return datetime.fromisoformat(text)
