"""When runs recur."""

from datetime import datetime, timedelta
from typing import NamedTuple

from model.values import DAY, midnight

HOUR = timedelta(hours=1)


class Schedule(NamedTuple):
    """One slot in each period, a fixed time after its start; a period is the UTC day or an equal part of it."""

    every: timedelta  # length of the period
    at: timedelta  # from the start of the period to the slot
    whole_every: timedelta | None = None  # how often a settle also compares what the API only answers by window

    def slot(self, now: datetime) -> datetime:
        """The latest slot at or before an aware UTC time."""
        first = midnight(now) + self.at
        return first + (now - first) // self.every * self.every

    def __str__(self) -> str:
        hour, minute = divmod(self.at // timedelta(minutes=1), 60)
        if self.every == HOUR:
            return f"hourly at XX:{minute:02} UTC"
        often = "daily" if self.every == DAY else f"each {self.every}"
        return f"{often} at {hour:02}:{minute:02} UTC"


def hourly(minute: int) -> Schedule:
    """Once an hour, at this minute."""
    return Schedule(HOUR, timedelta(minutes=minute))


def daily(hour: int, minute: int, whole_every: timedelta | None = None) -> Schedule:
    """Once a day, at this time in UTC."""
    return Schedule(DAY, timedelta(hours=hour, minutes=minute), whole_every)
