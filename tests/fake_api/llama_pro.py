"""DefiLlama's routes that need a key: charts of a protocol as pairs (/api/v2/chart), and flows of ETFs (/etfs)."""

from collections.abc import Mapping, Sequence

from tests.fake_api import truth
from tests.fake_api.answer import Answer, array, ok_text, plain
from tests.fake_api.world import EPOCH, World, iso, unknown

Query = Mapping[str, str]

METRICS = {  # by the chart and the parameter key
    ("tvl", ""): "TVL",
    ("tvl", "borrowed"): "BORROWED",
    ("tvl", "staking"): "STAKING",
    ("treasury", ""): "TREASURY",
    ("treasury", "OwnTokens"): "TREASURY_OWN_TOKENS",
}
FUNDS = 2  # coins that have any


def protocol_chart(world: World, args: Sequence[str], query: Query) -> Answer:
    """GET /api/v2/chart/{tvl|treasury}/protocol/{slug}[?key=…]: of TVL, the last pair is now."""
    chart, slug = (args[0], args[2]) if len(args) == 3 and args[1] == "protocol" else ("", "unknown")
    metric = METRICS.get((chart, query.get("key", "")))
    if metric is None or unknown(slug):
        return plain(404, "Protocol not found")
    points = up_to_now(world, slug, metric) if chart == "tvl" else world.history("defillama", slug, metric)
    return ok_text(array([f"[{at},{amount}]" for at, amount in points]))


def up_to_now(world: World, slug: str, metric: str) -> list[tuple[int, truth.Number | None]]:
    """The history of a protocol with today's midnight, and the value of now where it is alive."""
    points = world.closed("defillama", slug, metric, with_today=True)
    if truth.last_day("defillama", slug, metric) is None:
        points.append((world.now(), world.live("defillama", slug, metric) or 0))
    return points


def etf_flows(world: World, _args: Sequence[str], _query: Query) -> Answer:
    """GET /etfs/flows: a row for each coin and weekday."""
    rows = [
        f'{{"gecko_id":"{coin}","day":"{iso(EPOCH + at // 86400)}T00:00:00.000Z","total_flow_usd":{amount}}}'
        for coin in world.coingecko()[:FUNDS]
        for at, amount in world.history("defillama", f"coingecko:{coin}", "ETF_FLOW")
    ]
    return ok_text(array(rows))


ROUTES = {("etfs", "flows"): etf_flows}
