"""When runs recur: a slot in each period of the UTC day."""

from datetime import datetime, timedelta
from typing import NamedTuple

from model.values import DAY, midnight

HOUR = timedelta(hours=1)


class Schedule(NamedTuple):
    """A slot in each period, at a fixed time after its begin; periods are parts of the UTC day."""

    every: timedelta  # a day, or a part of one
    at: timedelta  # since the begin of the period

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
    """Once an hour, at this minute of it."""
    return Schedule(HOUR, timedelta(minutes=minute))


def daily(hour: int, minute: int) -> Schedule:
    """Once a day, at this time, UTC."""
    return Schedule(DAY, timedelta(hours=hour, minutes=minute))
