"""Artemis: the exact requests, and how targets are packed into few calls."""

import random
from collections import Counter
from datetime import datetime
from math import ceil

import pytest
import requests

from model.settings import ROOT
from model.values import DAY, Target, Verb, Window
from sources.artemis import METRICS, QUARTERLY, Artemis
from sources.config import read_targets
from tests.artemis_calls import RECEIVED, TODAY, WEEK, asked, calls, days, targets


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
