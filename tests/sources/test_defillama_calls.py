"""DefiLlama: the exact URLs, and how few calls there are."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from model.values import DAY, Target, Verb, Window
from pipeline.plan import make_job, make_plan
from sources.base import Call
from sources.defillama import DefiLlama
from sources.defillama_metrics import METRICS
from tests.llama_calls import BACKFILL, CLOSED, POOL, PULL, PULLED, RECEIVED, TODAY, URLS, calls, dated, saved, target

ENTITIES = Path(__file__).parents[3] / "shared" / "api" / "lists" / "defillama_entities.csv"
FREE_HOSTS = {family: f"https://{family}.llama.fi" for family in ("api", "coins", "etfs", "stablecoins", "yields")}


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
    targets = [target(metric, "aave-v3") for metric in ("TVL", "BORROWED", "STAKING")]
    for verb in (BACKFILL, Verb.SETTLE):
        made = list(DefiLlama("key").calls(verb, targets, CLOSED))
        chart = "https://pro-api.llama.fi/key/api/v2/chart/tvl/protocol/aave-v3"
        keys = ("", "?key=borrowed", "?key=staking")
        assert [url(DefiLlama("key"), call) for call in made] == [f"{chart}{key}" for key in keys]
        points = DefiLlama("key").answer(made[1], saved("pairs"), RECEIVED)
        assert {(point.asset, point.metric) for point in points.points} == {("aave-v3", "BORROWED")}
        assert dated(points) == [("08-15 00:00:00", 5), ("08-16 00:00:00", 0), ("08-17 00:00:00", 7.25)]
    pulled = [DefiLlama(key).calls(PULL, targets, PULLED) for key in ("", "key")]
    assert [[call.path for call in made] for made in pulled] == [["api/protocols"]] * 2


def test_whether_parents_have_that_chart_is_not_known_so_a_key_changes_no_call_for_them() -> None:
    targets = [target(metric, "parent#aave") for metric in ("TVL", "BORROWED", "STAKING")]
    made = DefiLlama("key").calls(BACKFILL, targets, CLOSED)
    assert [call.path for call in made] == ["api/protocol/aave"]


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
