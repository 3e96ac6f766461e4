"""Artemis: what an answer gives; and what every answer is checked for (sources.base)."""

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from model.errors import CallFailed
from model.values import Target, Verb
from sources.artemis import Artemis
from sources.base import Answer
from tests.artemis_calls import RECEIVED, calls, targets

FIXTURES = Path(__file__).parents[1] / "fixtures" / "artemis"


def answer(symbols: Any, *wanted: Target) -> Answer:
    """What the source makes of an answer whose `symbols` are these."""
    call = replace(calls(Verb.PULL, wanted)[0], targets=wanted)
    return Artemis().answer(call, {"data": {"symbols": symbols}}, RECEIVED)


def series(points: Any) -> Answer:
    return answer({"sol": {"PRICE": points}}, *targets(["sol"], ["PRICE"]))


def values(answer: Answer) -> list[tuple[str, str, str, float]]:
    return [(point.asset, point.metric, f"{point.at:%m-%d %H:%M}", point.value) for point in answer.points]


def saved(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))["data"]["symbols"]


def test_two_assets_of_one_symbol_both_get_its_points() -> None:
    wanted = [Target("solana", "PRICE", "sol"), Target("SOL", "PRICE", "sol")]
    got = answer({"sol": {"PRICE": [{"date": "2026-08-16", "val": 151}]}}, *wanted)
    assert [point.asset for point in got.points] == ["solana", "SOL"]


def test_a_saved_answer_gives_each_series_its_points_and_no_other() -> None:
    wanted = [*targets(["sol"], ["PRICE", "FEES", "TVL", "DAU"]), *targets(["bnc", "eq-bnc", "nosuch", "x"], ["PRICE"])]
    got = answer(saved("daily"), *wanted)
    assert sorted(values(got)) == [
        ("bnc", "PRICE", "08-16 00:00", 0.07), ("eq-bnc", "PRICE", "08-14 00:00", 4.2),
        ("sol", "FEES", "08-15 00:00", 0), ("sol", "PRICE", "08-15 00:00", 150.25),
        ("sol", "PRICE", "08-16 00:00", 151),
    ]  # fmt: skip
    assert (got.nulls, got.refused) == (1, [])


def test_a_saved_quarterly_answer_is_dated_at_the_ends_of_fiscal_quarters() -> None:
    got = answer(saved("quarterly"), *targets(["eq-nvda"], ["TOTAL_REVENUE", "NET_INCOME"]))
    assert sorted(values(got)) == [
        ("eq-nvda", "NET_INCOME", "04-26 00:00", 33000000000.5),
        ("eq-nvda", "TOTAL_REVENUE", "01-25 00:00", 61e9), ("eq-nvda", "TOTAL_REVENUE", "04-26 00:00", 65e9),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "symbols",
    [
        "Market data not available for asset.", {}, {"sol": {}}, {"sol": "Metric not found."}, {"sol": None},
        {"sol": {"PRICE": "Latest data NOT AVAILABLE for this asset."}}, {"sol": {"PRICE": "Metric not found."}},
        {"sol": {"PRICE": []}}, {"sol": {"PRICE": None}}, {"sol": {"MC": []}}, {"btc": {"PRICE": []}},
    ],
    ids=repr,
)  # fmt: skip
def test_nothing_or_a_text_that_says_so_in_place_of_a_list_is_no_data_and_no_error(symbols: Any) -> None:
    got = answer(symbols, *targets(["sol"], ["PRICE"]))
    assert (got.points, got.nulls, got.refused) == ([], 0, [])


WRONG_SYMBOLS: tuple[Any, ...] = (
    None, [], 7, {"sol": [1]}, {"sol": 7}, {"sol": {"PRICE": 7.5}}, {"sol": {"PRICE": {}}}, {"sol": {"PRICE": [1]}},
    {"sol": {"PRICE": {"2026-08-16": 1}}}, {"sol": {"PRICE": [["2026-08-16", 1]]}}, {"sol": {"PRICE": [{"val": 1}]}},
    {"sol": {"PRICE": [{"date": "2026-08-16"}]}},
)  # fmt: skip
WRONG_SHAPES: tuple[Any, ...] = (
    None, 7, True, "", "text", [], [1], {}, {"error": "no"}, {"data": None}, {"data": "no"}, {"data": []},
    {"data": {"artemis_ids": {"sol": {"PRICE": []}}}}, *({"data": {"symbols": symbols}} for symbols in WRONG_SYMBOLS),
)  # fmt: skip


@pytest.mark.parametrize("payload", WRONG_SHAPES, ids=repr)
def test_another_shape_is_one_loud_error_that_names_the_call(payload: Any) -> None:
    (call,) = calls(Verb.PULL, targets(["sol"], ["PRICE"]))
    with pytest.raises(CallFailed, match="another shape than expected") as raised:
        Artemis("s3cret").answer(call, payload, RECEIVED)
    assert str(raised.value).startswith("data/api/PRICE/?symbols=sol&")
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "Internal error", "Rate limit exceeded, try again later. " * 9])
def test_any_other_text_in_place_of_a_list_is_an_error_that_quotes_it(text: str) -> None:
    for symbols in (text, {"sol": text}, {"sol": {"PRICE": text}}):
        with pytest.raises(CallFailed, match="another shape than expected") as raised:
            answer(symbols, *targets(["sol"], ["PRICE"]))
        assert str(raised.value).endswith(f"({text[:80]!r})")


@pytest.mark.parametrize("id_", ["sol", "SOL", "Sol"])
@pytest.mark.parametrize("symbol", ["sol", "SOL"])
@pytest.mark.parametrize("metric", ["PRICE", "price", "Price"])
def test_symbols_and_metrics_are_matched_in_any_case(id_: str, symbol: str, metric: str) -> None:
    body = {symbol: {metric: [{"date": "2026-08-16", "val": 151}]}}
    assert values(answer(body, Target("solana", "PRICE", id_))) == [("solana", "PRICE", "08-16 00:00", 151)]


def test_both_points_of_one_date_are_given_in_their_order() -> None:
    got = series([{"date": "2026-08-16", "val": 1}, {"date": "2026-08-16", "val": 2}])
    assert [value for *_, value in values(got)] == [1, 2]


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0), (-1.5, -1.5), (10**300, 1e300), ("1.24470998", 1.24470998), ("-3", -3), ("1e5", 1e5), (" 7 ", 7)],
    ids=repr,
)
def test_a_number_is_kept_also_where_it_is_a_text(value: object, number: float) -> None:
    assert [got for *_, got in values(series([{"date": "2026-08-16", "val": value}]))] == [number]


def test_a_null_is_no_data_and_counted() -> None:
    got = series([{"date": "2026-08-15", "val": None}, {"date": "2026-08-16", "val": 0}])
    assert ([value for *_, value in values(got)], got.nulls, got.refused) == ([0], 1, [])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        *((value, f"{value!r} in place of a number") for value in ("", "N/A", "1,000", "1_000", "0x10")),
        ("x" * 99, f"'{'x' * 40}' in place of a number"), (10**400, f"'1{'0' * 39}' in place of a number"),
        (True, "bool in place of a number"), (False, "bool in place of a number"), ([1], "list in place of a number"),
        ({"val": 1}, "dict in place of a number"), (nan, "value nan is not finite"), (inf, "value inf is not finite"),
        (-inf, "value -inf is not finite"), ("nan", "value nan is not finite"), ("Infinity", "value inf is not finite"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_finite_number_is_left_out_and_counted_with_its_reason(value: object, reason: str) -> None:
    got = series([{"date": "2026-08-15", "val": value}, {"date": "2026-08-16", "val": 5}])
    assert ([kept for *_, kept in values(got)], [each.why for each in got.refused]) == ([5], [reason])


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        ("2000-01-01", "2000-01-01T00:00:00"), ("2026-08-18", "2026-08-18T00:00:00"),
        ("2026-08-18T23:59:59.999Z", "2026-08-18T23:59:59.999000"), ("2026-08-16 05:00:00", "2026-08-16T05:00:00"),
        ("2026-08-16T02:30:00+02:30", "2026-08-16T00:00:00"), (1786924800, "2026-08-17T00:00:00"),
        ("1786924800", "2026-08-17T00:00:00"), (1786924800.5, "2026-08-17T00:00:00.500000"),
    ],
)  # fmt: skip
def test_a_time_may_be_a_date_an_iso_text_or_unix_seconds_in_any_form(date: object, moment: str) -> None:
    assert [point.at.isoformat() for point in series([{"date": date, "val": 1}]).points] == [f"{moment}+00:00"]


@pytest.mark.parametrize(
    ("date", "reason"),
    [
        *((value, f"date {day} is before 2000 or after tomorrow") for value, day in (
            ("1999-12-31", "1999-12-31"), ("2026-08-19", "2026-08-19"), ("20260816", "1970-08-23"),
            (0, "1970-01-01"), (-1, "1969-12-31"),
        )),
        (10**400, f"'1{'0' * 39}' in place of a time"),
        *((value, f"'{value}' in place of a time") for value in (1786924800000, "1786924800000", nan, inf)),
        ("2026-02-30", "'2026-02-30' in place of a time"),
        ("", "'' in place of a time"), ("today", "'today' in place of a time"), (True, "bool in place of a time"),
        (None, "NoneType in place of a time"), ([1], "list in place of a time"),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_a_date_before_2000_or_after_tomorrow_or_none_at_all_is_left_out_and_counted(date: object, reason: str) -> None:
    got = series([{"date": date, "val": 1}, {"date": "2026-08-16", "val": 5}])
    assert ([kept for *_, kept in values(got)], [each.why for each in got.refused]) == ([5], [reason])


def test_a_name_that_does_not_fit_its_column_is_left_out_and_counted() -> None:
    got = answer({"sol": {"PRICE": [{"date": "2026-08-16", "val": 1}]}}, Target("s" * 101, "PRICE", "sol"))
    assert got.points == []
    assert len(got.refused) == 1


def test_a_null_outside_the_window_is_not_counted() -> None:
    wanted = targets(["sol"], ["PRICE"])
    dates = ["2026-08-10", "2026-08-11", "2026-08-17", "2026-08-18", "no date"]
    got = answer({"sol": {"PRICE": [{"date": date, "val": None} for date in dates]}}, *wanted)
    assert (got.nulls, got.refused) == (2, [])
