"""Artemis: which calls to make, and how to read their answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from model.values import DAY, Metric, Rhythm, Schedule, Target, Verb, Window, daily, midnight
from sources.artemis_metrics import METRICS, QUARTERLY
from sources.base import NO_DAYS, BaseSource, Call, ListedAsset, Observation, Request, as_list, halves

HOST = "https://data-svc.artemisxyz.com"
SYMBOLS_A_CALL = 50  # 250 are documented, but calls for on-chain metrics fail with HTTP 500 above 50 to 75
POINTS_A_SERIES = 1_000  # the most that the API returns
POINTS_A_CALL = SYMBOLS_A_CALL * POINTS_A_SERIES  # 2 MB of JSON: memory stays flat with any number of metrics
QUARTER = 90 * DAY
QUARTERS_PULLED = 5  # a quarter is reported weeks after its end and restated later, so seven days would miss it
EQUITY = "eq-"  # prefix of the symbols of equities
NO_DATA = ("not available", "not found")  # every known text in place of data contains one of these


class Artemis(BaseSource):
    """Crypto and equity metrics by day; fundamentals of equities by fiscal quarter."""

    name = "artemis"
    REQUEST_DELAY = 0.12  # about 8 a second; no limit is published, users report 2 to 8
    MAX_IN_FLIGHT = 8
    KEY_VARIABLE = "ARTEMIS_API_KEY"
    KEY_REQUIRED = True
    BASE_URL_VARIABLE = "ARTEMIS_BASE_URL"
    CONFIG = "artemis_config.csv"
    UNLISTED_KINDS = ("",)
    METRICS: ClassVar[Mapping[str, Metric]] = METRICS
    SCHEDULES: ClassVar[Mapping[Verb, Schedule]] = {
        Verb.PULL: daily(0, 5),
        Verb.SETTLE: daily(5, 35),
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
            days = -((piece.start - piece.end) // DAY)
            for together in _pack(daily, days):
                yield _call(together, piece)
        if verb is not Verb.BACKFILL:
            window = Window(min(window.start, window.end - QUARTERS_PULLED * QUARTER), window.end)
        for together in _pack(quarterly, -((window.start - window.end) // QUARTER)):
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
                yield ListedAsset(symbol, symbol.lower(), "", row["title"] or "", symbol, None)

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


def _pack(targets: Sequence[Target], points: int) -> Iterator[list[Target]]:
    """Group the targets; the targets of a group share one call, which requests every metric for every symbol.

    Symbols with the same metrics share a group, so that few series are requested that no target names.
    """
    wanted: dict[str, dict[str, list[Target]]] = {}
    for target in targets:  # two assets may have the same symbol
        wanted.setdefault(target.id, {}).setdefault(target.metric, []).append(target)
    most = max(1, POINTS_A_CALL // points)  # series in one call
    group: list[Target] = []
    symbols: set[str] = set()
    metrics: set[str] = set()
    for symbol, series in sorted(wanted.items(), key=lambda item: (sorted(item[1]), item[0])):
        names = sorted(series)
        for first in range(0, len(names), most):
            part = names[first : first + most]
            size = len(symbols | {symbol}) * len(metrics | set(part))
            if group and (len(symbols | {symbol}) > SYMBOLS_A_CALL or size > most):
                yield group
                group, symbols, metrics = [], set(), set()
            group += [target for name in part for target in series[name]]
            symbols.add(symbol)
            metrics.update(part)
    if group:
        yield group
