"""DefiLlama's metrics as one table, each with the endpoints of its live value and of its history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import quote

from model.flags import APPLICATION_TVL, CHAIN_STABLECOINS, CHAIN_TVL, COIN_PRICE
from model.values import DAY, Metric, Target, Verb
from sources import defillama_answers as answers
from sources.defillama_answers import Reader

Params = tuple[tuple[str, str], ...]

PARENT = "parent#"  # the prefix of the API's own identifiers of parent protocols: "parent#uniswap"
EVERYTHING = "defi"  # what the one asset of kind total is called here, since the API has no name for it
# An overview has its breakdown by protocol, a summary by chain and version: many times the size of what is read here.
# The one of an overview replaces no summaries, since it lacks zeros and has copies: docs/sources.md.
# The server obeys both flags on both paths (api2/routes/dimensions.ts), though the docs list them for some types only.
NO_CHART = (("excludeTotalDataChart", "true"), ("excludeTotalDataChartBreakdown", "true"))
CHART = (("excludeTotalDataChart", "false"), ("excludeTotalDataChartBreakdown", "true"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path and how to read its answer. A path starts with its family; `{id}` is one asset, or several coins."""

    path: str
    read: Reader
    params: Params = ()
    live_is_dated: bool = False  # whether its live values are rows with dates; else they are of now
    extract: tuple[str, ...] = ()

    def render(self, identifier: str) -> tuple[str, Params]:
        """Path and parameters for one asset, or for several coins with a comma between their identifiers."""
        quoted = quote(identifier.removeprefix(PARENT), safe=":,")
        params = tuple((name, value.format(id=identifier)) for name, value in self.params)
        return self.path.format(id=quoted), params


class Served(NamedTuple):
    """How one metric is served: the endpoints of its live value and of its history, None if there is none."""

    kind: str
    metric: str
    live: Endpoint | None
    history: Endpoint | None
    pro: bool = False
    live_of_parent: Endpoint | None = None  # since no bulk answer has parents
    own_times: bool = False
    shift: timedelta = timedelta()
    unit: str = "USD"
    history_with_key: Endpoint | None = None  # leaner than `history`; whether parents have it is not known


class Flow(NamedTuple):
    """A sum over a day. `metric` names its history; the live sum of the last 24 hours has the same name with _24H."""

    kind: str
    metric: str
    path_type: str  # in the path of its endpoints
    data_type: str  # the parameter dataType
    pro: bool = False


def _pro_chart(of: str, key: str = "") -> Endpoint:
    """The history of one protocol as pairs: less than 100 kB. It needs a key."""
    params = (("key", key),) if key else ()
    return Endpoint(f"api/v2/chart/{of}/protocol/{{id}}", answers.read_pairs, params, live_is_dated=True)


_PROTOCOLS = Endpoint("api/protocols", answers.read_protocols)
_PROTOCOL = Endpoint("api/protocol/{id}", answers.read_protocol, extract=answers.TVL_PATHS)  # up to 70 MB
_TREASURY = _pro_chart("treasury")
_OWN_TOKENS = _pro_chart("treasury", "OwnTokens")
_ETF_FLOWS = Endpoint("etfs/flows", answers.read_etf_flows, live_is_dated=True)
_POOLS = Endpoint("yields/pools", answers.read_pools)
PRICE_NOW = Endpoint("coins/prices/current/{id}", answers.read_prices)
PRICE_HISTORY = Endpoint("coins/chart/{id}", answers.read_prices)
# The chart and the static file have equal values on all days that both have (13,428 compared). The history comes from
# the file: the chart repeats the last record for a stablecoin that has no newer one, and the server's authors want to
# remove its route (peggedassets-server, api2/routes/index.ts and cron-task/storeCharts.ts, August 2026). The live value
# comes from the chart's last row: six large stablecoins have 1.6 MB there, and 49 MB as files, in each pull.
_STABLECOIN_NOW = Endpoint("stablecoins/stablecoincharts/all", answers.read_stablecoin_now, (("stablecoin", "{id}"),))
_STABLECOIN = Endpoint("stablecoins/stablecoin/{id}", answers.read_stablecoin, extract=("tokens",))
_POOL = Endpoint("yields/chart/{id}", answers.read_pool_history)
_TOTAL_TVL = Endpoint("api/v2/historicalChainTvl", answers.read_chain_tvl_history, live_is_dated=True)
_TOTAL_STABLECOINS = Endpoint(
    "stablecoins/stablecoincharts/all", answers.read_stablecoin_chain_history, live_is_dated=True
)

LEVELS = (  # live value and history under one name
    Served("protocol", "TVL", _PROTOCOLS, _PROTOCOL, live_of_parent=Endpoint("api/tvl/{id}", answers.read_number),
        history_with_key=_pro_chart("tvl")),
    Served("protocol", "BORROWED", _PROTOCOLS, _PROTOCOL, history_with_key=_pro_chart("tvl", "borrowed")),
    Served("protocol", "STAKING", _PROTOCOLS, _PROTOCOL, history_with_key=_pro_chart("tvl", "staking")),
    Served("protocol", "TREASURY", _TREASURY, _TREASURY, pro=True),
    Served("protocol", "TREASURY_OWN_TOKENS", _OWN_TOKENS, _OWN_TOKENS, pro=True),
    Served("protocol", "MCAP", _PROTOCOLS, None),
    Served("protocol", "OPEN_INTEREST", Endpoint("api/overview/open-interest", answers.read_overview, NO_CHART),
        Endpoint("api/summary/open-interest/{id}", answers.read_chart, CHART),
        live_of_parent=Endpoint("api/summary/open-interest/{id}", answers.read_total24h, NO_CHART)),
    Served("chain", "CHAIN_TVL", Endpoint("api/v2/chains", answers.read_chains),
        Endpoint("api/v2/historicalChainTvl/{id}", answers.read_chain_tvl_history)),
    Served("chain", "CHAIN_STABLECOIN_SUPPLY", Endpoint("stablecoins/stablecoinchains", answers.read_stablecoin_chains),
        Endpoint("stablecoins/stablecoincharts/{id}", answers.read_stablecoin_chain_history)),
    Served("stablecoin", "STABLECOIN_SUPPLY", _STABLECOIN_NOW, _STABLECOIN, unit="units of its peg"),
    Served("stablecoin", "STABLECOIN_PRICE",
        Endpoint("stablecoins/stablecoins", answers.read_stablecoins, (("includePrices", "true"),)), None),
    Served("coin", "PRICE", PRICE_NOW, PRICE_HISTORY, own_times=True,
        shift=DAY / 2),  # observed up to hours before or after the midnight that was requested
    Served("coin", "ETF_FLOW", _ETF_FLOWS, _ETF_FLOWS, pro=True),
    Served("pool", "APY", _POOLS, _POOL, own_times=True, unit="%"),  # as the next: the time of a day's last record
    Served("pool", "APY_BASE", _POOLS, _POOL, own_times=True, unit="%"),
    Served("pool", "APY_REWARD", _POOLS, _POOL, own_times=True, unit="%"),
    Served("pool", "POOL_TVL", _POOLS, _POOL, own_times=True),
    Served("total", "TOTAL_TVL", _TOTAL_TVL, _TOTAL_TVL),
    Served("total", "TOTAL_STABLECOIN_SUPPLY", _TOTAL_STABLECOINS, _TOTAL_STABLECOINS),
)  # fmt: skip

FLOWS = (  # the data types of fees that the docs lack are in the server source: adaptors/data/types.ts
    Flow("protocol", "FEES", "fees", "dailyFees"),
    Flow("protocol", "REVENUE", "fees", "dailyRevenue"),
    Flow("protocol", "HOLDERS_REVENUE", "fees", "dailyHoldersRevenue"),
    Flow("protocol", "PROTOCOL_REVENUE", "fees", "dailyProtocolRevenue"),
    Flow("protocol", "SUPPLY_SIDE_REVENUE", "fees", "dailySupplySideRevenue"),
    Flow("protocol", "USER_FEES", "fees", "dailyUserFees"),
    Flow("protocol", "DEX_VOLUME", "dexs", "dailyVolume"),
    Flow("protocol", "AGGREGATOR_VOLUME", "aggregators", "dailyVolume"),  # served, though undocumented
    Flow("protocol", "OPTIONS_PREMIUM_VOLUME", "options", "dailyPremiumVolume"),
    Flow("protocol", "OPTIONS_NOTIONAL_VOLUME", "options", "dailyNotionalVolume"),
    Flow("protocol", "PERPS_VOLUME", "derivatives", "dailyVolume", pro=True),
    Flow("chain", "CHAIN_FEES", "fees", "dailyFees"),
    Flow("chain", "CHAIN_REVENUE", "fees", "dailyRevenue"),
    Flow("chain", "CHAIN_APP_FEES", "fees", "dailyAppFees"),  # without those of the chain itself; not of a protocol
    Flow("chain", "CHAIN_APP_REVENUE", "fees", "dailyAppRevenue"),
    Flow("chain", "CHAIN_DEX_VOLUME", "dexs", "dailyVolume"),
    Flow("chain", "CHAIN_OPTIONS_PREMIUM_VOLUME", "options", "dailyPremiumVolume"),
    Flow("chain", "CHAIN_PERPS_VOLUME", "derivatives", "dailyVolume", pro=True),
    Flow("total", "TOTAL_FEES", "fees", "dailyFees"),
    Flow("total", "TOTAL_REVENUE", "fees", "dailyRevenue"),
    Flow("total", "TOTAL_DEX_VOLUME", "dexs", "dailyVolume"),
)


def _served_flows() -> Iterator[Served]:
    for flow in FLOWS:
        data_type = ("dataType", flow.data_type)
        overview, summary = (f"api/{path}/{flow.path_type}" for path in ("overview", "summary"))
        of_one = {"protocol": f"{summary}/{{id}}", "chain": f"{overview}/{{id}}", "total": overview}[flow.kind]
        history = Endpoint(of_one, answers.read_chart, (*CHART, data_type))
        sum_of_one = Endpoint(of_one, answers.read_total24h, (*NO_CHART, data_type))
        of_all = Endpoint(overview, answers.read_overview, (*NO_CHART, data_type))  # protocols, and their total
        live = sum_of_one if flow.kind == "chain" else of_all
        of_parent = sum_of_one if flow.kind == "protocol" else None
        yield Served(flow.kind, flow.metric, None, history, flow.pro)
        yield Served(flow.kind, f"{flow.metric}_24H", live, None, flow.pro, of_parent)


REMOVED: Mapping[str, str] = {  # of an earlier version, and why
    "INFLOW": "the API has no such value",
    "OUTFLOW": "the API has no value for a whole day, only the net change of token amounts up to now, of either sign",
}
# Supplies, which change when coins are minted; prices of stablecoins, some of which are rounded or set to 1; yields,
# since some pools pay a fixed one. POOL_TVL, from the same answers, shows whether the upstream of a pool is dead.
FLAT_BY_NATURE = {
    "STABLECOIN_SUPPLY", "CHAIN_STABLECOIN_SUPPLY", "STABLECOIN_PRICE", "APY", "APY_BASE", "APY_REWARD",
}  # fmt: skip
QUANTITIES = {
    "PRICE": COIN_PRICE,
    "TVL": APPLICATION_TVL,
    "CHAIN_TVL": CHAIN_TVL,
    "CHAIN_STABLECOIN_SUPPLY": CHAIN_STABLECOINS,
}
SERVED: Mapping[str, Served] = {served.metric: served for served in (*LEVELS, *_served_flows())}
METRICS: Mapping[str, Metric] = {
    served.metric: Metric(
        served.kind,
        frozenset(verb for verb in Verb if (served.live if verb is Verb.PULL else served.history)),
        served.pro,
        whole=served.history is not PRICE_HISTORY,
        own_times=served.own_times,
        shift=served.shift,
        live_name="" if served.live else f"{served.metric}_24H",
        unit=served.unit,
        flat_by_nature=served.metric in FLAT_BY_NATURE,
        quantity=QUANTITIES.get(served.metric),
    )
    for served in SERVED.values()
}


def endpoint_of(target: Target, verb: Verb, *, with_key: bool) -> Endpoint:
    """The endpoint for a series in a run of this verb; raises KeyError if the metric has none."""
    served, is_parent = SERVED[target.metric], target.id.startswith(PARENT)
    if verb is Verb.PULL and served.live_of_parent and is_parent:
        return served.live_of_parent
    if verb is not Verb.PULL and served.history_with_key and with_key and not is_parent:
        return served.history_with_key
    endpoint = served.live if verb is Verb.PULL else served.history
    if endpoint is None:
        raise KeyError(f"{target.metric} has no endpoint for a {verb}")
    return endpoint
