"""The map of a series: gaps told apart by whose they are."""

import random
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

import pytest

from db.coverage import SeriesMap
from db.store import Store
from model.values import DAY, Rhythm, Target, Window
from pipeline.gaps import SourceGaps, without_pauses
from sources.defillama import DefiLlama
from tests.tables import BACKFILL, OWN_TIMES, PULL, START, Opener, Rows, asked, days, points

TODAY = START + 10 * DAY


def the_map(store: Store) -> SeriesMap:
    """The map of the only series."""
    (series,) = store.maps(TODAY, OWN_TIMES)
    return series


def gaps(series: SeriesMap) -> tuple[list[Window], list[Window], list[Window]]:
    """The days that were never asked for, that are empty, that were lost."""
    return series.never, series.empty, series.lost


def test_gaps_are_told_apart(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(0, 1, 4, 8), [asked(0, 6), asked(7, 9)])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-05'")
    never, empty = [days(6, 7), days(9, 10)], [days(2, 4), days(5, 6), days(7, 8)]
    wanted = SeriesMap("solana", "TVL", 3, "", [days(0, 6), days(7, 9)], never, empty, [days(4, 5)], [], [])
    assert store.maps(TODAY, OWN_TIMES) == [wanted]


def test_a_live_value_of_another_day_hides_no_lost_day(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(points(*range(6)), [asked(0, 6)])
    open_store(PULL).load(points(8))
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-03'")
    series = the_map(open_store(BACKFILL))
    assert (series.days, *gaps(series)) == (6, [days(6, 8), days(9, 10)], [], [days(2, 3)])


def test_a_live_value_of_another_day_hides_no_false_claim(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0, 1), [asked(0, 6)])
    open_store(PULL).load(points(8))
    rows("UPDATE coverage SET found = found + '{[2024-01-03,2024-01-04)}'")
    series = the_map(open_store(BACKFILL))
    assert (series.days, *gaps(series)) == (3, [days(6, 8), days(9, 10)], [days(3, 6)], [days(2, 3)])


def test_empty_days_before_the_first_point_are_no_gap(open_store: Opener) -> None:
    store = open_store(BACKFILL)
    store.load(points(4, 6), [asked(-100, 10)])
    assert gaps(the_map(store)) == ([], [days(5, 6), days(7, 10)], [])


def test_empty_days_after_a_first_point_that_was_lost_are_a_gap(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(4, 6), [asked(0, 10)])
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-05'")
    assert gaps(the_map(store)) == ([], [days(5, 6), days(7, 10)], [days(4, 5)])


def test_a_backfill_brings_back_what_the_config_names_and_the_api_has_a_history_of() -> None:
    lost = [Window(START, START + DAY)]
    names = [("lido", "TVL"), ("lido", "MCAP"), ("gone", "TVL"), ("lido", "GONE")]
    targets = {name: Target(*name, name[0], "protocol") for name in names[:2]}
    maps = [SeriesMap(*name, 9, "", lost, [], [], lost, []) for name in names]
    found = SourceGaps(DefiLlama, None, targets, maps)
    assert [found.is_live_only(each) for each in maps] == [False, True, False, False]
    assert found.lost_for_good() == maps[1:]


def test_a_series_of_which_the_api_has_nothing_is_one_gap(open_store: Opener) -> None:
    store = open_store(BACKFILL)
    store.load([], [asked(0, 8)])
    assert (the_map(store).days, *gaps(the_map(store))) == (0, [days(8, 10)], [days(0, 8)], [])


def test_the_open_day_is_no_day_of_the_map(open_store: Opener) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 10)])
    open_store(PULL).load(points(10))
    open_store(PULL).load(points(10, metric="FEES"))
    fees, tvl = open_store(PULL).maps(TODAY, OWN_TIMES)
    assert (tvl.days, *gaps(tvl)) == (1, [], [days(1, 10)], [])
    assert (fees.days, *gaps(fees)) == (0, [], [], [])


def test_points_with_times_of_their_own_belong_to_the_day_that_they_tell_of(open_store: Opener, rows: Rows) -> None:
    store = open_store(BACKFILL)
    store.load(points(-0.001, 0.999, 3.001, metric="PRICE"), [asked(0, 5, metric="PRICE")])
    store.load(points(0.999, 1.93, 3.92, metric="APY"), [asked(0, 5, metric="APY")])
    apy, price = store.maps(TODAY, OWN_TIMES)
    assert (price.days, *gaps(price)) == (3, [days(5, 10)], [days(2, 3), days(4, 5)], [])
    assert (apy.days, *gaps(apy)) == (3, [days(5, 10)], [days(2, 3), days(4, 5)], [])
    rows("DELETE FROM metrics WHERE pulled_at::date = '2024-01-01'")  # a price of the second day, an APY of the first
    apy, price = store.maps(TODAY, OWN_TIMES)
    assert (price.lost, apy.lost) == ([days(1, 2)], [days(0, 1)])


def test_weekends_are_no_gaps_of_what_has_points_on_weekdays_and_the_days_between_quarters_none() -> None:
    monday = SeriesMap("eq-coin", "PRICE", 1, "", [], [days(0, 14)], [days(17, 20), days(26, 28)], [days(33, 35)], [])
    weekdays = without_pauses(monday, Rhythm.WEEKDAYS)
    assert gaps(weekdays) == ([days(0, 5), days(7, 12)], [days(17, 19)], [days(33, 35)])  # START is a Monday
    assert gaps(without_pauses(monday, Rhythm.QUARTERLY)) == ([days(0, 14)], [], [days(33, 35)])
    assert without_pauses(monday, Rhythm.DAILY) == monday


@pytest.mark.parametrize("seed", range(4))
def test_maps_are_those_of_a_naive_model(seed: int, open_store: Opener, rows: Rows) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable numbers
    stores = [open_store(BACKFILL), open_store(PULL)]
    names = [(f"asset-{number}", metric) for number in range(6) for metric in ("TVL", "PRICE", "APY")]
    for asset, metric in names * 3:
        first, times = chance.randrange(8), {"PRICE": (-0.001, 0, 0.001), "APY": (0, 0.93)}.get(metric, (0,))
        there = [day + chance.choice(times) for day in range(first, 12) if chance.random() < 0.6]
        spans = [(day, day + chance.randrange(1, 4)) for day in range(10) if chance.random() < 0.2]
        answered = [asked(*span, asset, metric) for span in spans]
        chance.choice(stores).load(points(*there, metric=metric, asset=asset), answered)
    for (number,) in rows("SELECT id FROM metrics ORDER BY id"):
        if chance.random() < 0.1:
            rows("DELETE FROM metrics WHERE id = %s", number)
    maps = stores[0].maps(TODAY, OWN_TIMES)
    assert {(series.asset, series.metric) for series in maps} == set(names)
    assert all(any(kinds) for kinds in zip(*map(gaps, maps), strict=True))
    for series in maps:
        gaps_alone = series._replace(withdrawn=(), withdrawn_at=None)
        assert gaps_alone == _model(rows, series.asset, series.metric)


def _model(rows: Rows, asset: str, metric: str) -> SeriesMap:
    """The map of a series, reckoned day by day."""
    of_series = "WHERE asset = %s AND metric_name = %s"
    spread = "SELECT d::date FROM coverage, unnest({}) AS r, generate_series(lower(r), upper(r) - 1, '1 day') AS d {}"
    every = [{day for (day,) in rows(spread.format(name, of_series), asset, metric)} for name in ("answered", "found")]
    answered, found = ({day for day in each if day < TODAY.date()} for each in every)
    shift = OWN_TIMES.get(metric) or timedelta()
    times = rows(f"SELECT pulled_at FROM metrics {of_series}", asset, metric)  # noqa: S608 - our own words
    held = {day for (at,) in times if (day := (at + shift).date()) < TODAY.date()}
    closed = {TODAY.date() - number * DAY for number in range(1, 30)}
    first, first_point = min(answered | held, default=TODAY.date()), min(held | found, default=date.min)
    never = _spans(day for day in closed - answered - held if day > first)
    empty = _spans(day for day in answered - held - found if day > first_point)
    return SeriesMap(asset, metric, len(held), "", [*_spans(answered)], [*never], [*empty], [*_spans(found - held)], [])


def _spans(numbers: Iterable[date]) -> Iterator[Window]:
    """The days as spans without a gap."""
    span: Window | None = None
    for day in sorted(numbers):
        at = START + (day - START.date())
        if span and span.end < at:
            yield span
            span = None
        span = Window(span.start if span else at, at + DAY)
    if span:
        yield span
