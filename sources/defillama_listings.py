"""What DefiLlama offers: the bulk answers of its live metrics, read as lists of assets.

Left out is what no list tells: INFLOW and OUTFLOW, and coins that are no token of a protocol, chain or stablecoin.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from sources.base import ListedAsset, as_list
from sources.defillama_metrics import FLOWS, PARENT, RENAMED_CHAINS, ROWS, Endpoint

COINGECKO = "coingecko:"
NO_SYMBOL = "-"


class BulkAnswer(NamedTuple):
    """One bulk answer: whether it needs a key, the kinds of the assets in it, and how it is read."""

    pro: bool
    kinds: frozenset[str]
    read: Callable[[Any], Iterator[ListedAsset]]


def _read_protocols(payload: Any) -> Iterator[ListedAsset]:
    """Protocols, the parents that they name, which have no row of their own, and their tokens."""
    for row in as_list(payload):
        metrics = {"TVL"} if row.get("mcap") is None else {"TVL", "MCAP"}
        symbol = _symbol(row["symbol"])
        yield ListedAsset(row["slug"], row["slug"], "protocol", row["name"], symbol, frozenset(metrics), _dead(row))
        yield from _parent(row, frozenset({"TVL"}))
        yield from _coin(row, symbol)


def _read_overview(payload: Any, of_protocols: frozenset[str], of_chains: frozenset[str]) -> Iterator[ListedAsset]:
    """Protocols and chains with a flow; a protocol that never had it stands there without any total.

    What a parent has is the sum of its children, so it has the flow as soon as one of them has it. A day without an
    answer from a protocol leaves out `total24h` alone.
    """
    for row in as_list(payload["protocols"]):
        if any(name.startswith("total") and row[name] is not None for name in row):
            yield ListedAsset(row["slug"], row["slug"], "protocol", row["name"], "", of_protocols)
            yield from _parent(row, of_protocols)
    for name in as_list(payload["allChains"]) if of_chains else []:
        yield _chain(name, "", of_chains)


def _read_chains(payload: Any) -> Iterator[ListedAsset]:
    for row in as_list(payload):
        symbol = _symbol(row["tokenSymbol"])
        yield _chain(row["name"], symbol, frozenset({"CHAIN_TVL"}))
        yield from _coin(row, symbol)


def _read_stablecoin_chains(payload: Any) -> Iterator[ListedAsset]:
    for row in as_list(payload):
        if row["totalCirculatingUSD"].get("peggedUSD") is not None:
            yield _chain(row["name"], "", frozenset({"CHAIN_STABLECOIN_SUPPLY"}))


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
        yield ListedAsset(row["pool"], asset, "pool", name, symbol, frozenset({"APY", "POOL_TVL"}))


def _parent(row: Any, metrics: frozenset[str]) -> Iterator[ListedAsset]:
    parent = row.get("parentProtocol") or ""
    if parent.startswith(PARENT):
        yield ListedAsset(parent, parent.removeprefix(PARENT), "protocol", "", "", metrics)


def _coin(row: Any, symbol: str) -> Iterator[ListedAsset]:
    """The token of a row; the name of the row is not the token's."""
    if coin := row["gecko_id"]:
        yield ListedAsset(f"{COINGECKO}{coin}", coin, "coin", "", symbol, frozenset({"PRICE"}))


def _chain(name: str, symbol: str, metrics: frozenset[str]) -> ListedAsset:
    """A chain under its present name, which all endpoints know."""
    name = RENAMED_CHAINS.get(name.casefold(), name)
    return ListedAsset(name, _slug(name), "chain", name, symbol, metrics)


def _symbol(symbol: str | None) -> str:
    return "" if symbol is None or symbol == NO_SYMBOL else symbol.strip()


def _dead(row: Any) -> str:
    """What the flags of a row say; those of a live asset are absent, null or false."""
    flags = [name for name in ("deprecated", "delisted") if row.get(name)]
    return ", ".join([f"dead from {row['deadFrom']}", *flags] if row.get("deadFrom") else flags)


def _slug(text: str) -> str:
    return re.sub(r"[^\w.+]+", "-", text.lower()).strip("-")


def _endpoint(metric: str) -> Endpoint:
    endpoint = ROWS[metric].live
    if endpoint is None:
        raise KeyError(f"{metric} has no live value")
    return endpoint


def _overviews() -> Iterator[tuple[Endpoint, BulkAnswer]]:
    """One for each flow of protocols, with the flow of chains that is of the same type."""
    for kind, metric, path_type, data_type, pro in FLOWS:
        if kind == "protocol":
            same = {row[1] for row in FLOWS if row[0] == "chain" and row[2:4] == (path_type, data_type)}
            read = partial(_read_overview, of_protocols=_both({metric}), of_chains=_both(same))
            kinds = frozenset({"protocol", "chain"} if same else {"protocol"})
            yield _endpoint(f"{metric}_24H"), BulkAnswer(pro, kinds, read)
    read = partial(_read_overview, of_protocols=frozenset({"OPEN_INTEREST"}), of_chains=frozenset())
    yield _endpoint("OPEN_INTEREST"), BulkAnswer(False, frozenset({"protocol"}), read)


def _both(metrics: set[str]) -> frozenset[str]:
    """The names of a flow's history and of its live value."""
    return frozenset(metrics | {f"{metric}_24H" for metric in metrics})


BULK_ANSWERS: Mapping[Endpoint, BulkAnswer] = {
    _endpoint("TVL"): BulkAnswer(False, frozenset({"protocol", "coin"}), _read_protocols),
    _endpoint("CHAIN_TVL"): BulkAnswer(False, frozenset({"chain", "coin"}), _read_chains),
    _endpoint("CHAIN_STABLECOIN_SUPPLY"): BulkAnswer(False, frozenset({"chain"}), _read_stablecoin_chains),
    _endpoint("STABLECOIN_PRICE"): BulkAnswer(False, frozenset({"stablecoin", "coin"}), _read_stablecoins),
    **dict(_overviews()),
    _endpoint("APY"): BulkAnswer(False, frozenset({"pool"}), _read_pools),
}
