"""The endpoints of DefiLlama that have the same series as others, in another shape."""

from datetime import UTC, datetime

import pytest

from tests.fake_api import FakeApi, truth
from tests.fake_api.client import MIDNIGHT, TODAY, body, closed, day_of, fake, get

COIN = "coingecko:WETH"


def test_a_historical_price_is_that_of_the_chart_observed_near_the_same_moment(api: FakeApi) -> None:
    start = int(datetime(2022, 2, 1, tzinfo=UTC).timestamp())
    points = body(api, f"/llama/coins/chart/{COIN}?start={start}&span=100")["coins"][COIN]["prices"]
    found = [
        body(api, f"/llama/coins/prices/historical/{at}/{COIN},coingecko:unknown?searchWidth=4h")["coins"]
        for at in range(start, start + 100 * 86400, 86400)
    ]
    seen = [{"timestamp": coins[COIN]["timestamp"], "price": coins[COIN]["price"]} for coins in found if coins]
    assert seen == points
    assert len(seen) < len(found)
    assert all(coins.keys() <= {COIN} for coins in found)
    later = MIDNIGHT + 86400
    assert body(api, f"/llama/coins/prices/historical/{later}/{COIN}") == {"coins": {}}


def test_a_stablecoins_supply_is_in_units_of_its_peg_and_its_value_in_usd_has_the_same_key(api: FakeApi) -> None:
    listed = {row["id"]: row for row in body(api, "/llama/stablecoins/stablecoins?includePrices=true")["peggedAssets"]}
    units, usd = truth.live("defillama", "100", "STABLECOIN_SUPPLY", TODAY), listed["100"]["circulating"]["peggedEUR"]
    assert usd == pytest.approx(1.08 * (units or 0))
    newest = body(api, "/llama/stablecoins/stablecoincharts/all?stablecoin=100")[-1]
    assert newest["totalCirculating"] == {"peggedEUR": units}
    assert newest["totalCirculatingUSD"] == {"peggedEUR": usd}


def test_a_stablecoins_own_page_has_the_supply_of_its_chart_after_that_of_its_chains(api: FakeApi) -> None:
    payload = body(api, "/llama/stablecoins/stablecoin/1")
    assert list(payload).index("chainBalances") < list(payload).index("tokens")
    supply = {day_of(row["date"]): _only(row.get("circulating")) for row in payload["tokens"]}
    charts = body(api, "/llama/stablecoins/stablecoincharts/all?stablecoin=1")
    assert supply == {day_of(int(row["date"])): _only(row.get("totalCirculating")) for row in charts}
    known = {day: units for day, units in supply.items() if units is not None and day < TODAY}
    assert known == closed("1", "STABLECOIN_SUPPLY")
    chains = payload["chainBalances"]
    assert chains["Terra"]["tokens"][-1]["circulating"] == 0
    assert chains["Ethereum"]["tokens"] != payload["tokens"]
    numbers = {truth.price_form(str(number)): number for number in range(1, 100)}
    prices = [body(api, f"/llama/stablecoins/stablecoin/{number}")["price"] for number in numbers.values()]
    assert {type(price) for price in prices} == {float, int, str, type(None)}


def test_only_the_newest_row_of_a_stablecoin_history_keeps_its_zeros(api: FakeApi) -> None:
    *rows, newest = body(api, "/llama/stablecoins/stablecoincharts/Ethereum")
    assert not any("totalMintedUSD" in row for row in rows)
    assert newest["totalUnreleased"] == newest["totalMintedUSD"] == {"peggedUSD": 0}
    *rows, newest = body(api, "/llama/stablecoins/stablecoin/1")["tokens"]
    assert 0 < sum("unreleased" in row for row in rows) < 50
    assert newest["unreleased"] == {"peggedUSD": 0}


def test_a_day_on_which_nothing_circulates_has_no_number_and_some_days_have_no_value_in_usd(api: FakeApi) -> None:
    coin = body(api, "/llama/stablecoins/stablecoincharts/all?stablecoin=1")
    keys = {tuple(row) for row in coin[:-1]}
    assert keys == {
        ("date", "totalUnreleased"),
        ("date", "totalCirculating"),
        ("date", "totalCirculating", "totalCirculatingUSD"),
    }
    numbers = closed("1", "STABLECOIN_SUPPLY")
    assert {day_of(int(row["date"])) in numbers for row in coin if "totalCirculating" not in row} == {False}
    chain = body(api, "/llama/stablecoins/stablecoincharts/Ethereum")
    usd = {day_of(int(row["date"])): row.get("totalCirculatingUSD", {}).get("peggedUSD") for row in chain[:-1]}
    known = {day: value for day, value in usd.items() if value is not None}
    assert known == closed("Ethereum", "CHAIN_STABLECOIN_SUPPLY")
    assert {"totalCirculatingUSD" in row for row in chain} == {True, False}


def test_the_pro_chart_of_a_protocol_has_pairs_and_no_more_than_its_page(api: FakeApi) -> None:
    for slug in ("aave-v3", "uniswap", "dead-pool"):
        page = body(api, f"/llama/api/protocol/{slug}")["tvl"]
        pairs = [[row["date"], row["totalLiquidityUSD"]] for row in page]
        assert body(api, f"/llama/key/api/v2/chart/tvl/protocol/{slug}") == pairs
    assert get(api, "/llama/api/v2/chart/tvl/protocol/aave-v3")[0] == 402
    assert get(api, "/llama/key/api/v2/chart/tvl/protocol/unknown")[0] == 404


def test_the_pro_host_tells_how_many_calls_a_key_has_left() -> None:
    with fake(credits_left=1234, defillama_key="right") as api:
        assert body(api, "/llama/usage/right") == {"creditsLeft": 1234}
        assert get(api, "/llama/usage/wrong")[0] == 401
        assert get(api, "/llama/usage")[0] == 404
        assert [request.path for request in api.requests] == ["/llama/usage"] * 3


def test_a_first_price_is_that_of_the_first_day(api: FakeApi) -> None:
    first = body(api, f"/llama/coins/prices/first/{COIN}")["coins"][COIN]
    day = truth.first_day("defillama", COIN, "PRICE")
    assert day_of(first["timestamp"] + 43200) == day
    assert first["price"] == truth.value("defillama", COIN, "PRICE", day)


def _only(supply: dict[str, float] | None) -> float | None:
    """The number of the only peg, if there is one."""
    return None if supply is None else next(iter(supply.values()))
