"""DefiLlama: which calls to make. defillama_metrics.py has its endpoints; defillama_answers.py reads the answers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

from model.schedule import Schedule, daily, hourly
from model.values import DAY, Metric, Rhythm, Target, Verb, Window
from sources.base import NO_DAYS, BaseSource, Call, ListedAsset, Observation, Request, halves
from sources.defillama_answers import RENAMED_CHAINS
from sources.defillama_listings import BULK_ANSWERS
from sources.defillama_metrics import (
    EVERYTHING,
    METRICS,
    PRICE_HISTORY,
    PRICE_NOW,
    REMOVED,
    SERVED,
    Endpoint,
    Params,
    endpoint_of,
)

FREE_HOSTS = {  # by family; the paths of a family are the same on the Pro host
    "api": "https://api.llama.fi",
    "coins": "https://coins.llama.fi",
    "etfs": "https://etfs.llama.fi",
    "stablecoins": "https://stablecoins.llama.fi",
    "yields": "https://yields.llama.fi",
}
PRO_HOST = "https://pro-api.llama.fi"
USAGE = "usage"  # its path has the key at its end
COINS_A_CALL = 50  # keeps the URL of a price call under 3,000 characters
PRICES = (PRICE_NOW, PRICE_HISTORY)  # one call gets the prices of several coins
POINTS_A_CHART = 500  # the most coins × days in one answer of /chart


class DefiLlama(BaseSource):
    """DeFi protocols, chains, stablecoins, coins and yield pools; free without a key, more on the Pro host with one."""

    name = "defillama"
    REQUEST_DELAY = 0.08  # about 12 a second; Pro allows 1,000 a minute
    DELAY_WITHOUT_KEY = 0.12  # the provider said in 2023 that its free hosts take 500 a minute
    MAX_IN_FLIGHT = 16
    KEY_VARIABLE = "DEFILLAMA_API_KEY"
    KEY_REQUIRED = False
    BASE_URL_VARIABLE = "DEFILLAMA_BASE_URL"
    CONFIG = "defillama_config.csv"
    KINDS = ("protocol", "chain", "stablecoin", "coin", "pool", "total")
    ID_FORMS: ClassVar[Mapping[str, tuple[str, str]]] = {  # any other id is answered with an error, or with nothing
        "stablecoin": ("[0-9]+", "its number, such as 1 for Tether"),
        "coin": ("[^:]+:.+", "coingecko:NAME or CHAIN:ADDRESS, such as coingecko:bitcoin"),
        "pool": ("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "the last part of defillama.com/yields/pool/…"),
        "total": (EVERYTHING, f"{EVERYTHING}, which means all of DeFi"),
    }
    UNLISTED_KINDS = ("coin",)
    METRICS: ClassVar[Mapping[str, Metric]] = METRICS
    REMOVED: ClassVar[Mapping[str, str]] = REMOVED
    SCHEDULES: ClassVar[Mapping[Verb, Schedule]] = {
        Verb.PULL: hourly(5),
        # the point of a midnight can be missing until three hours after it
        Verb.SETTLE: daily(4, 35, whole_every=7 * DAY),
        Verb.BACKFILL: daily(4, 35),
    }

    @classmethod
    def history_start(cls, today: datetime) -> datetime:
        """28 April 2013: the oldest values of the API are prices of Bitcoin in that month."""
        return datetime(2013, 4, 28, tzinfo=UTC)

    @classmethod
    def rhythm(cls, target: Target) -> Rhythm:
        """The funds are traded on weekdays."""
        return Rhythm.WEEKDAYS if target.metric == "ETF_FLOW" else Rhythm.DAILY

    def calls(self, verb: Verb, targets: Sequence[Target], window: Window) -> Iterator[Call]:
        """One call for each distinct path: targets whose values are in the same answer share it."""
        shared: dict[tuple[Endpoint, str, Params], list[Target]] = {}
        for target in targets:
            endpoint = endpoint_of(target, verb, with_key=bool(self.key))
            path, params = endpoint.render("" if target.kind == "coin" else target.id)
            shared.setdefault((endpoint, path, params), []).append(target)
        for (endpoint, path, params), together in shared.items():
            if endpoint in PRICES:
                yield from _price_calls(endpoint, together, window)
                continue
            dated = endpoint.live_is_dated or verb is not Verb.PULL
            yield Call(path, tuple(together), window, params, endpoint, endpoint.extract, dated)

    def request(self, call: Call) -> Request:
        """The Pro host takes the key in the path; without a key, each family has its own free host."""
        if call.path == USAGE:
            return Request(f"{self.base_url or PRO_HOST}/{USAGE}/{quote(self.key, safe='')}", {}, {})
        family, path = call.path.split("/", 1)
        host = FREE_HOSTS[family]
        if self.base_url or self.key:
            key = f"/{quote(self.key, safe='')}" if self.key else ""
            host = f"{self.base_url or PRO_HOST}{key}/{family}"
        return Request(f"{host}/{path}", dict(call.params), {})

    def read(self, call: Call, payload: Any) -> Iterator[Observation]:
        """What the call's endpoint reads."""
        yield from call.endpoint.read(call, payload)

    def listing_calls(self) -> Iterator[Call]:
        """The calls for the bulk answers of the live metrics."""
        for answer in BULK_ANSWERS:
            served = SERVED[answer.metric]
            if served.live and (self.key or not served.pro):
                path, params = served.live.render("")
                yield Call(path, (), NO_DAYS, params, answer, listed_kinds=answer.kinds)

    def read_listing(self, call: Call, payload: Any) -> Iterator[ListedAsset]:
        """What the call's bulk answer reads."""
        yield from call.endpoint.read(payload)

    def usage_call(self) -> Call | None:
        """The calls of a key are counted by month: one million in the plan of $300."""
        return Call(USAGE, (), NO_DAYS) if self.key else None

    def read_usage(self, payload: Any) -> int:
        """What is left until the 1st of the next month."""
        return int(payload["creditsLeft"])

    def identity_calls(self, verb: Verb, kinds: Collection[str]) -> Iterator[Call]:
        """The list of protocols, with a number for each slug: not in hourly pulls, since the answer has 8 MB."""
        if verb is not Verb.PULL and "protocol" in kinds:
            yield from (call for call in self.listing_calls() if call.endpoint.metric == "TVL")

    @classmethod
    def canonical_id(cls, kind: str, identifier: str) -> str:
        """The present name of a chain that was renamed; any other identifier as it is. Case does not matter."""
        name = RENAMED_CHAINS.get(identifier.casefold(), identifier) if kind == "chain" else identifier
        return name.casefold()

    def split(self, call: Call) -> list[Call]:
        """Two halves of a call for several coins, so that a coin that always fails ends up alone."""
        parts = halves(call.targets) if call.endpoint in PRICES else []
        return [piece for part in parts for piece in _price_calls(call.endpoint, part, call.window)]


def _price_calls(endpoint: Endpoint, targets: Sequence[Target], window: Window) -> Iterator[Call]:
    """Calls for prices, with as many coins in each as the limits allow."""
    targets_of: dict[str, list[Target]] = {}
    for target in targets:  # two assets may have the same coin
        targets_of.setdefault(target.id, []).append(target)
    coins = list(targets_of)
    for piece in window.split(POINTS_A_CHART * DAY) if endpoint is PRICE_HISTORY else [window]:
        params: Params = ()
        size = COINS_A_CALL
        if endpoint is PRICE_HISTORY:
            days = -((piece.start - piece.end) // DAY)
            params = (("start", f"{piece.start.timestamp():.0f}"), ("span", str(days)), ("period", "1d"))
            size = min(COINS_A_CALL, POINTS_A_CHART // days)
        for first in range(0, len(coins), size):
            names = coins[first : first + size]
            together = tuple(target for name in names for target in targets_of[name])
            path, _ = endpoint.render(",".join(names))
            yield Call(path, together, piece, params, endpoint, dated=endpoint is PRICE_HISTORY)
