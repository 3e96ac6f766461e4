"""Coverage by month, against the table that it speaks of."""

import random
from collections import Counter
from datetime import date

import pytest

from db.coverage import SeriesMap
from model.values import DAY
from query.report.coverage_by_month import Days, days_of_series, month_of, together
from tests.tables import BACKFILL, OWN_TIMES, PULL, START, Opener, Rows, asked, days, points, this_midnight

NOTHING = SeriesMap("a", "TVL", 0, "", [], [], [], [], [])
BY_MONTH = """
SELECT extract(year FROM pulled_at)::int, extract(month FROM pulled_at)::int, count(DISTINCT pulled_at::date)
FROM metrics WHERE pulled_at < %s GROUP BY 1, 2
"""


@pytest.mark.parametrize("seed", range(5))
def test_the_days_that_are_there_by_month_are_those_of_the_table(seed: int, open_store: Opener, rows: Rows) -> None:
    chance = random.Random(seed)  # noqa: S311 - test data
    for asset in ("one", "two", "three"):
        store = open_store(BACKFILL)
        for start in chance.sample(range(0, 600, 50), 6):
            had = [day for day in range(start, start + 40) if chance.random() < 0.8]
            store.load(points(*had, asset=asset), [asked(start - chance.randrange(20), start + 45, asset)])
        open_store(PULL).load(points(*chance.sample(range(700), 20), asset=asset), [])  # beside what was asked for
    rows("DELETE FROM metrics WHERE asset = 'two' AND extract(day FROM pulled_at) IN (1, 2, 17)")
    maps = open_store(BACKFILL).maps(this_midnight(), OWN_TIMES)
    found = together("all", [days_of_series(each, each, this_midnight()) for each in maps])
    by_month = Counter[int]()
    for asset in ("one", "two", "three"):
        for year, month, number in rows(BY_MONTH.replace("WHERE", "WHERE asset = %s AND"), asset, this_midnight()):
            by_month[month_of(date(year, month, 1))] += number
    assert {month: each.there for month, each in found.months.items() if each.there} == by_month
    assert found.days.there == by_month.total()


def test_each_kind_of_hole_is_counted_in_the_month_of_its_days() -> None:
    end = START + 60 * DAY
    holes = NOTHING._replace(days=20, never=[days(20, 35)], empty=[days(35, 36)], lost=[days(36, 60)])
    found = days_of_series(holes, holes, end)
    assert found.months == {
        month_of(date(2024, 1, 1)): Days(there=20, never=11),
        month_of(date(2024, 2, 1)): Days(never=4, empty=1, lost=24),
    }


def test_days_on_which_a_series_has_no_point_are_of_no_kind() -> None:
    raw = NOTHING._replace(days=1, empty=[days(1, 31)])
    found = days_of_series(raw, raw._replace(empty=[]), START + 31 * DAY)
    assert found.months == {month_of(START): Days(there=1)}


def test_series_together_are_the_sum_of_each() -> None:
    apart = [days_of_series(NOTHING._replace(days=number), NOTHING, START + 90 * DAY) for number in (3, 50, 90)]
    found = together("all", apart)
    assert found.days == Days(there=143)
    for month, each in found.months.items():
        assert each.there == sum(one.months.get(month, Days()).there for one in apart)


def test_a_series_of_which_nothing_is_known_has_no_months() -> None:
    assert days_of_series(NOTHING, NOTHING, this_midnight()).months == {}
