"""The records of the naive model: points, what is known of their days, and what a fresh start has saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from db.coverage import Name
from tests.db.test_vintages import Replaced

Key = tuple[Name, datetime]  # series and time of a point


@dataclass(slots=True)
class Point:
    """The value of a point, when the point was stored, and whether it is our own sample of the open day."""

    value: float
    loaded_at: datetime
    sample: bool


@dataclass(slots=True)
class Covered:
    """What is known of the days of a series, by their numbers."""

    answered: set[int] = field(default_factory=set)
    found: set[int] = field(default_factory=set)
    withdrawn: set[int] = field(default_factory=set)
    withdrawn_at: datetime | None = None
    verified_at: datetime | None = None
    rows: int = 0


@dataclass(slots=True)
class Refusals:
    """Refused days of a series for one reason, on how many dates, and the last of these."""

    days: set[int]
    dates: int
    last: date


class Waits(NamedTuple):
    """What the API says of a point, None for nothing, and the state in quarantine."""

    value: float | None
    state: str


class File(NamedTuple):
    """What a fresh start has saved."""

    points: Mapping[Key, Point]
    old: Mapping[Key, Sequence[Replaced]]


def merged(earlier: Sequence[Replaced], later: Sequence[Replaced]) -> list[Replaced]:
    """Two lists of old values as one: each keeps its order, and times are in order as far as that allows."""

    def ends(part: Sequence[Replaced]) -> list[datetime]:
        return [min(each.at for each in part[place:]) for place in range(len(part))]

    rows = [
        (end, number, place, each)
        for number, part in enumerate((earlier, later))
        for place, (end, each) in enumerate(zip(ends(part), part, strict=True))
    ]
    return [each for *_, each in sorted(rows, key=lambda row: row[:3])]
