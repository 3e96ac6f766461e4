"""Turns the time arguments of users into aware UTC times and windows."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from model.errors import BadQuestion
from model.values import DAY, EARLIEST, Window, midnight

if TYPE_CHECKING:
    import numpy as np

    When = date | datetime | np.datetime64 | str | None  # a pandas Timestamp is a datetime
    Lag = timedelta | str | None  # a pandas Timedelta is a timedelta

LATEST = datetime(9999, 12, 31, tzinfo=UTC)
ALWAYS = Window(EARLIEST, LATEST)
HOUR = timedelta(hours=1)
LONGEST_LAG = 36_500 * DAY


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


def past_instant(as_of: "When") -> datetime | None:
    """The instant of an `as_of` argument, as in `instant`.

    Raises BadQuestion if it is in the future by this machine's clock, even by a second: a value may still be stored
    until then, and the answer for an instant must never change.
    """
    at, now = instant(as_of), datetime.now(UTC)
    if at and at > now:
        raise BadQuestion(f"as_of {as_of} is in the future: give a time up to now, {now:%Y-%m-%d %H:%M:%S} UTC")
    return at


def lag_of(lag: "Lag") -> timedelta | None:
    """The time span of a `lag` argument; raises BadQuestion if it is none, or negative."""
    span = _span(lag)
    if lag is not None and (span is None or not timedelta() <= span <= LONGEST_LAG):
        raise BadQuestion(
            f"{lag!r} is not a lag: write 3d or 12h (after the end of the day of a point), or give a timedelta from 0 "
            f"to {LONGEST_LAG.days} days"
        )
    return span


def lag_text(lag: timedelta) -> str:
    """The shortest text of a lag."""
    for unit, sign in ((DAY, "d"), (HOUR, "h")):
        if lag % unit == timedelta():
            return f"{lag // unit}{sign}"
    return str(lag)


def window(start: "When", end: "When") -> Window:
    """The window [start, end), unlimited on a side that is None; raises BadQuestion if it is empty."""
    span = Window(instant(start) or EARLIEST, instant(end) or LATEST)
    if span.start >= span.end:
        first = f"{EARLIEST:%Y-%m-%d} by default" if start is None else start
        last = f"{LATEST:%Y-%m-%d} by default" if end is None else end
        raise BadQuestion(f"the window is empty: its start, {first}, must be before its end, {last}")
    return span


def _span(lag: "Lag") -> timedelta | None:
    if isinstance(lag, str) and (parts := re.fullmatch(r"([0-9]{1,6})([dh])", lag)):
        return int(parts[1]) * (DAY if parts[2] == "d" else HOUR)
    if isinstance(lag, timedelta):
        return timedelta(lag.days, lag.seconds, lag.microseconds)  # pandas has a subclass
    return None


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
