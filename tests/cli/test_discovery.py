"""What is found among offers, what a config has of it, and which row would add the rest."""

import re
from dataclasses import replace

import pytest

from cli.discover import as_json, lines, pick
from cli.listed_assets import Comparison, all_names, compare, row_to_add, search
from model.errors import ConfigurationError
from model.text import nearest
from sources.artemis import Artemis
from sources.base import ListedAsset
from sources.config import Asset
from sources.defillama import DefiLlama


def offer(
    identifier: str, kind: str = "protocol", *metrics: str, asset: str = "", name: str = "", symbol: str = ""
) -> ListedAsset:
    return ListedAsset(identifier, asset or identifier, kind, name, symbol, frozenset(metrics or ("TVL",)))


PENDLE = offer("pendle", "protocol", "TVL", "FEES", "FEES_24H", "MCAP", name="Pendle", symbol="PENDLE")
COIN = offer("coingecko:pendle", "coin", "PRICE", asset="pendle", symbol="PENDLE")
POOL = offer("747c1d2a", "pool", "APY", asset="pendle-pt-ethereum", name="pendle PT on Ethereum", symbol="PT")
LIDO = offer("lido", name="Lido", symbol="LDO")
UNISWAP = offer("parent#uniswap", asset="uniswap")
UNISWAP_V3 = offer("uniswap-v3", name="Uniswap V3", symbol="UNI")
ALL = (LIDO, POOL, PENDLE, COIN, UNISWAP_V3, UNISWAP)
ROW = Asset("pendle", ("MCAP", "TVL"), "pendle", "protocol", "Pendle Finance", "pendle-finance")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LDO", [LIDO]),
        ("coingecko:", [COIN]),
        ("on ethereum", [POOL]),
        ("PENDLE", [PENDLE, COIN, POOL]),
        (" endl", [POOL, PENDLE, COIN]),
        ("uniswap", [UNISWAP, UNISWAP_V3]),
        ("", list(ALL)),
        ("nothing", []),
    ],
)  # fmt: skip
def test_a_text_is_found_in_any_name_whatever_its_case_and_what_equals_it_comes_first(
    text: str, found: list[ListedAsset]
) -> None:
    assert search(ALL, text) == found


def test_a_kind_narrows_what_is_found() -> None:
    assert search(ALL, "pendle", "coin") == [COIN]


def test_the_nearest_names_are_suggested() -> None:
    names = [name for asset in ALL for name in all_names(asset)]
    assert nearest("Pendel", names, "the list", 3) == "did you mean pendle?"
    assert nearest("uniswap-v4", names, "the list", 3) == "did you mean uniswap-v3 or uniswap or Uniswap V3?"
    assert nearest("xyzzy", names, "the list", 3) == "see the list"


def test_the_rows_of_a_config_belong_to_an_offer_by_kind_and_identifier_not_by_name() -> None:
    rows = [
        replace(ROW, id="PENDLE", metrics=("TVL",)),
        replace(ROW, asset="mine", metrics=("FEES", "HOLDERS_REVENUE")),
        replace(ROW, kind="coin", metrics=("PRICE",)),
        replace(ROW, asset="coin-of-pendle", kind="coin", id="coingecko:pendle", metrics=("PRICE",)),
    ]
    pendle, coin, lido = compare([PENDLE, COIN, LIDO], rows, DefiLlama)
    assert pendle.rows == tuple(rows[:2])
    assert (pendle.configured, pendle.missing) == (["TVL", "FEES", "HOLDERS_REVENUE"], ["FEES_24H", "MCAP"])
    assert pendle.unlisted == ["HOLDERS_REVENUE"]
    assert (coin.asset, coin.missing) == ("coin-of-pendle", [])
    assert (lido.asset, lido.configured, lido.missing) == ("lido", [], ["TVL"])


@pytest.mark.parametrize("identifier", ["BSC", "bsc", "Binance"])
def test_a_chain_is_found_in_each_spelling_that_the_api_takes(identifier: str) -> None:
    row = Asset("bnb", ("CHAIN_TVL",), identifier, "chain", "", "")
    (found,) = compare([offer("BSC", "chain", "CHAIN_TVL")], [row], DefiLlama)
    assert (found.rows, found.missing) == ((row,), [])


def test_where_a_list_had_no_answer_nothing_is_said_to_be_unlisted() -> None:
    (found,) = compare([LIDO], [Asset("lido", ("FEES",), "lido", "protocol", "", "")], DefiLlama, {"protocol"})
    assert found.unlisted == []


def test_metrics_that_are_not_known_are_neither_missing_nor_unlisted() -> None:
    (found,) = compare([LIDO._replace(metrics=None)], [Asset("lido", ("FEES",), "lido", "protocol", "", "")], DefiLlama)
    assert (found.missing, found.unlisted) == ([], [])
    assert list(lines([found])) == ["lido  protocol  lido  Lido (LDO)", "    configured: FEES", "    metrics not known"]
    assert as_json([found])[0]["metrics"] is None


def test_each_offer_is_shown_with_its_metrics_by_whether_they_are_configured() -> None:
    dead = COIN._replace(dead="delisted", symbol="")
    rows = [replace(ROW, metrics=("TVL", "HOLDERS_REVENUE"))]
    assert list(lines(compare([PENDLE, dead], rows, DefiLlama))) == [
        "pendle  protocol  pendle            Pendle",
        "    configured: TVL",
        "    configured, but not listed: HOLDERS_REVENUE",
        "    to add: FEES FEES_24H MCAP",
        "pendle  coin      coingecko:pendle  [delisted]",
        "    to add: PRICE",
    ]


def test_a_source_without_kinds_shows_none_and_long_lists_are_folded() -> None:
    metrics = frozenset(f"METRIC_{number}" for number in range(30))
    shown = list(lines([Comparison(ListedAsset("sol", "sol", "", "Solana", "sol", metrics))]))
    assert shown[0] == "sol  sol  Solana (sol)"
    assert max(map(len, shown)) <= 118
    assert {word for line in shown[1:] for word in re.findall(r"METRIC_\d+", line)} == metrics


def test_what_is_shown_holds_no_control_character_of_the_api() -> None:
    (head, *_) = lines([Comparison(offer("bad\x1b[2Jid\n"))])
    assert head.isprintable()


def test_json_says_the_same() -> None:
    (found,) = compare([PENDLE], [ROW], DefiLlama)
    assert as_json([found]) == [
        {
            "asset": "pendle",
            "kind": "protocol",
            "id": "pendle",
            "name": "Pendle",
            "symbol": "PENDLE",
            "metrics": ["FEES", "FEES_24H", "MCAP", "TVL"],
            "configured": ["MCAP", "TVL"],
            "missing": ["FEES", "FEES_24H"],
            "lasting_id": "",
            "dead": "",
        }
    ]


@pytest.mark.parametrize(
    ("text", "picked"),
    [("ldo", LIDO), ("uniswap", UNISWAP), ("UNISWAP v3", UNISWAP_V3), ("coingecko:pendle", COIN), ("747c", POOL)],
    ids=["the only match", "by asset", "by name", "by id", "the only match, in part"],
)
def test_one_that_is_named_without_doubt_is_picked(text: str, picked: ListedAsset) -> None:
    assert pick(search(ALL, text), text) is picked


def test_of_two_of_a_kind_the_one_of_that_identifier_is_picked() -> None:
    other = offer("core-2", name="core")
    assert pick(search([other, offer("core")], "core"), "core").id == "core"


@pytest.mark.parametrize(("text", "number"), [("pendle", 2), ("UNI", 2), ("e", 4)])
def test_where_it_is_unclear_the_candidates_are_named(text: str, number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"'{text}' matches {number} assets: write the id of one") as raised:
        pick(search(ALL, text), text)
    assert len(str(raised.value).splitlines()) == number + 1


def test_of_very_many_candidates_ten_are_named() -> None:
    with pytest.raises(ConfigurationError, match="matches 5,000 assets: write the id of one\n") as raised:
        pick([offer(f"x-{number}") for number in range(5_000)], "x")
    assert str(raised.value).splitlines()[-1] == "  and 4,990 more"


def row(one: ListedAsset, *only: str, config: tuple[Asset, ...] = ()) -> Asset | None:
    (found,) = compare([one], config, DefiLlama)
    return row_to_add(found, config, only, DefiLlama)


def test_a_new_row_has_all_that_is_listed_in_the_order_of_the_source() -> None:
    assert row(PENDLE) == Asset("pendle", ("TVL", "MCAP", "FEES", "FEES_24H"), "pendle", "protocol", "Pendle", "")


def test_a_new_row_has_only_the_metrics_that_are_named() -> None:
    made = row(PENDLE, "FEES_24H", "TVL")
    assert made is not None
    assert made.metrics == ("TVL", "FEES_24H")


def test_to_a_configured_asset_what_it_lacks_is_added_under_the_names_that_it_has() -> None:
    mine = replace(ROW, asset="mine", id="PENDLE")
    assert row(PENDLE, config=(mine,)) == replace(mine, metrics=("FEES", "FEES_24H"))


@pytest.mark.parametrize("only", [(), ("TVL",)])
def test_what_is_configured_already_makes_no_row(only: tuple[str, ...]) -> None:
    assert row(LIDO, *only, config=(Asset("lido", ("TVL",), "lido", "protocol", "", ""),)) is None


def test_a_metric_that_is_not_listed_for_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^defillama lists no FEES for lido: known: TVL$"):
        row(LIDO, "FEES")
    with pytest.raises(ConfigurationError, match=r"lists no FEES_24 for pendle: did you mean FEES_24H\?"):
        row(PENDLE, "TVL", "FEES_24")


def test_an_asset_whose_name_the_config_has_for_another_gets_one_of_its_own() -> None:
    usds = offer("209", "stablecoin", "STABLECOIN_SUPPLY", asset="usds")
    taken = Asset("USDS", ("STABLECOIN_SUPPLY",), "7", "stablecoin", "", "")
    made = row(usds, config=(taken, replace(ROW, asset="usds-209")))
    assert made is not None
    assert (made.asset, made.id) == ("usds-209", "209")


def test_an_asset_may_be_called_as_one_of_another_kind() -> None:
    made = row(COIN, config=(ROW,))
    assert made is not None
    assert made.asset == "pendle"


def test_a_deprecated_metric_is_added_only_by_its_name() -> None:
    found = Comparison(ListedAsset("sol", "sol", "", "Solana", "sol", frozenset({"PRICE", "DEX_VOLUMES"})))
    made = [row_to_add(found, [], metrics, Artemis) for metrics in ([], ["DEX_VOLUMES"])]
    assert [each and each.metrics for each in made] == [("PRICE",), ("DEX_VOLUMES",)]


def test_a_source_without_kinds_has_rows_without_one() -> None:
    found = Comparison(ListedAsset("sol", "sol", "", "Solana", "sol", frozenset({"PRICE", "DAU"})))
    assert row_to_add(found, [], (), Artemis) == Asset("sol", ("DAU", "PRICE"), "sol", "", "Solana", "")
