"""DefiLlama: what each endpoint's answer gives."""

from typing import Any

import pytest

from model.errors import CallFailed
from model.values import Rhythm, Verb
from sources.defillama import DefiLlama
from tests.llama_calls import (
    BACKFILL,
    POOL,
    PULL,
    RECEIVED,
    URLS,
    WETH,
    answer,
    calls,
    dated,
    live,
    saved,
    target,
)


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


def test_a_slug_of_an_overview_may_have_an_apostrophe_that_no_other_answer_has() -> None:
    body = {"protocols": [{"slug": "jpeg'd", "name": "JPEG'd", "total24h": 5}]}
    assert live(answer(body, PULL, "FEES_24H", "jpegd")) == {("jpegd", "FEES_24H"): 5}
    assert live(answer(body, PULL, "OPEN_INTEREST", "jpegd")) == {("jpegd", "OPEN_INTEREST"): 5}


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
    assert [value for _, value in dated(got)] == [10]


def test_a_last_row_of_zero_that_follows_at_once_and_one_that_is_not_zero_are_kept() -> None:
    body = saved("stablecoincharts_dead_chain")
    body[-1]["date"] = str(int(body[-2]["date"]) + 86_400)
    assert answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points[-1].value == 0
    body = saved("stablecoincharts_dead_chain")
    body[-1]["totalCirculating"]["peggedUSD"] = 0.5
    assert answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points[-1].value == 0
    assert answer(body[:1], BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points[-1].value == 0
    assert answer([], BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra").points == []


def test_the_live_supply_of_a_stablecoin_is_the_last_row_of_its_chart_in_units_of_its_own_peg() -> None:
    got = answer(saved("stablecoincharts_coin"), PULL, "STABLECOIN_SUPPLY", "50")
    assert dated(got) == [("08-17 00:00:00", 101.5)]
    assert not got.call.dated  # the chart may repeat values of days that the static file lacks


def test_the_history_of_a_stablecoin_is_that_of_all_chains_and_lacks_the_days_without_a_supply() -> None:
    body = saved("stablecoin")
    got = answer(body, BACKFILL, "STABLECOIN_SUPPLY", "50")
    assert dated(got) == [("08-14 00:00:00", 100), ("08-16 00:00:00", 101), ("08-17 00:00:00", 101.5)]
    assert (got.nulls, got.refused) == (1, [])
    body["tokens"][-1]["circulating"] = 0  # in place of an object where the record of the last day has no supply
    assert answer(body, BACKFILL, "STABLECOIN_SUPPLY", "50").nulls == 2


def test_a_row_from_which_the_server_removed_a_zero_costs_its_own_day_and_not_the_series() -> None:
    body = saved("stablecoincharts_coin")
    body[-1] = {"date": body[-1]["date"], "totalUnreleased": {"peggedEUR": 5}}
    got = answer(body, PULL, "STABLECOIN_SUPPLY", "50")
    assert (got.points, got.nulls, got.refused) == ([], 1, [])
    body = saved("stablecoincharts_dead_chain")
    del body[2]["totalCirculatingUSD"]
    got = answer(body, BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "Terra")
    assert ([value for _, value in dated(got)], got.nulls, got.refused) == ([0], 2, [])


def test_a_history_of_which_no_row_has_a_supply_is_all_nulls() -> None:
    body = [{"date": row["date"], "totalUnreleased": {"peggedEUR": 5}} for row in saved("stablecoincharts_coin")]
    for verb, metric, nulls in ((PULL, "STABLECOIN_SUPPLY", 1), (BACKFILL, "CHAIN_STABLECOIN_SUPPLY", len(body))):
        got = answer(body, verb, metric, "50")
        assert (got.points, got.nulls, got.refused) == ([], nulls, [])


def test_a_coin_with_two_pegs_in_one_row_is_loud_because_nothing_is_summed() -> None:
    body, chart = saved("stablecoin"), saved("stablecoincharts_coin")
    body["tokens"][0]["circulating"]["peggedUSD"] = chart[-1]["totalCirculating"]["peggedUSD"] = 1
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
