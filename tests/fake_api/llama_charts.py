"""What DefiLlama's overviews and summaries have in common: their flags, and the breakdowns of their charts."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from tests.fake_api import truth
from tests.fake_api.answer import array, dumps
from tests.fake_api.world import World


def asked(query: Mapping[str, str], flag: str) -> bool:
    """Whether a flag is set: the server compares its value in lower case, so `True` sets it, too."""
    return query.get(flag, "").lower() == "true"


def by_chain_and_version(
    points: Sequence[tuple[int, truth.Number | None]], chains: Sequence[str], versions: Sequence[str]
) -> str:
    """The breakdown of a summary, which gives each version its share on each chain: [[time, {chain: {version: n}}]]."""
    keys = [[dumps(version) for version in versions] for _ in chains]
    names = [dumps(chain) for chain in chains]
    shares = len(chains) * len(versions)
    rows = []
    for at, amount in points:
        share = int((amount or 0) / shares)
        first = (amount or 0) - share * (shares - 1)
        amounts = iter([first, *[share] * (shares - 1)])
        parts = [
            f"{name}:{{{','.join(f'{version}:{next(amounts)}' for version in inner)}}}"
            for name, inner in zip(names, keys, strict=True)
        ]
        rows.append(f"[{at},{{{','.join(parts)}}}]")
    return array(rows)


def by_name(world: World, names: Mapping[str, str], metric: str, chain: str | None) -> str:
    """The breakdown of an overview, for each slug and display name: [[time, {display name: n}]].

    What a protocol has on one chain is another series than what it has on all of them.
    """
    pairs = [
        (at, f"{dumps(name)}:{amount}")
        for slug, name in names.items()
        for at, amount in world.history("defillama", f"{slug} on {chain}" if chain else slug, metric)
    ]
    days = groupby(sorted(pairs), key=lambda pair: pair[0])
    return array([f"[{at},{{{','.join(text for _, text in together)}}}]" for at, together in days])
