"""Lags, the time since when a value is known, vintages and finality, against a naive model of what `as_of` shows."""

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.points import How, latest, of_series, on_day, withdrawn_days
from db.reader import NEVER, Reader
from db.vintages import AGES, Finality, Vintage, finality, vintages
from model.values import DAY, Series, Window, midnight
from query.question import time_of
from query.time_arguments import ALWAYS
from tests.tables import START, Rows, read

pytestmark = pytest.mark.every_postgres

HOUR = timedelta(hours=1)
SHIFTS = {"TVL": timedelta(), "PRICE": 12 * HOUR}
WANTED = [Series("x", asset, metric) for asset in ("b", "a") for metric in SHIFTS]
HOW = How(shifts=[SHIFTS[each.metric] for each in WANTED])
LAGS = [timedelta(), 7 * HOUR, 3 * DAY, 10 * DAY]
INSERT = "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) VALUES (%s, %s, %s, %s, %s) RETURNING id"
LOAD = "INSERT INTO loads (source, first_id, last_id, loaded_at) VALUES ('x', %s, %s, %s)"
REVISE = """INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at, reason)
VALUES (%s, %s, %s, %s, %s, %s, %s)"""
KNOW = "INSERT INTO coverage (source, asset, metric_name) VALUES (%s, %s, %s)"
WITHDRAW = """UPDATE coverage SET withdrawn = datemultirange(daterange(%s, %s))
WHERE (source, asset, metric_name) = (%s, %s, %s)"""
REASONS = ("sample", "restated", "accepted", None)


class Replaced(NamedTuple):
    """An old value."""

    value: float
    at: datetime
    reason: str | None


class Stored(NamedTuple):
    """A point with all that the tables know of it."""

    series: Series
    at: datetime
    value: float
    loaded_at: datetime | None
    old: tuple[Replaced, ...]

    def shown(self, instant: datetime) -> int | None:
        """The number of the value that `as_of` shows at an instant; None if it shows none."""
        if self.loaded_at is None or self.loaded_at > instant or self.at >= midnight(instant):
            return None
        return max((number for number, each in enumerate(self.old, start=1) if each.at <= instant), default=0)

    def values(self) -> list[float]:
        """All values that it ever had."""
        return [*(each.value for each in self.old), self.value]

    def spans(self) -> Iterator[tuple[int, datetime, datetime | None]]:
        """The number of each value that is shown at any time, and from when until when."""
        times = sorted({*filter(None, [self.loaded_at, *(each.at for each in self.old)]), midnight(self.at) + DAY})
        since: datetime | None = None
        for at, after in pairwise([*times, None]):
            assert at is not None
            number = self.shown(at)
            since = since or at
            if number is not None and (after is None or self.shown(after) != number):
                yield number, since, after
            if after and self.shown(after) != number:
                since = None

    def known_at(self, number: int) -> datetime:
        """Since when its value of this number is shown."""
        return next(since for value, since, _ in self.spans() if value == number)

    def closed(self) -> datetime:
        """The end of its day."""
        return midnight(self.at + SHIFTS[self.series.metric]) + DAY


@pytest.fixture(params=range(4))
def history(request: pytest.FixtureRequest, rows: Rows) -> list[Stored]:
    """Rows of random loads, or of none, with revisions at random times, also in the wrong order."""
    chance = random.Random(request.param)  # noqa: S311 - repeatable numbers

    def some_time(days: int) -> datetime:
        return START + chance.randint(0, days * 24) * HOUR

    for series in WANTED:
        rows(KNOW, *series)
    found = []
    keys = [(series, START + (number + chance.choice((0, 0.3, 0.6))) * DAY) for series in WANTED for number in range(9)]
    chance.shuffle(keys)
    while keys:
        ids, loaded_at = list[int](), some_time(14) if chance.random() < 0.8 else None
        for series, at in [keys.pop() for _ in range(min(len(keys), chance.randint(1, 4)))]:
            value = float(chance.randint(1, 9))
            ids += rows(INSERT, *series, at, value)[0]
            times = [some_time(40) for _ in range(chance.choice((0, 0, 1, 2, 4)))]
            if chance.random() < 0.7:  # otherwise a clock was ahead
                times.sort()
            old = tuple(Replaced(float(chance.randint(1, 9)), each, chance.choice(REASONS)) for each in times)
            found.append(Stored(series, at, value, loaded_at, old))
            for each in old:
                rows(REVISE, *series, at, *each)
        if loaded_at:
            rows(LOAD, min(ids), max(ids), loaded_at)
    return sorted(found, key=lambda each: (WANTED.index(each.series), each.at))


Row = tuple[int, datetime, float, datetime | None]


def asked(reader: Reader, how: How, as_of: datetime | None) -> list[Row]:
    """The points with the time since when each is known."""
    how = how._replace(extras=["known_at"])
    columns = reader.copy(*of_series(WANTED, ALWAYS, as_of, how=how), how.extras)
    return sorted(
        (number, time_of(at), value, None if known == NEVER else time_of(known))
        for number, at, value, known in columns.rows()
    )


def row(stored: Stored, number: int) -> Row:
    """What is expected of a point of which the value of this number is shown."""
    known_at = stored.known_at(number) if stored.loaded_at else None
    return WANTED.index(stored.series), stored.at, stored.values()[number], known_at


def instants(history: Sequence[Stored]) -> list[datetime]:
    """Every time at which anything changed, and the moments before them."""
    times = {each.loaded_at for each in history if each.loaded_at} | {old.at for each in history for old in each.old}
    times |= {START + day * DAY for day in range(60)}
    return sorted(times | {each - timedelta.resolution for each in times})


def test_a_value_is_known_since_the_first_instant_that_shows_it(reader: Reader, history: list[Stored]) -> None:
    assert asked(reader, HOW, None) == [row(each, len(each.old)) for each in history]
    for instant in instants(history)[::7]:
        known = [row(each, number) for each in history if (number := each.shown(instant)) is not None]
        assert asked(reader, HOW, instant) == known


def test_with_a_lag_each_point_is_as_it_was_known_so_long_after_its_day(reader: Reader, history: list[Stored]) -> None:
    lengths = set()
    for lag in LAGS:
        for limit in instants(history)[::29]:
            then = [(each, each.closed() + lag) for each in history if each.closed() + lag <= limit]
            wanted = [row(each, number) for each, at in then if (number := each.shown(at)) is not None]
            assert asked(reader, HOW._replace(lag=lag), limit) == wanted
            plain = read(reader, *of_series(WANTED, ALWAYS, limit, how=HOW._replace(lag=lag)))
            assert sorted(value for *_, value in plain) == sorted(value for _, _, value, _ in wanted)
            lengths.add(len(wanted))
    assert len(lengths) >= 5


def test_vintages_are_the_values_that_as_of_shows_at_each_instant(session: Connection, history: list[Stored]) -> None:
    for series in WANTED:
        wanted = []
        for each in history:
            shown = list(each.spans())
            if each.loaded_at is None:
                ends = [min(old.at for old in each.old[number:]) for number in range(len(each.old))]
                shown = [(number, None, end) for number, end in enumerate([*ends, None])]  # type: ignore[misc]
            for place, (number, since, until) in enumerate(shown):
                reason = each.old[number - 1].reason or "unknown" if place else "first"
                if each.series == series:
                    wanted.append(Vintage(each.at, each.values()[number], since, until, reason))
        with session.cursor() as cursor:
            assert vintages(cursor, series, ALWAYS) == wanted
            middle = Window(START + 3 * DAY, START + 5 * DAY)
            assert vintages(cursor, series, middle) == [each for each in wanted if middle.start <= each.at < middle.end]


@pytest.mark.parametrize("metric", SHIFTS)
def test_finality_counts_the_changes_of_the_points_that_can_tell(
    metric: str, session: Connection, history: list[Stored]
) -> None:
    now = START + 25 * DAY + 5 * HOUR

    def told(points: Sequence[Stored], asset: str | None) -> Finality:
        ages, sizes, shares = list[float](), list[float](), list[float | None]()
        last: dict[Stored, datetime] = {}
        for each in points:
            for (before, *_), (after, since, _) in pairwise(each.spans()):
                old, new = each.values()[before], each.values()[after]
                if each.old[after - 1].reason != "sample" and old != new:
                    last[each] = since
                    ages.append((since - each.closed()) / DAY)
                    sizes.append(abs(new - old) / old)
        for days in AGES:
            at = {each: each.closed() + days * DAY for each in points}
            able = [each for each in points if at[each] <= now and each.shown(at[each]) is not None]
            changed = [each for each in able if each in last and last[each] > at[each]]
            shares.append(len(changed) / len(able) if able else None)
        return Finality(asset, len(points), shares, max(sizes, default=None), max(ages, default=None))

    of_metric = [each for each in history if each.series.metric == metric]
    with session.cursor() as cursor:
        found = finality(cursor, "x", metric, SHIFTS[metric], now)
    assets: list[str | None] = ["a", "b", None]
    for each, name in zip(found, assets, strict=True):
        wanted = told([one for one in of_metric if name in (None, one.series.asset)], name)
        assert (each.asset, each.points) == (wanted.asset, wanted.points)
        assert [*each.shares, each.largest, each.last] == pytest.approx([*wanted.shares, wanted.largest, wanted.last])
    assert None not in found[-1].shares[:3]


def test_withdrawn_days_are_marked_by_the_day_of_each_point(reader: Reader, history: list[Stored], rows: Rows) -> None:
    gone = {(series, 2 + number): series.asset == "a" for number, series in enumerate(WANTED)}
    for (series, day), withdrawn in gone.items():
        days = [START.date() + DAY * day, START.date() + DAY * (day + 2)]
        rows(WITHDRAW, *(days if withdrawn else [days[0], days[0]]), *series)

    def is_gone(number: int, at: datetime) -> bool:
        series = WANTED[number]
        day = (midnight(at + SHIFTS[series.metric]) - START) // DAY
        return any(gone[key] and key[0] == series and key[1] <= day < key[1] + 2 for key in gone)

    how = HOW._replace(extras=["withdrawn", "known_at"])
    for as_of, lag in ((None, None), (START + 20 * DAY, None), (START + 30 * DAY, DAY)):
        found = list(reader.copy(*of_series(WANTED, ALWAYS, as_of, how=how._replace(lag=lag)), how.extras).rows())
        assert [mark for *_, mark, _ in found] == [is_gone(number, time_of(at)) for number, at, *_ in found]
        assert {mark for *_, mark, _ in found} == {True, False}
        last = {number: row for number, *row in found}
        newest = reader.copy(*latest(WANTED, as_of, how=how._replace(lag=lag)), how.extras).rows()
        assert {number: row for number, *row in newest} == last
    whole = Window(START, START + 30 * DAY)
    of_day = read(reader, *on_day("x", "PRICE", whole, how=How(None, ["withdrawn"], [SHIFTS["PRICE"]])))
    assert sorted(of_day) == sorted(
        (each.series.asset, each.at, each.value, is_gone(WANTED.index(each.series), each.at))
        for each in history if each.series.metric == "PRICE"
    )  # fmt: skip
    first = START.date()
    assert reader.do(lambda cursor: withdrawn_days(cursor, WANTED[1:])) == [
        (WANTED[3], first + 5 * DAY, first + 6 * DAY), (WANTED[2], first + 4 * DAY, first + 5 * DAY),
    ]  # fmt: skip
