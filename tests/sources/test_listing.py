"""What the APIs list: how lists are united, and fetched at one pace."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from model.errors import SourceStopped
from model.settings import ROOT
from model.values import MAX_ASSET, Target, Window
from sources import SOURCES
from sources.artemis import Artemis
from sources.base import BaseSource, ListedAsset
from sources.config import read_config
from sources.defillama_metrics import METRICS
from sources.http import Client
from sources.listing import Listing, fetch_listing, united, with_metrics, with_unique_names
from tests.fake_api import FakeApi
from tests.paced_processes import closer_than
from tests.wire import RecordedPace

NOW = datetime(2026, 8, 17, 12, 34, 56, tzinfo=UTC)
KEY = "s3cret-k3y"


def offer(**changes: Any) -> ListedAsset:
    return ListedAsset("id", "asset", "pool", "Name", "SYM", frozenset({"APY"}))._replace(**changes)


def test_what_several_listings_say_of_one_asset_is_united() -> None:
    one = offer(id="Mantra", name="", symbol="", metrics=frozenset({"APY"}))
    other = offer(id="MANTRA", asset="other", metrics=frozenset({"POOL_TVL"}), dead="deprecated")
    united_one = one._replace(name="Name", symbol="SYM", metrics=frozenset({"APY", "POOL_TVL"}), dead="deprecated")
    assert united([one, other, offer(id="Mantra", kind="coin")]) == [united_one, offer(id="Mantra", kind="coin")]


def test_metrics_that_are_not_known_stay_so() -> None:
    (found,) = united([offer(metrics=None), offer(metrics=None)])
    assert found.metrics is None


def test_of_several_assets_of_one_name_the_first_keeps_it() -> None:
    ids = ("aa70268e-4b52-42bf", "f981a304-bb6c-45b8", "f981a304-ffff-45b8")
    found = with_unique_names(
        offer(id=each, asset=name) for each, name in zip(ids, ("usdc", "USDC", "usdc"), strict=True)
    )
    assert [one.asset for one in found] == ["usdc", "USDC-f981a304", "usdc-f981a304-ffff-45b8"]


def test_one_name_may_stand_for_one_asset_of_each_kind() -> None:
    assert [one.asset for one in with_unique_names([offer(), offer(kind="coin")])] == ["asset", "asset"]


def test_a_name_that_does_not_fit_the_column_gives_way_to_the_identifier() -> None:
    found = with_unique_names([offer(asset="x" * (MAX_ASSET + 1)), offer(id="other", asset="")])
    assert [one.asset for one in found] == ["id", "-other"]


def test_what_no_config_may_hold_is_taken_out_of_names() -> None:
    (found,) = united([offer(name="Evil\x1b[31m\nName\u200b ", symbol="A\xa0B", asset="a\tb")])
    assert (found.name, found.symbol, found.asset) == ("Evil [31m Name", "A B", "a b")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi(now=lambda: NOW, defillama_key=KEY, artemis_key=KEY) as fake:
        yield fake


@pytest.fixture(scope="module")
def listed() -> dict[str, tuple[ListedAsset, ...]]:
    """All that each source lists with a key."""
    with FakeApi(now=lambda: NOW) as fake:
        return {name: fetch(source(name, fake)).assets for name in SOURCES}


def source(name: str, api: FakeApi, key: str = KEY) -> BaseSource:
    return SOURCES[name](key, f"{api.url}/{'llama' if name == 'defillama' else name}")


def fetch(made: BaseSource) -> Listing:
    return fetch_listing(made, Client(made, threading.Event()))


def test_all_lists_are_asked_for_once_and_at_the_pace(api: FakeApi) -> None:
    made = source("defillama", api)
    pace = RecordedPace(made.REQUEST_DELAY)
    assert not fetch_listing(made, Client(made, threading.Event(), pace)).failed
    calls = list(made.listing_calls())
    assert len(api.requests) == len(pace.starts) == len(calls)
    assert closer_than(made.REQUEST_DELAY, pace.starts) == []


def test_without_a_key_what_needs_one_is_neither_asked_for_nor_offered(api: FakeApi) -> None:
    found = fetch(source("defillama", api, key=""))
    assert not found.failed
    assert not [request for request in api.requests if "derivatives" in request.path]
    offered = {metric for one in found.assets for metric in one.metrics or ()}
    assert offered == {name for name, metric in METRICS.items() if not metric.needs_key}
    assert list(Artemis().listing_calls()) == []


def test_with_a_key_all_metrics_are_offered_but_those_that_no_list_has(
    listed: dict[str, tuple[ListedAsset, ...]],
) -> None:
    offered = {metric for one in listed["defillama"] for metric in one.metrics or ()}
    assert METRICS.keys() - offered == {"TREASURY", "TREASURY_OWN_TOKENS"}


@pytest.mark.parametrize("name", SOURCES)
def test_what_the_shipped_config_names_is_offered(name: str, listed: dict[str, tuple[ListedAsset, ...]]) -> None:
    offered = {(one.kind, one.id) for one in listed[name]}
    assets = read_config(ROOT / SOURCES[name].CONFIG, SOURCES[name])
    assert {(asset.kind, asset.id) for asset in assets} <= offered


@pytest.mark.parametrize("name", SOURCES)
def test_every_offer_is_one_of_its_own_that_can_be_asked_for(
    name: str, listed: dict[str, tuple[ListedAsset, ...]]
) -> None:
    made, found = SOURCES[name](KEY), listed[name]
    assert len({(one.kind, one.id) for one in found}) == len({(one.kind, one.asset) for one in found}) == len(found)
    window = Window(NOW.replace(hour=0), NOW)
    for one in found:
        assert one.kind in (made.KINDS or ("",))
        for metric in one.metrics or ():
            target = Target(one.asset, metric, one.id, one.kind)
            assert one.kind == made.METRICS[metric].kind
            assert any(list(made.calls(verb, [target], window)) for verb in made.METRICS[metric].verbs)


def test_a_list_without_an_answer_costs_only_what_it_tells() -> None:
    with FakeApi(now=lambda: NOW, broken={"dailyRevenue": "400", "yields/pools": "404"}) as api:
        found = fetch(source("defillama", api, key=""))
    assert [call.path for call in found.failed] == ["api/overview/fees", "yields/pools"]
    assert "HTTP 400: Fault 400" in next(iter(found.failed.values()))
    assert found.unsure == {"protocol", "chain", "total", "pool"}
    offered = {metric for one in found.assets for metric in one.metrics or ()}
    assert {"FEES", "CHAIN_FEES", "PRICE"} <= offered
    assert not {"REVENUE", "REVENUE_24H", "APY"} & offered


@pytest.mark.parametrize("name", SOURCES)
def test_a_refused_key_stops_the_source_with_its_remedy(name: str, api: FakeApi) -> None:
    with pytest.raises(SourceStopped, match=f"{name} refuses the key .*: check {name.upper()}_API_KEY"):
        fetch(source(name, api, key="wrong"))


def test_the_metrics_of_artemis_are_asked_for_asset_by_asset(api: FakeApi) -> None:
    made = source("artemis", api)
    client = Client(made, threading.Event())
    listed = [one for one in fetch_listing(made, client).assets if one.id in ("sol", "eq-nvda")]
    assert [one.metrics for one in listed] == [None, None]
    found = {one.id: one.metrics for one in with_metrics(made, client, listed).assets}
    assert "DAU" in (found["sol"] or ())
    assert "TOTAL_REVENUE" in (found["eq-nvda"] or ())
    assert [request.query for request in api.requests[1:]] == [f"symbol={one.id}" for one in listed]


def test_an_asset_whose_metrics_are_not_told_keeps_its_place() -> None:
    with FakeApi(now=lambda: NOW, broken={"symbol=btc": "400"}) as api:
        made = source("artemis", api)
        offers = [ListedAsset(symbol, symbol, "", "", "", None) for symbol in ("sol", "btc", "eth")]
        found = with_metrics(made, Client(made, threading.Event()), offers)
    assert [(one.id, one.metrics is None) for one in found.assets] == [("sol", False), ("btc", True), ("eth", False)]
    assert [call.params for call in found.failed] == [(("symbol", "btc"),)]


def test_no_call_is_made_for_metrics_that_are_known(api: FakeApi) -> None:
    made = source("defillama", api)
    assert with_metrics(made, Client(made, threading.Event()), [offer()]).assets == (offer(),)
    assert not api.requests
