"""The assets that an API lists: search them, compare them with the config, make the row that adds one."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from model.errors import ConfigurationError
from model.settings import MAIN
from model.text import nearest
from sources.base import BaseSource, ListedAsset
from sources.config import Asset
from sources.listing import free_name


class Comparison(NamedTuple):
    """A listed asset, and the rows of the config with its kind and identifier, whatever they call it."""

    listed: ListedAsset
    rows: tuple[Asset, ...] = ()
    unsure: bool = False  # whether a list that may have more of its metrics had no answer

    @property
    def asset(self) -> str:
        """Its name in the config, or the one that a new row would give it."""
        return self.rows[0].asset if self.rows else self.listed.asset

    @property
    def configured(self) -> list[str]:
        """The metrics that the config has, in its order."""
        return list(dict.fromkeys(metric for row in self.rows for metric in row.metrics))

    @property
    def missing(self) -> list[str]:
        """The listed metrics that the config does not have."""
        return sorted((self.listed.metrics or frozenset()) - set(self.configured))

    @property
    def unlisted(self) -> list[str]:
        """The metrics that the config has and the API does not list."""
        known = self.listed.metrics
        return [] if known is None or self.unsure else [each for each in self.configured if each not in known]


def search(assets: Iterable[ListedAsset], text: str, kind: str | None = None) -> list[ListedAsset]:
    """The assets with the text in an identifier, name or symbol: first exact matches, then those that begin with it.

    The case of letters does not matter.
    """
    text = text.strip().casefold()
    ranked: list[list[ListedAsset]] = [[], [], []]
    for asset in assets:
        names = [name.casefold() for name in all_names(asset)]
        if kind in (None, asset.kind) and any(text in name for name in names):
            rank = 0 if text in names else 1 if any(name.startswith(text) for name in names) else 2
            ranked[rank].append(asset)
    return [asset for same_rank in ranked for asset in same_rank]


def compare(
    assets: Iterable[ListedAsset], rows: Iterable[Asset], source: type[BaseSource], unsure: Collection[str] = ()
) -> list[Comparison]:
    """Each asset with its rows of the config; `unsure` has the kinds of lists that had no answer."""

    def key(each: Asset | ListedAsset) -> tuple[str, str]:
        return each.kind, source.canonical_id(each.kind, each.id)

    by_id: dict[tuple[str, str], list[Asset]] = defaultdict(list)
    for row in rows:
        by_id[key(row)].append(row)
    return [Comparison(asset, tuple(by_id.get(key(asset), ())), unsure=asset.kind in unsure) for asset in assets]


def row_to_add(
    found: Comparison, rows: Sequence[Asset], metrics: Collection[str], source: type[BaseSource]
) -> Asset | None:
    """The row that the config lacks for an asset, with these metrics; None if it has them.

    If none are named, the row has all that are not deprecated. Its name is the one in the config, or one that no other
    row of the kind has. Raises ConfigurationError for a metric that the API does not list for the asset.
    """
    asset, listed = found.listed, found.listed.metrics or frozenset()
    for metric in metrics:
        if metric not in listed:
            hint = nearest(metric, listed, f"{MAIN} discover {source.name} {asset.id}")
            raise ConfigurationError(f"{source.name} lists no {metric} for {found.asset}: {hint}")
    wanted = [
        metric
        for metric, known in source.METRICS.items()
        if metric in found.missing and (metric in metrics if metrics else not known.deprecated)
    ]
    if not wanted:
        return None
    if found.rows:
        return replace(found.rows[0], metrics=tuple(wanted))
    taken = {row.asset.casefold() for row in rows if row.kind == asset.kind}
    return Asset(free_name(asset, taken), tuple(wanted), asset.id, asset.kind, asset.name, "")


def all_names(asset: ListedAsset) -> tuple[str, ...]:
    """Its identifier, and whatever else it is called."""
    return tuple(filter(None, (asset.id, asset.asset, asset.name, asset.symbol)))
