"""What both fake APIs know: every value is a pure function of (source, asset, metric, day).

A series is named by its source ('defillama', 'artemis'), the API's own identifier (slug, chain name,
stablecoin id, coin id, pool uuid, symbol; case and 'parent#' do not matter) and our metric name. Nothing here
knows HTTP, so a test may compare a whole table with this module.

`value` is what a *closed* day's point says. While a day is open the APIs say `live` of it instead: half the
value of a flow, a level 1 % higher, and the value itself where a metric exists only live.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache

FUNDAMENTALS = frozenset(
    {"TOTAL_REVENUE", "NET_INCOME", "EBITDA", "OPERATING_INCOME", "FREE_CASH_FLOW", "BASIC_EPS", "DILUTED_EPS"}
)
APYS = frozenset({"APY", "APY_BASE", "APY_REWARD"})
LIVE_ONLY = frozenset({"MCAP", "STABLECOIN_PRICE"})  # and every name that ends in _24H
STABLECOIN_SUPPLIES = frozenset({"STABLECOIN_SUPPLY", "CHAIN_STABLECOIN_SUPPLY", "TOTAL_STABLECOIN_SUPPLY"})

MISSING_ONE_IN, ZERO_ONE_IN, NULL_ONE_IN = 100, 50, 200
UNRELEASED_DAYS, UNRELEASED_ONE_IN = 300, 15  # first days of a supply, on some of which nothing circulates
FIRST_DAYS = (date(2019, 1, 1).toordinal(), date(2022, 1, 1).toordinal())
ALIVE = date.max.toordinal()
DEAD_PROTOCOL, DEAD_CHAIN = date(2023, 1, 1).toordinal(), date(2023, 6, 14).toordinal()
EVERY_DAY, WEEKDAYS, FISCAL_QUARTERS = "every day", "weekdays", "fiscal quarters"

_FLOW_WORDS = (
    *("FEES", "REVENUE", "VOLUME", "FLOW", "TXNS", "DAU", "USERS"),
    *("BURNS", "MINTS", "EMISSIONS", "LIQUIDATION"),
)
_RATIO_WORDS = ("RATIO", "DIVIDE", "AVG_", "MEDIAN_", "_EPS", "MARGIN")
_COUNT_WORDS = ("TXNS", "DAU", "USERS", "FOLLOWERS", "CONTRACTS")
_EQUITY_WORDS = ("DIVIDE", "EQ_", "LATEST_", "EARNINGS_YIELD", "FCF_YIELD")
_FISCAL = (((3, 6, 9, 12), None), ((1, 4, 7, 10), 6), ((3, 6, 9, 12), 5))  # months, weekday of the last week

_KNOWN = {  # so that what a newcomer sees looks like the real thing
    "PRICE": {
        **dict.fromkeys(("btc", "coingecko:bitcoin"), 100_000.0),
        **dict.fromkeys(("eth", "coingecko:ethereum"), 3_500.0),
        **dict.fromkeys(("sol", "coingecko:solana"), 180.0),
        **dict.fromkeys(("bnb", "coingecko:binancecoin"), 850.0),
        **dict.fromkeys(("xrp", "coingecko:ripple"), 2.2),
        **dict.fromkeys(("ada", "coingecko:cardano"), 0.6),
        **dict.fromkeys(("avax", "coingecko:avalanche-2"), 22.0),
        **dict.fromkeys(("link", "coingecko:chainlink"), 15.0),
        **dict.fromkeys(("uni", "coingecko:uniswap"), 7.0),
        "eq-aapl": 260.0, "eq-nvda": 180.0, "eq-coin": 320.0,
    },
    "CHAIN_TVL": {
        **dict.fromkeys(("eth", "ethereum"), 75e9),
        **dict.fromkeys(("sol", "solana"), 9e9),
        **dict.fromkeys(("bnb", "bsc"), 8e9),
        **dict.fromkeys(("trx", "tron"), 5e9),
        **dict.fromkeys(("arb", "arbitrum"), 3e9),
        **dict.fromkeys(("avax", "avalanche"), 1.5e9),
        "bitcoin": 7e9, "base": 4.5e9, "polygon": 1.2e9, "sui": 6e8, "op mainnet": 4e8,
    },
    "TVL": {"aave": 35e9, "lido": 30e9, "uniswap": 5e9, "curve-dex": 2.3e9, "pendle": 5e9},
    "STABLECOIN_SUPPLY": {"1": 180e9, "2": 75e9, "5": 5e9},  # usdt, usdc, dai
}  # fmt: skip
_CALM, _LIVELY = 0.02, 0.2  # the noise of a level and of a flow, as a share of its swing

Number = int | float


@dataclass(frozen=True, slots=True)
class Series:
    """The constants of one series; days are ordinals (`date.toordinal`)."""

    seed: int
    gap_seed: int
    base: float
    swing: float
    digits: int | None
    first: int
    last: int
    flow: bool
    live_only: bool
    null_one_in: int
    nulls_end: int
    days: str
    fiscal: int


@cache
def series(source: str, asset: str, metric: str) -> Series:
    """The series of this name; every (asset, metric) has one."""
    asset, metric = asset.removeprefix("parent#").lower(), metric.upper()
    seed = _hash(source, asset, metric)
    gap_seed = _hash(source, asset, "POOL_TVL") if metric in APYS else seed  # one row holds all
    base, swing, digits = _size(source, asset, metric, seed)
    null_one_in = NULL_ONE_IN if source == "artemis" or metric in APYS else 0
    if metric == "STABLECOIN_PRICE":
        form = price_form(asset)
        null_one_in = 1 if form == "null" else 0
        swing, digits = (0.0, None) if form == "int" else (swing, digits)
    first = FIRST_DAYS[0] + gap_seed % (FIRST_DAYS[1] - FIRST_DAYS[0] + 1)
    unreleased = source == "defillama" and metric in STABLECOIN_SUPPLIES
    equity = source == "artemis" and asset.startswith("eq-")
    return Series(
        seed=seed,
        gap_seed=gap_seed,
        base=base,
        swing=swing,
        digits=digits,
        first=first,
        last=_last(source, asset, metric),
        flow=is_flow(metric),
        live_only=metric in LIVE_ONLY or metric.endswith("_24H"),
        null_one_in=UNRELEASED_ONE_IN if unreleased else null_one_in,
        nulls_end=first + UNRELEASED_DAYS if unreleased else ALIVE,
        days=_days(source, metric, equity=equity),
        fiscal=_hash(asset) % len(_FISCAL),
    )


def _days(source: str, metric: str, *, equity: bool) -> str:
    if source == "artemis" and metric in FUNDAMENTALS:
        return FISCAL_QUARTERS
    return WEEKDAYS if (equity and metric == "PRICE") or metric == "ETF_FLOW" else EVERY_DAY


def value(
    source: str, asset: str, metric: str, day: date, *, restated: int = 0, today: date | None = None
) -> float | None:
    """The value of a closed day; None where the API has no number for it.

    `restated` n > 0 changes about 1 % of the days, and every day from three days before `today` (default: the
    real UTC date) on.
    """
    one = series(source, asset, metric)
    number = day.toordinal()
    if not listed(one, number):
        return None
    amount = _amount(one, number, restated, _ordinal(today))
    return None if amount is None else float(amount)


def live(
    source: str, asset: str, metric: str, day: date, *, restated: int = 0, today: date | None = None
) -> float | None:
    """What the APIs say of `day` while it is open: 0.0 for a dead asset, None only where the API says null.

    A live answer never lacks a day; in a dated list an absent day is absent while it is open, too.
    """
    one = series(source, asset, metric)
    amount = live_amount(one, day.toordinal(), restated, _ordinal(today))
    return None if amount is None else float(amount)


def history(
    source: str,
    asset: str,
    metric: str,
    start: date,
    end: date,
    *,
    restated: int = 0,
    today: date | None = None,
) -> Iterator[tuple[date, float]]:
    """The closed days in [start, end) that have a number, oldest first."""
    days = (start.toordinal(), end.toordinal())
    for number, amount in rows(series(source, asset, metric), *days, restated, _ordinal(today)):
        if amount is not None:
            yield date.fromordinal(number), float(amount)


def first_day(source: str, asset: str, metric: str) -> date:
    """The first day of the series, between 2019-01-01 and 2022-01-01."""
    return date.fromordinal(series(source, asset, metric).first)


def last_day(source: str, asset: str, metric: str) -> date | None:
    """The last day of a dead asset's series (protocols `dead-…`, chains `Dead…`), else None."""
    last = series(source, asset, metric).last
    return None if last == ALIVE else date.fromordinal(last)


def artemis_has(symbol: str, metric: str) -> bool:
    """Whether Artemis has this metric for this symbol; otherwise it says so in place of the list."""
    symbol, metric = symbol.lower(), metric.upper()
    equity, equity_only = symbol.startswith("eq-"), metric in FUNDAMENTALS or metric.startswith(_EQUITY_WORDS)
    if metric == "PRICE":
        return True
    if equity_only or "_DIVIDE_" in metric:
        return equity and _hash("has", symbol, metric) % 25 != 0
    return (not equity or metric in {"MC", "24H_VOLUME"}) and _hash("has", symbol, metric) % 25 != 0


def lacks_total24h(slug: str, metric: str) -> bool:
    """Whether this protocol's row of the bulk overview has no total24h at all (about 1 in 40)."""
    return _hash("total24h", slug.lower(), metric.upper().removesuffix("_24H")) % 40 == 0


def price_form(stablecoin: str) -> str:
    """How /stablecoins writes this coin's price: 'float', 'int', 'text' or 'null'."""
    return ("null", "null", "text", "int", "float", "float", "float", "float")[_hash("form", stablecoin) % 8]


def is_flow(metric: str) -> bool:
    """Whether the metric sums something over its day (so that an open day is partial and zero is usual)."""
    if metric in FUNDAMENTALS or any(word in metric for word in _RATIO_WORDS):
        return False
    return any(word in metric for word in _FLOW_WORDS)


def rows(one: Series, start: int, end: int, restated: int, today: int) -> list[tuple[int, Number | None]]:
    """(day, amount or null) of the closed days in [start, end) that a dated list holds."""
    days = range(max(start, one.first), min(end, one.last + 1))
    return [(number, _amount(one, number, restated, today)) for number in days if listed(one, number)]


def listed(one: Series, number: int) -> bool:
    """Whether a dated list has a row (a number or a null) for this day."""
    if not one.first <= number <= one.last:
        return False
    if one.days == FISCAL_QUARTERS:
        return _fiscal_quarter_end(one.fiscal, date.fromordinal(number))
    if one.days == WEEKDAYS and number % 7 in (6, 0):  # ordinal 1 was a Monday
        return False
    return one.live_only or number == one.first or _mix(number, one.gap_seed) % MISSING_ONE_IN != 7


def live_amount(one: Series, number: int, restated: int, today: int) -> Number | None:
    """`live` without names: the open day's amount."""
    if number > one.last:
        return 0
    amount = _amount(one, number, restated, today)
    if amount is None or one.live_only or one.days == FISCAL_QUARTERS:
        return amount
    return round(amount * 0.5, one.digits) if one.flow else round(amount * 1.01, one.digits or 2)


def _amount(one: Series, number: int, restated: int, today: int) -> Number | None:
    """Base times a slow wave of four years times noise; whole numbers are ints."""
    mixed = _mix(number, one.seed)
    if one.null_one_in and number < one.nulls_end and mixed // 5000 % one.null_one_in == 0:
        return None
    if one.flow and mixed // 100 % ZERO_ONE_IN == 3:
        amount = 0.0
    else:
        wave = abs((number + one.seed) % 1460 - 730) / 730 - 0.5
        noise = (_LIVELY if one.flow else _CALM) * one.swing * ((mixed & 0xFFFF) / 0xFFFF - 0.5)
        amount = one.base * (1 + one.swing * wave) * (1 + noise)
    if restated and (number >= today - 3 or _mix(number, one.seed + restated) % 100 == 0):
        amount += one.base * 0.002 * restated * (0.5 + (_mix(number, one.seed + restated) & 0xFFFF) / 0xFFFF)
    return round(amount, one.digits)


def _size(source: str, asset: str, metric: str, seed: int) -> tuple[float, float, int | None]:
    """(base, swing, decimals) of a series; decimals None means whole numbers."""
    known = _KNOWN.get(metric, {}).get(asset)
    swing = 0.3 if known else 0.8
    if metric == "STABLECOIN_PRICE":
        return 1.0, 0.02, 6
    if any(word in metric for word in _COUNT_WORDS):
        return _between(2, 6, seed), 0.8, None
    if metric == "PRICE":
        low, high = -1.5, 2.5
    elif metric in APYS or "YIELD" in metric or any(word in metric for word in _RATIO_WORDS):
        low, high = -0.5, 1.5
    else:
        low, high = (3.0, 8.0) if is_flow(metric) else (5.0, 10.0)
        if source == "defillama":
            return known or _between(low, high, seed), swing, None
    base = known or _between(low, high, seed)
    return base, swing, max(2, 5 - math.floor(math.log10(base)))


def _between(low: float, high: float, seed: int) -> float:
    return float(10 ** (low + (high - low) * (seed % 9973) / 9973))


def _last(source: str, asset: str, metric: str) -> int:
    if source == "defillama" and metric == "CHAIN_STABLECOIN_SUPPLY" and asset.startswith("dead"):
        return DEAD_CHAIN
    return DEAD_PROTOCOL if source == "defillama" and asset.startswith("dead-") else ALIVE


def _fiscal_quarter_end(fiscal: int, day: date) -> bool:
    months, weekday = _FISCAL[fiscal]
    if day.month not in months:
        return False
    if weekday is None:
        return (day + timedelta(days=1)).month != day.month
    return day.weekday() == weekday and (day + timedelta(days=7)).month != day.month


def _ordinal(today: date | None) -> int:
    return (today or datetime.now(UTC).date()).toordinal()


def _hash(*words: str) -> int:
    return zlib.crc32("|".join(words).encode())


def _mix(number: int, seed: int) -> int:
    """32 well-stirred bits of a day and a seed (the finish of MurmurHash3)."""
    mixed = (number * 0x9E3779B1 + seed) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * 0x85EBCA6B & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return mixed ^ mixed >> 16
