"""DefiLlama's stablecoin, coin and yield routes."""

import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from tests.fake_api import truth
from tests.fake_api.answer import Answer, array, dumps, error, html, ok, ok_text, plain
from tests.fake_api.llama_charts import asked
from tests.fake_api.stablecoin_rows import Supply, chart_rows, token_rows
from tests.fake_api.world import EPOCH, UUID, World, iso, unknown

Query = Mapping[str, str]
Route = Callable[[World, Sequence[str], Query], Answer]

PERIOD = re.compile(r"(\d+)([mhdwM])")
PERIOD_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000}
MOST_POINTS = 500
FILLER_POOLS = 2000
POOL_METRICS = ("POOL_TVL", "APY", "APY_BASE", "APY_REWARD")  # in this order below
ENDED: dict[str, dict[str, object]] = {  # stablecoins of one symbol, by their numbers, and what the API says of them
    "9001": {"deadFrom": "2023-02-01"},
    "9002": {"deprecated": True, "deadFrom": "2022-06-23"},
    "9003": {"delisted": True},
}
USD_OF = {"peggedUSD": 0.9998, "peggedEUR": 1.08}  # the market price of a unit
PRICED_SINCE = 1_640_995_200  # 2022; before, some days have no price
UNKNOWN_POOL = "00000000-"  # a uuid that starts so is well formed, but unknown


def stablecoins(world: World, _args: Sequence[str], query: Query) -> Answer:
    """GET /stablecoins/stablecoins[?includePrices=true]: prices are floats, ints, texts or nulls."""
    prices = asked(query, "includePrices")
    rows = [_stablecoin_row(world, number, prices) for number in world.universe.ids("stablecoin")]
    rows += [_stablecoin_row(world, number, prices) | {"symbol": "OLD", **flags} for number, flags in ENDED.items()]
    return ok({"peggedAssets": rows, "chains": [_chain_row(world, name) for name in world.universe.ids("chain")]})


def stablecoin_chains(world: World, _args: Sequence[str], _query: Query) -> Answer:
    """GET /stablecoins/stablecoinchains."""
    filler = {"totalCirculatingUSD": {"peggedUSD": 0, "peggedSGD": 979937.52}, "name": "Filler Chain"}
    return ok([*(_chain_row(world, name) for name in world.universe.ids("chain")), filler])


def stablecoin_charts(world: World, args: Sequence[str], query: Query) -> Answer:
    """GET /stablecoins/stablecoincharts/{all|chain}[?stablecoin=id]: dates are texts."""
    chain, number = args[0] if args else "unknown", query.get("stablecoin")
    if unknown(chain):
        return html(404, "404 Not Found", "nginx")
    if number is not None:
        if unknown(number):
            return Answer(200, b"")
        peg, points = _peg(number), world.history("defillama", number, "STABLECOIN_SUPPLY")
        return ok(chart_rows([(at, {peg: units}, {peg: _usd(units, peg) * _priced(at)}) for at, units in points]))
    everything = chain == "all"
    name = ("defi", "TOTAL_STABLECOIN_SUPPLY") if everything else (chain, "CHAIN_STABLECOIN_SUPPLY")
    points = world.history("defillama", *name)
    rows = [
        (at, {"peggedUSD": _units(usd), "peggedJPY": 23_981_760}, {"peggedUSD": usd, "peggedJPY": _yen(at)})
        for at, usd in points
    ]
    if truth.last_day("defillama", chain, "CHAIN_STABLECOIN_SUPPLY") is not None:
        nothing: Supply = {"peggedUSD": 0, "peggedJPY": 0}
        return ok(chart_rows([*rows, (world.midnight(), nothing, nothing)]))  # the moving zero row of a dead chain
    return ok(chart_rows(rows))


def stablecoin(world: World, args: Sequence[str], _query: Query) -> Answer:
    """GET /stablecoins/stablecoin/{id}: the chains' balances stand before the coin's own supply."""
    number = args[0] if args else "unknown"
    if unknown(number):
        return plain(404, "Invalid request")
    peg, points = _peg(number), world.history("defillama", number, "STABLECOIN_SUPPLY")
    inner = [(at, int((amount or 0) * 0.7)) for at, amount in points]
    head = {"id": number, "name": f"Stablecoin {number}", "symbol": f"SC{number}", "pegType": peg}
    return ok(
        head
        | {
            "chainBalances": {
                "Ethereum": {"tokens": token_rows(inner, peg)},
                "Terra": {"tokens": [{"date": points[-1][0], "circulating": 0, "minted": 0, "unreleased": 0}]},
            },
            "currentChainBalances": {"Ethereum": {peg: inner[-1][1]}},
            "price": _stablecoin_price(world, number),
            "tokens": token_rows(points, peg),
        }
    )


def prices(world: World, args: Sequence[str], _query: Query) -> Answer:
    """GET /coins/prices/current|first/{coins} and /coins/prices/historical/{timestamp}/{coins}.

    Keys echo the request, unknown coins are silently absent.
    """
    match list(args):
        case ["current", coins]:
            seen = {coin: (world.live("defillama", coin, "PRICE"), world.now() - 40) for coin in _known_coins(coins)}
        case ["historical", moment, coins] if moment.isdigit():
            seen = {coin: _price(world, coin, int(moment)) for coin in _known_coins(coins)}
        case ["first", coins]:
            days = {coin: truth.first_day("defillama", coin, "PRICE") for coin in _known_coins(coins)}
            seen = {coin: _price(world, coin, (day.toordinal() - EPOCH) * 86400) for coin, day in days.items()}
        case _:
            return plain(404, "404 page not found\n")
    found = {}
    for coin, (price, at) in seen.items():
        head = _coin_head(coin)
        if price is not None:
            head = {"symbol": head["symbol"]} if args[0] == "first" else head
            found[coin] = {"price": price, "timestamp": at} | head
    return ok({"coins": found})


def coin_chart(world: World, args: Sequence[str], query: Query) -> Answer:
    """GET /coins/chart/{coins}?start&end&span&period: observations near a grid, at most 500 points in all."""
    period = PERIOD.fullmatch(query.get("period", "1d"))
    if period is None:
        return error(400, {"message": "invalid period"})
    texts = [query.get(name, "0") for name in ("start", "end", "span")]
    if not args or not all(text.isdigit() for text in texts) or ("start" in query and "end" in query):
        return plain(400, "Bad request")
    step, span, now = int(period[1]) * PERIOD_SECONDS[period[2]], int(query.get("span", "1")), world.now()
    if len(args[0].split(",")) * span > MOST_POINTS:
        return plain(400, f"Too many points: at most {MOST_POINTS} in all")
    first = int(query["start"]) if "start" in query else int(query.get("end", now)) - (span - 1) * step
    grid = [at for at in range(first, first + span * step, step) if at <= now]
    found = {}
    for coin in _known_coins(args[0]):
        seen = [_price(world, coin, at) for at in grid]
        points = [{"timestamp": at, "price": price} for price, at in seen if price is not None]
        if points:
            found[coin] = _coin_head(coin) | {"prices": points}
    return ok({"coins": found})


def pools(world: World, _args: Sequence[str], _query: Query) -> Answer:
    """GET /yields/pools: the known pools among 2,000 others."""
    rows = [_pool_row(pool, *(world.live("defillama", pool, name) for name in POOL_METRICS))
            for pool in world.universe.ids("pool")]  # fmt: skip
    known = dumps(rows)[1:-1]
    return ok_text(f'{{"status":"success","data":{array([known, _filler_pools()] if rows else [_filler_pools()])}}}')


def pool_chart(world: World, args: Sequence[str], _query: Query) -> Answer:
    """GET /yields/chart/{pool}: one row a day at 22 or 23 h, the last row is now."""
    pool = args[0] if args else ""
    if not UUID.fullmatch(pool):
        return error(400, "invalid configID!")
    if pool.startswith(UNKNOWN_POOL):
        return ok({"status": "success", "data": []})
    days = zip(*(world.closed("defillama", pool, name) for name in POOL_METRICS), strict=True)
    rows = [_yield_text(*recorded(pool, day[0][0]), *(amount for _, amount in day)) for day in days]
    live = [world.live("defillama", pool, name) for name in POOL_METRICS]
    return ok_text(f'{{"status":"success","data":{array([*rows, _yield_text(world.now(), 399, *live)])}}}')


def _peg(number: str) -> str:
    return "peggedEUR" if number.isdigit() and int(number) % 50 == 0 else "peggedUSD"


def _stablecoin_row(world: World, number: str, prices: bool) -> dict[str, object]:
    row: dict[str, object] = {
        "id": number,
        "name": f"Stablecoin {number}",
        "symbol": f"SC{number}",
        "gecko_id": None,
    }
    peg = _peg(number)
    row |= {
        "pegType": peg,
        "circulating": {peg: _usd(world.live("defillama", number, "STABLECOIN_SUPPLY"), peg)},
        "circulatingPrevDay": {peg: 1},
        "chains": [],
    }
    return row | ({"price": _stablecoin_price(world, number)} if prices else {})


def _usd(units: truth.Number | None, peg: str) -> int:
    """The value of a supply: /stablecoins calls it `circulating`, under the name of the peg."""
    return round((units or 0) * USD_OF[peg])


def _units(usd: truth.Number | None) -> int | None:
    return None if usd is None else round(usd / USD_OF["peggedUSD"])


def _yen(at: int) -> int:
    """The value in USD of a few coins of another peg, which some days lack."""
    return 149_886 if at // 86400 % 3 else 0


def _priced(at: int) -> bool:
    """Whether the API knows the price of this day; without one, the value of the coins in USD is zero."""
    return at >= PRICED_SINCE or at // 86400 % 3 > 0


def _stablecoin_price(world: World, number: str) -> truth.Number | str | None:
    price = world.live("defillama", number, "STABLECOIN_PRICE")
    return str(price) if truth.price_form(number) == "text" else price


def _chain_row(world: World, name: str) -> dict[str, object]:
    supply = {"peggedUSD": world.live("defillama", name, "CHAIN_STABLECOIN_SUPPLY"), "peggedEUR": 6944195.28}
    return {"gecko_id": None, "totalCirculatingUSD": supply, "tokenSymbol": None, "name": name}


def _known_coins(coins: str) -> list[str]:
    """Coins are 'coingecko:ethereum' or 'chain:0x…'; unknown if either part is."""
    return [coin for coin in coins.split(",") if ":" in coin and not any(map(unknown, coin.split(":")))]


def _price(world: World, coin: str, at: int) -> tuple[truth.Number | None, int]:
    """The price that was observed near a moment, and when; None where there is none, or not yet."""
    known = at <= world.now()
    return world.value("defillama", coin, "PRICE", EPOCH + at // 86400) if known else None, observed(coin, at)


def _coin_head(coin: str) -> dict[str, object]:
    name = coin.split(":")[1]
    head: dict[str, object] = {"symbol": name[:5].upper(), "confidence": 0.99}
    return head if coin.lower().startswith("coingecko:") else head | {"decimals": 18}


def observed(coin: str, at: int) -> int:
    """When the price near a grid point was seen: up to 60 s before or after it."""
    return at + zlib.crc32(f"{coin.lower()} {at}".encode()) % 121 - 60


def recorded(pool: str, midnight: int) -> tuple[int, int]:
    """When a pool's last row of a day was written: between 22 and 24 h, in seconds and milliseconds."""
    at = midnight + 22 * 3600 + (midnight // 86400 * 7919 + zlib.crc32(pool.encode())) % 7200
    return at, midnight // 86400 % 997


def _pool_row(
    pool: str, tvl: truth.Number | None, apy: truth.Number | None, base: truth.Number | None,
    reward: truth.Number | None,
) -> dict[str, object]:  # fmt: skip
    row: dict[str, object] = {"chain": "Ethereum", "project": "aave-v3", "symbol": "WETH", "tvlUsd": tvl}
    return row | {"apyBase": base, "apyReward": reward, "apy": apy, "pool": pool, "predictions": None}


@cache
def _filler_pools() -> str:
    names = [f"{number:08x}-ffff-4fff-8fff-{number:012x}" for number in range(1, FILLER_POOLS + 1)]
    return dumps([_pool_row(name, 10000 + number, 0.5, 0.5, None) for number, name in enumerate(names)])[1:-1]


def _yield_text(at: int, milliseconds: int, tvl: truth.Number | None, *rates: truth.Number | None) -> str:
    apy, base, reward = ("null" if rate is None else rate for rate in rates)
    day, second = iso(EPOCH + at // 86400), at % 86400
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{milliseconds:03d}"
    return (
        f'{{"timestamp":"{day}T{clock}Z","tvlUsd":{tvl},"apy":{apy},"apyBase":{base},'
        f'"apyReward":{reward},"il7d":null,"apyBase7d":null}}'
    )


ROUTES: dict[tuple[str, str], Route] = {
    ("coins", "prices"): prices,
    ("coins", "chart"): coin_chart,
    ("stablecoins", "stablecoins"): stablecoins,
    ("stablecoins", "stablecoinchains"): stablecoin_chains,
    ("stablecoins", "stablecoincharts"): stablecoin_charts,
    ("stablecoins", "stablecoin"): stablecoin,
    ("yields", "pools"): pools,
    ("yields", "chart"): pool_chart,
}
