"""Reads what an API lists through one client: all its lists of assets, and the metrics of single assets."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from model.text import printable
from model.values import MAX_ASSET
from sources.base import BaseSource, Call, ListedAsset
from sources.fetch import read_all
from sources.http import Client


@dataclass(frozen=True, slots=True)
class Listing:
    """The assets that an API lists, each once, and why some calls gave no answer."""

    assets: tuple[ListedAsset, ...]
    failed: dict[Call, str] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()  # kinds for which a call failed: an asset or a metric may be missing


def fetch_listing(source: BaseSource, client: Client) -> Listing:
    """Fetch all lists of the API at the client's pace, and merge what several lists say about one asset.

    Raises SourceStopped if the API refuses the key or is down.
    """
    assets, failed = read_lists(source, client, source.listing_calls())
    unsure = {kind for call in failed for kind in call.listed_kinds}
    return Listing(with_unique_names(united(with_present_ids(assets))), failed, frozenset(unsure))


def read_lists(source: BaseSource, client: Client, calls: Iterable[Call]) -> tuple[list[ListedAsset], dict[Call, str]]:
    """The assets in the answers to listing calls, and why other calls failed; raises SourceStopped."""
    made = list(calls)
    answers, failed = read_all(client, made, lambda *given: list(source.read_listing(*given)))
    return [asset for call in made for asset in answers.get(call, ())], failed


def with_metrics(source: BaseSource, client: Client, assets: Sequence[ListedAsset]) -> Listing:
    """The same assets with their metrics. For each asset whose metrics no list has, one call fetches them.

    If such a call fails, the metrics stay None. Raises SourceStopped as `fetch_listing` does.
    """
    calls = {asset: call for asset in assets if asset.metrics is None and (call := source.metrics_call(asset))}
    answers, failed = read_all(client, calls.values(), source.read_metrics)
    completed = (asset._replace(metrics=answers.get(calls[asset])) if asset in calls else asset for asset in assets)
    return Listing(tuple(completed), failed, frozenset(asset.kind for asset, call in calls.items() if call in failed))


def with_present_ids(assets: Iterable[ListedAsset]) -> list[ListedAsset]:
    """The assets; one that a list gives by its lasting identifier alone has the id that it has in another list."""
    every = list(assets)
    ids = {(each.kind, each.lasting_id): each for each in every if each.lasting_id not in ("", each.id)}
    present = (ids.get((each.kind, each.id), each) if each.lasting_id == each.id else each for each in every)
    return [each._replace(id=now.id, asset=now.asset) for each, now in zip(every, present, strict=True)]


def united(assets: Iterable[ListedAsset]) -> list[ListedAsset]:
    """The assets, merged by kind and identifier in any case, in the order of their first appearance."""
    found: dict[tuple[str, str], ListedAsset] = {}
    for asset in assets:
        key = (asset.kind, asset.id.casefold())
        known = found.get(key, asset)
        found[key] = known._replace(
            asset=one_line(known.asset),
            name=one_line(known.name or asset.name),
            symbol=one_line(known.symbol or asset.symbol),
            metrics=None if known.metrics is None or asset.metrics is None else known.metrics | asset.metrics,
            dead=one_line(known.dead or asset.dead),
            lasting_id=one_line(known.lasting_id or asset.lasting_id),
        )
    return list(found.values())


def with_unique_names(assets: Iterable[ListedAsset]) -> tuple[ListedAsset, ...]:
    """The assets with names unique within each kind. The first keeps its name, since lists begin with the largest."""
    taken: dict[str, set[str]] = defaultdict(set)  # by kind
    renamed: list[ListedAsset] = []
    for asset in assets:
        name = free_name(asset, taken[asset.kind])
        taken[asset.kind].add(name.casefold())
        renamed.append(asset._replace(asset=name))
    return tuple(renamed)


def free_name(asset: ListedAsset, taken: Collection[str]) -> str:
    """The shortest name for an asset that fits the column and is not taken (names in lower case), else its id."""
    part = re.split("[-#:]", asset.id)[0]  # for a pool, the first eight digits of its uuid
    names = (asset.asset, f"{asset.asset}-{part}", f"{asset.asset}-{asset.id}", asset.id)
    return next((name for name in names if 0 < len(name) <= MAX_ASSET and name.casefold() not in taken), asset.id)


def one_line(text: str) -> str:
    """A text from an answer as one printable line."""
    return " ".join(printable(text).split())
