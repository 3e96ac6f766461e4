"""What the official Python clients of both APIs read: (metric, identifier, time, value), where None is no data.

Each function calls only methods of the client, so nothing here depends on the readers of this project.
"""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

Read = tuple[str, str, Any, Any]  # the time is Unix seconds or ISO 8601, as number, text, date
Live = tuple[str, str, Any]

FEES = {"FEES": "dailyFees", "REVENUE": "dailyRevenue", "HOLDERS_REVENUE": "dailyHoldersRevenue"}
DAYS_A_CHART = 250
POINTS_A_SERIES = 1000  # the most that Artemis returns
DAY = timedelta(days=1)
START_OF_PRICES = date(2018, 12, 1)


def protocol_history(client: Any, identifier: str) -> Iterator[Read]:
    """TVL and flows of a protocol or parent; derivatives need a key."""
    slug = identifier.removeprefix("parent#")
    for row in client.tvl.getProtocol(slug)["tvl"]:
        yield "TVL", identifier, row["date"], row["totalLiquidityUSD"]
    answers = {metric: client.fees.getSummary(slug, {"dataType": data_type}) for metric, data_type in FEES.items()}
    answers |= {
        "DEX_VOLUME": client.volumes.getDexSummary(slug),
        "OPTIONS_NOTIONAL_VOLUME": client.volumes.getOptionsSummary(slug),
        "PERPS_VOLUME": client.volumes.getDerivativesSummary(slug),
    }
    for metric, answer in answers.items():
        for at, value in answer["totalDataChart"]:
            yield metric, identifier, at, value


def chain_history(client: Any, chain: str) -> Iterator[Read]:
    """TVL, stablecoins and flows of a chain."""
    for row in client.tvl.getHistoricalChainTvl(chain):
        yield "CHAIN_TVL", chain, row["date"], row["tvl"]
    for row in client.stablecoins.getChartsByChain(chain):
        yield "CHAIN_STABLECOIN_SUPPLY", chain, row["date"], row.get("totalCirculatingUSD", {}).get("peggedUSD")
    for metric, answer in _chain_overviews(client, chain).items():
        for at, value in answer["totalDataChart"]:
            yield metric, chain, at, value


def stablecoin_history(client: Any, number: str) -> Iterator[Read]:
    """The supply of a stablecoin in units of its peg."""
    for row in client.stablecoins.getStablecoin(number)["tokens"]:
        for units in (row.get("circulating") or {}).values():
            yield "STABLECOIN_SUPPLY", number, row["date"], units


def coin_history(client: Any, coin: str, end: int) -> Iterator[Read]:
    """The prices of a coin near each midnight up to and without `end`, in seconds."""
    for start in range(end % 86400 + (START_OF_PRICES - date(1970, 1, 1)).days * 86400, end, DAYS_A_CHART * 86400):
        span = min(DAYS_A_CHART, (end - start) // 86400)
        answer = client.prices.getChart([coin], {"start": start, "span": span, "period": "1d"})
        for row in answer["coins"].get(coin, {"prices": []})["prices"]:
            yield "PRICE", coin, row["timestamp"], row["price"]


def pool_history(client: Any, pool: str) -> Iterator[Read]:
    """TVL and yield of a pool; the client needs a key for them."""
    for row in client.yields.getPoolChart(pool)["data"]:
        yield "POOL_TVL", pool, row["timestamp"], row["tvlUsd"]
        yield "APY", pool, row["timestamp"], row["apy"]


def live_of_all(client: Any, coins: Sequence[str]) -> Iterator[Live]:
    """What answers for many assets have as of now."""
    for row in client.tvl.getProtocols():
        yield "TVL", row["slug"], row["tvl"]
        yield "MCAP", row["slug"], row["mcap"]
    overviews = {metric: client.fees.getOverview({"dataType": data_type}) for metric, data_type in FEES.items()}
    overviews |= {
        "DEX_VOLUME": client.volumes.getDexOverview(),
        "OPTIONS_NOTIONAL_VOLUME": client.volumes.getOptionsOverview(),
        "PERPS_VOLUME": client.volumes.getDerivativesOverview(),
    }
    for metric, answer in overviews.items():
        for row in answer["protocols"]:
            yield f"{metric}_24H", row["slug"], row.get("total24h")
    for row in client.tvl.getChains():
        yield "CHAIN_TVL", row["name"], row["tvl"]
    for row in client.stablecoins.getChains():
        yield "CHAIN_STABLECOIN_SUPPLY", row["name"], row["totalCirculatingUSD"].get("peggedUSD")
    for row in client.stablecoins.getStablecoins(includePrices=True)["peggedAssets"]:
        yield "STABLECOIN_PRICE", row["id"], row["price"]
    for coin, row in client.prices.getCurrentPrices(list(coins))["coins"].items():
        yield "PRICE", coin, row["price"]
    for row in client.yields.getPools()["data"]:
        yield "POOL_TVL", row["pool"], row["tvlUsd"]
        yield "APY", row["pool"], row["apy"]


def live_of_parent(client: Any, identifier: str) -> Iterator[Live]:
    """TVL and flows of a parent, which no answer for many assets has."""
    slug = identifier.removeprefix("parent#")
    yield "TVL", identifier, client.tvl.getTvl(slug)
    yield "FEES_24H", identifier, client.fees.getSummary(slug)["total24h"]
    yield "DEX_VOLUME_24H", identifier, client.volumes.getDexSummary(slug)["total24h"]


def live_of_chain(client: Any, chain: str) -> Iterator[Live]:
    """The flows of a chain in the last 24 hours."""
    for metric, answer in _chain_overviews(client, chain).items():
        yield f"{metric}_24H", chain, answer["total24h"]


def _chain_overviews(client: Any, chain: str) -> dict[str, Any]:
    fees = {
        f"CHAIN_{metric}": client.fees.getOverviewByChain(chain, {"dataType": data_type})
        for metric, data_type in FEES.items()
    }
    return fees | {"CHAIN_DEX_VOLUME": client.volumes.getDexOverviewByChain(chain)}


def artemis_days(client: Any, key: str, metric: str, symbols: Sequence[str], first: date, last: date) -> Iterator[Read]:
    """The values of one metric from `first` to `last`, both included; a text in place of a list is no data."""
    while first <= last:
        end = min(last, first + (POINTS_A_SERIES - 1) * DAY)
        answer = client.fetch_metrics(metric, symbols=",".join(symbols), start_date=first, end_date=end, api_key=key)
        yield from _points(answer)
        first = end + DAY


def artemis_quarters(client: Any, key: str, symbols: Sequence[str], first: date, last: date) -> Iterator[Read]:
    """The fundamentals of equities."""
    asked = {"symbols": ",".join(symbols), "start_date": first, "end_date": last, "granularity": "QUARTER"}
    yield from _points(client.equity.fetch_financials(api_key=key, **asked))


def _points(answer: Any) -> Iterator[Read]:
    for symbol, metrics in answer.data.symbols.items():
        for metric, points in metrics.items():
            for point in points if isinstance(points, list) else []:
                yield metric, symbol, point.date, point.val
