"""What a person finds by a part of a name: the best match first."""

from collections.abc import Callable

import pytest

import query_data as q
from db.coverage import StoredSeries
from model.errors import BadQuestion
from model.values import DataPoint, Series, Verb
from query.search import entries, matches
from sources.config import Asset
from tests.tables import START, Opener, point

CONFIGS = {
    "artemis": [Asset("uni", ("PRICE",), "uni", "", "Uniswap", "uniswap")],
    "defillama": [
        Asset("uniswap-v3", ("TVL",), "2198", "protocol", "Uniswap V3", "uniswap"),
        Asset("immunify", ("TVL",), "immunify", "protocol", "", ""),
        Asset("eigen", ("STABLECOIN_SUPPLY",), "eigen", "protocol", "The Union", ""),
    ],
}
STORED = {("artemis", "uni", "PRICE"): 9, ("defillama", "uniswap-v3", "TVL"): 9}


def found(text: str) -> list[tuple[str, str, str, str]]:
    """The source and name of each match, where it was found, and the text."""
    series = [
        Series(source, row.asset, metric) for source, rows in CONFIGS.items() for row in rows for metric in row.metrics
    ]
    every = [StoredSeries(each, STORED.get(each, 0), answered=True) for each in series]
    return [(entry.source, entry.name, what, said) for entry, what, said in matches(text, entries(every, CONFIGS))]


def test_equal_names_come_first_then_those_begun_by_the_words_then_others_and_units_last() -> None:
    assert found("UNI") == [
        ("artemis", "uni", "asset", "uni"),
        ("defillama", "uniswap-v3", "asset", "uniswap-v3"),
        ("defillama", "eigen", "name", "The Union"),
        ("defillama", "immunify", "asset", "immunify"),
        ("defillama", "STABLECOIN_SUPPLY", "unit", "units of its peg"),
    ]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("uniswap", ("artemis", "uni", "name", "Uniswap")),
        ("2198", ("defillama", "uniswap-v3", "id", "2198")),
        ("uniswap v3", ("defillama", "uniswap-v3", "asset", "uniswap-v3")),
        ("stablecoin supply", ("defillama", "STABLECOIN_SUPPLY", "metric", "STABLECOIN_SUPPLY")),
        ("usd", ("artemis", "PRICE", "unit", "USD")),
        ("unsiwap-v3", ("defillama", "uniswap-v3", "asset", "uniswap-v3")),
    ],
)
def test_a_text_is_found_in_names_entities_identifiers_and_units_whatever_joins_its_words(
    text: str, first: tuple[str, ...]
) -> None:
    assert found(text)[0] == first


def test_each_asset_and_metric_is_found_once_and_nothing_is_found_by_a_strange_text() -> None:
    for text in ("uni", "uniswap", "unsiwap"):
        names = [(source, name) for source, name, *_ in found(text)]
        assert len(names) == len(set(names)) > 0
    assert found("zzzzqqq") == []


def test_a_search_finds_what_is_stored_and_what_the_configs_have(
    database_url: str, open_store: Opener, load_artemis: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([point("my-own", metric="TVL")])
    load_artemis(DataPoint("sol", "PRICE", START, 7.0))
    frame = q.search("sol")
    assert list(frame) == ["kind", "source", "name", "matched", "text", "points"]
    assert frame.iloc[:2].values.tolist() == [
        ["asset", "artemis", "sol", "asset", "sol", 1],
        ["asset", "defillama", "solana", "asset", "solana", 0],
    ]
    assert q.search("own")["name"].tolist()[0] == "my-own"
    assert "TVL" in q.search("tvl").query("kind == 'metric' and points == 1")["name"].tolist()
    assert q.search("zzzzqqq").empty
    for nothing in ("", " - ", None):
        with pytest.raises(BadQuestion, match="can't be searched: write a part of a name"):
            q.search(nothing)  # type: ignore[arg-type]
