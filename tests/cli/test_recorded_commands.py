"""Whole commands on the recorded answers of the real APIs: what is stored of each."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.recorded import RECORDED, run_commands, serve

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not beside this checkout")

# series of a backfill: points stored, the last one's day
HISTORIES = {
    ("anchor", "TVL"): (510, "2022-09-13"),
    ("drift-trade", "TVL"): (1474, "2025-12-18"),
    ("everlend", "TVL"): (434, "2023-10-12"),
    ("save", "TVL"): (1583, "2025-12-19"),
    ("raydium", "TVL"): (2, "2026-07-22"),
    ("uniswap", "TVL"): (2, "2026-07-22"),
    ("all", "CHAIN_REVENUE"): (44, "2025-01-05"),
    ("all-stablecoins", "CHAIN_STABLECOIN_SUPPLY"): (3184, "2026-08-17"),
    ("terra", "CHAIN_STABLECOIN_SUPPLY"): (399, "2023-06-14"),
    ("weth", "PRICE"): (5, "2026-08-18"),
    ("ethereum", "PRICE"): (3, "2026-08-16"),
    ("pool-2d48131c", "APY"): (626, "2025-10-06"),
    ("pool-3603d576", "POOL_TVL"): (882, "2025-10-06"),
    ("hyperliquid", "PERPS_VOLUME"): (2, "2025-07-18"),
    ("derive", "OPTIONS_PREMIUM_VOLUME"): (2, "2023-12-17"),
    ("eq-nvda", "EARNINGS_YIELD"): (2, "2024-10-01"),
    ("btc", "PRICE"): (1, "2024-01-01"),
    ("sol", "STABLECOIN_TRANSFER_VOLUME"): (1, "2026-08-01"),
}
LIVE = {  # series of a pull: the value
    ("makerdao", "MCAP"): 684776901.0,
    ("curve-dex", "REVENUE_24H"): 36034.0,
    ("usdt", "STABLECOIN_PRICE"): 0.9992892294280102,
}


def test_recorded_answers_become_exactly_their_points(
    tmp_path: Path, database_url: str, rows: Callable[..., list[tuple[object, ...]]]
) -> None:
    with serve() as environment:
        done = run_commands(environment | {"DATABASE_URL": database_url}, tmp_path)
    assert all(process.returncode in (0, 1) for process in done), [process.stderr for process in done]
    histories = rows(
        "SELECT asset, metric_name, count(*), to_char(max(pulled_at), 'YYYY-MM-DD') FROM metrics"
        " WHERE pulled_at < now()::date GROUP BY asset, metric_name"
    )
    found = {(asset, metric): (number, last) for asset, metric, number, last in histories}
    assert {series: found.get(series) for series in HISTORIES} == HISTORIES
    live = {(asset, metric): value for asset, metric, value in rows("SELECT asset, metric_name, value FROM metrics")}
    assert {series: live[series] for series in LIVE} == LIVE
    runs = rows(
        "SELECT kind, status, failed_calls, failure FROM pulls WHERE source_name = 'defillama' ORDER BY pull_id"
    )
    assert [(kind, status) for kind, status, _, _ in runs] == [("pull", "error"), ("backfill", "error")]
    assert "bad parent protocol" in str(runs[0][3])
    assert "Protocol not found" in str(runs[1][3])
