"""What the report opens with: which series, their latest values, and their changes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from db.database import Database
from db.store import Store
from model.values import DAY
from tests.report_pages import HARD, Page, days_back, fill_charts, written
from tests.tables import BACKFILL, Opener, Rows, asked, points, this_midnight

Values = Mapping[tuple[str, str, str], Sequence[float]]  # by source, asset and metric; the newest first


def load(database: Database, values: Values, newest: int = 1) -> None:
    """Store values of consecutive days, the first one of them `newest` days ago."""
    for (source, asset, metric), of_days in values.items():
        store = Store(database, source, BACKFILL)
        store.load(days_back(asset, metric, of_days, newest), [])
        store.close()


@pytest.fixture
def opening(database_url: str, tmp_path: Path) -> "Opening":
    """The opening of the page about the database of the test."""
    return Opening(database_url, tmp_path / "x.html")


class Opening:
    """The opening of a page, for the words of a command."""

    def __init__(self, url: str, file: Path) -> None:
        self._url, self._file = url, file

    def __call__(self, *words: str) -> str:
        return Page(written(self._url, self._file, *words)).part("Latest values", "What needs attention")

    def shown(self, *words: str) -> list[str]:
        """The names of its series, in their order."""
        html = written(self._url, self._file, *words)
        return [name.replace("<wbr>", "") for name in re.findall("<figcaption><b>(.*?)</b>", html)]


def test_it_opens_with_three_entities_and_the_largest_other_asset_of_each_kind(
    database: Database, opening: Opening
) -> None:
    names = {
        "artemis": "btc PRICE, btc MC, btc DAU, eth PRICE, bnb MC 3, xrp MC 9, eth CHAIN_TVL, eth STABLECOIN_SUPPLY 99,"
        "eq-coin PRICE 9, eq-coin TOTAL_REVENUE 7, eq-nvda PRICE, eq-nvda TOTAL_REVENUE 8, uni TVL 3",
        "defillama": "solana PRICE, aave TVL 5, lido TVL 4, aave FEES 9, usdt STABLECOIN_SUPPLY 2,"
        "dai STABLECOIN_SUPPLY, ethereum CHAIN_TVL 9, bsc CHAIN_TVL 2, tron CHAIN_TVL, pool-a APY 5,"
        "pool-a POOL_TVL 2, pool-b POOL_TVL, defi TOTAL_TVL, defi TOTAL_REVENUE 99",
    }
    values = {}
    for source, text in names.items():
        for asset, metric, *size in map(str.split, text.split(",")):
            values[source, asset, metric] = [float(*size or "1")]
    load(database, values)
    leading = "btc PRICE, btc MC, eth PRICE, eth CHAIN_TVL, solana PRICE, "
    largest = "defi TOTAL_TVL, bsc CHAIN_TVL, aave TVL, xrp MC, usdt STABLECOIN_SUPPLY, pool-a POOL_TVL, eq-nvda PRICE"
    assert opening.shown() == (leading + largest).split(", ")
    assert (
        "Shown: PRICE, MC and CHAIN_TVL of bitcoin, ethereum and solana, where stored; the largest other asset by "
        "TOTAL_TVL, CHAIN_TVL, TVL, MC, STABLECOIN_SUPPLY, POOL_TVL and TOTAL_REVENUE." in opening()
    )


def test_the_source_with_the_newest_value_shows_an_entity(database: Database, opening: Opening) -> None:
    load(database, {("artemis", "btc", "PRICE"): [1.0], ("artemis", "sol", "PRICE"): [1.0]}, newest=3)
    load(database, {("defillama", "bitcoin", "PRICE"): [1.0]}, newest=2)
    load(database, {("defillama", "solana", "PRICE"): [1.0]}, newest=4)
    assert opening.shown() == ["bitcoin PRICE", "sol PRICE"]


def test_a_series_that_has_ended_is_not_the_largest(database: Database, opening: Opening) -> None:
    load(database, {("defillama", "luna", "TVL"): [9e9]}, newest=32)
    load(database, {("defillama", "lido", "TVL"): [3e9]}, newest=31)
    assert opening.shown() == ["luna TVL"]
    load(database, {("defillama", "aave", "TVL"): [2e9]})
    assert opening.shown() == ["lido TVL"]


def test_without_any_of_these_it_opens_with_the_largest_by_each_metric(database: Database, opening: Opening) -> None:
    values = {("artemis", "a", f"DAU{number or ''}"): [float(number)] for number in range(9)}
    load(database, values | {("artemis", "b", "DAU8"): [5.0]})
    assert opening.shown() == [f"a DAU{number}" for number in range(8, 0, -1)]
    assert "Shown: the largest by each metric, at most 8." in opening()


def test_named_assets_and_metrics_open_it(database: Database, opening: Opening) -> None:
    load(database, {("artemis", asset, metric): [1.0] for asset in ("sol", "btc") for metric in ("PRICE", "DAU")})
    assert opening.shown("--asset", "SOL", "--metric", "price") == ["sol PRICE"]
    assert opening.shown("--asset", "sol") == ["sol DAU", "sol PRICE"]
    assert "Shown: SOL and price, as requested." in opening("--asset", "SOL", "--metric", "price")


def test_of_many_requested_series_the_largest_are_shown_all_metrics_in_turn(
    database: Database, opening: Opening
) -> None:
    load(database, {("artemis", f"a{size}", metric): [float(size)] for size in range(30) for metric in ("DAU", "FEES")})
    load(database, {("artemis", "a30", "FEES"): [0.5]})
    shown = opening.shown("--metric", "DAU", "--metric", "FEES")
    assert shown == [f"a{size} {metric}" for size in range(29, 17, -1) for metric in ("DAU", "FEES")]
    assert "the largest 24 of 61 requested series (DAU or FEES), all metrics in turn." in opening(
        "--metric", "DAU", "--metric", "FEES"
    )


def test_a_change_is_the_difference_of_two_stored_values_and_nothing_stands_in_for_a_missing_day(
    database: Database, opening: Opening
) -> None:
    load(database, {("artemis", "btc", "PRICE"): [97_234.56, 98_000.0, 5.0]})
    load(database, {("artemis", "btc", "PRICE"): [95_000.0]}, newest=8)
    load(database, {("artemis", "btc", "PRICE"): [100_000.0]}, newest=30)  # 29 days before the newest
    yesterday = this_midnight() - DAY
    assert f"btc PRICE $97.23K 1d \u22120.78% 7d +2.35% 30d \u2013 artemis, {yesterday:%Y-%m-%d}" in opening()


@pytest.mark.parametrize(
    ("metric", "new", "old", "text"),
    [
        ("DAU", 5.0, 0.0, "from zero"),
        ("DAU", 0.0, 5.0, "\u2212100%"),
        ("DAU", 5.0, 5.0, "unchanged"),
        ("DAU", 0.0, 0.0, "unchanged"),
        ("DAU", 5.0, -10.0, "+150%"),
        ("DAU", -10.0, 5.0, "\u2212300%"),
        ("DAU", 1e308, -1e308, "+200%"),
        ("DAU", 1e308, 5e-324, "from nearly zero"),
        ("DAU", 1e9, 1e9 + 0.1, "\u2212<0.0001%"),
        ("EARNINGS_YIELD", 5.25, 5.0, "+0.25 pp"),
        ("EARNINGS_YIELD", -0.5, 0.0, "\u22120.5 pp"),
    ],
)
def test_a_change_has_its_sign(
    metric: str, new: float, old: float, text: str, database: Database, opening: Opening
) -> None:
    load(database, {("artemis", "a", metric): [new, old]})
    assert f" 1d {text} 7d \u2013 30d \u2013 " in opening()


def test_points_with_times_of_their_own_belong_to_their_days(open_store: Opener, rows: Rows, opening: Opening) -> None:
    store = open_store(BACKFILL)
    store.load(days_back("bitcoin", "PRICE", [105.0, 100.0]) + days_back("pool", "APY", [6.0, 5.0]), [])
    rows("UPDATE metrics SET pulled_at = pulled_at - interval '40 seconds' WHERE metric_name = 'PRICE'")
    rows("UPDATE metrics SET pulled_at = pulled_at + interval '23 hours' WHERE metric_name = 'APY'")
    yesterday = f"{this_midnight() - DAY:%Y-%m-%d}"
    told = opening("--metric", "PRICE", "--metric", "APY")
    assert f"bitcoin PRICE $105 1d +5% 7d \u2013 30d \u2013 defillama, {yesterday} " in told
    assert f"pool APY 6% 1d +1 pp 7d \u2013 30d \u2013 defillama, {yesterday} " in told


def test_of_an_open_day_only_what_exists_live_is_shown_without_a_change(open_store: Opener, opening: Opening) -> None:
    store = open_store(BACKFILL)
    store.load([each for metric in ("FEES", "MCAP") for each in days_back("a", metric, [12.0, 10.0], newest=0)], [])
    store.load(days_back("new", "FEES", [1.0], newest=0), [])
    told = opening("--metric", "FEES", "--metric", "MCAP")
    today = this_midnight()
    assert f"a FEES $10 1d \u2013 7d \u2013 30d \u2013 defillama, {today - DAY:%Y-%m-%d} " in told
    assert f"a MCAP $12 defillama, {today:%Y-%m-%d}, not over yet " in told
    assert "1 series without a value of a closed day." in told


def test_a_unit_without_a_mark_is_written_out(database: Database, opening: Opening) -> None:
    load(database, {("defillama", "usdt", "STABLECOIN_SUPPLY"): [183_254_123_456.0]})
    assert "usdt STABLECOIN_SUPPLY 183.25bn units of its peg 1d" in opening().replace("_ ", "_")


def test_values_that_are_hard_to_draw_are_drawn(database_url: str, tmp_path: Path, opening: Opening) -> None:
    fill_charts(database_url, tmp_path)
    assert opening.shown("--metric", "TXNS") == [f"{name} TXNS" for name in sorted(HARD)]
    html = written(database_url, tmp_path / "y.html", "--metric", "TXNS")
    assert not re.search("nan|inf", " ".join(re.findall(r'(?s)<svg class="plot".*?</svg>', html)))


def test_values_that_are_no_numbers_are_left_out(open_store: Opener, rows: Rows, opening: Opening) -> None:
    open_store(BACKFILL).load(points(*range(6)), [asked(0, 6)])
    for day, value in enumerate(("1e308", "-1e308", "NaN", "Infinity", "5e-324", None)):
        rows("UPDATE metrics SET value = %s WHERE pulled_at = '2024-01-01'::date + %s", value, day)
    rows("INSERT INTO revisions SELECT source, asset, metric_name, pulled_at, 5e-324, now() FROM metrics")
    assert "solana TVL $4.94066e-324 1d \u2013" in opening()
