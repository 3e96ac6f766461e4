"""The values that flow from a source to the store."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from math import isfinite
from typing import NamedTuple

from model.errors import BadPoint

MAX_ASSET = 100  # metrics.asset VARCHAR(100)
MAX_METRIC = 200  # metrics.metric_name VARCHAR(200)
DAY = timedelta(days=1)


class Verb(StrEnum):
    """What a run does; also the name stored in pulls.kind."""

    PULL = "pull"
    BACKFILL = "backfill"
    SETTLE = "settle"


class Rhythm(StrEnum):
    """Which days of a series can have a point at all; on the others its absence is no hole."""

    DAILY = "daily"
    WEEKDAYS = "weekdays"
    QUARTERLY = "quarterly"  # of the fiscal year, so the very days are not known


class Target(NamedTuple):
    """One series that the config asks for, with what the API calls it."""

    asset: str
    metric: str
    id: str
    kind: str = ""


class Series(NamedTuple):
    """One series of the table, by its names there."""

    source: str
    asset: str
    metric: str

    def __str__(self) -> str:
        return " ".join(self)


class Window(NamedTuple):
    """A half-open span of time, [start, end), in aware UTC."""

    start: datetime
    end: datetime

    def __contains__(self, at: object) -> bool:
        return isinstance(at, datetime) and self.start <= at < self.end

    def split(self, length: timedelta) -> list["Window"]:
        """The same span as adjoining windows no longer than `length`, the oldest first."""
        pieces, start = [], self.start
        while start < self.end:
            end = min(start + length, self.end)
            pieces.append(Window(start, end))
            start = end
        return pieces


class Answered(NamedTuple):
    """A series for which the API has answered, and the days that it was asked for: None for a value of now."""

    asset: str
    metric: str
    days: Window | None = None  # whole UTC days, all closed but that of a value which exists only live
    shift: timedelta = timedelta()  # added to the time of a point before its date is taken as its day
    api_id: str | None = None  # what the API calls it, by which it was asked


@dataclass(slots=True)
class DataPoint:
    """One value of one series at one aware UTC time; refuses, as BadPoint, what the table can't hold."""

    asset: str
    metric: str
    at: datetime
    value: float

    def __post_init__(self) -> None:
        if self.at.tzinfo is not UTC:
            raise BadPoint(f"time {self.at} is not in UTC")
        if not isfinite(self.value):
            raise BadPoint(f"value {self.value} is not finite")
        if not (0 < len(self.asset) <= MAX_ASSET and 0 < len(self.metric) <= MAX_METRIC):
            raise BadPoint(f"asset {self.asset!r} or metric {self.metric!r} does not fit its column")
        if "\0" in self.asset or "\0" in self.metric:
            raise BadPoint(f"asset {self.asset!r} or metric {self.metric!r} holds a NUL, which no column can")


def day_of(at: datetime, shift: timedelta = timedelta()) -> date:
    """The UTC day that a point at an aware UTC time belongs to; `shift` is what its metric adds to such a time."""
    return (at + shift).date()


def midnight(at: datetime) -> datetime:
    """00:00 UTC of the day in which an aware UTC time falls."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
