"""DefiLlama: the exact URLs, how few calls there are, and what each endpoint's answer gives."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from model.errors import CallFailed
from model.values import DAY, Rhythm, Target, Verb, Window
from pipeline.plan import make_job, make_plan
from sources.base import Answer, Call
from sources.defillama import DefiLlama
from sources.defillama_metrics import METRICS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "defillama"
ENTITIES = Path(__file__).parents[3] / "shared" / "api" / "lists" / "defillama_entities.csv"
TODAY = datetime(2026, 8, 17, tzinfo=UTC)
RECEIVED = TODAY + timedelta(hours=10, minutes=30)
PULLED = Window(TODAY - 6 * DAY, TODAY + DAY)
CLOSED = Window(TODAY - 16 * DAY, TODAY)
POOL = "747c1d2a-c668-4682-b9f9-296708a3dd90"
WETH = "ethereum:0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
FREE_HOSTS = {family: f"https://{family}.llama.fi" for family in ("api", "coins", "etfs", "stablecoins", "yields")}
PULL, BACKFILL = Verb.PULL, Verb.BACKFILL
NO_CHART = "excludeTotalDataChart=true&excludeTotalDataChartBreakdown=true"
CHART = "excludeTotalDataChart=false&excludeTotalDataChartBreakdown=true"

URLS = (  # kind of run, metrics that share the URL, id, family, path and query
    (PULL, "TVL MCAP BORROWED STAKING", "aave-v3", "api", "/protocols"),
    (PULL, "TVL", "parent#uniswap", "api", "/tvl/uniswap"),
    (BACKFILL, "TVL BORROWED STAKING", "aave-v3", "api", "/protocol/aave-v3"),
    (BACKFILL, "TVL", "parent#uniswap", "api", "/protocol/uniswap"),
    (BACKFILL, "TVL", "synthetix-v1+v2", "api", "/protocol/synthetix-v1%2Bv2"),
    (PULL, "TREASURY", "parent#aave", "api", "/v2/chart/treasury/protocol/aave"),
    (BACKFILL, "TREASURY", "parent#aave", "api", "/v2/chart/treasury/protocol/aave"),
    (PULL, "TREASURY_OWN_TOKENS", "lido", "api", "/v2/chart/treasury/protocol/lido?key=OwnTokens"),
    (BACKFILL, "TREASURY_OWN_TOKENS", "lido", "api", "/v2/chart/treasury/protocol/lido?key=OwnTokens"),
    (PULL, "OPEN_INTEREST", "gmx-v2-perps", "api", f"/overview/open-interest?{NO_CHART}"),
    (PULL, "OPEN_INTEREST", "parent#gmx", "api", f"/summary/open-interest/gmx?{NO_CHART}"),
    (BACKFILL, "OPEN_INTEREST", "gmx-v2-perps", "api", f"/summary/open-interest/gmx-v2-perps?{CHART}"),
    (PULL, "FEES_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyFees"),
    (PULL, "FEES_24H", "parent#uniswap", "api", f"/summary/fees/uniswap?{NO_CHART}&dataType=dailyFees"),
    (BACKFILL, "FEES", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyFees"),
    (BACKFILL, "FEES", "parent#uniswap", "api", f"/summary/fees/uniswap?{CHART}&dataType=dailyFees"),
    (PULL, "REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyRevenue"),
    (BACKFILL, "REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyRevenue"),
    (PULL, "HOLDERS_REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyHoldersRevenue"),
    (BACKFILL, "HOLDERS_REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyHoldersRevenue"),
    (PULL, "PROTOCOL_REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyProtocolRevenue"),
    (BACKFILL, "PROTOCOL_REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyProtocolRevenue"),
    (PULL, "SUPPLY_SIDE_REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailySupplySideRevenue"),
    (BACKFILL, "SUPPLY_SIDE_REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailySupplySideRevenue"),
    (PULL, "USER_FEES_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyUserFees"),
    (BACKFILL, "USER_FEES", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyUserFees"),
    (PULL, "DEX_VOLUME_24H", "curve-dex", "api", f"/overview/dexs?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "DEX_VOLUME", "curve-dex", "api", f"/summary/dexs/curve-dex?{CHART}&dataType=dailyVolume"),
    (PULL, "AGGREGATOR_VOLUME_24H", "1inch", "api", f"/overview/aggregators?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "AGGREGATOR_VOLUME", "1inch", "api", f"/summary/aggregators/1inch?{CHART}&dataType=dailyVolume"),
    (PULL, "OPTIONS_PREMIUM_VOLUME_24H", "hegic", "api", f"/overview/options?{NO_CHART}&dataType=dailyPremiumVolume"),
    (BACKFILL, "OPTIONS_PREMIUM_VOLUME", "hegic", "api", f"/summary/options/hegic?{CHART}&dataType=dailyPremiumVolume"),
    (PULL, "OPTIONS_NOTIONAL_VOLUME_24H", "hegic", "api", f"/overview/options?{NO_CHART}&dataType=dailyNotionalVolume"),
    (BACKFILL, "OPTIONS_NOTIONAL_VOLUME", "hegic", "api",
     f"/summary/options/hegic?{CHART}&dataType=dailyNotionalVolume"),
    (PULL, "PERPS_VOLUME_24H", "gmx-v2-perps", "api", f"/overview/derivatives?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "PERPS_VOLUME", "gmx-v2-perps", "api",
     f"/summary/derivatives/gmx-v2-perps?{CHART}&dataType=dailyVolume"),
    (PULL, "CHAIN_TVL", "OP Mainnet", "api", "/v2/chains"),
    (BACKFILL, "CHAIN_TVL", "OP Mainnet", "api", "/v2/historicalChainTvl/OP%20Mainnet"),
    (BACKFILL, "CHAIN_TVL", "Plume (Deprecated)", "api", "/v2/historicalChainTvl/Plume%20%28Deprecated%29"),
    (BACKFILL, "CHAIN_TVL", "a/b?c#d%e", "api", "/v2/historicalChainTvl/a%2Fb%3Fc%23d%25e"),
    (PULL, "CHAIN_STABLECOIN_SUPPLY", "OP Mainnet", "stablecoins", "/stablecoinchains"),
    (BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "OP Mainnet", "stablecoins", "/stablecoincharts/OP%20Mainnet"),
    (PULL, "CHAIN_FEES_24H", "OP Mainnet", "api", f"/overview/fees/OP%20Mainnet?{NO_CHART}&dataType=dailyFees"),
    (BACKFILL, "CHAIN_FEES", "OP Mainnet", "api", f"/overview/fees/OP%20Mainnet?{CHART}&dataType=dailyFees"),
    (PULL, "CHAIN_REVENUE_24H", "Sui", "api", f"/overview/fees/Sui?{NO_CHART}&dataType=dailyRevenue"),
    (BACKFILL, "CHAIN_REVENUE", "Sui", "api", f"/overview/fees/Sui?{CHART}&dataType=dailyRevenue"),
    (PULL, "CHAIN_APP_FEES_24H", "Sui", "api", f"/overview/fees/Sui?{NO_CHART}&dataType=dailyAppFees"),
    (BACKFILL, "CHAIN_APP_FEES", "Sui", "api", f"/overview/fees/Sui?{CHART}&dataType=dailyAppFees"),
    (PULL, "CHAIN_APP_REVENUE_24H", "Sui", "api", f"/overview/fees/Sui?{NO_CHART}&dataType=dailyAppRevenue"),
    (BACKFILL, "CHAIN_APP_REVENUE", "Sui", "api", f"/overview/fees/Sui?{CHART}&dataType=dailyAppRevenue"),
    (PULL, "CHAIN_DEX_VOLUME_24H", "re.al", "api", f"/overview/dexs/re.al?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "CHAIN_DEX_VOLUME", "re.al", "api", f"/overview/dexs/re.al?{CHART}&dataType=dailyVolume"),
    (PULL, "CHAIN_OPTIONS_PREMIUM_VOLUME_24H", "Base", "api",
     f"/overview/options/Base?{NO_CHART}&dataType=dailyPremiumVolume"),
    (BACKFILL, "CHAIN_OPTIONS_PREMIUM_VOLUME", "Base", "api",
     f"/overview/options/Base?{CHART}&dataType=dailyPremiumVolume"),
    (PULL, "CHAIN_PERPS_VOLUME_24H", "Base", "api", f"/overview/derivatives/Base?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "CHAIN_PERPS_VOLUME", "Base", "api", f"/overview/derivatives/Base?{CHART}&dataType=dailyVolume"),
    (PULL, "STABLECOIN_SUPPLY", "2", "stablecoins", "/stablecoincharts/all?stablecoin=2"),
    (BACKFILL, "STABLECOIN_SUPPLY", "2", "stablecoins", "/stablecoin/2"),
    (PULL, "STABLECOIN_PRICE", "2", "stablecoins", "/stablecoins?includePrices=true"),
    (PULL, "PRICE", WETH, "coins", f"/prices/current/{WETH}"),
    (BACKFILL, "PRICE", WETH, "coins", f"/chart/{WETH}?start=1785542400&span=16&period=1d"),
    (PULL, "ETF_FLOW", "coingecko:bitcoin", "etfs", "/flows"),
    (BACKFILL, "ETF_FLOW", "coingecko:bitcoin", "etfs", "/flows"),
    (PULL, "APY APY_BASE APY_REWARD POOL_TVL", POOL, "yields", "/pools"),
    (BACKFILL, "APY APY_BASE APY_REWARD POOL_TVL", POOL, "yields", f"/chart/{POOL}"),
    (PULL, "TOTAL_TVL", "defi", "api", "/v2/historicalChainTvl"),
    (BACKFILL, "TOTAL_TVL", "defi", "api", "/v2/historicalChainTvl"),
    (PULL, "TOTAL_STABLECOIN_SUPPLY", "defi", "stablecoins", "/stablecoincharts/all"),
    (BACKFILL, "TOTAL_STABLECOIN_SUPPLY", "defi", "stablecoins", "/stablecoincharts/all"),
    (PULL, "TOTAL_FEES_24H", "defi", "api", f"/overview/fees?{NO_CHART}&dataType=dailyFees"),
    (BACKFILL, "TOTAL_FEES", "defi", "api", f"/overview/fees?{CHART}&dataType=dailyFees"),
    (PULL, "TOTAL_REVENUE_24H", "defi", "api", f"/overview/fees?{NO_CHART}&dataType=dailyRevenue"),
    (BACKFILL, "TOTAL_REVENUE", "defi", "api", f"/overview/fees?{CHART}&dataType=dailyRevenue"),
    (PULL, "TOTAL_DEX_VOLUME_24H", "defi", "api", f"/overview/dexs?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "TOTAL_DEX_VOLUME", "defi", "api", f"/overview/dexs?{CHART}&dataType=dailyVolume"),
)  # fmt: skip


def target(metric: str, identifier: str, asset: str = "") -> Target:
    return Target(asset or identifier, metric, identifier, METRICS[metric].kind)


def calls(verb: Verb, targets: Sequence[Target], window: Window | None = None) -> list[Call]:
    return list(DefiLlama().calls(verb, targets, window or (PULLED if verb is PULL else CLOSED)))


def answer(payload: Any, verb: Verb, metrics: str, *ids: str) -> Answer:
    """What the source makes of the payload as the answer for these series, which share one call."""
    (call,) = calls(verb, [target(metric, identifier) for metric in metrics.split() for identifier in ids])
    return DefiLlama().answer(call, payload, RECEIVED)


def saved(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def live(answer: Answer) -> dict[tuple[str, str], float]:
    """Values without a date; each has the time when it was received."""
    assert {point.at for point in answer.points} <= {RECEIVED}
    return {(point.asset, point.metric): point.value for point in answer.points}


def dated(answer: Answer) -> list[tuple[str, float]]:
    return [(f"{point.at:%m-%d %H:%M:%S}", point.value) for point in answer.points]


def url(source: DefiLlama, call: Call) -> str:
    request = source.request(call)
    assert not request.headers
    return str(requests.Request("GET", request.url, params=request.params).prepare().url)


def test_the_table_of_urls_has_every_metric_in_every_kind_of_run() -> None:
    asked = {(verb, metric) for verb, metrics, *_ in URLS for metric in metrics.split()}
    asked |= {(Verb.SETTLE, metric) for verb, metric in asked if verb is Verb.BACKFILL}  # the same calls
    assert asked == {(verb, name) for name, metric in METRICS.items() for verb in metric.verbs}
    for name, metric in METRICS.items():
        if not metric.live_only:
            assert calls(Verb.SETTLE, [target(name, "1")]) == calls(BACKFILL, [target(name, "1")])


@pytest.mark.parametrize(("verb", "metrics", "identifier", "family", "rest"), URLS)
def test_each_call_has_the_documented_url_at_each_host(
    verb: Verb, metrics: str, identifier: str, family: str, rest: str
) -> None:
    (call,) = calls(verb, [target(metric, identifier) for metric in metrics.split()])
    assert url(DefiLlama(), call) == FREE_HOSTS[family] + rest
    assert url(DefiLlama("a/key"), call) == f"https://pro-api.llama.fi/a%2Fkey/{family}{rest}"
    assert url(DefiLlama("", "http://localhost:1"), call) == f"http://localhost:1/{family}{rest}"
    assert url(DefiLlama("key", "http://localhost:1/x/"), call) == f"http://localhost:1/x/key/{family}{rest}"


@pytest.mark.parametrize(("key", "expected"), [("", 14 + 6 * 103), ("key", 15 + 7 * 103)])
def test_361_entities_need_the_bulk_answers_and_one_call_for_each_chain_and_flow(key: str, expected: int) -> None:
    if ENTITIES.exists():
        with ENTITIES.open(encoding="utf-8") as file:
            rows = [("chain" if r["category"] == "Chain" else "protocol", r["slug"]) for r in csv.DictReader(file)]
    else:
        rows = [("chain" if number < 103 else "protocol", f"entity-{number}") for number in range(361)]
    assert len(rows) == 361
    wanted = {
        kind: [name for name, metric in METRICS.items() if kind == metric.kind and name.endswith("_24H")] + levels
        for kind, levels in (
            ("protocol", ["TVL", "MCAP", "OPEN_INTEREST"]),
            ("chain", ["CHAIN_TVL", "CHAIN_STABLECOIN_SUPPLY"]),
        )
    }
    targets = [Target(slug, metric, slug, kind) for kind, slug in rows for metric in wanted[kind]]
    plan = make_plan(make_job(DefiLlama(key), PULL, targets, PULLED))
    assert len(plan.calls) == expected
    assert plan.job.without_key == (0 if key else 258 + 103)  # the volume of perpetuals
    assert len({(call.path, call.params) for call in plan.calls}) == expected


def test_a_parent_costs_a_call_for_each_live_value_because_no_bulk_answer_has_it() -> None:
    made = calls(PULL, [target(m, i) for m in ("TVL", "FEES_24H") for i in ("lido", "parent#aave", "parent#gmx")])
    assert sorted(call.path for call in made) == [
        "api/overview/fees", "api/protocols", "api/summary/fees/aave", "api/summary/fees/gmx", "api/tvl/aave",
        "api/tvl/gmx",
    ]  # fmt: skip


def test_with_a_key_the_history_of_a_protocol_is_a_small_chart_in_place_of_a_body_of_many_megabytes() -> None:
    targets = [target(metric, "parent#aave") for metric in ("TVL", "BORROWED", "STAKING")]
    for verb in (BACKFILL, Verb.SETTLE):
        made = list(DefiLlama("key").calls(verb, targets, CLOSED))
        chart = "https://pro-api.llama.fi/key/api/v2/chart/tvl/protocol/aave"
        keys = ("", "?key=borrowed", "?key=staking")
        assert [url(DefiLlama("key"), call) for call in made] == [f"{chart}{key}" for key in keys]
        points = DefiLlama("key").answer(made[1], saved("pairs"), RECEIVED)
        assert {(point.asset, point.metric) for point in points.points} == {("parent#aave", "BORROWED")}
        assert dated(points) == [("08-15 00:00:00", 5), ("08-16 00:00:00", 0), ("08-17 00:00:00", 7.25)]
    pulled = [DefiLlama(key).calls(PULL, targets[:1], PULLED) for key in ("", "key")]
    assert [[call.path for call in made] for made in pulled] == [["api/tvl/aave"]] * 2


def test_the_two_series_of_a_pool_share_its_one_history() -> None:
    assert [len(call.targets) for call in calls(BACKFILL, [target("APY", POOL), target("POOL_TVL", POOL)])] == [2]


@pytest.mark.parametrize("coins", [1, 3, 49, 50, 51, 120])
@pytest.mark.parametrize("days", [1, 2, 9, 10, 11, 499, 500, 501, 1300])
def test_price_histories_are_packed_to_the_limits_and_no_day_is_lost_or_asked_twice(coins: int, days: int) -> None:
    window = Window(TODAY - days * DAY, TODAY)
    asked: dict[str, list[datetime]] = {}
    made = calls(BACKFILL, [target("PRICE", f"coingecko:{n}") for n in range(coins)], window)
    for call in made:
        params, ids = dict(call.params), call.path.removeprefix("coins/chart/").split(",")
        start, span = datetime.fromtimestamp(int(params["start"]), UTC), int(params["span"])
        assert ids == [target.id for target in call.targets]
        assert len(ids) <= 50
        assert len(ids) * span <= 500
        assert call.window == Window(start, start + span * DAY)
        for identifier in ids:
            asked.setdefault(identifier, []).extend(start + n * DAY for n in range(span))
    assert len(asked) == coins
    assert all(sorted(got) == [window.start + n * DAY for n in range(days)] for got in asked.values())
    if days <= 10:
        assert len(made) == -(-coins // 50)


def test_a_pull_asks_for_fifty_prices_a_call() -> None:
    made = calls(PULL, [target("PRICE", f"coingecko:{number}") for number in range(101)])
    assert [len(call.targets) for call in made] == [50, 50, 1]
    assert {call.params for call in made} == {()}


def test_a_coin_of_two_assets_is_asked_for_once_and_given_to_both() -> None:
    (call,) = calls(PULL, [target("PRICE", "coingecko:bitcoin", name) for name in ("btc", "bitcoin")])
    assert call.path == "coins/prices/current/coingecko:bitcoin"
    points = DefiLlama().answer(call, saved("prices_current"), RECEIVED).points
    assert [(point.asset, point.value) for point in points] == [("btc", 65000), ("bitcoin", 65000)]


def test_a_call_for_prices_is_halved_until_a_coin_stands_alone() -> None:
    made = calls(PULL, [target("PRICE", f"coingecko:{n}", f"asset{n}") for n in (1, 2, 2, 3)])
    pieces = [piece for call in made for half in DefiLlama().split(call) for piece in DefiLlama().split(half) or [half]]
    assert [piece.path.rpartition("/")[2] for piece in pieces] == ["coingecko:1", "coingecko:2", "coingecko:3"]
    assert sorted(target for piece in pieces for target in piece.targets) == sorted(made[0].targets)
    assert all(DefiLlama().split(piece) == [] for piece in pieces)


def test_a_call_for_one_asset_or_for_all_of_them_is_never_split() -> None:
    made = calls(PULL, [target("TVL", "aave"), target("TVL", "lido"), target("CHAIN_FEES_24H", "Solana")])
    assert [DefiLlama().split(call) for call in made] == [[], []]


def test_a_price_seen_before_midnight_belongs_to_the_window_that_starts_there() -> None:
    (call,) = calls(BACKFILL, [target("PRICE", "coingecko:bitcoin")], Window(TODAY - 2 * DAY, TODAY))
    points = DefiLlama().answer(call, saved("chart"), RECEIVED).points
    assert [(f"{point.at:%m-%d %H:%M:%S}", point.value) for point in points] == [
        ("08-14 23:59:18", 64000), ("08-16 00:00:18", 64500.5),
    ]  # fmt: skip
    days = [METRICS["PRICE"].day_of(point.at) for point in points]
    assert all(call.window.start.date() <= day < call.window.end.date() for day in days)


def test_protocols_give_tvl_and_market_cap_and_a_missing_or_null_cap_is_no_data() -> None:
    got = answer(saved("protocols"), PULL, "TVL MCAP", "aave-v3", "lido", "no-token", "gone", "unknown")
    assert live(got) == {
        ("aave-v3", "TVL"): 27164350123.5, ("lido", "TVL"): 31e9, ("no-token", "TVL"): 12, ("gone", "TVL"): 0,
        ("lido", "MCAP"): 812345678.25, ("gone", "MCAP"): 0,
    }  # fmt: skip
    assert (got.nulls, got.refused) == (2, [])


def test_two_rows_of_one_name_are_refused_and_not_chosen_from() -> None:
    got = answer(saved("overview"), PULL, "FEES_24H", "aave-v3", "manta")
    assert live(got) == {("aave-v3", "FEES_24H"): 500}
    assert [each.why for each in got.refused] == ["'2 rows named manta' in place of a number"]


def test_an_overview_row_without_a_total_or_with_null_is_no_data_and_zero_is_data() -> None:
    got = answer(saved("overview"), PULL, "FEES_24H", "aave-v3", "gone", "no-token", "lido", "unknown")
    assert live(got) == {("aave-v3", "FEES_24H"): 500, ("gone", "FEES_24H"): 0}
    assert got.nulls == 2


def test_the_now_point_at_the_end_of_a_protocols_history_is_dropped_and_zeros_are_kept() -> None:
    got = answer(saved("protocol"), BACKFILL, "TVL", "small")
    assert dated(got) == [
        ("08-08 23:00:00", 0),
        ("08-15 00:00:00", 0),
        ("08-16 00:00:00", 98.25),
        ("08-17 00:00:00", 100),
    ]


def test_what_is_borrowed_and_staked_is_in_the_body_of_the_tvl_for_those_protocols_that_have_it() -> None:
    body = saved("protocol")
    rows = [{"date": row["date"], "totalLiquidityUSD": row["totalLiquidityUSD"] / 2} for row in body["tvl"]]
    body["chainTvls"]["staking"] = {"tvl": rows, "tokens": [], "tokensInUsd": []}
    got = answer(body, BACKFILL, "TVL BORROWED STAKING", "small")
    values = {name: [point.value for point in got.points if point.metric == name] for name in ("TVL", "STAKING")}
    assert values == {"TVL": [0, 0, 98.25, 100], "STAKING": [0, 0, 49.125, 50]}
    assert (len(got.points), got.nulls, got.refused) == (8, 0, [])
    got = answer(saved("protocols"), PULL, "BORROWED STAKING", "aave-v3", "lido")
    assert (live(got), got.nulls) == ({("aave-v3", "BORROWED"): 9e9}, 3)


def test_a_history_that_ends_at_midnight_keeps_its_last_point() -> None:
    body = saved("protocol")
    del body["tvl"][-1]
    assert dated(answer(body, BACKFILL, "TVL", "small"))[-1] == ("08-17 00:00:00", 100)


def test_an_empty_history_of_a_protocol_gives_nothing() -> None:
    assert answer({"tvl": []}, BACKFILL, "TVL", "new").points == []


def test_a_parents_live_values_come_from_its_own_answers() -> None:
    assert live(answer(123.5, PULL, "TVL", "parent#uniswap")) == {("parent#uniswap", "TVL"): 123.5}
    got = answer(saved("summary"), PULL, "FEES_24H", "parent#uniswap")
    assert live(got) == {("parent#uniswap", "FEES_24H"): 1234567}


def test_the_chart_of_a_summary_keeps_leading_zeros_and_gaps() -> None:
    got = answer(saved("summary"), BACKFILL, "FEES", "parent#uniswap")
    assert dated(got) == [
        ("07-13 00:00:00", 0),
        ("08-15 00:00:00", 0),
        ("08-16 00:00:00", 1200000),
        ("08-17 00:00:00", 800000),
    ]


def test_a_null_chart_and_an_empty_one_are_no_data() -> None:
    assert answer({"totalDataChart": None}, BACKFILL, "FEES", "new").points == []
    assert answer({"totalDataChart": []}, BACKFILL, "CHAIN_FEES", "New").points == []


def test_a_chain_has_a_chart_and_a_total_and_a_total_that_is_missing_or_null_is_no_data() -> None:
    body = saved("overview_chain")
    assert [value for _, value in dated(answer(body, BACKFILL, "CHAIN_FEES", "OP Mainnet"))] == [0, 5, 7.5, 3]
    assert live(answer(body, PULL, "CHAIN_FEES_24H", "OP Mainnet")) == {("OP Mainnet", "CHAIN_FEES_24H"): 7}
    for changed in ({**body, "total24h": None}, {k: v for k, v in body.items() if k != "total24h"}):
        got = answer(changed, PULL, "CHAIN_FEES_24H", "OP Mainnet")
        assert (got.points, got.nulls) == ([], 1)


def test_the_total_of_all_protocols_comes_from_the_answer_with_their_own_totals() -> None:
    (call,) = calls(PULL, [target("TOTAL_FEES_24H", "defi"), target("FEES_24H", "aave-v3")])
    got = DefiLlama().answer(call, saved("overview"), RECEIVED)
    assert live(got) == {("aave-v3", "FEES_24H"): 500, ("defi", "TOTAL_FEES_24H"): 501}
    body = {name: value for name, value in saved("overview").items() if name != "total24h"}
    assert live(DefiLlama().answer(call, body, RECEIVED)) == {("aave-v3", "FEES_24H"): 500}


def test_totals_of_levels_are_dated_rows_in_a_pull_too() -> None:
    for name, metric, days in (
        ("historical_chain_tvl", "TOTAL_TVL", [5, 0, 7.25]),
        ("stablecoincharts_dead_chain", "TOTAL_STABLECOIN_SUPPLY", [0, 9.5]),
    ):
        for verb in Verb:
            got = answer(saved(name), verb, metric, "defi")
            assert [value for _, value in dated(got)] == days
            assert got.call.dated


@pytest.mark.parametrize("name", ["OP Mainnet", "Optimism", "optimism", "op mainnet"])
def test_a_chain_is_found_by_its_old_and_its_present_name_in_any_case(name: str) -> None:
    assert live(answer(saved("chains"), PULL, "CHAIN_TVL", name)) == {(name, "CHAIN_TVL"): 300}
    got = answer(saved("stablecoinchains"), PULL, "CHAIN_STABLECOIN_SUPPLY", name)
    assert live(got) == {(name, "CHAIN_STABLECOIN_SUPPLY"): 900.5}


@pytest.mark.parametrize(
    ("old", "present"),
    [
        ("Binance", "BSC"),
        ("Optimism", "OP Mainnet"),
        ("xDai", "Gnosis"),
        ("RSK", "Rootstock"),
        ("zkSync Era", "ZKsync Era"),
    ],
)
def test_a_renamed_chain_is_one_chain(old: str, present: str) -> None:
    for asked, answered in ((old, present), (present, old)):
        body = [{"name": "Other", "tvl": 1}, {"name": answered, "tvl": 2}]
        assert live(answer(body, PULL, "CHAIN_TVL", asked)) == {(asked, "CHAIN_TVL"): 2}


def test_chains_give_zeros_and_unknown_ones_nothing() -> None:
    got = answer(saved("chains"), PULL, "CHAIN_TVL", "Ethereum", "ZKsync Era", "Nowhere")
    assert live(got) == {("Ethereum", "CHAIN_TVL"): 60000000000.5, ("ZKsync Era", "CHAIN_TVL"): 0}


def test_the_history_of_a_chain_keeps_every_point() -> None:
    got = answer(saved("historical_chain_tvl"), BACKFILL, "CHAIN_TVL", "Ethereum")
    assert dated(got) == [("08-15 00:00:00", 5), ("08-16 00:00:00", 0), ("08-17 00:00:00", 7.25)]


def test_a_chain_without_usd_pegged_coins_is_no_data_and_its_other_pegs_are_not_taken() -> None:
    got = answer(saved("stablecoinchains"), PULL, "CHAIN_STABLECOIN_SUPPLY", "Concordium", "Terra Classic")
    assert live(got) == {("Terra Classic", "CHAIN_STABLECOIN_SUPPLY"): 0}
    assert got.nulls == 1


def test_the_moving_zero_row_of_a_dead_chain_is_dropped_and_its_genuine_zeros_are_kept() -> None:
    body = saved("stablecoincharts_dead_chain")
    got = answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra")
    assert ([value for _, value in dated(got)], got.nulls) == ([0, 9.5], 1)
    got = answer(body, PULL, "STABLECOIN_SUPPLY", "3")
    assert [value for _, value in dated(got)] == [0, 20, 10]


def test_a_last_row_of_zero_that_follows_at_once_and_one_that_is_not_zero_are_kept() -> None:
    body = saved("stablecoincharts_dead_chain")
    body[-1]["date"] = str(int(body[-2]["date"]) + 86_400)
    assert answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points[-1].value == 0
    body = saved("stablecoincharts_dead_chain")
    body[-1]["totalCirculating"]["peggedUSD"] = 0.5
    assert answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points[-1].value == 0
    assert answer(body[:1], BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points[-1].value == 0
    assert answer([], BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points == []


def test_a_stablecoins_supply_is_in_units_of_its_own_peg() -> None:
    got = answer(saved("stablecoincharts_coin"), PULL, "STABLECOIN_SUPPLY", "50")
    assert (dated(got), got.nulls) == ([("08-15 00:00:00", 100), ("08-17 00:00:00", 101.5)], 1)
    assert got.call.dated


def test_the_history_of_a_stablecoin_is_that_of_all_chains_and_lacks_the_days_without_a_supply() -> None:
    body = saved("stablecoin")
    got = answer(body, BACKFILL, "STABLECOIN_SUPPLY", "50")
    assert dated(got) == [("08-14 00:00:00", 100), ("08-16 00:00:00", 101), ("08-17 00:00:00", 101.5)]
    assert (got.nulls, got.refused) == (1, [])
    body["tokens"][-1]["circulating"] = 0  # in place of an object where the record of the last day has no supply
    assert answer(body, BACKFILL, "STABLECOIN_SUPPLY", "50").nulls == 2


def test_a_row_from_which_the_server_removed_a_zero_costs_its_own_day_and_not_the_series() -> None:
    body = saved("stablecoincharts_coin")
    body[0] = {"date": body[0]["date"], "totalUnreleased": {"peggedEUR": 5}}
    got = answer(body, PULL, "STABLECOIN_SUPPLY", "50")
    assert (dated(got), got.nulls, got.refused) == ([("08-17 00:00:00", 101.5)], 2, [])
    body = saved("stablecoincharts_dead_chain")
    del body[2]["totalCirculatingUSD"]
    got = answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra")
    assert ([value for _, value in dated(got)], got.nulls, got.refused) == ([0], 2, [])


def test_a_history_of_which_no_row_has_a_supply_is_all_nulls() -> None:
    body = [{"date": row["date"], "totalUnreleased": {"peggedEUR": 5}} for row in saved("stablecoincharts_coin")]
    for verb, metric in ((PULL, "STABLECOIN_SUPPLY"), (BACKFILL, "CHAIN_STABLECOIN_SUPPLY")):
        got = answer(body, verb, metric, "50")
        assert (got.points, got.nulls, got.refused) == ([], len(body), [])


def test_a_coin_with_two_pegs_in_one_row_is_loud_because_nothing_is_summed() -> None:
    body, chart = saved("stablecoin"), saved("stablecoincharts_coin")
    body["tokens"][0]["circulating"]["peggedUSD"] = chart[0]["totalCirculating"]["peggedUSD"] = 1
    for verb, payload in ((BACKFILL, body), (PULL, chart)):
        with pytest.raises(CallFailed, match=r"stablecoin.*50.*another shape"):
            answer(payload, verb, "STABLECOIN_SUPPLY", "50")


def test_the_price_of_a_stablecoin_may_be_a_float_an_int_or_a_text_and_null_is_no_data() -> None:
    got = answer(saved("stablecoins"), PULL, "STABLECOIN_PRICE", "1", "2", "253", "999", "4")
    assert {asset: value for (asset, _), value in live(got).items()} == {"1": 0.9993, "2": 1, "253": 1.24470998}
    assert got.nulls == 1


def test_current_prices_are_dated_when_they_were_seen_and_unknown_coins_are_left_out() -> None:
    got = answer(saved("prices_current"), PULL, "PRICE", "coingecko:bitcoin", WETH, "coingecko:nosuch")
    assert (dated(got), got.nulls) == ([("08-17 10:02:03", 65000)], 1)


def test_flows_of_etfs_are_of_the_coin_that_the_row_names_and_can_be_negative() -> None:
    for verb in Verb:
        got = answer(saved("etf_flows"), verb, "ETF_FLOW", "coingecko:bitcoin", WETH)
        assert dated(got) == [("08-14 00:00:00", 655300000), ("08-17 00:00:00", -68700000.5)]
        assert (got.refused, got.call.dated) == ([], True)
    (flow, tvl) = target("ETF_FLOW", "coingecko:bitcoin"), target("TVL", "lido")
    assert (DefiLlama.rhythm(flow), DefiLlama.rhythm(tvl)) == (Rhythm.WEEKDAYS, Rhythm.DAILY)


@pytest.mark.parametrize("verb", Verb)
def test_no_coins_at_all_are_no_data(verb: Verb) -> None:
    got = answer({"coins": {}}, verb, "PRICE", "coingecko:nosuch")
    assert (got.points, got.nulls, got.refused) == ([], 0, [])


def test_pools_give_both_series_and_an_unknown_pool_nothing() -> None:
    got = answer(saved("pools"), PULL, "APY POOL_TVL", POOL, "00000000-0000-4000-8000-000000000001", "unknown")
    assert list(live(got).values()) == [2.5, 31e9, 0]
    assert got.nulls == 1
    got = answer(saved("pools"), PULL, "APY_BASE APY_REWARD", POOL)
    assert (live(got), got.nulls) == ({(POOL, "APY_BASE"): 2.5}, 1)


def test_a_pools_history_keeps_its_timestamps_to_the_millisecond() -> None:
    got = answer(saved("pool_chart"), BACKFILL, "POOL_TVL", POOL)
    assert [point.at.isoformat() for point in got.points] == [
        "2026-08-15T23:03:35.877000+00:00", "2026-08-16T22:59:01.001000+00:00", "2026-08-17T04:04:11.399000+00:00",
    ]  # fmt: skip
    got = answer(saved("pool_chart"), BACKFILL, "APY", POOL)
    assert ([point.value for point in got.points], got.nulls) == ([2.75, 0], 1)


def test_an_unknown_pool_has_an_empty_history() -> None:
    assert answer({"status": "success", "data": []}, BACKFILL, "APY POOL_TVL", POOL).points == []


WRONG_SHAPES: tuple[Any, ...] = (
    None, "", "Protocol not found", True, {}, {"message": "Internal error"}, {"status": "error"}, [{}], [[]], ["text"],
    {"coins": None}, {"coins": []}, {"data": None}, {"data": {}}, {"data": "x"}, {"protocols": {}}, {"protocols": ""},
    {"peggedAssets": None}, {"peggedAssets": {}}, {"tvl": None}, {"tvl": {}}, {"tvl": [1]}, {"tvl": [{"date": "1"}]},
    [{"date": float("inf"), "tvl": 1, "totalCirculating": {}}, {"date": float("inf"), "totalCirculating": {}}],
)  # fmt: skip


@pytest.mark.parametrize("payload", [*WRONG_SHAPES, 7], ids=repr)
def test_another_shape_is_one_loud_error_that_names_the_call(payload: Any) -> None:
    for verb, metrics, identifier, *_ in URLS:
        (call,) = calls(verb, [target(metric, identifier) for metric in metrics.split()])
        if call.path.startswith("api/tvl/") and payload == 7:
            continue  # its answer is a number
        with pytest.raises(CallFailed, match="another shape than expected") as raised:
            DefiLlama().answer(call, payload, RECEIVED)
        assert str(raised.value).startswith(str(call))


@pytest.mark.parametrize("chart", [{}, "", "text", 1, [1], [[1]], [[1, 2, 3]]], ids=repr)
def test_a_chart_of_another_shape_is_loud(chart: Any) -> None:
    with pytest.raises(CallFailed, match="another shape than expected"):
        answer({"totalDataChart": chart, "total24h": 1}, BACKFILL, "FEES", "lido")
