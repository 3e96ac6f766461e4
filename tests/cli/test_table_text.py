"""Tables for a person."""

import math
from datetime import UTC, datetime

import pytest

from cli.query_screen import number, table_lines


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (1.0, "1"), (-1234567.89, "-1,234,568"), (123456789.0, "123,456,789"),
        (1234.5678, "1,234.57"), (0.1 + 0.2, "0.3"), (0.00001234567, "0.0000123457"), (1e-9, "1e-09"),
        (1.5e15, "1.5e+15"), (999999.9, "1,000,000"), (math.inf, "inf"), (100.0, "100"),
    ],
)  # fmt: skip
def test_a_number_keeps_six_significant_digits_and_every_whole_one(value: float, text: str) -> None:
    assert number(value) == text


def test_points_stand_in_one_place_and_times_are_dates_where_all_are_midnights() -> None:
    rows = [("a", datetime(2024, 1, 1, tzinfo=UTC), 1234.5), ("longer", datetime(2024, 1, 2, tzinfo=UTC), None)]
    assert table_lines(["asset", "pulled_at", "PRICE"], rows) == [
        "asset   pulled_at     PRICE",
        "a       2024-01-01  1,234.5",
        "longer  2024-01-02",
    ]
    rows.append(("b\x1b[2J", datetime(2024, 1, 2, 23, 59, 40, tzinfo=UTC), 7.25))
    assert table_lines(["asset", "pulled_at", "PRICE"], rows)[-1] == "b [2J   2024-01-02 23:59:40Z      7.25"


def test_a_table_without_rows_is_its_header() -> None:
    assert table_lines(["pulled_at", "PRICE"], []) == ["pulled_at  PRICE"]
