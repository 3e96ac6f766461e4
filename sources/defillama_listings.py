"""The lists of DefiLlama: the bulk answers of its live metrics, read as lists of assets.

No list names treasuries, or a coin that is not the token of a protocol, chain or stablecoin.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from sources.base import ListedAsset, as_list
from sources.defillama_answers import COINGECKO, PART_OF_TVL, POOL_FIELD, RENAMED_CHAINS, slug_of_overview
from sources.defillama_metrics import EVERYTHING, FLOWS, PARENT, Flow

NO_SYMBOL = "-"


class BulkAnswer(NamedTuple):
    """The bulk answer with the live values of a metric: how it is read, and the kinds of the assets in it."""

    metric: str
    read: Callable[[Any], Iterator[ListedAsset]]
    kinds: frozenset[str]


def _read_protocols(payload: Any) -> Iterator[ListedAsset]:
    """Protocols, their tokens, and their parents, which have no row of their own."""
    for row in as_list(payload):
        metrics = {"TVL"} if row.get("mcap") is None else {"TVL", "MCAP"}
        metrics |= {metric for metric, part in PART_OF_TVL.items() if part in row.get("chainTvls", {})}
        symbol = _symbol(row["symbol"])
        yield ListedAsset(
            row["slug"], row["slug"], "protocol", row["name"], symbol, frozenset(metrics), _dead(row), str(row["id"])
        )
        yield from _parent(row, frozenset({"TVL"}))
        yield from _coin(row, symbol)


def _read_overview(
    payload: Any, of_protocols: frozenset[str], of_chains: frozenset[str], of_all: frozenset[str]
) -> Iterator[ListedAsset]:
    """The protocols and chains that have a flow, and all together.

    In the row of a protocol that never had it, all totals are missing. If a protocol did not report for a day, only
    `total24h` is missing. For a parent, the API adds up its children, so a parent has the flow if a child has it.
    """
    for row in as_list(payload["protocols"]):
        if any(name.startswith("total") and row[name] is not None for name in row):
            slug = slug_of_overview(row["slug"])
            yield ListedAsset(slug, slug, "protocol", row["name"], "", of_protocols)
            yield from _parent(row, of_protocols)
    for name in as_list(payload["allChains"]) if of_chains else []:
        yield _chain(name, "", of_chains)
    if of_all:
        yield _everything(of_all)


def _read_chains(payload: Any) -> Iterator[ListedAsset]:
    for row in as_list(payload):
        symbol = _symbol(row["tokenSymbol"])
        yield _chain(row["name"], symbol, frozenset({"CHAIN_TVL"}))
        yield from _coin(row, symbol)
    yield _everything(frozenset({"TOTAL_TVL"}))


def _read_stablecoin_chains(payload: Any) -> Iterator[ListedAsset]:
    for row in as_list(payload):
        if row["totalCirculatingUSD"].get("peggedUSD") is not None:
            yield _chain(row["name"], "", frozenset({"CHAIN_STABLECOIN_SUPPLY"}))
    yield _everything(frozenset({"TOTAL_STABLECOIN_SUPPLY"}))


def _read_stablecoins(payload: Any) -> Iterator[ListedAsset]:
    for row in as_list(payload["peggedAssets"]):
        metrics = {"STABLECOIN_SUPPLY"} if row["price"] is None else {"STABLECOIN_SUPPLY", "STABLECOIN_PRICE"}
        symbol, name = _symbol(row["symbol"]), row["name"]
        asset = symbol.lower() or _slug(name)
        yield ListedAsset(str(row["id"]), asset, "stablecoin", name, symbol, frozenset(metrics), _dead(row))
        yield from _coin(row, symbol)


def _read_pools(payload: Any) -> Iterator[ListedAsset]:
    for row in as_list(payload["data"]):
        project, symbol, chain = row["project"], row["symbol"], row["chain"]
        asset, name = _slug(f"{project}-{symbol}-{chain}"), f"{project} {symbol} on {chain}"
        parts = {metric for metric in ("APY_BASE", "APY_REWARD") if row.get(POOL_FIELD[metric]) is not None}
        yield ListedAsset(row["pool"], asset, "pool", name, symbol, frozenset({"APY", "POOL_TVL", *parts}))


def _read_etf_flows(payload: Any) -> Iterator[ListedAsset]:
    for coin in dict.fromkeys(row["gecko_id"] for row in as_list(payload)):
        yield ListedAsset(f"{COINGECKO}{coin}", coin, "coin", "", "", frozenset({"ETF_FLOW"}))


def _parent(row: Any, metrics: frozenset[str]) -> Iterator[ListedAsset]:
    """The parent of a protocol, by the slug that endpoints take: Derive has the slug derive and the id parent#lyra."""
    parent = row.get("parentProtocol") or ""
    if parent.startswith(PARENT):
        slug = row.get("parentProtocolSlug") or parent.removeprefix(PARENT)  # an overview has no slug
        yield ListedAsset(f"{PARENT}{slug}", slug, "protocol", "", "", metrics, lasting_id=parent)


def _coin(row: Any, symbol: str) -> Iterator[ListedAsset]:
    """The token of a row; its name stays empty, since the row's name is that of the protocol, chain or stablecoin."""
    if coin := row["gecko_id"]:
        yield ListedAsset(f"{COINGECKO}{coin}", coin, "coin", "", symbol, frozenset({"PRICE"}))


def _chain(name: str, symbol: str, metrics: frozenset[str]) -> ListedAsset:
    """A chain under its present name, which all endpoints accept."""
    name = RENAMED_CHAINS.get(name.casefold(), name)
    return ListedAsset(name, _slug(name), "chain", name, symbol, metrics)


def _everything(metrics: frozenset[str]) -> ListedAsset:
    return ListedAsset(EVERYTHING, EVERYTHING, "total", "All of DeFi", "", metrics)


def _symbol(symbol: str | None) -> str:
    return "" if symbol is None or symbol == NO_SYMBOL else symbol.strip()


def _dead(row: Any) -> str:
    """What the flags of a row say; for a live asset they are absent, null or false."""
    flags = [name for name in ("deprecated", "delisted") if row.get(name)]
    return ", ".join([f"dead from {row['deadFrom']}", *flags] if row.get("deadFrom") else flags)


def _slug(text: str) -> str:
    return re.sub(r"[^\w.+]+", "-", text.lower()).strip("-")


def _overviews() -> Iterator[BulkAnswer]:
    """One bulk answer for each flow of protocols, and open interest.

    An overview lists the chains with any flow of its type, whatever the data type (getOverviewProcess of the server).
    """
    for flow in FLOWS:
        if flow.kind == "protocol":
            of_chains, of_all = (_same_type(flow, kind) for kind in ("chain", "total"))
            read = partial(_read_overview, of_protocols=_both({flow.metric}), of_chains=of_chains, of_all=of_all)
            kinds = {"protocol", *(["chain"] if of_chains else []), *(["total"] if of_all else [])}
            yield BulkAnswer(f"{flow.metric}_24H", read, frozenset(kinds))
    nothing = frozenset[str]()
    read = partial(_read_overview, of_protocols=frozenset({"OPEN_INTEREST"}), of_chains=nothing, of_all=nothing)
    yield BulkAnswer("OPEN_INTEREST", read, frozenset({"protocol"}))


def _same_type(flow: Flow, kind: str) -> frozenset[str]:
    return _both({each.metric for each in FLOWS if (each.kind, each.path_type) == (kind, flow.path_type)})


def _both(metrics: set[str]) -> frozenset[str]:
    """The names of flows, and of their live values."""
    return frozenset(metrics | {f"{metric}_24H" for metric in metrics})


BULK_ANSWERS = (  # the first is short and needs no key: it serves as the probe
    BulkAnswer("CHAIN_TVL", _read_chains, frozenset({"chain", "coin", "total"})),
    BulkAnswer("TVL", _read_protocols, frozenset({"protocol", "coin"})),
    BulkAnswer("CHAIN_STABLECOIN_SUPPLY", _read_stablecoin_chains, frozenset({"chain", "total"})),
    BulkAnswer("STABLECOIN_PRICE", _read_stablecoins, frozenset({"stablecoin", "coin"})),
    *_overviews(),
    BulkAnswer("APY", _read_pools, frozenset({"pool"})),
    BulkAnswer("ETF_FLOW", _read_etf_flows, frozenset({"coin"})),
)
