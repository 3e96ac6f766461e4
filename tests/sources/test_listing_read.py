"""How the listings of the APIs are read, also as recorded."""

import json
from pathlib import Path
from typing import Any

import pytest

from model.errors import CallFailed
from sources.artemis import Artemis
from sources.base import Call, ListedAsset, wrong_shape_fails
from sources.defillama import DefiLlama
from sources.listing import united, with_present_ids, with_unique_names

FIXTURES = Path(__file__).parents[1] / "fixtures" / "defillama"
RECORDED = Path(__file__).parents[3] / "shared" / "recorded"
KEY = "s3cret-k3y"

needs_recorded = pytest.mark.skipif(not RECORDED.exists(), reason=f"{RECORDED} is not on this machine")


def listing(path: str, **params: str) -> Call:
    """DefiLlama's listing call with this path."""
    (call,) = [
        call
        for call in DefiLlama(KEY).listing_calls()
        if call.path == path and params.items() <= dict(call.params).items()
    ]
    return call


def read(path: str, payload: Any, **params: str) -> list[ListedAsset]:
    """The assets in one answer of DefiLlama."""
    call = listing(path, **params)
    with wrong_shape_fails(call):
        return list(DefiLlama().read_listing(call, payload))


def body(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def by_id(offers: list[ListedAsset], kind: str) -> dict[str, ListedAsset]:
    return {offer.id: offer for offer in offers if offer.kind == kind}


def metrics(offers: list[ListedAsset], kind: str) -> dict[str, set[str]]:
    return {offer.id: set(offer.metrics or ()) for offer in united(offers) if offer.kind == kind}


def protocol(**changes: Any) -> dict[str, Any]:
    row = {"id": "182", "slug": "lido", "name": "Lido", "symbol": "LDO", "gecko_id": None, "tvl": 1.5, "mcap": 2}
    return row | changes


def stablecoin(**changes: Any) -> dict[str, Any]:
    return {"id": "7", "name": "Some Dollar", "symbol": "sUSD", "gecko_id": None, "price": 1.0} | changes


def test_a_protocol_has_a_tvl_and_a_market_cap_where_the_row_has_one() -> None:
    found = read("api/protocols", [protocol(), protocol(slug="x", mcap=None), protocol(slug="y", mcap=0)])
    assert metrics(found, "protocol") == {"lido": {"TVL", "MCAP"}, "x": {"TVL"}, "y": {"TVL", "MCAP"}}


def test_a_protocol_has_the_number_that_the_api_gives_it_for_good() -> None:
    assert [each.lasting_id for each in read("api/protocols", [protocol()])] == ["182"]


def test_a_row_without_mcap_at_all_is_a_protocol_without_one() -> None:
    row = protocol()
    del row["mcap"]
    assert metrics(read("api/protocols", [row]), "protocol") == {"lido": {"TVL"}}


def test_a_parent_that_was_renamed_has_its_present_slug_and_its_old_identity() -> None:
    row = protocol(slug="derive-v2", parentProtocol="parent#lyra", parentProtocolSlug="derive")
    parent = by_id(read("api/protocols", [row]), "protocol")["parent#derive"]
    assert (parent.asset, parent.lasting_id) == ("derive", "parent#lyra")


def test_a_renamed_parent_is_one_asset_though_overviews_have_only_its_old_identifier() -> None:
    renamed = ListedAsset("parent#derive", "derive", "protocol", "", "", frozenset({"TVL"}), lasting_id="parent#lyra")
    old = ListedAsset("parent#lyra", "lyra", "protocol", "", "", frozenset({"FEES"}), lasting_id="parent#lyra")
    other = ListedAsset("parent#aave", "aave", "protocol", "", "", frozenset({"FEES"}), lasting_id="parent#aave")
    found = united(with_present_ids([old, renamed, other]))
    assert [(each.id, each.asset) for each in found] == [("parent#derive", "derive"), ("parent#aave", "aave")]
    assert found[0].metrics == frozenset({"TVL", "FEES"})


def test_a_parent_which_has_no_row_is_known_from_its_children() -> None:
    rows = [protocol(slug=f"aave-v{number}", parentProtocol="parent#aave") for number in (2, 3)]
    parent = by_id(united(read("api/protocols", rows)), "protocol")["parent#aave"]
    assert (parent.asset, parent.metrics) == ("aave", frozenset({"TVL"}))


@pytest.mark.parametrize("parent", [None, "", "AAVE"], ids=["null", "empty", "a name, as in 2022"])
def test_what_is_no_identifier_of_a_parent_makes_none(parent: str | None) -> None:
    assert list(by_id(read("api/protocols", [protocol(parentProtocol=parent)]), "protocol")) == ["lido"]


def test_the_token_of_a_protocol_is_a_coin_without_the_name_of_the_protocol() -> None:
    (coin,) = by_id(read("api/protocols", [protocol(gecko_id="lido-dao")]), "coin").values()
    assert coin == ListedAsset("coingecko:lido-dao", "lido-dao", "coin", "", "LDO", frozenset({"PRICE"}))


def test_a_dash_is_no_symbol() -> None:
    assert read("api/protocols", [protocol(symbol="-")])[0].symbol == ""


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"deadFrom": "2023-02-01"}, "dead from 2023-02-01"),
        ({"deprecated": True, "delisted": True}, "deprecated, delisted"),
        ({"deprecated": False, "deadFrom": None, "delisted": None}, ""),
    ],
)
def test_what_the_api_says_of_a_dead_asset_is_passed_on(flags: dict[str, Any], said: str) -> None:
    assert read("api/protocols", [protocol(**flags)])[0].dead == said
    assert read("stablecoins/stablecoins", {"peggedAssets": [stablecoin(**flags)]})[0].dead == said


def test_a_protocol_has_a_flow_where_its_row_has_any_total() -> None:
    found = metrics(read("api/overview/fees", body("overview"), dataType="dailyFees"), "protocol")
    assert found == {name: {"FEES", "FEES_24H"} for name in ("aave-v3", "gone", "no-token", "manta")}


def test_a_parent_has_each_flow_that_a_child_has() -> None:
    rows = [
        {"slug": "a-v2", "name": "A", "parentProtocol": "parent#a", "total7d": 0},
        {"slug": "b-v2", "name": "B", "parentProtocol": "parent#b"},
    ]
    found = read("api/overview/dexs", {"protocols": rows, "allChains": []})
    assert metrics(found, "protocol") == {name: {"DEX_VOLUME", "DEX_VOLUME_24H"} for name in ("a-v2", "parent#a")}


def test_the_chains_of_an_overview_have_the_flows_of_its_type_under_their_present_names() -> None:
    payload = {"protocols": [], "allChains": ["Ethereum", "Optimism", "Binance"]}
    found = read("api/overview/fees", payload, dataType="dailyRevenue")
    names = ("CHAIN_FEES", "CHAIN_REVENUE", "CHAIN_APP_FEES", "CHAIN_APP_REVENUE")
    flows = {name for flow in names for name in (flow, f"{flow}_24H")}
    assert metrics(found, "chain") == dict.fromkeys(("Ethereum", "OP Mainnet", "BSC"), flows)
    assert [one.asset for one in found] == ["ethereum", "op-mainnet", "bsc", "defi"]
    assert found[-1].metrics == frozenset({"TOTAL_FEES", "TOTAL_FEES_24H", "TOTAL_REVENUE", "TOTAL_REVENUE_24H"})


def test_an_overview_without_a_metric_of_chains_offers_none() -> None:
    payload = {"protocols": [{"slug": "gmx", "name": "GMX", "total24h": 5}], "allChains": ["Ethereum"]}
    assert metrics(read("api/overview/open-interest", payload), "protocol") == {"gmx": {"OPEN_INTEREST"}}
    assert not by_id(read("api/overview/open-interest", payload), "chain")
    assert not by_id(read("api/overview/aggregators", payload), "chain")


def test_a_protocol_has_one_slug_in_all_answers() -> None:
    payload = {"protocols": [{"slug": "jpeg'd", "name": "JPEG'd", "total24h": 5}], "allChains": []}
    assert metrics(read("api/overview/open-interest", payload), "protocol") == {"jpegd": {"OPEN_INTEREST"}}


def test_chains_come_with_their_coins() -> None:
    found = read("api/v2/chains", body("chains"))
    assert metrics(found, "chain") == {name: {"CHAIN_TVL"} for name in ("Ethereum", "OP Mainnet", "ZKsync Era")}
    assert list(by_id(found, "coin")) == ["coingecko:ethereum", "coingecko:optimism"]


def test_a_chain_with_no_stablecoin_in_dollars_has_no_such_supply() -> None:
    rows = [
        {"name": "Tron", "totalCirculatingUSD": {"peggedUSD": 0}},
        {"name": "Xc", "totalCirculatingUSD": {"peggedEUR": 1}},
    ]
    found = metrics(read("stablecoins/stablecoinchains", rows), "chain")
    assert found == {"Tron": {"CHAIN_STABLECOIN_SUPPLY"}}


def test_a_stablecoin_is_called_by_its_symbol_and_has_a_price_where_the_row_has_one() -> None:
    rows = [stablecoin(gecko_id="some-dollar"), stablecoin(id=8, symbol="-", price=None)]
    found = read("stablecoins/stablecoins", {"peggedAssets": rows})
    assert metrics(found, "stablecoin") == {"7": {"STABLECOIN_SUPPLY", "STABLECOIN_PRICE"}, "8": {"STABLECOIN_SUPPLY"}}
    assert [one.asset for one in found] == ["susd", "some-dollar", "some-dollar"]  # the second one is the coin


def test_a_pool_is_called_by_project_symbol_and_chain() -> None:
    (first, *_) = read("yields/pools", body("pools"))
    pool = "747c1d2a-c668-4682-b9f9-296708a3dd90"
    known = frozenset({"APY", "APY_BASE", "POOL_TVL"})
    assert first == ListedAsset(pool, "lido-steth-ethereum", "pool", "lido STETH on Ethereum", "STETH", known)


@pytest.mark.parametrize("call", list(DefiLlama(KEY).listing_calls()), ids=str)
@pytest.mark.parametrize("payload", [{}, {"protocols": {}}, [{"id": 1}], "text", None, 5], ids=repr)
def test_a_listing_of_another_shape_fails(call: Call, payload: Any) -> None:
    with pytest.raises(CallFailed, match="the answer has another shape than expected"), wrong_shape_fails(call):
        list(DefiLlama().read_listing(call, payload))


def test_the_catalogue_of_artemis_is_read_by_symbol() -> None:
    rows = [
        {"artemis_id": "bitcoin", "symbol": "BTC", "title": "Bitcoin"},
        {"artemis_id": "nameless", "symbol": "x", "title": None},
        {"artemis_id": "no-symbol", "symbol": None, "title": "No Symbol"},
    ]
    (call,) = Artemis(KEY).listing_calls()
    assert list(Artemis().read_listing(call, {"assets": rows})) == [
        ListedAsset("BTC", "btc", "", "Bitcoin", "BTC", None, lasting_id="bitcoin"),
        ListedAsset("x", "x", "", "", "x", None, lasting_id="nameless"),
    ]


def test_the_metrics_of_artemis_are_those_that_can_be_asked_for() -> None:
    call = Artemis(KEY).metrics_call(ListedAsset("sol", "sol", "", "Solana", "sol", None))
    assert call is not None
    assert (call.path, call.params) == ("supported-metrics/", (("symbol", "sol"),))
    payload = {"metrics": [{"PRICE": {"label": "Price"}}, {"fees": {}}, {"30D_VOLUME": {}}, {"LATEST_EQ_EV": {}}]}
    assert Artemis().read_metrics(call, payload) == {"PRICE", "FEES"}


@pytest.mark.parametrize("payload", [{}, {"assets": "Invalid"}, {"metrics": None}, [], "text"], ids=repr)
def test_an_answer_of_artemis_of_another_shape_fails(payload: Any) -> None:
    (call,) = Artemis(KEY).listing_calls()
    for asked in (Artemis().read_listing, Artemis().read_metrics):
        with pytest.raises(CallFailed, match="another shape"), wrong_shape_fails(call):
            list(asked(call, payload))


def test_the_key_of_artemis_goes_into_the_header_alone_where_no_data_is_asked_for() -> None:
    (call,) = Artemis(KEY).listing_calls()
    request = Artemis(KEY).request(call)
    assert KEY not in request.url + repr(request.params)
    assert request.headers == {"X-API-Key": KEY}


@needs_recorded
def test_the_recorded_protocols_are_read() -> None:
    found = read("api/protocols", recorded("defillama/protocols@2022-09-13-72b0a9f"))
    assert len(by_id(found, "protocol")) == 1910
    assert sum("MCAP" in names for names in metrics(found, "protocol").values()) == 1219
    assert len(by_id(found, "coin")) == 1256


@needs_recorded
@pytest.mark.parametrize(("date", "number", "dead"), [("2025-09-07", 289, 1), ("2026-08-17", 416, 23)])
def test_the_recorded_stablecoins_are_read_and_each_has_a_name_of_its_own(date: str, number: int, dead: int) -> None:
    found = with_unique_names(
        united(read("stablecoins/stablecoins", recorded(f"defillama/stablecoins_withprices@{date}")))
    )
    coins = [one for one in found if one.kind == "stablecoin"]
    assert len(coins) == len({one.asset.casefold() for one in coins}) == number
    assert [one.asset for one in coins[:2]] == ["usdt", "usdc"]
    assert sum(bool(one.dead) for one in coins) == dead


@needs_recorded
def test_the_recorded_chains_are_read() -> None:
    found = metrics(read("stablecoins/stablecoinchains", recorded("defillama/stablecoinchains@2026-08-17")), "chain")
    assert {"OP Mainnet", "BSC", "Terra Classic"} <= found.keys()


@needs_recorded
def test_the_recorded_overviews_are_read() -> None:
    revenue = recorded("defillama/overview-fees-dailyRevenue-TRIMMED@2025-01-05")
    found = read("api/overview/fees", revenue, dataType="dailyRevenue")
    assert set(by_id(found, "protocol")) == {
        "curve-dex", "parent#curve-finance", "asset-chain", "optimism", "manta", "arbitrum",
    }  # fmt: skip
    assert "OP Mainnet" in by_id(found, "chain")
    perps = read("api/overview/derivatives", recorded("defillama/doc-overview-derivatives"))
    assert list(by_id(perps, "protocol")) == ["synthetix-v1+v2", "parent#synthetix"]
    premiums = recorded("defillama/doc-overview-options-chain")
    assert len(by_id(read("api/overview/options", premiums, dataType="dailyPremiumVolume"), "chain")) == 17


@needs_recorded
def test_the_recorded_catalogue_of_artemis_is_read() -> None:
    (call,) = Artemis(KEY).listing_calls()
    found = list(Artemis().read_listing(call, recorded("artemis/asset-catalog-4rows")))
    assert [(one.id, one.name) for one in found] == [
        ("btc", "Bitcoin"), ("eth", "Ethereum"), ("lunc", "Terra Classic"), ("luna", "Terra"),
    ]  # fmt: skip
