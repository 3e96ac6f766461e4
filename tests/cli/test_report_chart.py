"""The small charts of the report: their ticks, and which points they draw."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from query.flag_rules import Day
from query.report.line_chart import BOTTOM, RIGHT, TOP, draw

LAST = date(2026, 11, 29)


def days(values: Sequence[float]) -> list[Day]:
    """Consecutive days with these values, up to LAST."""
    dates = [LAST - timedelta(place) for place in range(len(values))][::-1]
    return [Day(each.toordinal(), each, value) for each, value in zip(dates, values, strict=True)]


@pytest.mark.parametrize(
    ("values", "unit", "texts"),
    [
        ((97_234.56, 99_120.0), "USD", ["$97K", "$98K", "$99K", "$100K"]),
        ((0.0, 0.31), "%", ["0%", "0.2%", "0.4%"]),
        ((-4.7e8, 0.0, 4.4e8), "", ["\N{MINUS SIGN}500M", "0", "500M"]),
        ((1.0, 1.000_000_1), "USD", ["$1", "$1.0002"]),
        ((183_254_123_456.0,) * 2, "", ["183bn"]),
        ((0.0,), "USD", ["$0"]),
        ((0.002, 3.0), "USD", ["$0.001", "$0.1", "$10"]),
        ((1e-300, 1e300), "", ["1e-300", "1e-100", "1e+100", "1e+300"]),
        ((-1.7e308, 1.7e308), "", ["\N{MINUS SIGN}1.7e+308", "1.7e+308"]),
    ],
)
def test_amounts_are_a_few_round_numbers_that_can_be_told_apart(
    values: Sequence[float], unit: str, texts: list[str]
) -> None:
    assert [tick.text for tick in draw(days(values), unit)["amounts"]] == texts


@pytest.mark.parametrize(
    ("number", "texts"),
    [
        (1, ["2026-11-29"]),
        (2, ["2026-11-28", "2026-11-29"]),
        (40, ["2026-10-21", "2026-11-29"]),
        (90, ["2026-09", "2026-11"]),
        (150, ["2026-09", "2026-11"]),
        (366, ["2026-01", "2026-07"]),
        (1_100, ["2024", "2025", "2026"]),
        (2_700, ["2020", "2022", "2024", "2026"]),
        (9_000, ["2010", "2020"]),
    ],
)
def test_dates_are_starts_of_months_and_years_or_else_the_first_and_the_last_day(number: int, texts: list[str]) -> None:
    assert [tick.text for tick in draw(days([1.0] * number), "")["dates"]] == texts


def test_a_large_span_has_a_log_scale() -> None:
    assert draw(days([1.0, 1000.0]), "")["log_scale"]
    assert not draw(days([1.001, 1000.0]), "")["log_scale"]
    assert not draw(days([0.0, 1000.0]), "")["log_scale"]


def test_the_highest_value_is_drawn_above_the_lowest_between_their_ticks() -> None:
    chart = draw(days([10.0, 40.0, 25.0]), "")
    left, middle = chart["left"], (chart["left"] + RIGHT) // 2
    assert chart["path"] == f"M{left} {BOTTOM} {middle} {TOP} {RIGHT} {(TOP + BOTTOM) // 2} h0"
    assert [tick.at for tick in chart["amounts"]][::3] == [BOTTOM, TOP]


def test_of_many_days_in_one_column_only_the_lowest_and_the_highest_are_drawn() -> None:
    path = draw(days([float(day % 7) for day in range(3_000)]), "")["path"]
    assert len(re.findall(r"\d+ \d+", path)) <= 2 * (RIGHT + 1)
    assert {int(height) for height in re.findall(r" (\d+) ", path)} >= {TOP, BOTTOM}


def test_a_long_gap_is_no_line() -> None:
    with_gap = days([1.0] * 100)
    assert draw(with_gap, "")["path"].count("M") == 1
    assert draw(with_gap[:40] + with_gap[60:], "")["path"].count("M") == 2
