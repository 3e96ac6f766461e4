"""Artemis' routes: /data/api/{METRICS}, /asset/symbols, /supported-metrics."""

import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import date

from tests.fake_api import truth
from tests.fake_api.answer import Answer, array, dumps, error, ok, ok_text, plain
from tests.fake_api.world import World, iso, unknown

Query = Mapping[str, str]

DAY = re.compile(r"\d{4}-\d\d-\d\d")
MOST_SYMBOLS, MOST_POINTS = 50, 1000
TEXT_ONE_IN = 20  # days on which all numbers of a symbol are texts
GRANULARITIES = ("DAY", "WEEK", "MONTH", "QUARTER", "YEAR")
NOT_AVAILABLE = "Metric not available for asset."
NO_METRIC = "Metric not found."
NO_LATEST = "Latest data not available for this asset."
COMMON_METRICS = (
    "PRICE",
    "MC",
    "FDMC",
    "24H_VOLUME",
    "FEES",
    "REVENUE",
    "DAU",
    "TXNS",
    "TVL",
    "STABLECOIN_MC",
)


def answer(world: World, path: Sequence[str], query: Query, bad_symbols: frozenset[str], most_series: int) -> Answer:
    """Answer a path below /artemis; whose key it is has been looked at before."""
    match list(path):
        case ["data", "api", metrics]:
            names = metrics.split(",")
            if len(_symbols(query)) * len(names) > most_series:
                return plain(500, "Internal Server Error")
            return data(world, names, query, bad_symbols)
        case ["asset", "symbols"]:
            return ok({"assets": [_asset(symbol) for symbol in world.universe.ids("symbol")]})
        case ["supported-metrics"]:
            return ok({"metrics": _supported(world, query.get("symbol", ""))})
    return plain(404, "Not Found")


def data(world: World, metrics: Sequence[str], query: Query, bad_symbols: frozenset[str]) -> Answer:
    """Lists of {date, val} for a closed range of dates, or the latest numbers without dates."""
    symbols = _symbols(query)
    if len(symbols) > MOST_SYMBOLS or bad_symbols.intersection(symbols):
        return plain(500, "Internal Server Error")
    granularity = query.get("granularity", "DAY").upper()
    if granularity not in GRANULARITIES:
        return error(400, {"error": f"Invalid granularity: {granularity}"})
    if granularity != "QUARTER" and any(metric.upper() in truth.FUNDAMENTALS for metric in metrics):
        return error(400, {"error": "Granularity must be QUARTER for fundamental metrics"})
    try:
        window = _window(world, query)
        limit = int(query.get("limit", MOST_POINTS))
        if not 1 <= limit <= MOST_POINTS:
            raise ValueError("limit")
    except ValueError as refused:
        return error(400, {"error": f"Invalid parameter: {refused}"})
    if all(unknown(metric) for metric in metrics):
        return ok({"data": {"symbols": {}}})
    found = []
    for symbol in symbols:
        if not unknown(symbol):
            texts = [(metric, _series(world, symbol, metric, window, granularity, limit)) for metric in metrics]
            kept = [f"{dumps(name)}:{text}" for name, text in texts if not _left_out(symbol, name, text)]
            found.append(f"{dumps(symbol)}:{{{','.join(kept)}}}")
    return ok_text(f'{{"data":{{"symbols":{{{",".join(found)}}}}}}}')


def _symbols(query: Query) -> list[str]:
    return [symbol.strip().lower() for symbol in query.get("symbols", "").split(",") if symbol.strip()]


def _window(world: World, query: Query) -> tuple[int, int] | None:
    """The closed range of days asked for; None for the latest numbers."""
    if not query.get("startDate") and not query.get("endDate"):
        return None
    start = query.get("startDate") or "2013-04-28"
    end = query.get("endDate") or date.fromordinal(world.today()).isoformat()
    if not (DAY.fullmatch(start) and DAY.fullmatch(end)):
        raise ValueError("dates are YYYY-MM-DD")
    return date.fromisoformat(start).toordinal(), date.fromisoformat(end).toordinal()


def _series(
    world: World, symbol: str, metric: str, window: tuple[int, int] | None, granularity: str, limit: int
) -> str:
    """JSON: a list of points, a number, or a text that says why there is neither."""
    name = metric.upper()
    if unknown(name):
        return dumps(NO_METRIC)
    if not truth.artemis_has(symbol, name):
        return dumps(NOT_AVAILABLE if window else NO_LATEST)
    if window is None:
        return dumps(world.live("artemis", symbol, name))
    one, today = truth.series("artemis", symbol, name), world.today()
    rows = truth.rows(one, window[0], min(window[1] + 1, today), world.restated, today)
    if window[0] <= today <= window[1] and truth.listed(one, today):
        rows.append((today, world.live("artemis", symbol, name)))
    if granularity != "DAY" and name not in truth.FUNDAMENTALS:
        rows = [row for row in rows if _opens(date.fromordinal(row[0]), granularity)]
    points = [f'{{"date":"{iso(day)}","val":{_val(symbol, day, amount)}}}' for day, amount in rows[:limit]]
    return array(points)


def _val(symbol: str, day: int, amount: truth.Number | None) -> str:
    """JSON: a number, null, or a number as a text."""
    if amount is None:
        return "null"
    return f'"{amount}"' if (day + zlib.crc32(symbol.encode())) % TEXT_ONE_IN == 0 else str(amount)


def _opens(day: date, granularity: str) -> bool:
    """Whether a day opens its week, month, quarter or year."""
    if granularity == "WEEK":
        return day.weekday() == 0
    months = {"MONTH": range(1, 13), "QUARTER": (1, 4, 7, 10), "YEAR": (1,)}[granularity]
    return day.day == 1 and day.month in months


def _left_out(symbol: str, metric: str, text: str) -> bool:
    """A metric without rows is an empty list for one series and no key at all for another."""
    return text == "[]" and zlib.crc32(f"{symbol} {metric}".encode()) % 2 == 0


def _asset(symbol: str) -> dict[str, object]:
    row: dict[str, object] = {"artemis_id": f"id-{symbol}", "symbol": symbol, "title": symbol.upper()}
    return row if symbol.startswith("eq-") else row | {"coingecko_id": f"gecko-{symbol}", "color": None}


def _supported(world: World, symbol: str) -> list[dict[str, object]]:
    names = dict.fromkeys((*COMMON_METRICS, *sorted(truth.FUNDAMENTALS), *world.universe.metrics("symbol", symbol)))
    known = [name for name in names if not unknown(symbol) and truth.artemis_has(symbol, name)]
    return [
        {name: {"label": name.title(), "unit": None, "source": "Artemis", "aggregation_type": None}} for name in known
    ]
