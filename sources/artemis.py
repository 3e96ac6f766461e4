"""Artemis: which calls to make, and how to read their answers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from model.flags import APPLICATION_TVL, CHAIN_STABLECOINS, CHAIN_TVL, COIN_PRICE
from model.schedule import Schedule, daily
from model.values import DAY, Deprecation, Metric, Rhythm, Target, Verb, Window, midnight
from sources.base import NO_DAYS, BaseSource, Call, ListedAsset, Observation, Request, as_list, halves

HOST = "https://data-svc.artemisxyz.com"
SYMBOLS_A_CALL = 50  # 250 are documented, but calls for on-chain metrics fail with HTTP 500 above 50 to 75
POINTS_A_SERIES = 1_000  # the most that the API returns
MOST_REQUESTED = 1.3  # times the series that targets name: a call requests every metric for every symbol
QUARTER = 90 * DAY
QUARTERS_PULLED = 5  # a quarter is reported weeks after its end and restated later, so seven days would miss it
EQUITY = "eq-"  # prefix of the symbols of equities
NO_DATA = ("not available", "not found")  # every known text in place of data contains one of these

# The names are those of the catalogue, without LATEST_… and 30D_VOLUME, of which the API has only a latest value.
DAILY = """
    24H_VOLUME 24H_VOLUME_FDMC_RATIO 24H_VOLUME_MC_RATIO ACTIVE_CONTRACTS ACTIVE_REVENUE AGGREGATED_FDMC
    AGGREGATOR_FEES AGGREGATOR_TXNS AGGREGATOR_VOLUME APPLICATION_FEES APY_30DAY APY_7DAY ARTEMIS_STABLECOIN_DAU
    ARTEMIS_STABLECOIN_TRANSFER_VOLUME AUM AVERAGE_TRANSACTION_VALUE AVG_COST_PER_MIB AVG_MIB_PER_SECOND
    AVG_STABLECOIN_FEES AVG_STABLECOIN_FEES_NATIVE AVG_TXN_FEE AVG_TXN_SIZE BLOB_FEES BLOB_FEES_NATIVE
    BLOB_SIZE_MIB BRIDGE_DAU BRIDGE_FEES BRIDGE_TXNS BRIDGE_VOLUME BURNED_FEE_ALLOCATION BURNS BURNS_NATIVE
    BUYBACKS BUYBACKS_NATIVE CAPITAL_EFFICIENCY CHAIN_AVG_TXN_FEE CHAIN_DAU CHAIN_FEES CHAIN_LENDING_DEPOSITS
    CHAIN_LENDING_LOANS CHAIN_MAU CHAIN_MEDIAN_TXN_FEE CHAIN_NFT_TRADING_VOLUME CHAIN_SPOT_VOLUME CHAIN_TVL
    CHAIN_TXNS CHAIN_WAU CIRCULATING_SUPPLY_NATIVE COINS_MINTED CUMULATIVE_ETF_FLOW CUMULATIVE_ETF_FLOW_NATIVE DAU
    DAU_BAM DAU_OVER_100_BALANCE DA_DAU DA_TXNS DEDUPED_STABLECOIN_TRANSFER_VOLUME DEX_VOLUMES EARNINGS
    EQ_CASH_AND_CASH_EQUIVALENTS EQ_EV EQ_OUTSTANDING_SHARES EQ_TOTAL_DEBT ETHEREUM_FDMC_RATIO FDMC FDMC_DAU_RATIO
    FDMC_FEES_RATIO FDMC_REVENUE_RATIO FDMC_STABLECOIN_SUPPLY_RATIO FDMC_TVL_RATIO FDV FEES FEES_NATIVE
    FOUNDATION_FEE_ALLOCATION GRADUATION_PERCENTAGE GROSS_EMISSIONS GROSS_EMISSIONS_NATIVE HIGH_SLEEP_USERS INFLOW
    L1_FEE_ALLOCATION LAUNCHPAD_DAU LAUNCHPAD_FEES LAUNCHPAD_REVENUE LAUNCHPAD_TXNS LAUNCHPAD_VOLUMES
    LENDING_BORROWS LENDING_DAU LENDING_DEPOSITS LENDING_FEES LENDING_INTEREST_FEES LENDING_LIQUIDATIONS
    LENDING_LIQUIDATION_BONUS LENDING_LOANS LENDING_LOAN_CAPACITY LENDING_SUPPLY LENDING_TXNS LOCKED_SUPPLY_NATIVE
    LOW_SLEEP_USERS LP_FEE_ALLOCATION LRT_TVL LST_TVL LST_TVL_NET_CHANGE MAU MAU_BAM MC MC_FEES_RATIO
    MC_REVENUE_RATIO MEAN_DEPOSIT MEAN_WITHDRAWAL MEDIAN_DEPOSIT MEDIAN_STABLECOIN_FEES
    MEDIAN_STABLECOIN_FEES_NATIVE MEDIAN_WITHDRAWAL MINTS_NATIVE NAV NET_DEPOSITS NET_ETF_FLOW NET_ETF_FLOW_NATIVE
    NET_SHARES_TOKENIZED NET_SUPPLY_CHANGE_NATIVE NET_TOKENIZATION NET_TREASURY NEW_TWITTER_FOLLOWERS NEW_USERS
    NFT_DAU NFT_FEES NFT_TXNS NON_P2P_STABLECOIN_TRANSFER_VOLUME NON_SYBIL_USERS NOTIONAL_VALUE OI_BY_VOLUME_RATIO
    OPEN_INTEREST OPEN_INTEREST_WITHOUT_SPORTS ORACLE_DAU ORACLE_TXNS OTHER_FEE_ALLOCATION OUTFLOW
    OUTSTANDING_SUPPLY_NATIVE OWN_TOKEN_TREASURY OWN_TOKEN_TREASURY_NATIVE P2P_NATIVE_TRANSFER_VOLUME
    P2P_STABLECOIN_DAU P2P_STABLECOIN_TRANSFER_VOLUME P2P_TOKEN_TRANSFER_VOLUME P2P_TRANSFER_VOLUME
    PASSIVE_REVENUE PERP_DAU PERP_FEES PERP_LIQUIDATION PERP_TXNS PERP_VOLUME PREMINE_UNLOCKS_NATIVE PRICE
    PRIORITY_FEES RETURNING_USERS REVENUE SETTLEMENT_VOLUME SPOT_DAU SPOT_FEES SPOT_TXNS SPOT_VOLUME
    SPOT_VOLUME_WITHOUT_SPORTS STABLECOIN_DAILY_TXNS STABLECOIN_DAU STABLECOIN_FEES STABLECOIN_FEES_NATIVE
    STABLECOIN_GROWTH STABLECOIN_MC STABLECOIN_SUPPLY STABLECOIN_TOTAL_SUPPLY STABLECOIN_TRANSFER_VOLUME
    STAKING_FEE_ALLOCATION SYBIL_USERS TOKENHOLDER_FEE_ALLOCATION TOKENIZED_MARKET_CAP
    TOKENIZED_MARKET_CAP_NET_CHANGE TOKENIZED_SHARES_TRADING_VOLUME TOKENS_GRADUATED TOKEN_HOLDER_COUNT
    TOKEN_INCENTIVES TOTAL_ECONOMIC_ACTIVITY TOTAL_STAKED TOTAL_STAKED_NATIVE TOTAL_SUPPLY_NATIVE TRANSFER_VOLUME
    TREASURY TREASURY_FDMC_RATIO TREASURY_MC_RATIO TVL TVL_NATIVE TVL_NET_CHANGE TWITTER_FOLLOWERS TXNS
    UTILIZATION_RATIO VALIDATOR_FEE_ALLOCATION VALIDATOR_FEE_ALLOCATION_NATIVE VOLUME WAU
    WEEKLY_CONTRACTS_DEPLOYED YIELD YIELD_FEES YIELD_GENERATED
"""
EQUITY_VALUATION = """
    ENTERPRISE_VALUE_DIVIDE_TOTAL_REVENUE ENTERPRISE_VALUE_DIVIDE_NET_INCOME ENTERPRISE_VALUE_DIVIDE_EBITDA
    ENTERPRISE_VALUE_DIVIDE_FREE_CASH_FLOW MARKET_CAP_DIVIDE_FREE_CASH_FLOW EARNINGS_YIELD FCF_YIELD
"""  # daily, for symbols that begin with eq-
FUNDAMENTALS = """
    TOTAL_REVENUE NET_INCOME EBITDA OPERATING_INCOME FREE_CASH_FLOW BASIC_EPS DILUTED_EPS
"""  # for equities, dated at the end of a fiscal quarter; the API rejects a finer granularity

# A metric has a unit here only if the documentation names it: fundamentals may be in another currency.
IN_USD = (
    "PRICE", "MC", "FDMC", "FEES", "REVENUE", "TVL", "24H_VOLUME", "DEX_VOLUMES", "CHAIN_SPOT_VOLUME", "CHAIN_TVL",
    "STABLECOIN_MC", "LENDING_DEPOSITS", "LENDING_LOANS",
)  # fmt: skip
UNITS = dict.fromkeys(IN_USD, "USD") | {"EARNINGS_YIELD": "%"}

# Since when a metric is deprecated, and what replaces it, by the API's own list (data-reference/metric-migration).
DEPRECATED = {
    "DEX_VOLUMES": Deprecation("August 2025", "CHAIN_SPOT_VOLUME"),
    "ARTEMIS_STABLECOIN_DAU": Deprecation("July 2026"),
    "ARTEMIS_STABLECOIN_TRANSFER_VOLUME": Deprecation("July 2026"),
    "P2P_STABLECOIN_DAU": Deprecation("July 2026"),
    "P2P_STABLECOIN_TRANSFER_VOLUME": Deprecation("July 2026"),
}
REDEFINED = {"STABLECOIN_TRANSFER_VOLUME": "the gross volume since July 2026, and another quantity before"}

# Supplies, and what is minted, burned or held in units of a token; figures of balance sheets; fixed yields; the value
# of a share in a fund that pays out what it earns; a count of the last week.
FLAT_BY_NATURE = """
    APY_30DAY APY_7DAY BURNS_NATIVE BUYBACKS_NATIVE CIRCULATING_SUPPLY_NATIVE COINS_MINTED EQ_CASH_AND_CASH_EQUIVALENTS
    EQ_OUTSTANDING_SHARES EQ_TOTAL_DEBT GROSS_EMISSIONS_NATIVE LOCKED_SUPPLY_NATIVE MINTS_NATIVE NAV
    NET_SHARES_TOKENIZED NET_SUPPLY_CHANGE_NATIVE OUTSTANDING_SUPPLY_NATIVE OWN_TOKEN_TREASURY_NATIVE
    PREMINE_UNLOCKS_NATIVE STABLECOIN_SUPPLY STABLECOIN_TOTAL_SUPPLY TOTAL_STAKED_NATIVE TOTAL_SUPPLY_NATIVE
    WEEKLY_CONTRACTS_DEPLOYED YIELD
"""
QUANTITIES = {
    "PRICE": COIN_PRICE,
    "TVL": APPLICATION_TVL,
    "CHAIN_TVL": CHAIN_TVL,
    "STABLECOIN_SUPPLY": CHAIN_STABLECOINS,
}

QUARTERLY = frozenset(FUNDAMENTALS.split())
METRICS = {
    name: Metric(
        "",
        frozenset(Verb),
        unit=UNITS.get(name, ""),
        deprecated=DEPRECATED.get(name),
        definition_changed=REDEFINED.get(name, ""),
        flat_by_nature=name in {*FLAT_BY_NATURE.split(), *QUARTERLY},
        quantity=QUANTITIES.get(name),
    )
    for name in sorted({*DAILY.split(), *EQUITY_VALUATION.split(), *QUARTERLY})
}


class Artemis(BaseSource):
    """Crypto and equity metrics by day; fundamentals of equities by fiscal quarter."""

    name = "artemis"
    REQUEST_DELAY = 0.12  # about 8 a second; no limit is published, users report 2 to 8
    MAX_IN_FLIGHT = 8
    SERIES_A_CALL = 100  # users report HTTP 500 for larger calls; 4 MB of JSON with 1,000 days
    KEY_VARIABLE = "ARTEMIS_API_KEY"
    KEY_REQUIRED = True
    BASE_URL_VARIABLE = "ARTEMIS_BASE_URL"
    CONFIG = "artemis_config.csv"
    UNLISTED_KINDS = ("",)
    METRICS: ClassVar[Mapping[str, Metric]] = METRICS
    SCHEDULES: ClassVar[Mapping[Verb, Schedule]] = {
        Verb.PULL: daily(0, 5),
        Verb.SETTLE: daily(5, 35, whole_every=7 * DAY),
        Verb.BACKFILL: daily(5, 35),
    }

    @classmethod
    def history_start(cls, today: datetime) -> datetime:
        """Five years ago: two windows of 1,000 days."""
        return midnight(today) - 5 * 365 * DAY

    @classmethod
    def rhythm(cls, target: Target) -> Rhythm:
        """Equities trade on weekdays, and report once a fiscal quarter."""
        if target.metric in QUARTERLY:
            return Rhythm.QUARTERLY
        return Rhythm.WEEKDAYS if target.id.lower().startswith(EQUITY) else Rhythm.DAILY

    def calls(self, verb: Verb, targets: Sequence[Target], window: Window) -> Iterator[Call]:
        """Metrics and symbols packed into as few calls as the limits allow."""
        quarterly = [target for target in targets if target.metric in QUARTERLY]
        daily = [target for target in targets if target.metric not in QUARTERLY]
        for piece in window.split(POINTS_A_SERIES * DAY):
            for together in _pack(daily, self.series_a_call):
                yield _call(together, piece)
        if verb is not Verb.BACKFILL:
            window = Window(min(window.start, window.end - QUARTERS_PULLED * QUARTER), window.end)
        for together in _pack(quarterly, self.series_a_call):
            yield _call(together, window)

    def request(self, call: Call) -> Request:
        """The key goes into the header; in calls for data also into a parameter, as the official SDK does."""
        params = dict(call.params) | ({"APIKey": self.key} if call.targets else {})
        return Request(f"{self.base_url or HOST}/{call.path}", params, {"X-API-Key": self.key})

    def read(self, call: Call, payload: Any) -> Iterator[Observation]:
        """A list of points for each target; instead of one list, or of all of them, a text may say "no data"."""
        symbols = payload["data"]["symbols"]
        if _says_no_data(symbols):
            return
        symbols = {symbol.lower(): metrics for symbol, metrics in symbols.items()}
        for target in call.targets:
            metrics = symbols.get(target.id.lower())
            if metrics is None or _says_no_data(metrics):
                continue
            series = {name.upper(): series for name, series in metrics.items()}.get(target.metric)
            if series is None or _says_no_data(series):
                continue
            for point in as_list(series):
                yield Observation(target, point["date"], point["val"])

    def listing_calls(self) -> Iterator[Call]:
        """The catalogue: one answer lists all assets."""
        if self.key:
            yield Call("asset/symbols/", (), NO_DAYS)

    def read_listing(self, call: Call, payload: Any) -> Iterator[ListedAsset]:
        """Every asset that has a symbol; calls for data name the symbol."""
        for row in as_list(payload["assets"]):
            if symbol := row["symbol"]:
                lasting_id = str(row["artemis_id"] or "")
                yield ListedAsset(symbol, symbol.lower(), "", row["title"] or "", symbol, None, lasting_id=lasting_id)

    def identity_calls(self, verb: Verb, kinds: Collection[str]) -> Iterator[Call]:
        """The catalogue, since Artemis gives a symbol to another asset now and then, such as MATIC."""
        return self.listing_calls()

    def metrics_call(self, asset: ListedAsset) -> Call | None:
        """The call that lists the metrics of one symbol."""
        return Call("supported-metrics/", (), NO_DAYS, (("symbol", asset.id),))

    def read_metrics(self, call: Call, payload: Any) -> frozenset[str]:
        """Each key of a row is the name of a metric. Metrics that have only a latest value are left out."""
        return frozenset(name.upper() for row in as_list(payload["metrics"]) for name in row) & METRICS.keys()

    def split(self, call: Call) -> list[Call]:
        """Two halves by symbol, so that a symbol that always fails ends up alone."""
        return [_call(half, call.window) for half in halves(call.targets)]


def _says_no_data(value: Any) -> bool:
    """Whether a text says that there is no data; raises ValueError for any other text, which may describe a failure."""
    if not isinstance(value, str):
        return False
    if not any(part in value.lower() for part in NO_DATA):
        raise ValueError(value[:80])
    return True


def _call(targets: Sequence[Target], window: Window) -> Call:
    """A call for these targets, either all quarterly or none.

    The API includes both dates, so endDate is the day before the window's end.
    """
    metrics = ",".join(dict.fromkeys(target.metric for target in targets))
    symbols = ",".join(dict.fromkeys(target.id for target in targets))
    first, last = f"{window.start:%Y-%m-%d}", f"{window.end - DAY:%Y-%m-%d}"
    params = [("symbols", symbols), ("startDate", first), ("endDate", last)]
    if targets[0].metric in QUARTERLY:
        params.append(("granularity", "QUARTER"))
    return Call(f"data/api/{quote(metrics, safe=',')}/", tuple(targets), window, tuple(params))


def _pack(targets: Sequence[Target], most: int) -> Iterator[list[Target]]:
    """Group the targets; the targets of a group share one call, which requests at most `most` series.

    Symbols are sorted by their metrics, so that those with the same metrics share a group. Another symbol joins it only
    if the call then still requests few series that no target names.
    """
    wanted: dict[str, dict[str, list[Target]]] = {}
    for target in targets:  # two assets may have the same symbol
        wanted.setdefault(target.id, {}).setdefault(target.metric, []).append(target)
    group: list[Target] = []
    symbols, metrics, named = set[str](), set[str](), 0
    for symbol, series in sorted(wanted.items(), key=lambda item: (sorted(item[1]), item[0])):
        every = sorted(series)
        for names in [every[first : first + most] for first in range(0, len(every), most)]:
            requested = len(symbols | {symbol}) * len(metrics.union(names))
            full = len(symbols | {symbol}) > SYMBOLS_A_CALL or requested > most
            if group and (full or requested > MOST_REQUESTED * (named + len(names))):
                yield group
                group, symbols, metrics, named = [], set(), set(), 0
            group += [target for name in names for target in series[name]]
            symbols.add(symbol)
            metrics.update(names)
            named += len(names)
    if group:
        yield group
