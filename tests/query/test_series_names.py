"""From what a person calls a series to the one that is meant."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from db.coverage import StoredSeries
from model.errors import BadQuestion
from model.text import nearest
from model.values import Series
from query.series_by_name import some
from query.series_names import Names
from sources.config import Asset

STORED = [
    ("artemis", "sol", "PRICE", 9),
    ("artemis", "sol", "FEES", 9),
    ("artemis", "sol", "DAU", 0),  # asked for, and the API had nothing
    ("artemis", "eth", "PRICE", 9),
    ("artemis", "uni", "FEES", 9),
    ("defillama", "solana", "PRICE", 9),
    ("defillama", "solana", "CHAIN_TVL", 9),
    ("defillama", "Ethereum", "PRICE", 9),
    ("defillama", "ethereum", "PRICE", 9),
    ("defillama", "uniswap-v2", "FEES", 9),
    ("defillama", "uniswap-v3", "FEES", 9),
    ("defillama", "uniswap-v3", "TVL", 9),
    ("gone", "old", "TVL", 9),  # of a source whose module was removed
]


HOW = "name the source (--source, in Python source=)"


def asset(name: str, metrics: str, entity: str = "", kind: str = "") -> Asset:
    return Asset(name, tuple(metrics.split()), name, kind, name.title(), entity)


CONFIGS = {
    "artemis": [
        asset("sol", "PRICE FEES DAU TXNS", "solana"),
        asset("eth", "PRICE", "ethereum"),
        asset("uni", "FEES", "Uniswap"),
        asset("btc", "PRICE", "bitcoin"),
    ],
    "defillama": [
        asset("solana", "PRICE", "solana", "coin"),
        asset("solana", "CHAIN_TVL", "solana", "chain"),
        asset("uniswap-v2", "FEES", "uniswap", "protocol"),
        asset("uniswap-v3", "FEES TVL MCAP", "uniswap", "protocol"),
    ],
}


def load(
    wanted: str | None = None, assets: Sequence[str] | None = None, metrics: Sequence[str] | None = None
) -> list[StoredSeries]:
    """As the database does, exactly: more than is wanted may come, and less must not matter."""
    folded = None if assets is None else {name.casefold() for name in assets}
    return [
        StoredSeries(Series(source, name, metric), points, answered=True)
        for source, name, metric, points in STORED
        if wanted in (None, source)
        and (folded is None or name.casefold() in folded)
        and (metrics is None or metric in metrics)
    ]


NAMES = Names(load, CONFIGS)


def one(names: Names, asset: str, metric: str, source: str | None = None) -> Series:
    return names.many(metric, [asset], source)[0]


def refused(*asked: Any, of: str = "one") -> str:
    with pytest.raises(BadQuestion) as caught:
        one(NAMES, *asked) if of == "one" else getattr(NAMES, of)(*asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (("sol", "PRICE"), ("artemis", "sol", "PRICE")),
        (("SOL", "price"), ("artemis", "sol", "PRICE")),
        ((" sol ", "Fees", "Artemis"), ("artemis", "sol", "FEES")),
        (("solana", "fees"), ("artemis", "sol", "FEES")),
        (("Solana", "chain_tvl"), ("defillama", "solana", "CHAIN_TVL")),
        (("uniswap", "FEES", "artemis"), ("artemis", "uni", "FEES")),
        (("uniswap", "TVL"), ("defillama", "uniswap-v3", "TVL")),
        (("Ethereum", "PRICE", "defillama"), ("defillama", "Ethereum", "PRICE")),
        (("ethereum", "PRICE", "defillama"), ("defillama", "ethereum", "PRICE")),
        (("old", "TVL", "GONE"), ("gone", "old", "TVL")),
    ],
    ids=str,
)
def test_a_series_is_found_by_any_of_its_names(asked: tuple[str, ...], meant: tuple[str, str, str]) -> None:
    assert one(NAMES, *asked) == meant


def test_what_several_sources_have_is_refused_with_all_of_them() -> None:
    told = refused("solana", "PRICE")
    assert told == f"several sources have PRICE of 'solana': artemis (sol), defillama (solana): {HOW}"
    assert refused("PRICE", of="many") == (
        f"several sources have PRICE: artemis (2 assets), defillama (3 assets): {HOW}"
    )
    assert refused("solana", of="of_asset").startswith("several sources have 'solana': ")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            ("uniswap", "FEES", "defillama"),
            "'uniswap' may mean several assets of defillama: name one of uniswap-v2, unisw",
        ),
        (
            ("ETHEREUM", "PRICE", "defillama"),
            "'ETHEREUM' may mean several assets of defillama: name one of Ethereum, eth",
        ),
        (("sola", "PRICE"), "there is no asset 'sola': did you mean sol or solana?"),
        (("sol", "PRICES"), "there is no PRICES of 'sol': artemis has PRICE, FEES"),
        (("sol", "TVL"), "there is no TVL of 'sol': artemis has FEES, PRICE"),
        (("sol", "PRICE", "defilama"), "there is no source 'defilama': did you mean defillama?"),
        (("sol", "PRICE", "defillama"), "defillama has no asset 'sol': did you mean solana?"),
        (("sol", "DAU"), "artemis has returned no point so far for DAU of 'sol', though requested"),
        (
            ("sol", "TXNS"),
            "nothing is stored yet of sol TXNS: python main.py backfill artemis --asset sol --metric TXNS",
        ),
        (("bitcoin", "PRICE"), "nothing is stored yet of btc PRICE: python main.py backfill artemis --asset btc --met"),
        (("uniswap-v3", "MCAP"), "nothing is stored yet of uniswap-v3 MCAP: python main.py pull defillama --asset uni"),
        (("'; DROP TABLE metrics; --", "PRICE"), 'there is no asset "\'; DROP TABLE metrics; --": '),
        ((float("nan"), "PRICE"), "nan is not a valid asset: give a name"),
        (("sol", None), "None is not a valid metric: give a name"),
        (("", "PRICE"), "'' is not a valid asset: give a name"),
    ],
    ids=str,
)
def test_what_is_not_found_says_what_would_be(asked: tuple[object, ...], told: str) -> None:
    assert refused(*asked).startswith(told)


def test_assets_asked_together_are_of_the_one_source_that_has_all_of_them() -> None:
    assert NAMES.many("PRICE", ["sol", "eth"]) == [("artemis", "sol", "PRICE"), ("artemis", "eth", "PRICE")]
    assert NAMES.many("PRICE", ["solana", "sol"]) == [("artemis", "sol", "PRICE")]  # twice the same
    assert {each.source for each in NAMES.many("FEES", None, "defillama")} == {"defillama"}


def test_assets_of_different_sources_are_never_mixed() -> None:
    told = refused("FEES", ["sol", "uniswap-v2"], of="many")
    assert told.startswith("no source has FEES of all these assets (sol in artemis, uniswap-v2 in defillama")


def test_no_name_at_all_is_refused() -> None:
    assert refused("FEES", [], of="many") == "no asset is named: leave assets out for all of them"
    assert refused("solana", [], of="of_entity") == "no metric is named: name at least one"
    assert refused("sol", [], of="of_asset") == "no metric is named: leave metrics out for all of them"


def test_an_asset_has_all_its_metrics_or_those_that_are_named_in_their_order() -> None:
    assert [each.metric for each in NAMES.of_asset("sol")] == ["FEES", "PRICE"]
    assert [each.metric for each in NAMES.of_asset("solana", ["price", "fees"])] == ["PRICE", "FEES"]
    assert NAMES.of_asset("uniswap", ["TVL"], "defillama") == [("defillama", "uniswap-v3", "TVL")]
    assert refused("sol", ["PRICE", "TVL"], of="of_asset") == "there is no TVL of 'sol': artemis has FEES, PRICE"
    told = refused("solana", ["FEES", "CHAIN_TVL"], of="of_asset")
    assert told == "no source has all of FEES, CHAIN_TVL of 'solana': name fewer metrics"


def test_an_entity_is_the_same_thing_in_all_sources() -> None:
    assert NAMES.of_entity("SOLANA", ["PRICE"]) == [("artemis", "sol", "PRICE"), ("defillama", "solana", "PRICE")]
    assert [each.asset for each in NAMES.of_entity("uniswap", ["FEES"])] == ["uni", "uniswap-v2", "uniswap-v3"]
    assert refused("solano", ["PRICE"], of="of_entity") == "there is no asset 'solano': did you mean solana or sol?"
    assert refused("solana", ["TVL"], of="of_entity").startswith("no source has TVL of 'solana': it has artemis FEES, ")


def refused_by(names: Names, entity: str) -> str:
    with pytest.raises(BadQuestion) as caught:
        names.of_entity(entity, ["X"])
    return str(caught.value)


def test_the_name_of_an_asset_stands_for_its_entity() -> None:
    assert NAMES.of_entity("SOL", ["PRICE"]) == NAMES.of_entity("solana", ["PRICE"])
    assert NAMES.of_entity("OLD ", ["TVL"]) == [("gone", "old", "TVL")]  # it has no entity
    exact = {"artemis": [asset("uni", "FEES", "one"), asset("UNI", "FEES", "two")]}
    assert refused_by(Names(load, exact), "uni").startswith("no source has X of 'uni': it has artemis FEES")
    assert refused_by(Names(load, exact), "Uni").startswith("'Uni' may mean several entities: name one of one, two")
    of_two = {"artemis": [asset("base", "PRICE", "one")], "defillama": [asset("Base", "PRICE", "two", "coin")]}
    with pytest.raises(BadQuestion, match="'BASE' may mean several entities: name one of one, two"):
        Names(load, of_two).of_entity("BASE", ["PRICE"])


def test_an_asset_of_the_same_name_in_another_source_is_no_part_of_an_entity() -> None:
    stored = [StoredSeries(Series(source, "twin", "PRICE"), 9, answered=True) for source in ("artemis", "defillama")]
    names = Names(lambda *_: stored, {"artemis": [asset("twin", "PRICE", "one")], "defillama": []})
    assert names.of_entity("one", ["PRICE"]) == [("artemis", "twin", "PRICE")]


def test_a_series_that_was_asked_for_in_vain_is_told_from_one_that_was_not() -> None:
    stored = [StoredSeries(Series("artemis", "sol", "DAU"), 0, answered=answered) for answered in (True, False)]
    told = []
    for each in stored:
        with pytest.raises(BadQuestion) as caught:
            Names(lambda *_, each=each: [each], CONFIGS).many("DAU", ["sol"])
        told.append(str(caught.value))
    assert told[0] == "artemis has returned no point so far for DAU of 'sol', though requested"
    assert told[1].startswith("nothing is stored yet of sol DAU: python main.py backfill artemis")


def test_a_name_that_has_nothing_is_not_suggested_for_itself() -> None:
    names = Names(lambda *_: [StoredSeries(Series("artemis", "sol", "DAU"), 0, answered=False)], {})
    with pytest.raises(BadQuestion) as caught:
        names.many("DAU", ["sol"])
    assert "did you mean" not in str(caught.value)


def test_the_command_that_fetches_a_metric_is_of_the_source_that_was_named() -> None:
    configs = {name: [asset("x", "TVL", kind="protocol")] for name in ("artemis", "defillama")}
    names = Names(lambda *_: [], configs)
    with pytest.raises(BadQuestion, match=r"python main\.py backfill defillama --metric TVL"):
        names.many("TVL", None, "defillama")


def test_a_command_that_needs_a_missing_key_is_named_only_where_there_is_no_other() -> None:
    rows = [asset("x", "TVL PERPS_VOLUME", kind="protocol"), asset("y (z)", "TVL", kind="protocol")]
    rows += [asset("live", "PERPS_VOLUME MCAP", kind="protocol")]
    configs = {"artemis": [asset("x", "TVL DAU"), asset("y (z)", "TVL")], "defillama": rows}
    names = Names(lambda *_: [], configs, ["artemis", "defillama"])
    asked: list[tuple[Callable[[], object], str]] = [
        (lambda: names.many("TVL"), "python main.py backfill defillama --metric TVL"),
        (lambda: names.many("DAU"), "python main.py backfill artemis --metric DAU (it needs ARTEMIS_API_KEY)"),
        (lambda: names.of_asset("x"), "python main.py backfill defillama --asset x"),
        (lambda: names.of_asset("y (z)"), "python main.py backfill defillama --asset 'y (z)'"),
        (lambda: names.of_asset("live"), "backfill defillama --asset live (it needs DEFILLAMA_API_KEY)"),
        (lambda: one(names, "x", "TVL"), "python main.py backfill defillama --asset x --metric TVL"),
        (lambda: one(names, "x", "PERPS_VOLUME"), "--asset x --metric PERPS_VOLUME (it needs DEFILLAMA_API_KEY)"),
    ]
    for ask, command in asked:
        with pytest.raises(BadQuestion) as caught:
            ask()
        assert str(caught.value).endswith(command)


def test_every_series_is_what_was_asked_for_and_what_the_configs_have() -> None:
    every = {each.series: each.points for each in NAMES.every("artemis", "SOL")}
    assert {series.metric: points for series, points in every.items()} == {"PRICE": 9, "FEES": 9, "DAU": 0, "TXNS": 0}
    assert len(NAMES.every()) == len(STORED) + 3
    assert refused(None, None, "PRICEY", of="every") == "there is no metric 'PRICEY': did you mean PRICE?"


def test_the_metrics_of_another_source_and_those_without_points_are_not_suggested() -> None:
    assert refused("CHAIN_TVLS", None, "artemis", of="many") == (
        "artemis has no metric 'CHAIN_TVLS': known: FEES, PRICE"
    )


def test_a_metric_that_is_named_twice_is_told_once() -> None:
    assert NAMES.of_asset("sol", ["price", "PRICE", "fees"]) == [
        ("artemis", "sol", "PRICE"),
        ("artemis", "sol", "FEES"),
    ]


def test_the_metrics_of_an_entity_come_in_the_order_in_which_they_are_named() -> None:
    found = NAMES.of_entity("solana", ["PRICE", "FEES", "CHAIN_TVL"])
    assert [each.metric for each in found] == ["PRICE", "FEES", "PRICE", "CHAIN_TVL"]


def test_an_entity_of_which_nothing_is_stored_says_so() -> None:
    told = refused("bitcoin", ["PRICE"], of="of_entity")
    assert told == "no source has PRICE of 'bitcoin': nothing is stored of it yet"


def test_a_metric_that_one_asset_has_not_is_refused_with_the_asset() -> None:
    told = refused(None, "sol", "PRICEY", of="every")
    assert told == "there is no metric 'PRICEY' of 'sol': did you mean PRICE?"


def test_several_sources_are_told_in_order_whatever_name_each_has_for_it() -> None:
    stored = [StoredSeries(Series(*each, "TVL"), 9, answered=True) for each in (("artemis", "x"), ("defillama", "y"))]
    names = Names(lambda *_: stored, {"artemis": [], "defillama": [asset("y", "TVL", "x", "protocol")]})
    with pytest.raises(BadQuestion) as caught:
        names.many("TVL", ["x"])
    assert str(caught.value) == f"several sources have TVL of 'x': artemis (x), defillama (y): {HOW}"


def test_an_asset_of_a_config_without_the_metric_is_never_suggested_in_place_of_itself() -> None:
    names = Names(lambda *_: [], {"artemis": [asset("aave", "PRICE FEES")]})
    with pytest.raises(BadQuestion) as caught:
        one(names, "AAVE", "DAU")
    told = "the config of artemis has FEES, PRICE, and nothing is stored of these yet"
    assert str(caught.value) == f"there is no DAU of 'AAVE': {told}"


def test_an_entity_is_suggested_as_an_asset_is_and_an_empty_one_is_not() -> None:
    assert refused("uniswa", "PRICE", "artemis") == "artemis has no asset 'uniswa': did you mean Uniswap or uni?"
    names = Names(lambda *_: [], {"artemis": [asset("sol", "PRICE"), asset("eth", "PRICE", "ether")]})
    for ask, known in (
        (lambda: one(names, "zzz", "PRICE"), "eth, ether, sol"),
        (lambda: names.of_entity("zzz", ["X"]), "eth, ether, sol"),
    ):
        with pytest.raises(BadQuestion) as caught:
            ask()
        assert str(caught.value).endswith(f"'zzz': known: {known}")


@pytest.mark.parametrize(
    ("name", "metrics", "command"),
    [
        ("both", "FEES FEES_24H", "backfill defillama --asset both"),  # which asks for all that has a history
        ("Live", "FEES_24H", "pull defillama --asset Live"),
        ("LIVE", "FEES_24H", "pull defillama --asset Live"),
    ],
)
def test_what_fetches_an_asset_is_a_pull_where_all_that_it_has_exists_only_live(
    name: str, metrics: str, command: str
) -> None:
    rows = [asset("both", "FEES FEES_24H", kind="protocol"), asset("Live", "FEES_24H", kind="protocol")]
    with pytest.raises(BadQuestion) as caught:
        Names(lambda *_: [], {"defillama": rows}).of_asset(name)
    assert str(caught.value).endswith(f": python main.py {command}"), metrics


def test_the_names_most_like_one_are_suggested_then_those_that_hold_it_the_shortest_first() -> None:
    long = ["all-of-the-ether-of-another", "pre-ether-of-somebody", "other"]
    assert (
        nearest("ether", long, "the list", 3)
        == "did you mean other or pre-ether-of-somebody or all-of-the-ether-of-another?"
    )
    assert nearest("abcd", [f"abcd{n}" for n in range(9)], "the list", 3).count(" or ") == 2
    assert nearest("abcde", ["abcxy"], "the list", 3) == "did you mean abcxy?"


def test_where_no_name_is_near_few_are_told_and_of_many_where_they_stand() -> None:
    assert nearest("zzz", [f"a{n:02}" for n in range(12)], "the list", 3).startswith("known: a00, a01, ")
    assert nearest("zzz", [f"a{n:02}" for n in range(13)], "the list", 3) == "see the list"
    assert some(f"a{n}" for n in range(8)).endswith(", a6, a7")
    assert some(f"a{n}" for n in range(9)).endswith(", a6, a7 and 1 more")


@pytest.mark.parametrize(
    ("assets", "metrics", "told"),
    [
        (["sol", "eth"], ["PRICE", "TVL"], "there is no TVL of any of these assets: eth, sol"),
        (["sol", "eth"], ["PRICE", "MCAP"], "there is no MCAP of any of these assets: eth, sol"),
        (["eth", "sol"], ["PRICE", "TXNS"], "nothing is stored yet of sol TXNS: python main.py backfill artemis "),
        (["sol", "eth"], ["PRICE", "PRICEY"], "there is no metric 'PRICEY': did you mean PRICE?"),
        (
            ["sol", "solana"],
            ["PRICE", "CHAIN_TVL"],
            "no source has all of PRICE, CHAIN_TVL of these assets: name fewer",
        ),
        (
            ["sol", "uniswap-v3"],
            ["TVL", "FEES"],
            "no source has TVL, FEES of all these assets (sol in artemis, uniswap",
        ),
    ],
)
def test_of_many_assets_and_metrics_the_first_name_without_a_series_is_told(
    assets: list[str], metrics: list[str], told: str
) -> None:
    assert refused(assets, metrics, of="grid").startswith(told)


def test_of_many_assets_and_metrics_each_pair_that_exists_is_found_in_the_order_of_the_names() -> None:
    found = NAMES.grid(["eth", "sol"], ["FEES", "PRICE"])
    assert [each[1:] for each in found] == [("eth", "PRICE"), ("sol", "FEES"), ("sol", "PRICE")]
    found = NAMES.grid(["eth", "sol"], ["FEES", "PRICE"], by_metric=True)
    assert [each[1:] for each in found] == [("sol", "FEES"), ("eth", "PRICE"), ("sol", "PRICE")]
    assert NAMES.grid(["uniswap"], ["FEES", "TVL"], "defillama")[0].asset == "uniswap-v3"  # only it has both
