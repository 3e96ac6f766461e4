"""What the tests of the database share: points to load, the types of its fixtures, and helpers that query and wait."""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.coverage import Name
from db.load import Counts
from db.points import of_series
from db.pulls import RunEnd
from db.reader import BaseReader
from db.statements import fetch
from db.store import Store
from model.errors import ConfigurationError
from model.values import DAY, Answered, DataPoint, Series, Verb, Window, midnight
from sources.defillama import DefiLlama

PULL, BACKFILL = Verb.PULL, Verb.BACKFILL
START = datetime(2024, 1, 1, tzinfo=UTC)
OWN_TIMES = DefiLlama.own_times()

# a cluster serves the databases of all tests at once
OF_SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE"
DONE = RunEnd("success", records=3, calls=2, failed=0, received=4, failure=None)

Rows = Callable[..., list[tuple[Any, ...]]]
Opener = Callable[[Verb], Store]
Values = Callable[[], dict[tuple[str, str, datetime], float]]


class AdoptingStore(Store):
    """A store that adopts restated values after each load, as a run does that finds nothing doubtful."""

    adopts_only: Sequence[Name] = ()  # series; empty for all

    def load(self, *what: Any, **more: Any) -> Counts:
        """Load and adopt; the counts are those of both."""
        counts = super().load(*what, **more)
        adopted = self.adopt([each for each in self.undecided() if each in (self.adopts_only or [each])], OWN_TIMES)
        counts.changed += adopted.changed
        counts.kept -= adopted.changed
        return counts


def this_midnight() -> datetime:
    """The UTC midnight at which today began: a test runs on one day, but a run of all tests may see two."""
    return midnight(datetime.now(UTC))


def point(asset: str = "solana", day: float = 0, value: float = 1.0, metric: str = "TVL") -> DataPoint:
    """A point some days after START."""
    return DataPoint(asset, metric, START + day * DAY, value)


def points(*numbers: float, asset: str = "solana", metric: str = "TVL") -> list[DataPoint]:
    """A point of one series on each of these days after START."""
    return [point(asset, number, metric=metric) for number in numbers]


def days(first: float, end: float) -> Window:
    """The days from `first` up to and without `end`, counted from START."""
    return Window(START + first * DAY, START + end * DAY)


def asked(
    first: float, end: float, asset: str = "solana", metric: str = "TVL", shift: timedelta | None = None
) -> Answered:
    """An answer for a series, for these days; points have DefiLlama's shift unless one is given."""
    return Answered(asset, metric, days(first, end), OWN_TIMES.get(metric, timedelta()) if shift is None else shift)


def grid(assets: int, days: int, value: float = 1.0, first_day: int = 0) -> list[DataPoint]:
    """A point for each asset and day, in the order of the key."""
    return [point(f"asset-{asset}", first_day + day, value) for asset in range(assets) for day in range(days)]


def ask(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Run statements on a database; the rows of the last one."""
    with closing(psycopg2.connect(url)) as session, session, session.cursor() as cursor:
        cursor.execute(statement)
        return [] if cursor.description is None else cursor.fetchall()


def read(reader: BaseReader, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    """All rows of a statement that a reader runs."""
    return reader.do(lambda cursor: fetch(cursor, statement, values))


def as_role(url: str, role: str) -> str:
    """The same database for another role."""
    return url.replace("user=metrics", f"user={role}")


def refusal(work: Callable[[], object], *hidden: str, code: int = 2) -> str:
    """The one line that refuses a configuration or names a database that is away; it must not show `hidden` words."""
    with pytest.raises(ConfigurationError) as caught:
        work()
    text = str(caught.value)
    assert caught.value.exit_code == code
    assert "\n" not in text
    assert not [word for word in hidden if word in text]
    return text


def end(rows: Rows, name: str) -> None:
    """Have the server end the sessions with an application_name, and wait until it has."""
    rows(f"SELECT pg_terminate_backend(pid, 10000) {OF_SESSIONS} %s", f"%{name}%")


def run_row(rows: Rows, pull_id: int) -> tuple[object, ...]:
    """The row of a run in pulls, without its times."""
    columns = "source_name, kind, status, records_count, calls, failed_calls, points_received, failure"
    return rows(f"SELECT {columns} FROM pulls WHERE pull_id = %s", pull_id)[0]  # noqa: S608 - our own columns


def now(rows: Rows) -> datetime:
    """The database's clock."""
    at: datetime = rows("SELECT clock_timestamp()")[0][0]
    return at.astimezone(UTC)


def points_of_series(
    cursor: Any, source: str, asset: str, metric: str, start: datetime, end: datetime, as_of: datetime | None = None
) -> list[tuple[datetime, float | None]]:
    """The points of one series in [start, end), as they were known at an instant if `as_of` is given."""
    asked = of_series([Series(source, asset, metric)], Window(start, end), as_of)
    cursor.execute(*asked)
    return [(at, value) for _, at, value in sorted(cursor)]


def known_at(session: Connection, as_of: datetime, source: str) -> list[float | None]:
    """The values of DefiLlama's or Artemis's series solana TVL as they were known at an instant."""
    with session.cursor() as cursor:
        return [value for _, value in points_of_series(cursor, source, "solana", "TVL", START, this_midnight(), as_of)]
