"""The flags of DefiLlama's overviews, summaries and stablecoins, and the breakdowns without them."""

import pytest

from tests.fake_api import FakeApi, truth
from tests.fake_api.client import MIDNIGHT, TODAY, body, closed, day_of

CHART, BREAKDOWN = "excludeTotalDataChart", "excludeTotalDataChartBreakdown"


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
@pytest.mark.parametrize("kind", ["fees", "dexs", "options", "aggregators", "open-interest"])
def test_a_summary_of_every_type_takes_the_exclude_flags_in_any_case(api: FakeApi, kind: str, value: str) -> None:
    path = f"/llama/api/summary/{kind}/aave-v3"
    whole = body(api, path)
    assert len(whole["totalDataChart"]) == len(whole["totalDataChartBreakdown"]) > 1000
    assert body(api, f"{path}?{BREAKDOWN}={value}") == whole | {"totalDataChartBreakdown": []}
    none = body(api, f"{path}?{CHART}={value}&{BREAKDOWN}={value}")
    assert none == whole | {"totalDataChart": [], "totalDataChartBreakdown": []}
    assert body(api, f"{path}?{CHART}=false&{BREAKDOWN}=1") == whole


def test_a_summary_is_broken_down_by_chain_and_version_and_the_parts_add_up(api: FakeApi) -> None:
    payload = body(api, "/llama/api/summary/fees/curve-dex")
    for (at, total), (same, parts) in zip(payload["totalDataChart"], payload["totalDataChartBreakdown"], strict=True):
        assert (at, total) == (same, sum(amount for versions in parts.values() for amount in versions.values()))
        assert {len(versions) for versions in parts.values()} == {len(parts)} == {2}


@pytest.mark.parametrize("flag", ["", f"&{BREAKDOWN}=false"])
def test_an_overview_is_broken_down_by_the_display_names_of_its_rows(api: FakeApi, flag: str) -> None:
    payload = body(api, f"/llama/api/overview/fees?dataType=dailyRevenue{flag}")
    names = {row["slug"]: row["displayName"] for row in payload["protocols"]}
    *days, (last, parts) = payload["totalDataChartBreakdown"]
    assert {name for _, values in days for name in values} == set(names.values())
    for slug in ("aave-v3", "uniswap-v9"):
        flows = {day_of(at): values[names[slug]] for at, values in days if names[slug] in values}
        assert flows == closed(slug, "REVENUE")
    assert (last, parts["Aave V3"]) == (MIDNIGHT, truth.live("defillama", "aave-v3", "REVENUE", TODAY))


def test_an_overview_of_a_chain_has_only_the_flows_of_that_chain(api: FakeApi) -> None:
    whole, chain = (body(api, f"/llama/api/overview/dexs{chain}") for chain in ("", "/Ethereum"))
    week = [payload["totalDataChartBreakdown"][-8:-1] for payload in (whole, chain)]
    for (_, everywhere), (_, here) in zip(*week, strict=True):
        assert not everywhere.items() & here.items()
        assert everywhere.keys() & here.keys()
    excluded = body(api, f"/llama/api/overview/dexs/Ethereum?{CHART}=False&{BREAKDOWN}=True")
    assert excluded == chain | {"totalDataChartBreakdown": []}


@pytest.mark.parametrize(("query", "priced"), [("?includePrices=True", True), ("?includePrices=false", False)])
def test_stablecoins_have_prices_where_a_flag_in_any_case_asks_for_them(api: FakeApi, query: str, priced: bool) -> None:
    rows = body(api, f"/llama/stablecoins/stablecoins{query}")["peggedAssets"]
    assert {"price" in row for row in rows} == {priced}
