"""DefiLlama's calls and answers, for the tests of both."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from model.values import DAY, EARLIEST, Target, Verb, Window
from sources.base import Answer, Call
from sources.defillama import DefiLlama
from sources.defillama_metrics import METRICS

FIXTURES = Path(__file__).parent / "fixtures" / "defillama"
TODAY = datetime(2026, 8, 17, tzinfo=UTC)
RECEIVED = TODAY + timedelta(hours=10, minutes=30)
PULLED = Window(TODAY - 6 * DAY, TODAY + DAY)
CLOSED = Window(TODAY - 16 * DAY, TODAY)
POOL = "747c1d2a-c668-4682-b9f9-296708a3dd90"
WETH = "ethereum:0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2"
PULL, BACKFILL = Verb.PULL, Verb.BACKFILL
NO_CHART = "excludeTotalDataChart=true&excludeTotalDataChartBreakdown=true"
CHART = "excludeTotalDataChart=false&excludeTotalDataChartBreakdown=true"

URLS = (  # kind of run, metrics that share the URL, id, family, path and query
    (PULL, "TVL MCAP BORROWED STAKING", "aave-v3", "api", "/protocols"),
    (PULL, "TVL", "parent#uniswap", "api", "/tvl/uniswap"),
    (BACKFILL, "TVL BORROWED STAKING", "aave-v3", "api", "/protocol/aave-v3"),
    (BACKFILL, "TVL", "parent#uniswap", "api", "/protocol/uniswap"),
    (BACKFILL, "TVL", "synthetix-v1+v2", "api", "/protocol/synthetix-v1%2Bv2"),
    (PULL, "TREASURY", "parent#aave", "api", "/v2/chart/treasury/protocol/aave"),
    (BACKFILL, "TREASURY", "parent#aave", "api", "/v2/chart/treasury/protocol/aave"),
    (PULL, "TREASURY_OWN_TOKENS", "lido", "api", "/v2/chart/treasury/protocol/lido?key=OwnTokens"),
    (BACKFILL, "TREASURY_OWN_TOKENS", "lido", "api", "/v2/chart/treasury/protocol/lido?key=OwnTokens"),
    (PULL, "OPEN_INTEREST", "gmx-v2-perps", "api", f"/overview/open-interest?{NO_CHART}"),
    (PULL, "OPEN_INTEREST", "parent#gmx", "api", f"/summary/open-interest/gmx?{NO_CHART}"),
    (BACKFILL, "OPEN_INTEREST", "gmx-v2-perps", "api", f"/summary/open-interest/gmx-v2-perps?{CHART}"),
    (PULL, "FEES_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyFees"),
    (PULL, "FEES_24H", "parent#uniswap", "api", f"/summary/fees/uniswap?{NO_CHART}&dataType=dailyFees"),
    (BACKFILL, "FEES", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyFees"),
    (BACKFILL, "FEES", "parent#uniswap", "api", f"/summary/fees/uniswap?{CHART}&dataType=dailyFees"),
    (PULL, "REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyRevenue"),
    (BACKFILL, "REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyRevenue"),
    (PULL, "HOLDERS_REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyHoldersRevenue"),
    (BACKFILL, "HOLDERS_REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyHoldersRevenue"),
    (PULL, "PROTOCOL_REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyProtocolRevenue"),
    (BACKFILL, "PROTOCOL_REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyProtocolRevenue"),
    (PULL, "SUPPLY_SIDE_REVENUE_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailySupplySideRevenue"),
    (BACKFILL, "SUPPLY_SIDE_REVENUE", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailySupplySideRevenue"),
    (PULL, "USER_FEES_24H", "lido", "api", f"/overview/fees?{NO_CHART}&dataType=dailyUserFees"),
    (BACKFILL, "USER_FEES", "lido", "api", f"/summary/fees/lido?{CHART}&dataType=dailyUserFees"),
    (PULL, "DEX_VOLUME_24H", "curve-dex", "api", f"/overview/dexs?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "DEX_VOLUME", "curve-dex", "api", f"/summary/dexs/curve-dex?{CHART}&dataType=dailyVolume"),
    (PULL, "AGGREGATOR_VOLUME_24H", "1inch", "api", f"/overview/aggregators?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "AGGREGATOR_VOLUME", "1inch", "api", f"/summary/aggregators/1inch?{CHART}&dataType=dailyVolume"),
    (PULL, "OPTIONS_PREMIUM_VOLUME_24H", "hegic", "api", f"/overview/options?{NO_CHART}&dataType=dailyPremiumVolume"),
    (BACKFILL, "OPTIONS_PREMIUM_VOLUME", "hegic", "api", f"/summary/options/hegic?{CHART}&dataType=dailyPremiumVolume"),
    (PULL, "OPTIONS_NOTIONAL_VOLUME_24H", "hegic", "api", f"/overview/options?{NO_CHART}&dataType=dailyNotionalVolume"),
    (BACKFILL, "OPTIONS_NOTIONAL_VOLUME", "hegic", "api",
     f"/summary/options/hegic?{CHART}&dataType=dailyNotionalVolume"),
    (PULL, "PERPS_VOLUME_24H", "drift-trade", "api", f"/overview/derivatives?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "PERPS_VOLUME", "drift-trade", "api", f"/summary/derivatives/drift-trade?{CHART}&dataType=dailyVolume"),
    (PULL, "CHAIN_TVL", "OP Mainnet", "api", "/v2/chains"),
    (BACKFILL, "CHAIN_TVL", "OP Mainnet", "api", "/v2/historicalChainTvl/OP%20Mainnet"),
    (BACKFILL, "CHAIN_TVL", "Plume (Deprecated)", "api", "/v2/historicalChainTvl/Plume%20%28Deprecated%29"),
    (BACKFILL, "CHAIN_TVL", "a/b?c#d%e", "api", "/v2/historicalChainTvl/a%2Fb%3Fc%23d%25e"),
    (PULL, "CHAIN_STABLECOIN_SUPPLY", "OP Mainnet", "stablecoins", "/stablecoinchains"),
    (BACKFILL, "CHAIN_STABLECOIN_SUPPLY", "OP Mainnet", "stablecoins", "/stablecoincharts/OP%20Mainnet"),
    (PULL, "CHAIN_FEES_24H", "OP Mainnet", "api", f"/overview/fees/OP%20Mainnet?{NO_CHART}&dataType=dailyFees"),
    (BACKFILL, "CHAIN_FEES", "OP Mainnet", "api", f"/overview/fees/OP%20Mainnet?{CHART}&dataType=dailyFees"),
    (PULL, "CHAIN_REVENUE_24H", "Sui", "api", f"/overview/fees/Sui?{NO_CHART}&dataType=dailyRevenue"),
    (BACKFILL, "CHAIN_REVENUE", "Sui", "api", f"/overview/fees/Sui?{CHART}&dataType=dailyRevenue"),
    (PULL, "CHAIN_APP_FEES_24H", "Sui", "api", f"/overview/fees/Sui?{NO_CHART}&dataType=dailyAppFees"),
    (BACKFILL, "CHAIN_APP_FEES", "Sui", "api", f"/overview/fees/Sui?{CHART}&dataType=dailyAppFees"),
    (PULL, "CHAIN_APP_REVENUE_24H", "Sui", "api", f"/overview/fees/Sui?{NO_CHART}&dataType=dailyAppRevenue"),
    (BACKFILL, "CHAIN_APP_REVENUE", "Sui", "api", f"/overview/fees/Sui?{CHART}&dataType=dailyAppRevenue"),
    (PULL, "CHAIN_DEX_VOLUME_24H", "re.al", "api", f"/overview/dexs/re.al?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "CHAIN_DEX_VOLUME", "re.al", "api", f"/overview/dexs/re.al?{CHART}&dataType=dailyVolume"),
    (PULL, "CHAIN_OPTIONS_PREMIUM_VOLUME_24H", "Base", "api",
     f"/overview/options/Base?{NO_CHART}&dataType=dailyPremiumVolume"),
    (BACKFILL, "CHAIN_OPTIONS_PREMIUM_VOLUME", "Base", "api",
     f"/overview/options/Base?{CHART}&dataType=dailyPremiumVolume"),
    (PULL, "CHAIN_PERPS_VOLUME_24H", "Base", "api", f"/overview/derivatives/Base?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "CHAIN_PERPS_VOLUME", "Base", "api", f"/overview/derivatives/Base?{CHART}&dataType=dailyVolume"),
    (PULL, "STABLECOIN_SUPPLY", "2", "stablecoins", "/stablecoincharts/all?stablecoin=2"),
    (BACKFILL, "STABLECOIN_SUPPLY", "2", "stablecoins", "/stablecoin/2"),
    (PULL, "STABLECOIN_PRICE", "2", "stablecoins", "/stablecoins?includePrices=true"),
    (PULL, "PRICE", WETH, "coins", f"/prices/current/{WETH}"),
    (BACKFILL, "PRICE", WETH, "coins", f"/chart/{WETH}?start=1785542400&span=16&period=1d"),
    (PULL, "ETF_FLOW", "coingecko:bitcoin", "etfs", "/flows"),
    (BACKFILL, "ETF_FLOW", "coingecko:bitcoin", "etfs", "/flows"),
    (PULL, "APY APY_BASE APY_REWARD POOL_TVL", POOL, "yields", "/pools"),
    (BACKFILL, "APY APY_BASE APY_REWARD POOL_TVL", POOL, "yields", f"/chart/{POOL}"),
    (PULL, "TOTAL_TVL", "defi", "api", "/v2/historicalChainTvl"),
    (BACKFILL, "TOTAL_TVL", "defi", "api", "/v2/historicalChainTvl"),
    (PULL, "TOTAL_STABLECOIN_SUPPLY", "defi", "stablecoins", "/stablecoincharts/all"),
    (BACKFILL, "TOTAL_STABLECOIN_SUPPLY", "defi", "stablecoins", "/stablecoincharts/all"),
    (PULL, "TOTAL_FEES_24H", "defi", "api", f"/overview/fees?{NO_CHART}&dataType=dailyFees"),
    (BACKFILL, "TOTAL_FEES", "defi", "api", f"/overview/fees?{CHART}&dataType=dailyFees"),
    (PULL, "TOTAL_REVENUE_24H", "defi", "api", f"/overview/fees?{NO_CHART}&dataType=dailyRevenue"),
    (BACKFILL, "TOTAL_REVENUE", "defi", "api", f"/overview/fees?{CHART}&dataType=dailyRevenue"),
    (PULL, "TOTAL_DEX_VOLUME_24H", "defi", "api", f"/overview/dexs?{NO_CHART}&dataType=dailyVolume"),
    (BACKFILL, "TOTAL_DEX_VOLUME", "defi", "api", f"/overview/dexs?{CHART}&dataType=dailyVolume"),
)  # fmt: skip


def target(metric: str, identifier: str, asset: str = "") -> Target:
    return Target(asset or identifier, metric, identifier, METRICS[metric].kind)


def calls(verb: Verb, targets: Sequence[Target], window: Window | None = None) -> list[Call]:
    return list(DefiLlama().calls(verb, targets, window or (PULLED if verb is PULL else CLOSED)))


def answer(payload: Any, verb: Verb, metrics: str, *ids: str) -> Answer:
    """What the source makes of the payload as the answer for these series, which share one call, on all days."""
    (call,) = calls(verb, [target(metric, identifier) for metric in metrics.split() for identifier in ids])
    return DefiLlama().answer(replace(call, window=Window(EARLIEST, PULLED.end)), payload, RECEIVED)


def saved(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


def live(answer: Answer) -> dict[tuple[str, str], float]:
    """Values without a date; each has the time when it was received."""
    assert {point.at for point in answer.points} <= {RECEIVED}
    return {(point.asset, point.metric): point.value for point in answer.points}


def dated(answer: Answer) -> list[tuple[str, float]]:
    return [(f"{point.at:%m-%d %H:%M:%S}", point.value) for point in answer.points]
