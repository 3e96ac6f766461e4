"""Artemis: the exact requests, how targets are packed into few calls, what an answer gives; and what every answer is
checked for (sources.base)."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import ceil, inf, nan
from pathlib import Path
from typing import Any

import pytest
import requests

from model.errors import CallFailed
from model.settings import ROOT
from model.values import DAY, Target, Verb, Window
from sources.artemis import METRICS, QUARTERLY, Artemis
from sources.base import Answer, Call
from sources.config import read_targets

FIXTURES = Path(__file__).parents[1] / "fixtures" / "artemis"
TODAY = datetime(2026, 8, 17, tzinfo=UTC)
RECEIVED = TODAY + timedelta(hours=10, minutes=30)
WEEK = Window(TODAY - 6 * DAY, TODAY + DAY)
DAILY = sorted(METRICS.keys() - QUARTERLY)


def targets(symbols: Sequence[str] | int, metrics: Sequence[str] | int) -> list[Target]:
    """Each symbol with each metric; a number makes so many of them."""
    names = [f"s{number:03}" for number in range(symbols)] if isinstance(symbols, int) else symbols
    wanted = DAILY[:metrics] if isinstance(metrics, int) else metrics
    return [Target(name, metric, name) for name in names for metric in wanted]


def calls(verb: Verb, wanted: Sequence[Target], window: Window = WEEK) -> list[Call]:
    return list(Artemis("key").calls(verb, wanted, window))


def days(number: int) -> Window:
    return Window(TODAY - number * DAY, TODAY)


def asked(call: Call) -> tuple[list[str], list[str], dict[str, str]]:
    """The metrics, the symbols and the other parameters that a call asks for."""
    params = dict(call.params)
    metrics = call.path.removeprefix("data/api/").removesuffix("/").split(",")
    return metrics, params.pop("symbols").split(","), params


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


def test_a_pull_asks_for_the_trailing_days_in_one_request_with_the_key_in_header_and_parameter() -> None:
    (call,) = calls(Verb.PULL, targets(["sol", "usd*"], ["PRICE", "24H_VOLUME"]))
    request = Artemis("k&y").request(call)
    assert request.url == "https://data-svc.artemisxyz.com/data/api/24H_VOLUME,PRICE/"
    assert request.headers == {"X-API-Key": "k&y"}
    assert request.params == {
        "symbols": "sol,usd*", "startDate": "2026-08-11", "endDate": "2026-08-17", "APIKey": "k&y",
    }  # fmt: skip
    assert requests.Request("GET", request.url, params=request.params).prepare().url == (
        "https://data-svc.artemisxyz.com/data/api/24H_VOLUME,PRICE/"
        "?symbols=sol%2Cusd%2A&startDate=2026-08-11&endDate=2026-08-17&APIKey=k%26y"
    )
    assert str(call) == "data/api/24H_VOLUME,PRICE/?symbols=sol,usd*&startDate=2026-08-11&endDate=2026-08-17"


def test_one_day_is_asked_for_with_equal_dates_because_the_last_one_is_included() -> None:
    (call,) = calls(Verb.BACKFILL, targets(1, 1), days(1))
    assert asked(call)[2] == {"startDate": "2026-08-16", "endDate": "2026-08-16"}


def test_a_long_history_is_asked_for_in_adjoining_windows_of_a_thousand_days() -> None:
    made = calls(Verb.BACKFILL, targets(2, 2), days(2500))
    dates = [(params["startDate"], params["endDate"]) for _, _, params in map(asked, made)]
    assert dates == [("2019-10-13", "2022-07-08"), ("2022-07-09", "2025-04-03"), ("2025-04-04", "2026-08-16")]
    assert [(call.window.end - call.window.start).days for call in made] == [1000, 1000, 500]


def test_the_default_history_is_five_years_in_two_windows() -> None:
    window = Window(Artemis.history_start(RECEIVED), TODAY)
    assert window.start == TODAY - 1825 * DAY
    assert len(calls(Verb.BACKFILL, targets(1, 1), window)) == 2


def test_fundamentals_are_asked_for_by_quarter_and_apart_from_daily_metrics() -> None:
    made = calls(Verb.BACKFILL, targets(["eq-nvda"], ["PRICE", "TOTAL_REVENUE", "DILUTED_EPS"]), days(1825))
    assert [(asked(call)[0], dict(call.params).get("granularity")) for call in made] == [
        (["PRICE"], None), (["PRICE"], None), (["DILUTED_EPS", "TOTAL_REVENUE"], "QUARTER"),
    ]  # fmt: skip
    assert made[-1].window == days(1825)


def test_a_pull_asks_for_the_last_five_quarters_since_they_are_filed_late_and_restated() -> None:
    (call,) = calls(Verb.PULL, targets(["eq-nvda"], ["TOTAL_REVENUE"]))
    assert asked(call)[2] == {"startDate": "2025-05-25", "endDate": "2026-08-17", "granularity": "QUARTER"}
    assert call.window == Window(TODAY + DAY - 450 * DAY, TODAY + DAY)


@pytest.mark.parametrize(
    ("symbols", "metrics", "length", "expected"),
    [
        (10, 10, 7, 1), (11, 10, 7, 2), (50, 2, 7, 1), (51, 1, 7, 2), (1, 100, 7, 1), (1, 101, 7, 2),
        (50, 2, 1000, 1), (50, 2, 1001, 2), (60, 10, 1825, 12),
    ],
)  # fmt: skip
def test_symbols_of_the_same_metrics_are_packed_to_the_limits(
    symbols: int, metrics: int, length: int, expected: int
) -> None:
    assert len(calls(Verb.BACKFILL, targets(symbols, metrics), days(length))) == expected


def test_symbols_of_the_same_metrics_come_together_so_that_little_is_asked_for_in_vain() -> None:
    wanted = [Target(f"s{n}", ("PRICE", "FEES")[n % 2], f"s{n}") for n in range(100)]
    assert [asked(call)[0] for call in calls(Verb.BACKFILL, wanted, days(1000))] == [["FEES"], ["PRICE"]]


def test_calls_are_smaller_where_a_larger_one_has_failed() -> None:
    source = Artemis("key")
    source.series_a_call = 30
    made = list(source.calls(Verb.PULL, targets(20, 3), WEEK))
    assert [len(call.targets) for call in made] == [30, 30]


def test_a_pull_of_the_shipped_config_requests_few_series_that_no_row_names() -> None:
    wanted = read_targets(ROOT / Artemis.CONFIG, Artemis)
    requested = sum(len(asked(call)[0]) * len(asked(call)[1]) for call in calls(Verb.PULL, wanted))
    assert len(wanted) <= requested <= 1.3 * len(wanted)


@pytest.mark.parametrize("seed", range(60))
def test_any_mixture_is_asked_for_exactly_once_and_within_the_limits(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 (the same mixture in every run)
    every = targets(dice.randint(1, 150), dice.sample(sorted(METRICS), dice.randint(1, 60)))
    wanted = [target for target in every if dice.random() < dice.choice([0.1, 0.5, 1])] or every[:1]
    dice.shuffle(wanted)
    length = dice.choice([1, 7, 30, 365, 999, 1000, 1001, 1825, 3000])
    count = Counter[tuple[Target, str]]()
    for call in calls(Verb.BACKFILL, wanted, days(length)):
        metrics, symbols, params = asked(call)
        start, end = (datetime.fromisoformat(f"{params[name]}T00Z") for name in ("startDate", "endDate"))
        assert call.window == Window(start, end + DAY)
        quarterly = params.get("granularity") == "QUARTER"
        assert {target.metric in QUARTERLY for target in call.targets} == {quarterly}
        points = ceil((end - start + DAY) / (90 * DAY if quarterly else DAY))
        assert points <= 1_000
        assert len(set(symbols)) == len(symbols) <= 50
        assert len(set(metrics)) == len(metrics)
        assert len(symbols) * len(metrics) <= min(100, 1.3 * len(call.targets))
        assert {target.id for target in call.targets} == set(symbols)
        assert {target.metric for target in call.targets} == set(metrics)
        count.update((target, "" if quarterly else params["startDate"]) for target in call.targets)
    windows = {False: len(days(length).split(1000 * DAY)), True: 1}
    assert set(count.values()) == {1}
    assert Counter(target for target, _ in count) == {target: windows[target.metric in QUARTERLY] for target in wanted}


def test_two_assets_of_one_symbol_both_get_its_points() -> None:
    wanted = [Target("solana", "PRICE", "sol"), Target("SOL", "PRICE", "sol")]
    got = answer({"sol": {"PRICE": [{"date": "2026-08-16", "val": 151}]}}, *wanted)
    assert [point.asset for point in got.points] == ["solana", "SOL"]


@pytest.mark.parametrize("metric", ["PRICE", "TOTAL_REVENUE"])
def test_a_call_is_halved_by_symbol_until_one_stands_alone_and_stays_what_it_is(metric: str) -> None:
    (call,) = calls(Verb.PULL, targets(13, [metric]))
    alone, todo = [], [call]
    while todo:
        piece = todo.pop()
        metrics, symbols, params = asked(piece)
        assert metrics == [metric]
        assert params == asked(call)[2]
        assert [target.id for target in piece.targets] == symbols
        assert piece.window == call.window
        halves = Artemis().split(piece)
        assert abs(len(halves[0].targets) - len(halves[1].targets)) <= 1 if halves else len(symbols) == 1
        todo += halves
        alone += [] if halves else symbols
    assert sorted(alone) == [target.id for target in call.targets]


def test_a_symbol_with_many_metrics_is_not_split_further() -> None:
    (call,) = calls(Verb.PULL, targets(1, 9))
    assert Artemis().split(call) == []


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
