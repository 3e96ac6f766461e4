"""Charts of letters: exact small pictures."""

import math
from collections.abc import Sequence

import pytest

from cli.terminal_chart import chart, sparkline

DAY = 86_400.0
NEW_YEAR = 1_704_067_200.0  # 2024-01-01
NAN = math.nan


def days(*numbers: float) -> list[float]:
    """The midnights so many days after New Year 2024."""
    return [NEW_YEAR + number * DAY for number in numbers]


def dots(values: Sequence[float], at: Sequence[float] = (), *, log: bool = False) -> list[str]:
    """The dots of a chart of two rows, from the axis on."""
    made = chart(at or days(*range(len(values))), values, 14, rows=2, log=log)
    return [line[line.index("┤" if "┤" in line else "│") :] for line in made[:2]]


def test_a_chart_has_dots_labels_dates_and_values() -> None:
    assert chart(days(0, 1, 2, 3, 4), [1, 3, 5, 2, 4], 40, unit="USD", rows=3) == [
        "$5 ┤            ⣀⣀⠤⠔⠒⠊⠉⠒⠤⣀             ⣀",
        "   │     ⢀⣀⠤⠔⠒⠉⠉          ⠉⠒⠤⣀ ⢀⣀⡠⠤⠔⠒⠉⠉",
        "$1 ┤⣀⠤⠔⠒⠉⠁                    ⠉⠁",
        "    2024-01-01                2024-01-05",
        "min $1, max $5, last $4",
    ]


def test_a_wide_chart_says_when_the_extremes_were() -> None:
    *_, told = chart(days(0, 1, 2), [2, 1, 3], 80)
    assert told == "first 2, min 1 on 2024-01-02, max 3 on 2024-01-03, last 3"


def test_without_unicode_a_chart_is_ascii_throughout() -> None:
    assert chart(days(0, 1, 2), [-3, 0, 3], 30, rows=3, plain=True) == [
        " 3 +                   *******",
        "   |       ************",
        "-3 +*******",
        "    2024-01-01      2024-01-03",
        "min -3, max 3, last 3",
    ]


def test_a_constant_series_is_a_line_in_the_middle_beside_its_value() -> None:
    made = chart(days(0, 1, 2), [5, 5, 5], 20, rows=3)
    assert made[:3] == ["  │", "5 ┤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤⠤", "  │"]


def test_one_point_is_one_dot_and_has_one_date() -> None:
    assert chart(days(0), [5], 21, rows=1) == ["5 ┤        ⠠", "   2024-01-01", "min 5, max 5, last 5"]


def test_a_rise_goes_from_the_lower_left_to_the_upper_right() -> None:
    assert dots([0, 1, 2, 3]) == ["┤     ⢀⡠⠤⠒⠒⠉", "┤⣀⠤⠤⠒⠊⠁"]


def test_no_line_is_drawn_over_a_value_that_is_not_finite() -> None:
    for absent in (NAN, math.inf, -math.inf):
        assert dots([0, 4, absent, 4, 0]) == ["┤ ⢀⠎     ⠱⡀", "┤⡰⠁       ⠈⢆"]


def test_no_line_is_drawn_over_a_gap_but_weekends_are_none() -> None:
    assert dots([0, 1, 2, 3, 2, 1, 0], days(0, 1, 2, 3, 10, 11, 12)) == ["┤ ⢀⠎      ⡄", "┤⡠⠊       ⠘⢄"]
    weekend = dots([0, 1, 2, 3], days(0, 1, 4, 5))
    assert all(any(row[place : place + 1].strip() for row in weekend) for place in range(1, len(max(weekend, key=len))))


def test_on_a_log_scale_equal_ratios_are_equal_steps_and_what_is_not_above_zero_is_left_out() -> None:
    assert dots([1, 10, 100], log=True) == dots([0, 50, 100])
    assert dots([0.0, 1, 10, 100], log=True)[1].startswith("┤⣀")
    assert chart(days(0, 1), [0, -1], 40, log=True) == []


@pytest.mark.parametrize(
    ("values", "top", "bottom"),
    [
        ([-1.7e308, 0, 1.7e308], "1.7e+308", "\N{MINUS SIGN}1.7e+308"),
        ([5e-324, 0, 5e-324], "4.94066e-324", "0"),
        ([0.99991, 1.00002, 1.0], "1.00002", "0.99991"),
        ([1e9, 3e12, 1e9], "3T", "1bn"),
    ],
)
def test_labels_tell_the_extremes_of_any_range(values: list[float], top: str, bottom: str) -> None:
    made = chart(days(0, 1, 2), values, 60, rows=3)
    assert (made[0].split()[0], made[2].split()[0]) == (top, bottom)


def test_times_are_told_to_the_minute_where_the_chart_is_of_hours() -> None:
    *_, dates, _ = chart([NEW_YEAR + 60, NEW_YEAR + 7200], [1, 2], 60)
    assert dates.split() == ["2024-01-01", "00:01Z", "2024-01-01", "02:00Z"]


@pytest.mark.parametrize("width", [0, 1, 5, 12, 40, 400])
@pytest.mark.parametrize("plain", [True, False])
def test_no_line_of_a_chart_is_wider_than_the_screen_that_has_room_for_its_labels(width: int, *, plain: bool) -> None:
    made = chart(days(*range(300)), [math.sin(number / 9) for number in range(300)], width, plain=plain)
    assert all(len(line) <= max(width, 18) for line in made)


@pytest.mark.parametrize("values", [[], [NAN], [NAN, math.inf]])
def test_where_there_is_no_value_there_is_no_picture(values: list[float]) -> None:
    times = days(*range(len(values)))
    assert (chart(times, values, 40), sparkline(times, values, 40)) == ([], "")


@pytest.mark.parametrize(
    ("at", "values", "line"),
    [
        (range(8), range(8), "▁▂▃▄▅▆▇█"),
        (range(100), range(100), "▁▂▃▃▄▄▅▆▆▇██"),
        ((0, 1, 2, 9, 10), (1, 2, 3, 2, 1), "▁▅█      ▅▁"),
        (range(3), (4, 4, 4), "▄▄▄"),
        ((0,), (4,), "▄"),
        (range(5), (1, 2, NAN, 2, 1), "▁█ █▁"),
    ],
)
def test_a_sparkline_has_a_block_for_each_step_and_spaces_for_gaps(
    at: Sequence[int], values: Sequence[float], line: str
) -> None:
    assert sparkline(days(*at), values, 12) == line


def test_a_sparkline_without_unicode_is_ascii() -> None:
    assert sparkline(days(*range(8)), range(8), 12, plain=True) == "_.-=+*#@"
