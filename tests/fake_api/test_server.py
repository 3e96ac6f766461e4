"""The fake answers in the shapes of the real APIs, and its data is what tests.fake_api.truth says."""

import json
from datetime import UTC, date, datetime
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.fake_api import FakeApi, truth
from tests.fake_api.client import MIDNIGHT, NOW, POOL, TODAY, body, closed, day_of, fake, get


def test_a_protocols_chains_stand_before_its_own_history_which_ends_with_a_now_point(api: FakeApi) -> None:
    payload = body(api, "/llama/api/protocol/aave-v3")
    assert list(payload).index("chainTvls") < list(payload).index("tvl")
    *daily, midnight, now = payload["tvl"]
    assert {day_of(row["date"]): row["totalLiquidityUSD"] for row in daily} == closed("aave-v3", "TVL")
    assert midnight["date"] == MIDNIGHT
    assert now == {"date": int(NOW.timestamp()), "totalLiquidityUSD": body(api, "/llama/api/tvl/aave-v3")}


def test_a_dead_protocols_history_ends_without_a_now_point(api: FakeApi) -> None:
    last = body(api, "/llama/api/protocol/dead-pool")["tvl"][-1]
    assert day_of(last["date"]) <= date(2023, 1, 1)
    assert last["date"] % 86400 == 0


def test_parents_are_only_named_by_their_children_in_the_list(api: FakeApi) -> None:
    rows = {row["slug"]: row for row in body(api, "/llama/api/protocols")}
    assert "uniswap" not in rows
    assert rows["uniswap-v9"]["parentProtocol"] == "parent#uniswap"
    assert rows["aave-v3"]["tvl"] == truth.live("defillama", "aave-v3", "TVL", TODAY)
    assert rows["aave-v3"]["mcap"] == truth.value("defillama", "aave-v3", "MCAP", TODAY)
    assert body(api, "/llama/api/protocol/uniswap")["id"] == "parent#uniswap"


def test_a_summary_holds_the_flows_of_closed_days_and_half_of_today(api: FakeApi) -> None:
    payload = body(api, "/llama/api/summary/fees/curve-dex?dataType=dailyRevenue")
    *days, (last, partial) = payload["totalDataChart"]
    assert {day_of(at): amount for at, amount in days} == closed("curve-dex", "REVENUE")
    assert (last, partial) == (MIDNIGHT, truth.live("defillama", "curve-dex", "REVENUE", TODAY))
    assert payload["total24h"] == truth.value("defillama", "curve-dex", "REVENUE_24H", TODAY)


def test_an_overview_excludes_charts_mixes_types_of_ids_and_leaves_totals_out(api: FakeApi) -> None:
    exclude = "excludeTotalDataChart=true&excludeTotalDataChartBreakdown=true"
    payload = body(api, f"/llama/api/overview/fees?{exclude}&dataType=dailyFees")
    assert payload["totalDataChart"] == payload["totalDataChartBreakdown"] == []
    assert {type(row["id"]) for row in payload["protocols"]} == {int, str}
    assert all(("total24h" in row) != truth.lacks_total24h(row["slug"], "FEES") for row in payload["protocols"])
    chain = body(api, "/llama/api/overview/fees/OP%20Mainnet?excludeTotalDataChartBreakdown=true")
    days = {day_of(at): amount for at, amount in chain["totalDataChart"][:-1]}
    assert days == closed("OP Mainnet", "CHAIN_FEES")


def test_chain_histories_are_midnight_dated_and_chain_names_have_no_case(api: FakeApi) -> None:
    rows = body(api, "/llama/api/v2/historicalChainTvl/ethereum")
    assert rows == body(api, "/llama/api/v2/historicalChainTvl/Ethereum")
    assert rows[-1] == {"date": MIDNIGHT, "tvl": truth.live("defillama", "Ethereum", "CHAIN_TVL", TODAY)}
    live = {row["name"]: row["tvl"] for row in body(api, "/llama/api/v2/chains")}
    assert live["Ethereum"] == rows[-1]["tvl"]


def test_a_dead_chains_stablecoins_end_with_a_zero_row_of_today(api: FakeApi) -> None:
    *rows, last = body(api, "/llama/stablecoins/stablecoincharts/DeadChain")
    assert (last["date"], last["totalCirculatingUSD"]["peggedUSD"]) == (str(MIDNIGHT), 0)
    supply = {day_of(int(row["date"])): row.get("totalCirculatingUSD", {}).get("peggedUSD") for row in rows}
    numbers = {day: value for day, value in supply.items() if value is not None}
    assert numbers == closed("DeadChain", "CHAIN_STABLECOIN_SUPPLY")


def test_a_coins_prices_are_observed_near_the_grid(api: FakeApi) -> None:
    start = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())
    coins = body(api, f"/llama/coins/chart/coingecko:WETH,coingecko:unknown?start={start}&span=250")["coins"]
    assert list(coins) == ["coingecko:WETH"]
    points = coins["coingecko:WETH"]["prices"]
    assert all(abs(point["timestamp"] - start + 43200) % 86400 - 43200 <= 60 for point in points)
    grid = {day_of(point["timestamp"] + 43200): point["price"] for point in points}
    wanted = truth.history("defillama", "coingecko:weth", "PRICE", date(2024, 1, 1), date(2024, 9, 7))
    assert grid == dict(wanted)
    assert get(api, "/llama/coins/chart/coingecko:a,coingecko:b?span=251")[0] == 400
    refused = get(api, "/llama/coins/chart/coingecko:a?period=x")
    assert (refused[0], json.loads(refused[1])) == (400, {"message": "invalid period"})


def test_a_pools_chart_has_one_row_a_day_near_its_end_and_a_row_of_now(api: FakeApi) -> None:
    *rows, now = body(api, f"/llama/yields/chart/{POOL}")["data"]
    assert now["timestamp"].startswith("2025-12-19T10:00:30.")
    assert {row["timestamp"][11:13] for row in rows} == {"22", "23"}
    apys = {date.fromisoformat(row["timestamp"][:10]): row["apy"] for row in rows if row["apy"] is not None}
    assert apys == closed(POOL, "APY")
    assert len(apys) < len(rows) == len(closed(POOL, "POOL_TVL"))
    assert len(body(api, "/llama/yields/pools")["data"]) == 2001


@pytest.mark.parametrize(
    "line",
    [
        "400 api/protocol/unknown Protocol not found",
        "400 api/tvl/unknown Protocol not found",
        "400 api/v2/historicalChainTvl/unknown There is no chain with that name: unknown",
        "400 api/summary/fees/unknown Fees for unknown not found, please visit /overview/fees to see "
        "available protocols",
        "500 api/overview/fees/unknown Internal server error",
        "500 api/overview/fees?dataType=foo Internal Error",
        "402 api/overview/derivatives Upgrade to the paid API plan at https://defillama.com/subscription",
        "404 stablecoins/stablecoin/unknown Invalid request",
        "200 stablecoins/stablecoincharts/all?stablecoin=unknown ",
        '400 yields/chart/not-a-uuid "invalid configID!"',
        '200 yields/chart/00000000-c668-4682-b9f9-296708a3dd90 {"status":"success","data":[]}',
        '200 coins/prices/current/coingecko:unknown {"coins":{}}',
    ],
)
def test_defillama_words_its_errors_so(api: FakeApi, line: str) -> None:
    status, path, words = line.split(" ", 2)
    assert get(api, f"/llama/{path}")[:2] == (int(status), words.encode())


def test_artemis_answers_a_closed_range_with_numbers_texts_nulls_and_a_partial_today(api: FakeApi) -> None:
    path = "/artemis/data/api/fees/?symbols=SOL,unknown&startDate=2024-01-01&endDate=2025-12-19"
    symbols = body(api, path)["data"]["symbols"]
    assert list(symbols) == ["sol"]
    *rows, today = symbols["sol"]["fees"]
    numbers = {date.fromisoformat(row["date"]): float(row["val"]) for row in rows if row["val"] is not None}
    wanted = truth.history("artemis", "sol", "FEES", date(2024, 1, 1), TODAY)
    assert numbers == dict(wanted)
    assert len(numbers) < len(rows)
    assert {type(row["val"]) for row in rows} == {float, str, type(None)}
    live = truth.live("artemis", "sol", "FEES", TODAY)
    assert (today["date"], float(today["val"])) == ("2025-12-19", live)


def test_artemis_stops_at_a_thousand_points_and_fails_above_fifty_symbols(api: FakeApi) -> None:
    rows = body(api, "/artemis/data/api/PRICE?symbols=sol&startDate=2022-01-01&endDate=2025-12-01")
    assert len(rows["data"]["symbols"]["sol"]["PRICE"]) == 1000
    symbols = ",".join(f"s{number}" for number in range(51))
    assert get(api, f"/artemis/data/api/PRICE?symbols={symbols}&startDate=2025-01-01")[0] == 500


def test_artemis_fails_above_a_number_of_series_where_an_option_says_so() -> None:
    with fake(most_series=6) as api:
        path = "/artemis/data/api/PRICE,FEES,DAU?startDate=2025-01-01&symbols="
        assert get(api, f"{path}sol,eth")[0] == 200
        assert get(api, f"{path}sol,eth,btc")[:2] == (500, b"Internal Server Error")


def test_artemis_says_in_words_that_a_symbol_lacks_a_metric(api: FakeApi) -> None:
    path = "/artemis/data/api/PRICE,TVL/?symbols=eq-nvda"
    dated = body(api, f"{path}&startDate=2025-12-08&endDate=2025-12-14")["data"]["symbols"]["eq-nvda"]
    assert dated["TVL"] == "Metric not available for asset."
    assert {date.fromisoformat(row["date"]).weekday() for row in dated["PRICE"]} <= {0, 1, 2, 3, 4}
    latest = body(api, path)["data"]["symbols"]["eq-nvda"]
    assert latest["TVL"] == "Latest data not available for this asset."
    assert latest["PRICE"] == truth.live("artemis", "eq-nvda", "PRICE", TODAY)


def test_artemis_gives_fundamentals_only_by_quarter(api: FakeApi) -> None:
    name = next(name for name in sorted(truth.FUNDAMENTALS) if truth.artemis_has("eq-nvda", name))
    path = f"/artemis/data/api/{name}?symbols=eq-nvda&startDate=2023-01-01&endDate=2024-12-31"
    assert get(api, path)[0] == 400
    rows = body(api, f"{path}&granularity=QUARTER")["data"]["symbols"]["eq-nvda"][name]
    assert 6 <= len(rows) <= 8
    wanted = truth.history("artemis", "eq-nvda", name, date(2023, 1, 1), date(2025, 1, 1))
    assert {date.fromisoformat(row["date"]): float(row["val"]) for row in rows if row["val"] is not None} == dict(
        wanted
    )


def test_keys_are_checked_and_never_logged() -> None:
    with fake(artemis_key="right", defillama_key="right", bad_symbols=("luna",)) as api:
        path = "/artemis/data/api/PRICE/?symbols=sol&APIKey="
        assert get(api, f"{path}right", **{"X-API-Key": "right"})[0] == 200
        assert get(api, f"{path}wrong", **{"X-API-Key": "right"})[0] == 401
        assert get(api, f"{path}right")[0] == 401
        bad = "/artemis/data/api/PRICE/?symbols=sol,luna&APIKey=right"
        assert get(api, bad, **{"X-API-Key": "right"})[0] == 500
        assert get(api, "/llama/right/api/overview/derivatives")[0] == 200
        assert get(api, "/llama/wrong/api/protocols")[0] == 401
        assert get(api, "/llama/api/tvl/aave")[0] == 200
        log = get(api, "/_fake/requests")[1].decode()
    assert "right" not in log
    assert [request.path for request in api.requests][-2:] == ["/llama/api/protocols", "/llama/api/tvl/aave"]


@pytest.mark.parametrize(("form", "shape"), [("seconds", "0123456789"), ("date", "GMT"), ("none", "")])
def test_a_request_too_many_is_told_when_to_come_back(form: str, shape: str) -> None:
    with fake(rate_limit=2, retry_after=form) as api:
        answers = [get(api, "/llama/api/tvl/aave") for _ in range(3)]
        assert [answer[0] for answer in answers] == [200, 200, 429]
        after = answers[2][2].get("Retry-After", "")
        assert after.endswith("GMT") if form == "date" else set(after) <= set(shape)
        assert api.max_in_any_second() == 3


@pytest.mark.parametrize("kind", ["drop", "truncate", "cut-json", "html", "empty", "521", "hang"])
def test_a_broken_path_fails_in_its_way_and_others_do_not(kind: str) -> None:
    with fake(broken={"/protocol/aave$|/protocol/aave\\?": kind}, hang=0.01) as api:
        with pytest.raises((OSError, HTTPException, ValueError, AssertionError)):
            body(api, "/llama/api/protocol/aave")
        assert body(api, "/llama/api/protocol/aave-v3")


def test_an_echo_repeats_the_key_and_most_faults_bounds_the_attempts_that_fail() -> None:
    with fake(broken={"/tvl/aave": "echo"}, faults=1.0, fault_kinds=("500",), most_faults=2) as api:
        status, text, _ = get(api, "/llama/secret/api/tvl/aave")
        assert (status, text) == (400, b"Bad request: /llama/secret/api/tvl/aave")
        assert [get(api, "/llama/api/tvl/lido")[0] for _ in range(4)] == [500, 500, 200, 200]


def test_a_repeat_of_a_failed_request_may_pass() -> None:
    with fake(faults=0.5, fault_kinds=("500",), seed=1) as api:
        statuses = [get(api, f"/llama/api/tvl/p{number % 10}")[0] for number in range(40)]
        first, second = statuses[:10], statuses[10:20]
    assert {*statuses} == {200, 500}
    assert first != second
    assert [request.attempt for request in api.requests[::10]] == [1, 2, 3, 4]


def test_long_answers_are_zipped_for_those_who_accept_it(api: FakeApi) -> None:
    path = "/llama/api/protocols"
    assert get(api, path, **{"Accept-Encoding": "gzip"})[2]["Content-Encoding"] == "gzip"
    assert get(api, path)[2]["Content-Encoding"] is None


def test_a_protocol_that_a_user_adds_to_a_config_is_listed_once(tmp_path: Path) -> None:
    config = tmp_path / "config.csv"
    config.write_text("asset,kind,metrics\njustlend,protocol,TVL\n")
    for universe in ([], [config]):
        with fake(universe=universe) as api:
            slugs = [row["slug"] for row in body(api, "/llama/api/protocols")]
        assert slugs.count("justlend") == 1
