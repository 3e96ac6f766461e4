"""DefiLlama's metrics as one table, and how each endpoint is asked and read.

Facts about the answers are from the provider's public documentation and server source and from recorded bodies.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

from model.values import DAY, Target, Verb, Window, midnight
from sources.base import UNDATED, Call, Metric, Observation, as_list

Reader = Callable[[Call, Any], Iterator[Observation]]
Params = tuple[tuple[str, str], ...]
SECONDS_A_DAY = 86_400
PARENT = "parent#"  # how the API's own identifiers of parent protocols begin: "parent#uniswap"
NO_CHART = (("excludeTotalDataChart", "true"), ("excludeTotalDataChartBreakdown", "true"))
CHART = (("excludeTotalDataChart", "false"), ("excludeTotalDataChartBreakdown", "true"))
RENAMED_CHAINS = {  # old name in some answers, in small letters: the present one
    "binance": "BSC",
    "optimism": "OP Mainnet",
    "xdai": "Gnosis",
    "rsk": "Rootstock",
    "zksync era": "ZKsync Era",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to ask: a path with its family in front, `{id}` where it serves one asset, `{ids}` where several."""

    path: str
    read: Reader
    params: Params = ()
    extract: str = ""

    @property
    def takes_many(self) -> bool:
        """Whether one path names several assets."""
        return "{ids}" in self.path

    def render(self, identifier: str, window: Window) -> tuple[str, Params]:
        """Path and parameters for one asset."""
        words = {
            "id": quote(identifier.removeprefix(PARENT), safe=":"),
            "midnight": f"{midnight(window.end).timestamp() - SECONDS_A_DAY:.0f}",  # of the pull's own day
        }
        params = tuple((name, value.format(id=identifier)) for name, value in self.params)
        return self.path.format(**words), params


def _read_protocols(call: Call, payload: Any) -> Iterator[Observation]:
    """USD; of a protocol without a token the row may lack `mcap` altogether."""
    return _listed(call, payload, "slug", lambda metric, row: row["tvl"] if metric == "TVL" else row.get("mcap"))


def _read_number(call: Call, payload: Any) -> Iterator[Observation]:
    if type(payload) not in (int, float):  # a bool is an int, too
        raise TypeError(f"{type(payload).__name__} in place of a number")
    for target in call.targets:
        yield Observation(target, UNDATED, payload)


def _read_tvl_history(call: Call, payload: Any) -> Iterator[Observation]:
    """The points of /protocol/{slug}; the last is no day's value where it is not dated midnight.

    Such a 'now' point is gone from the next answer.
    """
    rows = as_list(payload)
    if rows and rows[-1]["date"] % SECONDS_A_DAY:
        rows = rows[:-1]
    for target in call.targets:
        for row in rows:
            yield Observation(target, row["date"], row["totalLiquidityUSD"])


def _read_overview_rows(call: Call, payload: Any) -> Iterator[Observation]:
    """The trailing 24 hours of each protocol; a row that has none lacks the key."""
    return _listed(call, payload["protocols"], "slug", lambda _, row: row.get("total24h"))


def _read_total24h(call: Call, payload: Any) -> Iterator[Observation]:
    """The trailing 24 hours of a chain or parent; one that has none may lack the key, as the rows of a list do."""
    if not {"total24h", "totalDataChart"} & payload.keys():
        raise KeyError("total24h")  # no overview or summary at all
    for target in call.targets:
        yield Observation(target, UNDATED, payload.get("total24h"))


def _read_chart(call: Call, payload: Any) -> Iterator[Observation]:
    chart = payload["totalDataChart"]  # null where a chain or protocol never had any
    for target in call.targets:
        for date, value in [] if chart is None else as_list(chart):
            yield Observation(target, date, value)


def _read_inflows(call: Call, payload: Any) -> Iterator[Observation]:
    """Documented are only `outflows`, by the API's own reckoning; an inflow is stored where it is reported."""
    values = {"OUTFLOW": payload["outflows"], "INFLOW": payload.get("inflows")}
    for target in call.targets:
        yield Observation(target, UNDATED, values[target.metric])


def _read_chains(call: Call, payload: Any) -> Iterator[Observation]:
    return _listed(call, payload, "name", lambda _, row: row["tvl"], same=_chain)


def _read_chain_tvl_history(call: Call, payload: Any) -> Iterator[Observation]:
    for target in call.targets:
        for row in as_list(payload):
            yield Observation(target, row["date"], row["tvl"])


def _read_stablecoin_chains(call: Call, payload: Any) -> Iterator[Observation]:
    """The USD-pegged part: the API gives one number for each peg and no total, and nothing is summed here."""
    return _listed(call, payload, "name", lambda _, row: row["totalCirculatingUSD"].get("peggedUSD"), same=_chain)


def _read_stablecoin_chain_history(call: Call, payload: Any) -> Iterator[Observation]:
    for target in call.targets:
        for row in _without_moving_zero(payload):
            yield Observation(target, row["date"], row["totalCirculatingUSD"].get("peggedUSD"))


def _read_stablecoin_supply(call: Call, payload: Any) -> Iterator[Observation]:
    """The chart of one stablecoin, in units of its own peg, of which each row has one.

    /stablecoins gives all coins at once, but since 2026 in USD under the name of the peg: another quantity.
    """
    for target in call.targets:
        for row in _without_moving_zero(payload):
            (supply,) = [*row["totalCirculating"].values()] or [None]
            yield Observation(target, row["date"], supply)


def _read_stablecoins(call: Call, payload: Any) -> Iterator[Observation]:
    return _listed(call, payload["peggedAssets"], "id", lambda _, row: row["price"])


def _read_prices(call: Call, payload: Any) -> Iterator[Observation]:
    for target in call.targets:
        if coin := payload["coins"].get(target.id):  # unknown coins are left out
            yield Observation(target, coin["timestamp"], coin["price"])


def _read_price_history(call: Call, payload: Any) -> Iterator[Observation]:
    for target in call.targets:
        if coin := payload["coins"].get(target.id):
            for row in as_list(coin["prices"]):
                yield Observation(target, row["timestamp"], row["price"])


def _read_pools(call: Call, payload: Any) -> Iterator[Observation]:
    return _listed(call, payload["data"], "pool", lambda metric, row: row[POOL_FIELD[metric]])


def _read_pool_history(call: Call, payload: Any) -> Iterator[Observation]:
    for target in call.targets:
        for row in as_list(payload["data"]):
            yield Observation(target, row["timestamp"], row[POOL_FIELD[target.metric]])


OWN_TIMES = {  # what is added to a point's time before the date is taken as its day
    "PRICE": DAY / 2,  # observed up to hours before or after the midnight that was asked for
    "APY": timedelta(),  # the last record of a day
    "POOL_TVL": timedelta(),
}
UNITS = {"APY": "%", "STABLECOIN_SUPPLY": "units of its peg"}  # all else is in USD
POOL_FIELD = {"APY": "apy", "POOL_TVL": "tvlUsd"}  # percent; USD


def _listed(
    call: Call, rows: Any, name: str, value: Callable[[str, Any], object], same: Callable[[Any], str] = str
) -> Iterator[Observation]:
    """The wanted rows of an answer that lists many assets; where two go by one name, neither is the right one."""
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
            yield Observation(target, UNDATED, f"{len(known)} rows named {target.id}")  # refused, and so counted


def _without_moving_zero(payload: Any) -> list[Any]:
    """The rows less a last one that is all zero and more than a day after the one before it.

    The chart of a dead chain ends with such a row dated today, which moves on with every day.
    """
    rows = as_list(payload)
    if len(rows) < 2 or int(rows[-1]["date"]) - int(rows[-2]["date"]) <= SECONDS_A_DAY:
        return rows
    amounts = [*rows[-1]["totalCirculating"].values(), *rows[-1]["totalCirculatingUSD"].values()]
    return rows if any(amounts) else rows[:-1]


def _chain(name: str) -> str:
    return RENAMED_CHAINS.get(name.casefold(), name).casefold()


def _overview(path_type: str, data_type: str) -> Endpoint:
    params = (*NO_CHART, ("dataType", data_type)) if data_type else NO_CHART
    return Endpoint(f"api/overview/{path_type}", _read_overview_rows, params)


def _summary(path_type: str, data_type: str, read: Reader = _read_chart) -> Endpoint:
    return Endpoint(f"api/summary/{path_type}/{{id}}", read, (("dataType", data_type),) if data_type else ())


def _chain_overview(path_type: str, data_type: str, params: Params, read: Reader) -> Endpoint:
    return Endpoint(f"api/overview/{path_type}/{{id}}", read, (*params, ("dataType", data_type)))


PRICE_HISTORY = Endpoint("coins/chart/{ids}", _read_price_history)
_STABLECOIN_SUPPLY = Endpoint("stablecoins/stablecoincharts/all", _read_stablecoin_supply, (("stablecoin", "{id}"),))
_INFLOWS = Endpoint("api/inflows/{id}/{midnight}", _read_inflows)
_PROTOCOLS = Endpoint("api/protocols", _read_protocols)
_POOLS, _POOL = Endpoint("yields/pools", _read_pools), Endpoint("yields/chart/{id}", _read_pool_history)


class Row(NamedTuple):
    """One metric: the endpoint of its live value and of its history, None where it has none."""

    kind: str
    metric: str
    live: Endpoint | None
    history: Endpoint | None
    pro: bool = False
    live_of_parent: Endpoint | None = None  # parents stand in no bulk answer


LEVELS = (  # live value and history under one name
    Row("protocol", "TVL", _PROTOCOLS, Endpoint("api/protocol/{id}", _read_tvl_history, extract="tvl"),
        live_of_parent=Endpoint("api/tvl/{id}", _read_number)),
    Row("protocol", "MCAP", _PROTOCOLS, None),
    Row("protocol", "OPEN_INTEREST", _overview("open-interest", ""), _summary("open-interest", ""),
        live_of_parent=_summary("open-interest", "", _read_total24h)),
    Row("protocol", "INFLOW", _INFLOWS, None, pro=True),
    Row("protocol", "OUTFLOW", _INFLOWS, None, pro=True),
    Row("chain", "CHAIN_TVL", Endpoint("api/v2/chains", _read_chains),
        Endpoint("api/v2/historicalChainTvl/{id}", _read_chain_tvl_history)),
    Row("chain", "CHAIN_STABLECOIN_SUPPLY", Endpoint("stablecoins/stablecoinchains", _read_stablecoin_chains),
        Endpoint("stablecoins/stablecoincharts/{id}", _read_stablecoin_chain_history)),
    Row("stablecoin", "STABLECOIN_SUPPLY", _STABLECOIN_SUPPLY, _STABLECOIN_SUPPLY),
    Row("stablecoin", "STABLECOIN_PRICE",
        Endpoint("stablecoins/stablecoins", _read_stablecoins, (("includePrices", "true"),)), None),
    Row("coin", "PRICE", Endpoint("coins/prices/current/{ids}", _read_prices), PRICE_HISTORY),
    Row("pool", "APY", _POOLS, _POOL),
    Row("pool", "POOL_TVL", _POOLS, _POOL),
)  # fmt: skip

FLOWS = (  # history under this name, the live trailing 24 hours under the same with _24H
    # kind, metric, type in the path, dataType, needs Pro
    ("protocol", "FEES", "fees", "dailyFees", False),
    ("protocol", "REVENUE", "fees", "dailyRevenue", False),
    ("protocol", "HOLDERS_REVENUE", "fees", "dailyHoldersRevenue", False),
    ("protocol", "DEX_VOLUME", "dexs", "dailyVolume", False),
    ("protocol", "AGGREGATOR_VOLUME", "aggregators", "dailyVolume", False),  # served, though undocumented
    ("protocol", "OPTIONS_PREMIUM_VOLUME", "options", "dailyPremiumVolume", False),
    ("protocol", "OPTIONS_NOTIONAL_VOLUME", "options", "dailyNotionalVolume", False),
    ("protocol", "PERPS_VOLUME", "derivatives", "dailyVolume", True),
    ("chain", "CHAIN_FEES", "fees", "dailyFees", False),
    ("chain", "CHAIN_REVENUE", "fees", "dailyRevenue", False),
    ("chain", "CHAIN_DEX_VOLUME", "dexs", "dailyVolume", False),
    ("chain", "CHAIN_OPTIONS_PREMIUM_VOLUME", "options", "dailyPremiumVolume", False),
    ("chain", "CHAIN_PERPS_VOLUME", "derivatives", "dailyVolume", True),
)


def _flow_rows() -> Iterator[Row]:
    for kind, metric, path_type, data_type, pro in FLOWS:
        if kind == "protocol":
            history, live = _summary(path_type, data_type), _overview(path_type, data_type)
            of_parent = _summary(path_type, data_type, _read_total24h)
        else:
            history = _chain_overview(path_type, data_type, CHART, _read_chart)
            live, of_parent = _chain_overview(path_type, data_type, NO_CHART, _read_total24h), None
        yield Row(kind, metric, None, history, pro)
        yield Row(kind, f"{metric}_24H", live, None, pro, of_parent)


ROWS: Mapping[str, Row] = {row.metric: row for row in (*LEVELS, *_flow_rows())}
METRICS: Mapping[str, Metric] = {
    row.metric: Metric(
        frozenset({row.kind}),
        frozenset(verb for verb in Verb if (row.live if verb is Verb.PULL else row.history)),
        row.pro,
        whole=row.history is not PRICE_HISTORY,
        own_times=OWN_TIMES.get(row.metric),
        unit=UNITS.get(row.metric, "USD"),
    )
    for row in ROWS.values()
}


def endpoint_of(target: Target, verb: Verb) -> Endpoint:
    """Where a series is asked in a run of this kind; KeyError where the metric has no such value."""
    row = ROWS[target.metric]
    if verb is Verb.PULL and row.live_of_parent and target.id.startswith(PARENT):
        return row.live_of_parent
    way = row.live if verb is Verb.PULL else row.history
    if way is None:
        raise KeyError(f"{target.metric} has nothing for a {verb}")
    return way
