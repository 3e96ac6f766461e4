"""How the answers of DefiLlama are read; which endpoint gives which answer: defillama_metrics.py.

Facts about the answers come from the provider's public documentation and server source, and from recorded bodies.
"""

from collections.abc import Callable, Iterator
from typing import Any

from model.values import Target
from sources.base import UNDATED, Call, Observation, as_list

Reader = Callable[[Call, Any], Iterator[Observation]]

SECONDS_A_DAY = 86_400
POOL_FIELD = {"APY": "apy", "POOL_TVL": "tvlUsd"}  # percent; USD
RENAMED_CHAINS = {  # old name in some answers, in small letters: the present one
    "binance": "BSC",
    "optimism": "OP Mainnet",
    "xdai": "Gnosis",
    "rsk": "Rootstock",
    "zksync era": "ZKsync Era",
}


def read_protocols(call: Call, payload: Any) -> Iterator[Observation]:
    """In USD; the row of a protocol without a token may lack `mcap`."""
    return _bulk(call, payload, "slug", lambda metric, row: row["tvl"] if metric == "TVL" else row.get("mcap"))


def read_overview_rows(call: Call, payload: Any) -> Iterator[Observation]:
    """The trailing 24 hours of each protocol; a row without them lacks the key."""
    return _bulk(call, payload["protocols"], "slug", lambda _, row: row.get("total24h"))


def read_chains(call: Call, payload: Any) -> Iterator[Observation]:
    """In USD."""
    return _bulk(call, payload, "name", lambda _, row: row["tvl"], same=_chain)


def read_stablecoin_chains(call: Call, payload: Any) -> Iterator[Observation]:
    """The USD-pegged part: the API gives one number for each peg and no total, and nothing is summed here."""
    return _bulk(call, payload, "name", lambda _, row: row["totalCirculatingUSD"].get("peggedUSD"), same=_chain)


def read_stablecoins(call: Call, payload: Any) -> Iterator[Observation]:
    """Prices in USD; null for many coins."""
    return _bulk(call, payload["peggedAssets"], "id", lambda _, row: row["price"])


def read_pools(call: Call, payload: Any) -> Iterator[Observation]:
    """APY and TVL of each pool."""
    return _bulk(call, payload["data"], "pool", lambda metric, row: row[POOL_FIELD[metric]])


def read_number(call: Call, payload: Any) -> Iterator[Observation]:
    """The TVL of a parent protocol: the whole answer is one number."""
    if type(payload) not in (int, float):  # a bool is an int, too
        raise TypeError(f"{type(payload).__name__} in place of a number")
    for target in call.targets:
        yield Observation(target, UNDATED, payload)


def read_total24h(call: Call, payload: Any) -> Iterator[Observation]:
    """The trailing 24 hours of a chain or parent; where there are none, the key may be missing."""
    if not {"total24h", "totalDataChart"} & payload.keys():
        raise KeyError("total24h")  # neither an overview nor a summary
    for target in call.targets:
        yield Observation(target, UNDATED, payload.get("total24h"))


def read_inflows(call: Call, payload: Any) -> Iterator[Observation]:
    """Only `outflows` is documented; an inflow is stored where the API reports one."""
    values = {"OUTFLOW": payload["outflows"], "INFLOW": payload.get("inflows")}
    for target in call.targets:
        yield Observation(target, UNDATED, values[target.metric])


def read_prices(call: Call, payload: Any) -> Iterator[Observation]:
    """In USD, each with the time of its observation; unknown coins are missing."""
    for target in call.targets:
        if coin := payload["coins"].get(target.id):
            yield Observation(target, coin["timestamp"], coin["price"])


def read_price_history(call: Call, payload: Any) -> Iterator[Observation]:
    """In USD, each with the time of its observation; unknown coins are missing."""
    for target in call.targets:
        if coin := payload["coins"].get(target.id):
            yield from _history(target, coin["prices"], "timestamp", lambda row: row["price"])


def read_tvl_history(call: Call, payload: Any) -> Iterator[Observation]:
    """The points of /protocol/{slug}, without a last one that is not dated midnight.

    Such a point is the value of now, and is gone from the next answer.
    """
    rows = as_list(payload)
    if rows and rows[-1]["date"] % SECONDS_A_DAY:
        rows = rows[:-1]
    for target in call.targets:
        yield from _history(target, rows, "date", lambda row: row["totalLiquidityUSD"])


def read_chart(call: Call, payload: Any) -> Iterator[Observation]:
    """Pairs of date and value in USD; null where a chain or protocol never had any."""
    chart = payload["totalDataChart"]
    for target in call.targets:
        for date, value in [] if chart is None else as_list(chart):
            yield Observation(target, date, value)


def read_chain_tvl_history(call: Call, payload: Any) -> Iterator[Observation]:
    """In USD."""
    for target in call.targets:
        yield from _history(target, payload, "date", lambda row: row["tvl"])


def read_stablecoin_chain_history(call: Call, payload: Any) -> Iterator[Observation]:
    """The USD-pegged part, as in `read_stablecoin_chains`."""
    rows = _without_moving_zero(payload)
    for target in call.targets:
        yield from _history(target, rows, "date", lambda row: row["totalCirculatingUSD"].get("peggedUSD"))


def read_stablecoin_supply(call: Call, payload: Any) -> Iterator[Observation]:
    """The chart of one stablecoin, in units of its own peg; each row has one peg or none.

    /stablecoins lists all coins at once, but since 2026 in USD under the name of the peg: another quantity.
    """
    rows = _without_moving_zero(payload)
    for target in call.targets:
        yield from _history(target, rows, "date", _only_peg)


def read_pool_history(call: Call, payload: Any) -> Iterator[Observation]:
    """One record a day, the last one of that day."""
    for target in call.targets:
        field = POOL_FIELD[target.metric]
        yield from _history(target, payload["data"], "timestamp", lambda row: row[field])  # noqa: B023 (used at once)


def _history(target: Target, rows: Any, time: str, value: Callable[[Any], object]) -> Iterator[Observation]:
    for row in as_list(rows):
        yield Observation(target, row[time], value(row))


def _bulk(
    call: Call, rows: Any, name: str, value: Callable[[str, Any], object], same: Callable[[Any], str] = str
) -> Iterator[Observation]:
    """The wanted rows of an answer that lists many assets; where two rows have one name, both are rejected."""
    found: dict[str, list[Any]] = {same(target.id): [] for target in call.targets}
    named = [row for row in as_list(rows) if row.get(name) is not None]
    if rows and not named:
        raise KeyError(name)
    for row in named:
        if (known := found.get(same(row[name]))) is not None:
            known.append(row)
    for target in call.targets:
        known = found[same(target.id)]
        if len(known) == 1:
            yield Observation(target, UNDATED, value(target.metric, known[0]))
        elif known:
            yield Observation(target, UNDATED, f"{len(known)} rows named {target.id}")  # no number, so rejected


def _only_peg(row: Any) -> object:
    (supply,) = row["totalCirculating"].values() or [None]
    return supply


def _without_moving_zero(payload: Any) -> list[Any]:
    """The rows, without a last one that is all zero and more than a day after the one before it.

    The chart of a dead chain ends with such a row, which the API dates today, every day.
    """
    rows = as_list(payload)
    if len(rows) < 2 or int(rows[-1]["date"]) - int(rows[-2]["date"]) <= SECONDS_A_DAY:
        return rows
    amounts = [*rows[-1]["totalCirculating"].values(), *rows[-1]["totalCirculatingUSD"].values()]
    return rows if any(amounts) else rows[:-1]


def _chain(name: str) -> str:
    return RENAMED_CHAINS.get(name.casefold(), name).casefold()
