"""The values that flow from a source to the store."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from math import isfinite
from typing import NamedTuple

from model.errors import BadPoint
from model.flags import Quantity

MAX_ASSET = 100  # metrics.asset VARCHAR(100)
MAX_METRIC = 200  # metrics.metric_name VARCHAR(200)
DAY = timedelta(days=1)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # neither API has older values: an older date is an error


class Verb(StrEnum):
    """What a run does; also the name stored in pulls.kind."""

    PULL = "pull"
    BACKFILL = "backfill"
    SETTLE = "settle"


class Rhythm(StrEnum):
    """On which days a series can have a point; on other days a missing point is not a gap."""

    DAILY = "daily"
    WEEKDAYS = "weekdays"
    QUARTERLY = "quarterly"  # the days are not known, since fiscal years differ


class Target(NamedTuple):
    """One series that the config names, with the API's own identifier."""

    asset: str
    metric: str
    id: str
    kind: str = ""


class Series(NamedTuple):
    """One series of the table, by the names it has there."""

    source: str
    asset: str
    metric: str

    def __str__(self) -> str:
        return " ".join(self)


class Window(NamedTuple):
    """A half-open span of time, [start, end), in aware UTC."""

    start: datetime
    end: datetime

    @property
    def ordinals(self) -> range:
        """The numbers of its days: see datetime.date.toordinal."""
        return range(self.start.toordinal(), self.end.toordinal())

    def split(self, length: timedelta) -> list["Window"]:
        """The same span as adjoining windows no longer than `length`, the oldest first."""
        number = -((self.start - self.end) // length)  # rounded up
        starts = [self.start + place * length for place in range(number)]
        return [Window(start, min(start + length, self.end)) for start in starts]


class Deprecation(NamedTuple):
    """That an API has deprecated a metric."""

    since: str  # a month, such as "August 2025"
    replaced_by: str = ""  # the metric that the API has in its place, if any

    def __str__(self) -> str:
        return f"deprecated since {self.since}: {self.remedy}"

    @property
    def remedy(self) -> str:
        """What to do with a config that names it."""
        return f"use {self.replaced_by} in its place" if self.replaced_by else "nothing replaces it, so remove it"


class Metric(NamedTuple):
    """One metric of a source: for which kind of assets, in which runs, and how its history is dated."""

    kind: str  # of its assets; "" where the source has no kinds
    verbs: frozenset[Verb]
    needs_key: bool = False
    whole: bool = False  # the API always returns the whole history, whatever the window
    own_times: bool = False  # points of the history have times of their own; otherwise they are dated at midnight
    shift: timedelta = timedelta()  # added to the time of a point before its date is taken as its day
    live_name: str = ""  # the metric with the live value of the same quantity, if that has another name
    unit: str = ""  # for the axis of a chart; empty for a plain number, or where the API does not say
    deprecated: Deprecation | None = None  # the API may stop serving it
    definition_changed: str = ""  # when and how its meaning has changed, so that older values can't be compared
    flat_by_nature: bool = False  # a value may stay the same for weeks, without anything being wrong
    quantity: Quantity | None = None  # what it measures, if another source measures the same

    def day_of(self, at: datetime) -> date:
        """The UTC day to which a point of the history belongs."""
        return (at + self.shift).date()

    @property
    def note(self) -> str:
        """What a reader of its values must know, in one line; empty for most metrics."""
        return "; ".join(str(part) for part in (self.deprecated, self.definition_changed) if part)

    @property
    def live_only(self) -> bool:
        """Whether the API has only the value of today, so that a missed day is lost."""
        return Verb.BACKFILL not in self.verbs


class MetricFacts(NamedTuple):
    """What the views in the database must know about a metric of a source: see Metric."""

    source: str
    metric: str
    unit: str
    shift: timedelta
    live_only: bool


class Answered(NamedTuple):
    """A series for which the API has answered, and the days that were requested: None for a value of now."""

    asset: str
    metric: str
    days: Window | None = None  # whole UTC days, all closed; for a live-only metric the open day
    shift: timedelta = timedelta()  # the metric's
    api_id: str | None = None  # the API's own identifier, by which the series was requested


ENOUGH_DATES = 3


class Reason(StrEnum):
    """Why an answer is refused for some days of a series; the text is the one of the column refused.reason."""

    NOT_A_NUMBER = "not a number"
    NOT_A_DATE = "no possible date"
    NOT_A_NUMBER_NOW = "the live value is not a number"  # the history of that day may still be good
    NOT_BEGUN = "no value yet"  # in a long window, of a series without a value before the end of the window
    EMPTY = "no value in a long window"  # of any other series
    WITHDRAWN = "stored days are missing"  # more than a few; a person decides about these

    @property
    def is_flaw(self) -> bool:
        """Whether the API gave a point that can't be true; such a point is never stored."""
        return self in (Reason.NOT_A_NUMBER, Reason.NOT_A_DATE, Reason.NOT_A_NUMBER_NOW)

    @property
    def enough_dates(self) -> int:
        """On how many different UTC days answers must have been refused for it, before such an answer counts."""
        return 1 if self is Reason.NOT_BEGUN else ENOUGH_DATES


class Refused(NamedTuple):
    """Days of a series for which an answer is refused."""

    asset: str
    metric: str
    reason: Reason
    days: Window  # whole UTC days
    on: date  # the UTC day of the answer


@dataclass(slots=True)
class DataPoint:
    """One value of one series at one aware UTC time; raises BadPoint for what the table can't hold."""

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
            raise BadPoint(f"asset {self.asset!r} or metric {self.metric!r} holds a NUL character")


def number_of_days(windows: Iterable[Window]) -> int:
    """How many days these windows have together."""
    return sum((window.end - window.start) // DAY for window in windows)


def windows_of(ordinals: Collection[int]) -> list[Window]:
    """The days with these numbers as windows, sorted."""
    starts = sorted(day for day in ordinals if day - 1 not in ordinals)
    ends = sorted(day + 1 for day in ordinals if day + 1 not in ordinals)
    return [Window(_day(start), _day(end)) for start, end in zip(starts, ends, strict=True)]


def _day(ordinal: int) -> datetime:
    return datetime.fromordinal(ordinal).replace(tzinfo=UTC)


def midnight(at: datetime) -> datetime:
    """00:00 UTC of the day in which an aware UTC time falls."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)
