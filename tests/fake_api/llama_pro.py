"""DefiLlama's charts that only the Pro host has (/api/v2/chart)."""

from collections.abc import Sequence

from tests.fake_api import truth
from tests.fake_api.answer import Answer, array, ok_text, plain
from tests.fake_api.world import World, unknown


def tvl_chart(world: World, args: Sequence[str]) -> Answer:
    """GET /api/v2/chart/tvl/protocol/{slug}: pairs of the history that /protocol has, and of now."""
    if len(args) != 3 or args[:2] != ["tvl", "protocol"] or unknown(args[2]):
        return plain(404, "Protocol not found")
    points = world.closed("defillama", args[2], "TVL", with_today=True)
    if truth.last_day("defillama", args[2], "TVL") is None:
        points.append((world.now(), world.live("defillama", args[2], "TVL")))
    return ok_text(array([f"[{at},{amount}]" for at, amount in points]))
