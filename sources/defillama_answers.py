"""Reads the answers of DefiLlama; defillama_metrics.py says which endpoint gives which answer.

Most answers have one of three shapes: a list of many assets, the value of one asset, and the history of one asset.
Facts about the answers come from the provider's public documentation and server source, and from recorded bodies.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from model.values import Target
from sources.base import UNDATED, Call, Observation, as_list

Reader = Callable[[Call, Any], Iterator[Observation]]
Value = Callable[[str, Any], object]  # from a metric and a row, or from a metric and the whole answer

SECONDS_A_DAY = 86_400
COINGECKO = "coingecko:"
PART_OF_TVL = {"BORROWED": "borrowed", "STAKING": "staking"}  # beside the chains; TVL has neither in it
TVL_PATHS = ("tvl", *(f"chainTvls.{part}.tvl" for part in PART_OF_TVL.values()))
# Amounts of stablecoins by peg. Of all rows of a history but the last, the server removes zeros and then what is empty
# (peggedassets-server, cron-task/index.ts, removeEmptyItems), so a row without one of these has no value for that day.
PEGGED, PEGGED_USD = "totalCirculating", "totalCirculatingUSD"
POOL_FIELD = {"APY": "apy", "APY_BASE": "apyBase", "APY_REWARD": "apyReward", "POOL_TVL": "tvlUsd"}  # percent; USD
RENAMED_CHAINS = {  # the old name in lower case, which some answers still have: the present name
    "binance": "BSC",
    "optimism": "OP Mainnet",
    "xdai": "Gnosis",
    "rsk": "Rootstock",
    "zksync era": "ZKsync Era",
}


def _many(
    name: str, value: Value, rows: Callable[[Any], Any] = lambda payload: payload, same: Callable[[Any], str] = str
) -> Reader:
    """A list of many assets, each identified by its field `name`; if two rows have the same name, both are refused."""

    def read(call: Call, payload: Any) -> Iterator[Observation]:
        rows_of: dict[str, list[Any]] = defaultdict(list)
        listed = as_list(rows(payload))
        for row in listed:
            if row.get(name) is not None:
                rows_of[same(row[name])].append(row)
        if listed and not rows_of:
            raise KeyError(name)
        for target in call.targets:
            known = rows_of[same(target.id)]
            if len(known) == 1:
                yield Observation(target, UNDATED, value(target.metric, known[0]))
            elif known:
                yield Observation(target, UNDATED, f"{len(known)} rows named {target.id}")  # refused: not a number

    return read


def _one(value: Value) -> Reader:
    """The current value of one asset."""

    def read(call: Call, payload: Any) -> Iterator[Observation]:
        for target in call.targets:
            yield Observation(target, UNDATED, value(target.metric, payload))

    return read


def _history(time: str, value: Value, rows: Callable[[Any], Any] = lambda payload: payload) -> Reader:
    """The history of one asset, a row for each point."""

    def read(call: Call, payload: Any) -> Iterator[Observation]:
        for target in call.targets:
            for row in as_list(rows(payload)):
                yield Observation(target, row[time], value(target.metric, row))

    return read


def read_prices(call: Call, payload: Any) -> Iterator[Observation]:
    """The prices of several coins in USD, one or more for each, with their times; unknown coins are missing."""
    for target in call.targets:
        if coin := payload["coins"].get(target.id):
            for row in as_list(coin["prices"]) if "prices" in coin else [coin]:
                yield Observation(target, row["timestamp"], row["price"])


def read_chart(call: Call, payload: Any) -> Iterator[Observation]:
    """Pairs of date and value in USD; null in place of the list if the chain or protocol never had a value."""
    chart = payload["totalDataChart"]
    for target in call.targets:
        for date, value in [] if chart is None else as_list(chart):
            yield Observation(target, date, value)


def read_overview(call: Call, payload: Any) -> Iterator[Observation]:
    """The totals of the last 24 hours of many protocols, and that of all together."""
    together = tuple(target for target in call.targets if target.kind == "total")
    single = tuple(target for target in call.targets if target.kind != "total")
    yield from _read_overview_rows(replace(call, targets=single), payload)
    yield from read_total24h(replace(call, targets=together), payload)


def read_protocol(call: Call, payload: Any) -> Iterator[Observation]:
    """The history of a protocol's TVL, and of what is borrowed from it or staked, which only some protocols have."""
    own = payload["tvl"]
    for target in call.targets:
        part = PART_OF_TVL.get(target.metric)
        rows = payload.get("chainTvls", {}).get(part, {"tvl": []})["tvl"] if part else own
        for row in _without_now(rows, "date"):
            yield Observation(target, row["date"], row["totalLiquidityUSD"])


def read_pairs(call: Call, payload: Any) -> Iterator[Observation]:
    """A history as pairs of date and value."""
    for target in call.targets:
        for date, value in _without_now(payload, 0):
            yield Observation(target, date, value)


def read_etf_flows(call: Call, payload: Any) -> Iterator[Observation]:
    """The net flow into the exchange-traded funds of several coins, which have their names at CoinGecko."""
    targets_of: dict[str, list[Target]] = defaultdict(list)
    for target in call.targets:
        targets_of[target.id.casefold()].append(target)
    for row in as_list(payload):
        for target in targets_of[f"{COINGECKO}{row['gecko_id']}"]:
            yield Observation(target, row["day"], row["total_flow_usd"])


def _protocol(metric: str, row: Any) -> object:
    """A live value of a protocol. One without a token may lack `mcap`."""
    if part := PART_OF_TVL.get(metric):
        return row.get("chainTvls", {}).get(part)
    return row["tvl"] if metric == "TVL" else row.get("mcap")


def _number(_: str, payload: Any) -> object:
    if type(payload) not in (int, float):  # a bool is an int, too
        raise TypeError(f"{type(payload).__name__} in place of a number")
    return payload


def _total24h(_: str, payload: Any) -> object:
    """The sum of the last 24 hours of a chain, a parent or all; the key may be missing if there is no such sum."""
    if not {"total24h", "totalDataChart"} & payload.keys():
        raise KeyError("total24h")  # the answer is neither an overview nor a summary
    return payload.get("total24h")


def _pegged_usd(_: str, row: Any) -> object:
    """The USD-pegged part. The API gives one number for each peg but no total; this pipeline sums nothing."""
    return row.get(PEGGED_USD, {}).get("peggedUSD")


def _only_peg(name: str) -> Value:
    """The supply of one stablecoin in units of its own peg; a row has one peg or none, or a bare 0 for no record."""

    def value(_: str, row: Any) -> object:
        (supply,) = (row.get(name) or {}).values() or [None]
        return supply

    return value


def _without_now(payload: Any, time: Any) -> list[Any]:
    """The rows, without a last row that is not dated midnight: it is the value of now, and the next answer lacks it."""
    rows = as_list(payload)
    return rows[:-1] if rows and rows[-1][time] % SECONDS_A_DAY else rows


def _without_moving_zero(payload: Any) -> list[Any]:
    """The rows, without a last row in which all values are zero and which comes more than a day after the row before.

    The chart of a dead chain ends with such a row. The API dates it today, whatever the day.
    """
    rows = as_list(payload)
    if len(rows) < 2 or int(rows[-1]["date"]) - int(rows[-2]["date"]) <= SECONDS_A_DAY:
        return rows
    amounts = [amount for name in (PEGGED, PEGGED_USD) for amount in rows[-1].get(name, {}).values()]
    return rows if any(amounts) else rows[:-1]


def slug_of_overview(slug: str) -> str:
    """The slug that all other endpoints take: that of an overview keeps an apostrophe of the name, as in "jpeg'd"."""
    return slug.replace("'", "")


def _chain(name: str) -> str:
    return RENAMED_CHAINS.get(name.casefold(), name).casefold()


# Values are in USD unless noted. A protocol without values of the last 24 hours lacks `total24h`. /stablecoins lists
# supplies too, but since 2026 in USD under the name of the peg: another quantity.
read_protocols = _many("slug", _protocol)
_read_overview_rows = _many(
    "slug", lambda _, row: row.get("total24h"), lambda payload: payload["protocols"], same=slug_of_overview
)
read_chains = _many("name", lambda _, row: row["tvl"], same=_chain)
read_stablecoin_chains = _many("name", _pegged_usd, same=_chain)
read_stablecoins = _many("id", lambda _, row: row["price"], lambda payload: payload["peggedAssets"])
read_pools = _many("pool", lambda metric, row: row[POOL_FIELD[metric]], lambda payload: payload["data"])
read_number = _one(_number)
read_total24h = _one(_total24h)
read_chain_tvl_history = _history("date", lambda _, row: row["tvl"])
read_stablecoin_chain_history = _history("date", _pegged_usd, _without_moving_zero)
read_stablecoin_now = _history("date", _only_peg(PEGGED), lambda payload: _without_moving_zero(payload)[-1:])
read_stablecoin = _history("date", _only_peg("circulating"), lambda payload: payload["tokens"])
read_pool_history = _history("timestamp", lambda metric, row: row[POOL_FIELD[metric]], lambda payload: payload["data"])
