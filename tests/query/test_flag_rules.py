"""The rules that flag odd values, at each of their boundaries. START is a Monday."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from math import nan

import pytest

from model.values import DAY, Metric, Rhythm, Verb
from query.flag_rules import Day, Span, days_of, drift, flat, jump, zero
from tests.tables import START

TODAY = START + 1000 * DAY
LEVEL = Metric("", frozenset(Verb))
PRICE = LEVEL._replace(own_times=True, shift=DAY / 2)
Rule = Callable[[Sequence[Day]], Iterator[Span]]
STEADY = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0]  # a week


def daily(values: Sequence[float | None], rhythm: Rhythm = Rhythm.DAILY) -> list[Day]:
    """The days of a series with these values from a Monday on; None is a day without a value."""
    points = [(START + number * DAY, value) for number, value in enumerate(values) if value is not None]
    return days_of(points, LEVEL, rhythm, TODAY.date())


def spans(found: Iterable[Span]) -> list[tuple[int, int]]:
    """The first and the last flagged day, counted from START."""
    return [((each.start - START.date()).days, (each.end - START.date()).days) for each in found]


def flagged(rule: Rule, values: Sequence[float | None], rhythm: Rhythm = Rhythm.DAILY) -> list[tuple[int, int]]:
    return spans(rule(daily(values, rhythm)))


@pytest.mark.parametrize(("length", "expected"), [(6, []), (7, [(1, 7)]), (30, [(1, 30)])])
def test_a_value_is_flat_from_the_seventh_equal_day_on(length: int, expected: list[tuple[int, int]]) -> None:
    assert flagged(flat, [1.0, *[5.5] * length, 2.0]) == expected


def test_a_flat_span_says_its_value_and_how_long_it_is() -> None:
    assert list(flat(daily([-5.5] * 8))) == [
        Span(START.date(), (START + 7 * DAY).date(), -5.5, "\N{MINUS SIGN}5.5 on 8 days in a row")
    ]


def test_the_smallest_change_ends_a_flat_span() -> None:
    assert flagged(flat, [0.1 + 0.2, *[0.3] * 6, 0.1 + 0.2]) == []


def test_days_without_a_value_are_not_bridged_by_equal_values() -> None:
    assert flagged(flat, [5.5, 5.5, 5.5, 5.5, None, 5.5, 5.5, 5.5, 5.5]) == []


def test_zeros_are_never_flat() -> None:
    assert flagged(flat, [0.0] * 30) == []


def test_a_daily_metric_that_repeats_its_value_over_a_long_weekend_is_not_flat() -> None:
    assert flagged(flat, [1.0, 2.0, 3.0, 4.0, 4.0, 4.0, 4.0, 5.0, 6.0, 7.0]) == []


def test_of_weekdays_a_friday_and_the_next_monday_are_consecutive_and_weekends_do_not_count() -> None:
    assert flagged(flat, [7.0] * 5 + [None, None] + [7.0] * 2, Rhythm.WEEKDAYS) == [(0, 8)]
    assert flagged(flat, [7.0] * 8, Rhythm.WEEKDAYS) == []
    assert flagged(flat, [7.0] * 5 + [None, None] + [7.0] * 2) == []


def test_a_quarterly_series_has_no_consecutive_days() -> None:
    assert daily([5.5] * 30, Rhythm.QUARTERLY) == []


@pytest.mark.parametrize("sign", [1, -1])
def test_a_zero_after_a_steady_week_is_flagged_with_the_zeros_that_follow(sign: int) -> None:
    values = [sign * value for value in STEADY]
    assert flagged(zero, [*values, 0.0]) == [(7, 7)]
    assert flagged(zero, [*values, 0.0, 0.0, 0.0, 100.0]) == [(7, 9)]
    (span,) = zero(daily([*STEADY, 0.0]))
    assert (span.value, span.text) == (0.0, "zero after 100")


def test_six_days_before_a_zero_are_too_few() -> None:
    assert flagged(zero, [*STEADY[1:], 0.0]) == []


@pytest.mark.parametrize(("lowest", "expected"), [(10.0, [(7, 7)]), (9.9, [])])
def test_a_zero_after_a_week_of_a_range_of_more_than_ten_is_no_surprise(
    lowest: float, expected: list[tuple[int, int]]
) -> None:
    assert flagged(zero, [100.0, 50.0, lowest, 50.0, 50.0, 50.0, 50.0, 0.0]) == expected


def test_a_series_that_is_often_zero_or_mostly_zero_has_no_sudden_zero() -> None:
    assert flagged(zero, [*[100.0] * 5, 0.0, 0.0] * 5) == []
    assert flagged(zero, [0.0, 0.0, 0.0, 50.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]) == []


def test_a_net_flow_that_crosses_zero_may_be_zero() -> None:
    assert flagged(zero, [100.0, 100.0, -100.0, 100.0, 100.0, 100.0, 100.0, 0.0]) == []


def test_a_zero_after_a_missing_day_or_after_a_week_with_one_is_not_sudden() -> None:
    assert flagged(zero, [*STEADY, None, 0.0]) == []
    assert flagged(zero, [100.0, *STEADY[:3], None, *STEADY[4:], 0.0]) == []


def test_a_zero_on_the_monday_after_steady_weekdays_is_sudden() -> None:
    values = [100.0] * 5 + [None, None] + [100.0] * 5 + [None, None, 0.0]
    assert flagged(zero, values, Rhythm.WEEKDAYS) == [(14, 14)]


@pytest.mark.parametrize(
    ("value", "expected"), [(204.0, [(7, 7)]), (203.9, []), (49.0, [(7, 7)]), (49.1, []), (1e9, [(7, 7)])]
)
def test_a_jump_is_twice_the_highest_or_half_of_the_lowest_value_of_the_week_before(
    value: float, expected: list[tuple[int, int]]
) -> None:
    assert flagged(jump, [*STEADY, value, 100.0]) == expected
    assert flagged(jump, [*(-each for each in STEADY), -value, -100.0]) == expected


def test_a_jump_says_its_neighbours() -> None:
    (span,) = jump(daily([*STEADY, 1234567.0, 99.0]))
    assert (span.start, span.end, span.value) == ((START + 7 * DAY).date(), (START + 7 * DAY).date(), 1234567.0)
    assert span.text == "1.235M between 100 and 99"


@pytest.mark.parametrize(("value", "expected"), [(1599.0, []), (1600.0, [(7, 7)]), (25.1, []), (25.0, [(7, 7)])])
def test_in_a_week_of_a_wide_range_a_jump_is_as_far_outside_as_that_range(
    value: float, expected: list[tuple[int, int]]
) -> None:
    assert flagged(jump, [100.0, 300.0, 200.0, 400.0, 100.0, 300.0, 200.0, value, 200.0]) == expected


@pytest.mark.parametrize(
    ("after", "expected"),
    [(127.5, [(7, 7)]), (127.6, []), (78.4, [(7, 7)]), (78.3, []), (1000.0, []), (-100.0, []), (0.0, []), (None, [])],
)
def test_a_jump_counts_only_if_the_next_day_is_back(after: float | None, expected: list[tuple[int, int]]) -> None:
    assert flagged(jump, [*STEADY, 1000.0, after, 100.0]) == expected


def test_a_jump_after_a_missing_day_or_after_six_days_is_not_flagged() -> None:
    assert flagged(jump, [*STEADY, None, 1000.0, 100.0]) == []
    assert flagged(jump, [*STEADY[:3], None, *STEADY[4:], 1000.0, 100.0]) == []
    assert flagged(jump, [*STEADY[1:], 1000.0, 100.0]) == []


def test_the_last_day_of_a_series_is_no_jump_yet() -> None:
    assert flagged(jump, [*STEADY, 1000.0]) == []


def test_net_flows_and_series_that_are_mostly_zero_have_no_jump() -> None:
    assert flagged(jump, [10.0, -20.0, 30.0, 10.0, -10.0, 20.0, 10.0, 5000.0, 10.0]) == []
    assert flagged(jump, [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5000.0, 0.0]) == []
    assert flagged(jump, [*STEADY, -1000.0, 100.0]) == []


def test_a_jump_from_a_friday_to_a_monday_and_back_is_one_of_weekdays() -> None:
    values = [100.0] * 5 + [None, None] + [100.0] * 5 + [None, None, 500.0, 100.0]
    assert flagged(jump, values, Rhythm.WEEKDAYS) == [(14, 14)]
    assert flagged(jump, values) == []


def drifted(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[tuple[int, int]]:
    return spans(drift(daily(ours), daily(theirs), 0.1))


@pytest.mark.parametrize(("value", "expected"), [(90.0, []), (89.9, [(0, 2)]), (-100.0, [(0, 2)]), (0.0, [(0, 2)])])
def test_sources_drift_if_they_differ_by_more_than_the_tolerance_of_the_larger_value(
    value: float, expected: list[tuple[int, int]]
) -> None:
    assert drifted([100.0] * 3, [value] * 3) == expected
    assert drifted([value] * 3, [100.0] * 3) == expected


def test_two_days_are_no_drift_and_neither_are_days_on_which_the_sources_take_turns() -> None:
    assert drifted([100.0, 100.0, 100.0], [100.0, 80.0, 80.0]) == []
    assert drifted([100.0] * 4, [80.0, 80.0, 120.0, 120.0]) == []


def test_a_day_that_one_source_lacks_is_not_bridged() -> None:
    assert drifted([100.0] * 5, [80.0, 80.0, None, 80.0, 80.0]) == []
    assert drifted([100.0] * 5, [None, None, 80.0, 80.0, 80.0]) == [(2, 4)]


def test_two_zeros_do_not_differ() -> None:
    assert drifted([0.0] * 5, [0.0] * 5) == []


def test_a_drift_says_both_values_of_its_last_day() -> None:
    (span,) = drift(daily([100.0, 100.0, 200.0]), daily([80.0, 80.0, 90.0]), 0.1)
    assert (span.value, span.text) == (100.0, "200 against 90 on the last day")


def test_the_last_point_of_a_day_counts_and_the_open_day_does_not() -> None:
    points = [(START, 1.0), (START + DAY / 2, 2.0), (START + DAY, 3.0), (START + 2 * DAY, 4.0)]
    days = days_of(points, LEVEL, Rhythm.DAILY, (START + 2 * DAY).date())
    assert [(day.date, day.value) for day in days] == [(START.date(), 2.0), ((START + DAY).date(), 3.0)]


def test_a_price_belongs_to_the_midnight_next_to_it_and_replaces_what_a_pull_has_stored_there() -> None:
    seconds = timedelta(seconds=20)
    points = [(START - seconds, 1.0), (START, 9.0), (START + DAY, 8.0), (START + DAY + seconds, 2.0)]
    days = days_of(points, PRICE, Rhythm.DAILY, TODAY.date())
    assert [(day.date, day.value) for day in days] == [(START.date(), 1.0), ((START + DAY).date(), 2.0)]


def test_a_value_that_is_not_finite_is_no_value() -> None:
    values = [5.5, 5.5, 5.5, nan, 5.5, 5.5, 5.5, 5.5]
    assert [day.value for day in daily(values)] == [5.5] * 7
    assert flagged(flat, values) == []


def test_no_rule_fails_on_values_at_the_ends_of_what_a_double_holds() -> None:
    days = daily([5e-324] * 7 + [1.7e308, 5e-324, -1.7e308, 1.7e308])
    assert [spans(rule(days)) for rule in (flat, zero, jump)] == [[(0, 6)], [], [(7, 7)]]
    assert spans(drift(days, daily([-1.7e308] * 11), 0.5)) == [(0, 8)]
