"""Which restatements look like a glitch or a new definition: each rule at its bounds."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from math import exp, sin
from random import Random

import pytest

from db.database import Database
from db.quarantine import ComparedPoint
from db.store import Store
from model.restatement_bounds import RestatementBounds
from model.values import DAY, DataPoint, Target, Verb, Window
from pipeline.plan import Plan, make_job
from pipeline.restatements import common_factor, decide_restatements, doubt, doubts_of_one_factor
from pipeline.summary import Summary
from sources.artemis import Artemis
from tests.tables import BACKFILL, START, Rows, days

pytestmark = pytest.mark.cluster

BOUNDS = RestatementBounds()
ALL_DAYS = days(0, 3000)
Value = float | None
Shape = Callable[[int], Value]


def calm(day: int) -> float:
    """A level that moves by half in both directions."""
    return 1000.0 + 500.0 * sin(day / 20)


def wild(day: int) -> float:
    """A flow that differs by factors of up to thousands from day to day."""
    return exp(day * 7 % 10)


def mostly_zero(day: int) -> float:
    """A flow that is zero on all days but each tenth."""
    return 500.0 + day if day % 10 == 0 else 0.0


def signed(day: int) -> float:
    """A net flow, above and below zero."""
    return 1000.0 * sin(day / 3)


def compared(stored: Shape, now: Mapping[int, Value], days: int = 400) -> list[ComparedPoint]:
    """The points of a series, and what the API says now of some days: None if it no longer has the day."""
    return [
        ComparedPoint(START + day * DAY, stored(day), day in now and now[day] != stored(day), now.get(day))
        for day in range(days)
    ]


def why(stored: Shape, now: Mapping[int, Value], days: int = 400) -> str:
    """The doubt about a series of which the answer holds all days; empty if there is none."""
    found = doubt(compared(stored, now, days), [ALL_DAYS], BOUNDS)
    return found.why if found else ""


def times(factor: float, stored: Shape, days: Sequence[int]) -> dict[int, Value]:
    """These days, multiplied."""
    return {day: (stored(day) or 0.0) * factor for day in days}


def test_nothing_restated_is_no_doubt() -> None:
    assert why(calm, {}) == ""
    assert doubt([], [], BOUNDS) is None


@pytest.mark.parametrize("stored", [calm, wild, signed])
def test_small_changes_to_most_of_the_days_pass(stored: Shape) -> None:
    chance = Random(1)  # noqa: S311 - repeatable numbers
    days = chance.sample(range(3000), 2500)
    assert why(stored, {day: (stored(day) or 0.0) * chance.uniform(0.991, 1.009) for day in days}, 3000) == ""
    assert why(stored, times(1.005, stored, days), 3000) == ""


def test_one_day_changed_by_a_tenth_and_back_passes() -> None:
    assert why(calm, times(1.1, calm, [200])) == why(calm, times(1 / 1.1, calm, [200])) == ""


@pytest.mark.parametrize(("number", "waits"), [(3, False), (4, True), (40, True)])
def test_a_few_withdrawn_days_pass_and_more_wait(number: int, waits: bool) -> None:
    assert bool(why(calm, dict.fromkeys(range(100, 100 + number)))) is waits


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ([200], "1 day would be far from the days around, such as 2024-07-19 from 728 to 0"),
        (range(200, 230), "30 days would be far from the days around, such as 2024-08-17 from 551 to 0"),
    ],
)
def test_days_set_to_zero_wait(days: Sequence[int], said: str) -> None:
    assert why(calm, times(0.0, calm, days)) == said


@pytest.mark.parametrize(("factor", "waits"), [(1000.0, True), (11.0, True), (9.0, False), (0.11, False), (0.09, True)])
def test_a_spike_waits_if_it_is_ten_times_the_days_around_it(factor: float, waits: bool) -> None:
    flat: Shape = lambda _: 100.0  # noqa: E731 - as short as the other shapes
    assert bool(why(flat, times(factor, flat, [200]))) is waits


@pytest.mark.parametrize("place", [0, 1, 398, 399])
def test_a_spike_at_either_end_of_a_history_waits(place: int) -> None:
    assert "would be far" in why(calm, times(1000.0, calm, [place]))


@pytest.mark.parametrize(("days", "waits"), [(5, True), (4, False)])
def test_a_zero_in_a_history_too_short_to_say_what_is_usual_passes(days: int, waits: bool) -> None:
    assert bool(why(calm, times(0.0, calm, [2]), days)) is waits


@pytest.mark.parametrize("hole", [0.0, 0.001])
def test_a_hole_that_is_filled_passes(hole: float) -> None:
    stored: Shape = lambda day: hole if 200 <= day < 203 else calm(day)  # noqa: E731 - as short as the other shapes
    assert why(stored, {day: calm(day) for day in range(200, 203)}) == ""


def test_a_hole_of_months_that_is_filled_passes_and_the_same_hole_made_waits() -> None:
    holed: Shape = lambda day: 0.0 if 200 <= day < 290 else calm(day)  # noqa: E731 - as short as the other shapes
    assert why(holed, {day: calm(day) for day in range(200, 290)}) == ""
    assert why(calm, dict.fromkeys(range(200, 290), 0.0)) != ""


def test_a_spike_that_is_taken_back_passes() -> None:
    stored: Shape = lambda day: calm(day) * (1000 if day == 200 else 1)  # noqa: E731 - as short as the other shapes
    assert why(stored, {200: calm(200)}) == ""


def test_a_usual_change_of_a_day_that_is_far_from_its_neighbours_passes() -> None:
    stored: Shape = lambda day: calm(day) * (50 if day == 200 else 1)  # noqa: E731 - as short as the other shapes
    assert why(stored, {200: calm(200) * 60}) == ""
    assert "would be far" in why(stored, {200: calm(200) * 150})


@pytest.mark.parametrize("stored", [wild, mostly_zero, signed])
def test_single_days_of_a_series_without_a_usual_range_pass_unless_they_are_far_above_all_days(stored: Shape) -> None:
    largest = max(abs(stored(day) or 0.0) for day in range(400))
    assert why(stored, {200: 9 * largest, 300: 0.0}) == ""
    assert "would be far" in why(stored, {200: 11 * largest})
    assert "would be far" in why(stored, {200: -11 * largest})


def test_a_series_of_zeros_may_get_its_first_values() -> None:
    assert why(lambda _: 0.0, dict.fromkeys(range(200, 210), 500.0)) == ""


@pytest.mark.parametrize("stored", [calm, wild, signed])
@pytest.mark.parametrize("factor", [1000.0, 1.5, -1.0, 0.0])
def test_five_days_that_change_by_one_factor_wait_whatever_the_series_is_like(stored: Shape, factor: float) -> None:
    assert why(stored, times(factor, stored, range(200, 205))) != ""


def test_a_block_of_a_series_that_is_mostly_zero_waits_for_its_values_above_zero_alone() -> None:
    assert why(mostly_zero, times(1.5, mostly_zero, range(200, 250))) == (
        "5 days would change by the same factor of 1.5, such as 2024-08-28 from 740 to 1.11K"
    )
    assert why(mostly_zero, times(1.5, mostly_zero, range(200, 240))) == ""


def test_small_changes_on_the_same_night_hide_no_common_factor() -> None:
    chance = Random(2)  # noqa: S311 - repeatable numbers
    usual = {day: wild(day) * chance.uniform(0.999, 1.001) for day in range(100)}
    assert "same factor of 0," in why(wild, usual | times(0.0, wild, range(200, 220)))


def test_filled_holes_on_the_same_night_hide_no_common_factor() -> None:
    stored: Shape = lambda day: 0.0 if day < 50 else wild(day)  # noqa: E731 - as short as the other shapes
    now = {day: wild(day) for day in range(50)} | times(1.5, stored, range(200, 220))
    assert "20 days would change by the same factor of 1.5," in why(stored, now)


def test_changes_of_other_sizes_are_no_common_factor() -> None:
    now = {day: calm(day) * (1.02 + day / 1000) for day in range(200, 220)}
    common = common_factor(compared(calm, now), BOUNDS)
    assert common is not None
    assert (len(common.points), common.is_usual) == (2, False)
    assert why(calm, now) == ""


def test_three_of_ten_days_that_change_by_some_per_cent_pass() -> None:
    now = {day: calm(day) * (1.03 + (day - 397) / 50) for day in range(397, 400)}
    assert doubt(compared(calm, now), [days(390, 400)], BOUNDS) is None


@pytest.mark.parametrize(
    ("changed", "of", "waits"), [(7, 10, False), (8, 10, True), (100, 400, False), (101, 400, True)]
)
def test_more_than_a_share_of_the_days_waits_if_they_are_many(changed: int, of: int, waits: bool) -> None:
    now = {day: calm(day) * (1.02 + day % 50 / 100) for day in range(400 - changed, 400)}
    assert bool(doubt(compared(calm, now), [days(400 - of, 400)], BOUNDS)) is waits


def test_what_waits_goes_on_waiting_where_its_numbers_are_within_the_bounds_now() -> None:
    points = compared(calm, times(1.3, calm, [200]) | times(1.001, calm, [300]))
    assert doubt(points, [ALL_DAYS], BOUNDS) is None
    points[200] = points[200]._replace(waits=True)
    assert doubt(points, [ALL_DAYS], BOUNDS) == (
        "1 day waiting since an earlier run, such as 2024-07-19 from 728 to 946", [points[200]]
    )  # fmt: skip


def test_only_the_doubtful_days_of_a_series_are_pointed_out() -> None:
    found = doubt(compared(calm, times(1000.0, calm, [200, 201]) | times(1.1, calm, [300])), [ALL_DAYS], BOUNDS)
    assert found is not None
    assert [each.at for each in found.points] == [START + 200 * DAY, START + 201 * DAY]


@pytest.mark.parametrize("windows", [[], [days(393, 400)], [days(0, 400)]])
def test_what_an_earlier_run_has_compared_is_no_share_of_the_days_of_this_one(windows: list[Window]) -> None:
    now = {day: calm(day) * (1.02 + day % 50 / 100) for day in range(200, 240)}
    assert doubt(compared(calm, now), windows, BOUNDS) is None


def test_other_changes_on_the_same_night_hide_no_factor_of_several_series() -> None:
    usual = {day: calm(day) * (1.02 + day / 1000) for day in range(100, 110)}
    common = common_factor(compared(calm, usual | times(1.3, calm, [300, 301, 302])), BOUNDS)
    assert common is not None
    assert (round(common.factor, 9), [each.at for each in common.points]) == (
        1.3, [START + day * DAY for day in (300, 301, 302)]
    )  # fmt: skip


def test_a_series_without_a_change_of_some_size_has_no_common_factor() -> None:
    assert common_factor(compared(calm, {}), BOUNDS) is None
    assert common_factor(compared(calm, times(1.005, calm, range(100))), BOUNDS) is None


@pytest.mark.parametrize(("alike", "waits"), [(4, False), (5, True), (300, True)])
def test_series_of_one_metric_that_change_by_one_factor_wait(alike: int, waits: bool) -> None:
    factors = {(f"asset-{number}", "FEES"): 1.3 for number in range(alike)}
    others = {(f"other-{number}", "FEES"): 1.02 + number / 100 for number in range(20)}
    found = doubts_of_one_factor(factors | others, BOUNDS)
    assert found.keys() == (factors.keys() if waits else set())
    said = f"{alike} series of this metric would change by the same factor of 1.3"
    assert {*found.values()} <= {said}


def test_hundreds_of_series_that_change_by_some_per_cent_each_have_no_common_factor() -> None:
    for seed in range(10):
        chance = Random(seed)  # noqa: S311 - repeatable numbers
        factors = {(f"asset-{number}", "FEES"): chance.gauss(1, 0.05) for number in range(300)}
        assert doubts_of_one_factor(factors, BOUNDS) == {}


def test_one_factor_in_many_series_holds_those_too_that_would_pass_alone(database: Database, rows: Rows) -> None:
    shapes = {f"calm-{number}": calm for number in range(4)} | {"wild": wild}
    names = [(asset, "FEES") for asset in shapes]
    stored = [DataPoint(asset, "FEES", START + day * DAY, of(day)) for asset, of in shapes.items() for day in range(30)]
    glitch = [each for each in stored if each.at in (START + 9 * DAY, START + 11 * DAY)]
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load(stored)
    job = make_job(Artemis(), Verb.SETTLE, [Target(*name, name[0]) for name in names], days(0, 30))
    summary = Summary(Plan(job, {}))
    with closing(Store(database, "artemis", Verb.SETTLE)) as store:
        store.load([DataPoint(each.asset, each.metric, each.at, each.value / 1000) for each in glitch])
        decide_restatements(summary, store, {name: [job.window] for name in names})
    assert rows("SELECT asset, state, count(*) FROM quarantine GROUP BY 1, 2 ORDER BY 1") == [
        (asset, "waiting", 2) for asset in sorted(shapes)
    ]
    assert summary.counts.changed == 0
    said = "artemis wild FEES: 5 series of this metric would change by the same factor of 0.001: "
    assert [text for text in summary.warnings if text.startswith(said)] != []
    assert sum("would be far from the days around" in text for text in summary.warnings) == 4


def test_a_run_that_has_only_the_values_of_now_decides_nothing_and_warns_of_nothing(
    database: Database, rows: Rows
) -> None:
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load([DataPoint("sol", "FEES", START + day * DAY, calm(day)) for day in range(30)])
    target = Target("sol", "FEES", "sol")
    summary = Summary(Plan(make_job(Artemis(), Verb.PULL, [target], days(30, 31)), {}))
    with closing(Store(database, "artemis", Verb.SETTLE)) as store:
        store.load([DataPoint("sol", "FEES", START, calm(0) * 1.1)])
        decide_restatements(summary, store, {("sol", "FEES"): []})
    assert (rows("SELECT state FROM quarantine"), summary.warnings) == ([("new",)], [])


def test_a_run_names_twenty_series_that_wait_and_the_number_of_the_others(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    stored = [DataPoint(f"asset-{number:02}", "FEES", START, 1.0) for number in range(23)]
    names = [(each.asset, each.metric) for each in stored]
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load(stored)
    job = make_job(Artemis(), Verb.SETTLE, [Target(*name, name[0]) for name in names], days(0, 1))
    summary = Summary(Plan(job, {}))
    with closing(Store(database, "artemis", Verb.SETTLE)) as store:
        store.load([DataPoint(each.asset, each.metric, each.at, 1000.0) for each in stored])
        decide_restatements(summary, store, {name: [job.window] for name in names})
    assert len(summary.warnings) == 21
    assert summary.warnings[0].startswith("artemis asset-00 FEES: 1 day would be far from the days around")
    assert summary.warnings[-1] == "artemis, 3 more series: they wait for a person: python main.py check artemis"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == summary.warnings


@pytest.mark.parametrize(("stored", "text"), [(None, "no value"), (float("nan"), "nan")])
def test_a_stored_value_that_somebody_has_overwritten_breaks_no_reason(stored: Value, text: str) -> None:
    found = why(lambda day: stored if day == 200 else 1.0, {200: 1e9})
    assert found == f"1 day would be far from the days around, such as 2024-07-19 from {text} to 1bn"
