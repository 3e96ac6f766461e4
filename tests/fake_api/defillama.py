"""DefiLlama's routes in the Pro layout: protocols, chains, overviews and summaries (/api).

`answer` looks a route up in ROUTES; the stablecoin, coin and yield families stand in llama_families.py.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence

from tests.fake_api import llama_families, llama_pro, truth
from tests.fake_api.answer import Answer, array, dumps, ok, ok_text, plain
from tests.fake_api.llama_charts import asked, by_chain_and_version, by_name
from tests.fake_api.world import World, unknown

Query = Mapping[str, str]
Route = Callable[[World, Sequence[str], Query], Answer]

FAMILIES = ("api", "coins", "etfs", "stablecoins", "yields")
PAID = "Upgrade to the paid API plan at https://defillama.com/subscription"
FLOWS = {
    ("fees", "dailyFees"): "FEES",
    ("fees", "dailyRevenue"): "REVENUE",
    ("fees", "dailyHoldersRevenue"): "HOLDERS_REVENUE",
    ("fees", "dailySupplySideRevenue"): "SUPPLY_SIDE_REVENUE",
    ("fees", "dailyProtocolRevenue"): "PROTOCOL_REVENUE",
    ("fees", "dailyUserFees"): "USER_FEES",
    ("fees", "dailyAppFees"): "APP_FEES",
    ("fees", "dailyAppRevenue"): "APP_REVENUE",
    ("dexs", "dailyVolume"): "DEX_VOLUME",
    ("aggregators", "dailyVolume"): "AGGREGATOR_VOLUME",
    ("options", "dailyNotionalVolume"): "OPTIONS_NOTIONAL_VOLUME",
    ("options", "dailyPremiumVolume"): "OPTIONS_PREMIUM_VOLUME",
    ("derivatives", "dailyVolume"): "PERPS_VOLUME",
    ("open-interest", "openInterestAtEnd"): "OPEN_INTEREST",
}
DEFAULT_DATA_TYPE = dict(reversed(FLOWS))  # the first of each kind
EVERYTHING_TVL = ("defi", "TOTAL_TVL")
PARTS = ("staking", "borrowed")  # of a protocol, beside its chains
FILLERS = 40
UNCONFIGURED = "justlend"  # a real protocol that the config of the project does not have; a user may add it
PRO_ONLY = {("overview", "derivatives"), ("summary", "derivatives"), ("v2", "chart"), ("flows",)}
OLD_CHAIN_NAMES = ("Ethereum", "Binance", "Solana", "Optimism", "xDai", "zkSync Era")
NEW_CHAIN_NAMES = ("Ethereum", "BSC", "Solana", "OP Mainnet", "Gnosis", "ZKsync Era")


def answer(world: World, path: Sequence[str], query: Query, key: str | None) -> Answer:
    """Answer a path below /llama (without the key); `key` is the accepted key of the path, if any."""
    route = ROUTES.get((path[0], path[1])) if len(path) > 1 else None
    if route is None:
        return plain(404, "404 page not found\n")
    if key is None and (path[1], *path[2:3]) in PRO_ONLY:
        return plain(402, PAID)
    return route(world, path[2:], query)


def protocols(world: World, _args: Sequence[str], _query: Query) -> Answer:
    """GET /api/protocols: every protocol but the parents, and some that nobody asked for."""
    listed = [_protocol_row(world, slug, number) for number, slug in enumerate(world.universe.ids("protocol"))]
    children = [_filler_row(f"{slug}-v9", slug) for slug in world.universe.ids("parent")]
    others = [_filler_row(f"filler-{number}", None) for number in range(FILLERS)]
    others[0]["deprecated"] = True
    others += [_filler_row(UNCONFIGURED, None)] if UNCONFIGURED not in world.universe.ids("protocol") else []
    names = {*world.universe.ids("protocol"), *map(str.lower, world.universe.ids("chain"))}
    tokens = [coin for coin in world.coingecko() if coin not in names]
    holders = [_filler_row(f"holder-{number}", None) | {"gecko_id": coin} for number, coin in enumerate(tokens)]
    return ok([*listed, *children, *others, *holders])


def protocol(world: World, args: Sequence[str], _query: Query) -> Answer:
    """GET /api/protocol/{slug}: the chains' histories stand before the protocol's own."""
    slug = args[0] if args else "unknown"
    if unknown(slug):
        return plain(400, "Protocol not found")
    points = llama_pro.up_to_now(world, slug, "TVL")
    now = world.live("defillama", slug, "TVL") or 0
    chain = _chain(slug, OLD_CHAIN_NAMES)
    own = _tvl_text(points)
    inner = _tvl_text([(at, int((amount or 0) * 0.6)) for at, amount in points])
    histories = {part: _tvl_text(llama_pro.up_to_now(world, slug, part.upper())) for part in PARTS}
    parts = "".join(f',"{part}":{{"tvl":{text},"tokens":[]}}' for part, text in histories.items())
    tokens = dumps([{"date": at, "tokens": {"WETH": (amount or 0) / 3000}} for at, amount in points[-100:]])
    current = dumps({chain: int(now * 0.6), f"{chain}-staking": int(now * 0.2), "staking": int(now * 0.2)})
    head = dumps(_protocol_head(slug, slug in world.universe.ids("parent")))
    return ok_text(
        f'{head[:-1]},"currentChainTvls":{current},"chainTvls":{{"{chain}":{{"tvl":{inner},"tokensInUsd":[],'
        f'"tokens":{tokens}}}{parts}}},"tokens":{tokens},'
        f'"tokensInUsd":[],"tvl":{own},"raises":[],"hallmarks":[[1667865600,"FTX collapse"]],"mcap":null}}'
    )


def tvl(world: World, args: Sequence[str], _query: Query) -> Answer:
    """GET /api/tvl/{slug}: a bare number."""
    if not args or unknown(args[0]):
        return plain(400, "Protocol not found")
    return ok(world.live("defillama", args[0], "TVL"))


def version_2(world: World, args: Sequence[str], query: Query) -> Answer:
    """GET /api/v2/chains, /api/v2/historicalChainTvl[/{chain}] and /api/v2/chart/… (Pro)."""
    if list(args) == ["chains"]:
        return ok([_chain_row(world, name) for name in world.universe.ids("chain")] + [_filler_chain()])
    if args[:1] == ["chart"]:
        return llama_pro.protocol_chart(world, args[1:], query)
    if not args or args[0] != "historicalChainTvl":
        return plain(404, "404 page not found\n")
    name, metric = (args[1], "CHAIN_TVL") if len(args) > 1 else EVERYTHING_TVL
    if unknown(name):
        return plain(400, f"There is no chain with that name: {name}")
    points = world.history("defillama", name, metric)
    return ok_text(array([f'{{"date":{at},"tvl":{amount}}}' for at, amount in points]))


def overview(world: World, args: Sequence[str], query: Query) -> Answer:
    """GET /api/overview/{type}[/{chain}]: totals of the last 24 h, and the daily chart unless excluded."""
    kind, chain = args[0] if args else "", args[1] if len(args) > 1 else None
    metric = FLOWS.get((kind, query.get("dataType", DEFAULT_DATA_TYPE.get(kind, ""))))
    if metric is None:
        return plain(500, "Internal Error")
    if chain is not None and unknown(chain):
        return plain(500, "Internal server error")
    asset, whole = (chain, f"CHAIN_{metric}") if chain else ("defi", f"TOTAL_{metric}")
    points = [] if asked(query, "excludeTotalDataChart") else world.history("defillama", asset, whole)
    listed = world.universe.ids("protocol")
    rows = [_overview_row(world, slug, metric, number) for number, slug in enumerate(listed)]
    rows += [_overview_row(world, f"filler-{number}", metric, number) for number in range(FILLERS)]
    rows += [
        _overview_row(world, f"{parent}-v9", metric, number) | {"parentProtocol": f"parent#{parent}"}
        for number, parent in enumerate(world.universe.ids("parent"))
    ]
    names = {str(row["slug"]): str(row["displayName"]) for row in rows}
    parts = "[]" if asked(query, "excludeTotalDataChartBreakdown") else by_name(world, names, metric, chain)
    tail = {
        "breakdown24h": None,
        "breakdown30d": None,
        "chain": chain,
        "allChains": world.universe.ids("chain") or list(NEW_CHAIN_NAMES),
        **_totals(world, asset, whole),
        "protocols": rows,
    }
    return ok_text(f'{{"totalDataChart":{_chart_text(points)},"totalDataChartBreakdown":{parts},{dumps(tail)[1:]}')


def summary(world: World, args: Sequence[str], query: Query) -> Answer:
    """GET /api/summary/{type}/{slug}: total and daily chart of a protocol or parent."""
    kind, slug = args[0] if args else "", args[1] if len(args) > 1 else "unknown"
    metric = FLOWS.get((kind, query.get("dataType", DEFAULT_DATA_TYPE.get(kind, ""))))
    if metric is None:
        return plain(500, "Internal Error")
    if unknown(slug):
        missing = f"{kind.capitalize()} for {slug} not found"
        return plain(400, f"{missing}, please visit /overview/{kind} to see available protocols")
    points = world.history("defillama", slug, metric)
    versions = [f"{slug.title()} V1", f"{slug.title()} V2"]
    parts = by_chain_and_version(points, NEW_CHAIN_NAMES[:2], versions)
    parts = "[]" if asked(query, "excludeTotalDataChartBreakdown") else parts
    chart = "[]" if asked(query, "excludeTotalDataChart") else _chart_text(points)
    head = _protocol_head(slug, slug in world.universe.ids("parent")) | _totals(world, slug, metric)
    return ok_text(f'{dumps(head)[:-1]},"totalDataChart":{chart},"totalDataChartBreakdown":{parts},"change_1d":7.47}}')


def _protocol_row(world: World, slug: str, number: int) -> dict[str, object]:
    dead = truth.last_day("defillama", slug, "TVL")
    token = {"gecko_id": slug, "symbol": slug[:5].upper()} if slug in world.coingecko() else {}
    return {
        **_filler_row(slug, None),
        **token,
        **({"deadFrom": f"{dead}"} if dead else {}),
        "id": str(number + 1),
        "tvl": world.live("defillama", slug, "TVL"),
        "mcap": world.live("defillama", slug, "MCAP"),
        "chainTvls": {part: world.live("defillama", slug, part.upper()) for part in PARTS},
        "change_7d": None if number % 7 == 0 else 1.25,
    }


def _filler_row(slug: str, parent: str | None) -> dict[str, object]:
    chain = _chain(slug, OLD_CHAIN_NAMES)
    row: dict[str, object] = {
        "id": str(100000 + zlib.crc32(slug.encode()) % 100000),
        "name": slug.replace("-", " ").title(),
        "address": None,
        "symbol": "-",
        "chain": chain,
        "gecko_id": None,
        "cmcId": None,
        "category": "Dexs",
        "chains": [chain],
        "slug": slug,
        "tvl": 1234567.875,
        "chainTvls": {chain: 1234567.875, f"{chain}-staking": 99, "staking": 99},
        "change_1h": None,
        "mcap": None,
    }
    return row | ({"parentProtocol": f"parent#{parent}"} if parent else {})


def _protocol_head(slug: str, parent: bool) -> dict[str, object]:
    chains = [] if parent else [_chain(slug, OLD_CHAIN_NAMES)]
    number = str(zlib.crc32(slug.encode()) % 9000 + 1)
    head: dict[str, object] = {
        "id": f"parent#{slug}" if parent else number,
        "name": slug.replace("-", " ").title(),
    }
    head |= {
        "url": f"https://{slug}.example",
        "gecko_id": None,
        "cmcId": None,
        "chains": chains,
        "symbol": "-",
    }
    return head | ({"isParentProtocol": True} if parent else {"category": "Dexs", "slug": slug})


def _overview_row(world: World, slug: str, metric: str, number: int) -> dict[str, object]:
    """A row; its id is a text or a number, and about one in forty has no total of the last day."""
    identifier = str(number + 1) if number % 3 else number + 1
    lacking = {"total24h", "total48hto24h", "change_1d"} if truth.lacks_total24h(slug, metric) else set()
    row = {name: total for name, total in _totals(world, slug, metric).items() if name not in lacking}
    return row | {
        "average1y": None,
        "breakdown24h": {"avax": {slug: 1}} if number % 2 else None,
        "defillamaId": identifier,
        "name": slug.replace("-", " ").title(),
        "displayName": slug.replace("-", " ").title(),
        "module": slug,
        "category": "Dexs",
        "chains": [_chain(slug, NEW_CHAIN_NAMES)],
        "protocolType": "protocol",
        "latestFetchIsOk": True,
        "slug": slug,
        "id": identifier,
    }


def _totals(world: World, asset: str, metric: str) -> dict[str, object]:
    """The trailing totals; open interest, a level, stands in the same field."""
    last = world.live("defillama", asset, metric if metric.endswith("OPEN_INTEREST") else f"{metric}_24H") or 0
    return {
        "total24h": last,
        "total48hto24h": last + 1,
        "total7d": last * 7,
        "total30d": last * 30,
        "change_1d": 0,
    }


def _chain_row(world: World, name: str) -> dict[str, object]:
    amount = world.live("defillama", name, "CHAIN_TVL")
    return {
        "gecko_id": name.lower() if name.lower() in world.coingecko() else None,
        "tvl": amount,
        "tokenSymbol": None,
        "cmcId": None,
        "name": name,
        "chainId": None,
    }


def _filler_chain() -> dict[str, object]:
    return {
        "gecko_id": None,
        "tvl": 0,
        "tokenSymbol": "FILL",
        "cmcId": None,
        "name": "Filler Chain",
        "chainId": 9,
    }


def _chain(slug: str, names: Sequence[str]) -> str:
    return names[zlib.crc32(slug.encode()) % len(names)]


def _chart_text(points: Sequence[tuple[int, truth.Number | None]]) -> str:
    return array([f"[{at},{amount}]" for at, amount in points])


def _tvl_text(points: Sequence[tuple[int, truth.Number | None]]) -> str:
    return array([f'{{"date":{at},"totalLiquidityUSD":{amount}}}' for at, amount in points])


ROUTES: dict[tuple[str, str], Route] = {
    ("api", "protocols"): protocols,
    ("api", "protocol"): protocol,
    ("api", "tvl"): tvl,
    ("api", "v2"): version_2,
    ("api", "overview"): overview,
    ("api", "summary"): summary,
    **llama_families.ROUTES,
    **llama_pro.ROUTES,
}
