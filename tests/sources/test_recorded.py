"""What the readers make of the answers recorded in ../shared/recorded; each file there has a test here."""

import csv
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from model.errors import CallFailed
from model.values import DAY, Target, Verb, Window
from sources import SOURCES
from sources.base import Answer
from sources.retry import Verdict, verdict

RECORDED = Path(__file__).parents[3] / "shared" / "recorded"
pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason=f"{RECORDED} is not on this machine")

PULL, BACKFILL = Verb.PULL, Verb.BACKFILL
WETH = "ethereum:0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"


class Case(NamedTuple):
    """The request for a recorded answer, and what must be read from it; a row of fixtures/recorded.csv."""

    verb: Verb
    metrics: str
    ids: str  # * for all that the body lists
    received: str  # date, with the time if it matters
    points: int
    nulls: int
    first: str  # time of the earliest point, "now" where the answer is undated
    last: str


def _cases() -> dict[str, Case]:
    with (Path(__file__).parents[1] / "fixtures" / "recorded.csv").open(encoding="utf-8") as lines:
        return {
            row["file"]: Case(
                Verb(row["verb"]), row["metrics"], row["ids"], row["received"],
                int(row["points"]), int(row["nulls"]), row["first"], row["last"],
            )
            for row in csv.DictReader(lines)
        }  # fmt: skip


D, A = "defillama", "artemis"
CASES = _cases()
REFUSED = {  # answers of other endpoints or other parameters than ours: as the answer of these series they are refused
    f"{A}/artemisids-envelope": ("FEES", "solana"),
    f"{A}/asset-catalog-4rows": ("PRICE", "btc"),
    f"{A}/latest-scalar": ("PRICE", "btc"),
    f"{D}/doc-equities-statements": ("FEES", "lido"),
    f"{D}/doc-v2-metrics-tvl-protocol": ("TVL", "parent#aave"),
    f"{D}/error-400-coins-chart-malformed-period": ("PRICE", WETH),
    "errors/yields-400-invalid-uuid": ("APY", "not-a-uuid"),
}
ERRORS = {
    "llama-400-bad-parent.txt": Verdict.WRONG,
    "llama-400-chain-unknown.txt": Verdict.WRONG,
    "llama-400-protocol-not-found.txt": Verdict.WRONG,
    "llama-400-summary-unknown.txt": Verdict.WRONG,
    "llama-400-tvl-nan.txt": Verdict.WRONG,
    "llama-400-tvl-unknown.txt": Verdict.WRONG,
    "llama-402-pro-only.txt": Verdict.KEY_REFUSED,
    "llama-404-outage.txt": Verdict.WRONG,
    "llama-500-overview-unknown-chain.txt": Verdict.FAULT,
    "llama-500-unsupported-datatype.txt": Verdict.FAULT,
    "stablecoins-404-nginx.html": Verdict.WRONG,
    "stablecoins-404.txt": Verdict.WRONG,
    "yields-200-unknown-uuid.json": Verdict.GOOD,
    "yields-400-invalid-uuid.json": Verdict.WRONG,
    "error-400-coins-chart-malformed-period.json": Verdict.WRONG,
}


def body(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))


def read(name: str, verb: Verb, metrics: str, ids: Iterable[str], received: datetime) -> Answer:
    """What our source makes of a recorded body, as the answer of the one call for these series."""
    source = SOURCES[A if name.startswith(A) else D]()
    window = Window(received - 4 * DAY, received)  # short enough that one call asks for it
    targets = [
        Target(identifier, metric, identifier, source.METRICS[metric].kind)
        for identifier in ids
        for metric in metrics.split()
    ]
    (call,) = source.calls(verb, targets, window)
    return source.answer(call, body(name), received)


def listed(payload: Any) -> list[str]:
    """The identifiers of all that a bulk answer lists."""
    rows = payload if isinstance(payload, list) else payload.get("protocols") or payload["peggedAssets"]
    return [row.get("slug") or row.get("id") or row["name"] for row in rows]


def answer(name: str) -> Answer:
    case = CASES[name]
    ids = listed(body(name)) if case.ids == "*" else case.ids.split()
    return read(name, case.verb, case.metrics, ids, moment(case.received))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def values(name: str) -> dict[str, float]:
    return {point.asset: point.value for point in answer(name).points}


def by_date(name: str) -> dict[str, float]:
    return {f"{point.at:%Y-%m-%d}": point.value for point in answer(name).points}


def test_every_recorded_file_has_a_test() -> None:
    files = {f"{path.parent.name}/{path.stem}" for path in RECORDED.glob("*/*.json")}
    assert files == {*CASES, *REFUSED}
    assert {path.name for path in RECORDED.glob("errors/*")} <= set(ERRORS)
    assert {path.name for path in RECORDED.iterdir() if path.is_file()} == {"README.md"}
    assert {path.parent.name for path in RECORDED.glob("*/*")} == {A, D, "errors"}


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_answer_gives_its_points(name: str) -> None:
    case, got = CASES[name], answer(name)
    times = sorted(point.at for point in got.points)
    assert (len(times), got.nulls, got.refused) == (case.points, case.nulls, [])
    if times:
        assert times[0] == moment(case.received if case.first == "now" else case.first)
        assert times[-1] == moment(case.received if case.last == "now" else case.last)


@pytest.mark.parametrize("name", REFUSED)
def test_an_answer_to_another_question_is_refused_and_not_misread(name: str) -> None:
    metric, identifier = REFUSED[name]
    with pytest.raises(CallFailed, match="another shape than expected"):
        read(name, BACKFILL, metric, [identifier], moment("2026-08-17"))


@pytest.mark.parametrize("name", ERRORS)
def test_a_recorded_error_is_classified(name: str) -> None:
    pattern = rf"^\| {re.escape(name)} \| [^|]* \| (\d+) \|"
    found = re.search(pattern, (RECORDED / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    assert verdict(int(found[1]), html=name.endswith(".html")) is ERRORS[name]


def test_the_now_point_is_gone_from_the_next_answer_and_so_was_never_stored() -> None:
    earlier, later = (
        by_date(f"{D}/protocol-drift-trade@{date}") for date in ("2025-12-18-af6b094", "2025-12-19-e89c2a5")
    )
    assert later.keys() - earlier.keys() == {"2025-12-19"}
    assert earlier.items() <= later.items()
    assert body(f"{D}/protocol-drift-trade@2025-12-18-af6b094")["tvl"][-1]["date"] == 1766109851
    assert all(point.at.second == 0 for point in answer(f"{D}/protocol-drift-trade@2025-12-18-af6b094").points)


@pytest.mark.parametrize("name", [name for name in CASES if "/protocol-" in name])
def test_each_day_of_a_protocol_is_given_once(name: str) -> None:
    points = answer(name).points
    assert len({point.at.date() for point in points}) == len(points)


def test_a_dead_protocols_zeros_are_kept() -> None:
    assert sum(value == 0 for value in by_date(f"{D}/protocol-everlend@2025-12-19-e89c2a5").values()) == 89


def test_protocols_give_integers_and_fractions_and_genuine_zeros_and_a_missing_market_cap_is_none() -> None:
    points = answer(f"{D}/protocols@2022-09-13-72b0a9f").points
    assert sum(point.value == 0 for point in points if point.metric == "TVL") == 273
    assert sum(point.value == 0 for point in points if point.metric == "MCAP") == 514
    assert any(point.value % 1 for point in points)


def test_an_overview_gives_only_rows_that_have_a_total_and_its_chart_ends_with_the_open_day() -> None:
    name = f"{D}/overview-fees-dailyRevenue-TRIMMED@2025-01-05"
    assert values(name) == {"curve-dex": 36034, "optimism": 11227, "manta": 198, "arbitrum": 22910}
    received = moment("2025-01-05T10")
    history = read(name, BACKFILL, "CHAIN_REVENUE", ["All"], received).points
    (live,) = read(name, PULL, "CHAIN_REVENUE_24H", ["All"], received).points
    assert (len(history), history[0].value, history[0].at) == (44, 0, moment("2018-01-01"))
    assert history[-1].at == moment("2025-01-05")  # which a backfill leaves out
    assert live.value == history[-2].value == 50237782


def test_documented_totals_and_charts_are_read_from_the_same_answers() -> None:
    received = moment("2026-08-17")
    for name, metric, identifier, total in (
        ("doc-summary-fees", "FEES_24H", "parent#hyperliquid", 4890250),
        ("doc-summary-derivatives", "PERPS_VOLUME_24H", "parent#hyperliquid", 16946528076),
        ("doc-summary-options", "OPTIONS_PREMIUM_VOLUME_24H", "parent#derive", 849389),
        ("doc-overview-options-chain", "CHAIN_OPTIONS_PREMIUM_VOLUME_24H", "Ethereum", 38508),
    ):
        (point,) = read(f"{D}/{name}", PULL, metric, [identifier], received).points
        assert point.value == total
    (point,) = read(
        f"{D}/doc-overview-options-chain", BACKFILL, "CHAIN_OPTIONS_PREMIUM_VOLUME", ["Ethereum"], received
    ).points
    assert (point.at, point.value) == (moment("2022-06-26"), 3947)
    assert values(f"{D}/doc-overview-derivatives") == {"synthetix-v1+v2": 8479946}


def test_the_zero_row_of_terra_moves_from_day_to_day_and_is_never_given() -> None:
    for date in ("2026-08-17", "2026-08-18"):
        name = f"{D}/stablecoincharts_Terra@{date}"
        last = body(name)[-1]
        assert moment(date) == datetime.fromtimestamp(int(last["date"]), UTC)
        assert set(last["totalCirculating"].values()) == {0}
        assert by_date(name)["2023-06-14"] > 0
        assert all(by_date(name).values())


def test_the_newest_row_of_all_stablecoins_moves_until_its_day_ends() -> None:
    earlier, later = (by_date(f"{D}/stablecoincharts_all@{date}") for date in ("2026-08-17", "2026-08-18"))
    assert later.keys() - earlier.keys() == {"2026-08-18"}
    assert earlier["2026-08-17"] != later["2026-08-17"]


def test_an_api_restates_closed_days_long_afterwards_so_a_settle_has_something_to_find() -> None:
    morning, evening, later = (
        by_date(f"{D}/protocol-moveposition@{date}")
        for date in ("2025-12-08-19dfa74", "2025-12-08-137e0f1", "2025-12-10-823b4c4")
    )
    assert dict(morning.items() - evening.items()) == {"2025-07-02": 7307873}
    assert evening["2025-07-02"] == 6616704
    assert evening.items() <= later.items()
    before, after = (by_date(f"{D}/stablecoincharts_all@{date}") for date in ("2026-08-20", "2026-08-21"))
    restated = sorted(date for date in before if before[date] != after[date])
    assert (len(restated), restated[0], restated[-1]) == (17, "2026-08-04", "2026-08-20")


def test_a_supply_of_many_pegs_is_refused_because_nothing_is_summed() -> None:
    with pytest.raises(CallFailed, match="too many values to unpack"):
        read(f"{D}/stablecoincharts_all@2026-08-17", PULL, "STABLECOIN_SUPPLY", ["1"], moment("2026-08-17"))


def test_the_list_of_stablecoins_says_circulating_in_usd_so_the_supply_comes_from_the_chart() -> None:
    """Since 2026 it is USD under the name of the peg: the yen coins sum to the chart's USD and not to its yen."""
    coins = body(f"{D}/stablecoins_withprices@2026-08-17")["peggedAssets"]
    newest = body(f"{D}/stablecoincharts_all@2026-08-17")[-1]
    yen = sum(coin["circulating"].get("peggedJPY", 0) for coin in coins)
    assert yen == pytest.approx(newest["totalCirculatingUSD"]["peggedJPY"], rel=0.01)
    assert yen < newest["totalCirculating"]["peggedJPY"] / 100
    (mim,) = [coin for coin in coins if coin["id"] == "10"]
    assert mim["price"] < 0.06  # so the drop of its `circulating` from 55.0M to 1.5M is one of price


def test_prices_of_stablecoins_may_be_texts_and_ints_and_those_without_are_counted() -> None:
    assert values(f"{D}/stablecoins_withprices@2025-09-07")["226"] == 1.24470998
    prices = values(f"{D}/stablecoins_withprices@2026-08-17")
    assert prices["1"] == 0.9992892294280102
    assert prices["10"] == 0.05052585956050009


def test_chains_without_usd_pegged_coins_are_no_data_and_a_dead_chain_is_zero() -> None:
    supplies = values(f"{D}/stablecoinchains@2026-08-17")
    assert supplies["Terra Classic"] == 0
    assert {"Concordium", "Secret", "Q Protocol"}.isdisjoint(supplies)


def test_prices_keep_the_second_in_which_they_were_seen() -> None:
    points = answer(f"{D}/coins-chart-multi").points
    assert [(point.asset, point.value) for point in points[2:4]] == [
        (WETH, 1884.11130987538),
        ("coingecko:ethereum", 1873.8221841595919),
    ]
    assert {(point.at - moment("2026-08-14T18:32:22")) % DAY for point in points} == {
        timedelta(seconds=18), timedelta(seconds=28), timedelta(days=1, seconds=-32),
    }  # fmt: skip


def test_a_pool_has_one_record_a_day_and_the_last_is_of_the_open_day() -> None:
    points = [point for point in answer(f"{D}/yields-chart-2d48131c@2025-10-06").points if point.metric == "APY"]
    assert len({point.at.date() for point in points}) == len(points) == 626
    assert (points[0].value, points[-1].value) == (110.47248, 36.6904)
    assert points[-2].at == moment("2025-10-05T23:03:52.823")


def test_equity_valuations_are_daily_and_missing_metrics_are_no_data() -> None:
    points = answer(f"{A}/doc-equity-valuation-eq-nvda").points
    assert {point.metric: point.value for point in points if point.at == moment("2024-10-01")} == {
        "ENTERPRISE_VALUE_DIVIDE_TOTAL_REVENUE": 26.21, "ENTERPRISE_VALUE_DIVIDE_NET_INCOME": 47.06,
        "ENTERPRISE_VALUE_DIVIDE_EBITDA": 40.68, "EARNINGS_YIELD": 2.13,
    }  # fmt: skip


def test_a_text_in_place_of_a_list_is_no_data() -> None:
    assert [(point.metric, point.value) for point in answer(f"{A}/mixed-list-and-sentinel").points] == [
        ("PRICE", 42000)
    ]
    assert values(f"{A}/observed-sol-stablecoin-transfer-volume") == {"sol": 5398226672.518321}
