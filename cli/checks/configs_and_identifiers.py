"""The areas `configs` (errors, series requested twice) and `identifiers` (the configs, compared with the APIs)."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from cli.checks.area import Area, CheckContext, Finding, Severity, few
from cli.listed_assets import Comparison, compare
from db.coverage import Name
from model.errors import CallFailed, SourceStopped
from model.settings import MAIN, ROOT
from model.text import counted
from model.values import Target, Verb
from pipeline.plan import pull_window
from sources import SOURCES
from sources.base import BaseSource, ListedAsset
from sources.config import Asset
from sources.http import Client
from sources.listing import Listing, fetch_listing, with_metrics

log = logging.getLogger(__name__)

ID_ALIKE = 0.7  # of 1: how like an identifier a listed one must be to be suggested
UNKNOWN = (400, 404, 422)  # the HTTP statuses of an answer for an unknown identifier


def check_configs(context: CheckContext) -> Area:
    """What is wrong with the configs; sends no request."""
    findings: list[Finding] = []
    counts = []
    for name, (rows, errors) in context.configs.items():
        file = SOURCES[name].CONFIG
        for error in errors:
            where, _, what = error.removeprefix(f"{ROOT}/").partition(": ")
            findings.append(Finding(Severity.ERROR, where, what))
        findings += twice_findings(file, rows)
        findings += deprecated_findings(SOURCES[name], rows)
        counts.append(f"{file} ({counted(len(rows), 'row')}, {sum(len(row.metrics) for row in rows):,} series)")
    return Area(", ".join(counts), findings)


def twice_findings(file: str, rows: Sequence[Asset]) -> Iterator[Finding]:
    """Series of the API that a config requests under several names."""
    names: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        for metric in row.metrics:
            names.setdefault((row.kind, row.id.casefold()), {}).setdefault(metric, []).append(row.asset)
    for (_, identifier), metrics in names.items():
        twice = {metric: assets for metric, assets in metrics.items() if len(assets) > 1}
        if twice:
            assets = dict.fromkeys(asset for each in twice.values() for asset in each)
            what = f"{identifier} is requested under {len(assets)} names, {few(assets)}: {few(twice)}"
            yield Finding(Severity.WARNING, file, what, "keep one of them, or correct an id")


def deprecated_findings(source: type[BaseSource], rows: Iterable[Asset]) -> Iterator[Finding]:
    """Metrics of a config that the API has deprecated, with the assets that have them."""
    assets: dict[str, list[str]] = {}
    for row in rows:
        for metric in row.metrics:
            assets.setdefault(metric, []).append(row.asset)
    for metric, names in assets.items():
        if deprecated := source.METRICS[metric].deprecated:
            what = f"{metric} of {few(names)} is deprecated since {deprecated.since}"
            yield Finding(Severity.WARNING, source.CONFIG, what, f"{deprecated.remedy}; the stored values stay")


def check_identifiers(context: CheckContext) -> Area:
    """The rows of each config compared with the lists of its API."""
    findings: list[Finding] = []
    checked = []
    for name in context.clients:
        rows, _ = context.configs[name]
        if not rows:
            continue
        log.info("%s: reading the lists of the API", name)
        try:
            findings += _identifier_findings(context, name, rows)
            checked.append(f"{len({(row.kind, row.id) for row in rows}):,} of {name}")
        except SourceStopped as error:
            findings.append(Finding(Severity.ERROR, name, str(error)))
    return Area(", ".join(checked), findings) if checked or findings else Area("no API answers", None)


def _identifier_findings(context: CheckContext, name: str, rows: Sequence[Asset]) -> Iterator[Finding]:
    """What is wrong with the rows of a source; the context gets the series that it explains. Raises SourceStopped."""
    source, (api, client) = SOURCES[name], context.clients[name]
    listing = fetch_listing(api, client)
    compared = [each for each in compare(listing.assets, rows, source, listing.unsure) if each.rows]
    if one_by_one := sum(api.metrics_call(each.listed) is not None for each in compared):
        seconds = one_by_one * api.delay(with_key=bool(api.key))
        log.info("%s: requesting the metrics of %d assets: at least %.0f s", name, one_by_one, seconds)
    completed = with_metrics(api, client, [each.listed for each in compared])
    compared = [each._replace(listed=asset) for each, asset in zip(compared, completed.assets, strict=True)]
    unknown, failures = _without_values(api, client, unlisted_rows(rows, compared, listing))
    failures = [*listing.failed.values(), *completed.failed.values(), *failures]
    if failures:
        what = f"{counted(len(failures), 'call')} had no answer, so this check is incomplete: {failures[0]}"
        yield Finding(Severity.WARNING, name, what, "try again later")
    yield from unknown_findings(source, unknown, listing.assets)
    explained = {(row.asset, metric) for row in unknown for metric in row.metrics}
    listable, with_values = listable_metrics(source, listing.assets), context.with_values(name)
    for each in compared:
        unlisted = [metric for metric in each.unlisted if (each.listed.kind, metric) in listable]
        yield from listed_findings(source, each, unlisted, with_values)
        explained |= {(row.asset, metric) for row in each.rows for metric in row.metrics if metric in unlisted}
    context.explained[name] = explained


def unlisted_rows(rows: Iterable[Asset], compared: Iterable[Comparison], listing: Listing) -> list[Asset]:
    """The rows that belong to no listed asset, of the kinds whose lists are complete."""
    listed = {row for each in compared for row in each.rows}
    complete = {asset.kind for asset in listing.assets} - listing.unsure
    return [row for row in rows if row.kind in complete and row not in listed]


def listable_metrics(source: type[BaseSource], assets: Iterable[ListedAsset]) -> set[tuple[str, str]]:
    """The pairs (kind, metric) that the API lists for any asset; all metrics where it lists them by single assets."""
    return {
        (asset.kind, metric)
        for asset in assets
        for metric in (source.METRICS if asset.metrics is None else asset.metrics)
    }


def unknown_findings(
    source: type[BaseSource], unknown: Iterable[Asset], assets: Sequence[ListedAsset]
) -> Iterator[Finding]:
    """Rows whose identifiers the API does not know; one finding for each asset."""
    for row in {(each.asset, each.kind, each.id): each for each in unknown}.values():
        kind = f"{row.kind} " if row.kind else ""
        hint = ""
        if asset := nearest_asset(row, assets):
            name = f" ({asset.name})" if asset.name and asset.name.casefold() != asset.id.casefold() else ""
            hint = f"did you mean {asset.id}{name}? "
        remedy = f"{hint}{MAIN} discover {source.name} lists what there is"
        yield Finding(Severity.ERROR, f"{source.name} {row.asset}", f"the API knows no {kind}{row.id}", remedy)


def nearest_asset(row: Asset, assets: Iterable[ListedAsset]) -> ListedAsset | None:
    """What an unlisted row may mean: the asset of its name, or one with a similar identifier."""
    same_kind = [asset for asset in assets if asset.kind == row.kind]
    for asset in same_kind:
        if row.name and asset.name.casefold() == row.name.casefold():
            return asset
    by_id = {asset.id.casefold(): asset for asset in same_kind}
    cutoff = 1 if row.id.isdecimal() else ID_ALIKE  # similar numbers mean nothing
    close = get_close_matches(row.id.casefold(), by_id, n=1, cutoff=cutoff)
    return by_id[close[0]] if close else None


def listed_findings(
    source: type[BaseSource], compared: Comparison, unlisted: Sequence[str], with_values: Collection[Name]
) -> Iterator[Finding]:
    """What is wrong with rows of a listed asset: it is dead, or has metrics that the API does not list for it."""
    where = f"{source.name} {compared.asset}"
    if compared.listed.dead:
        what = f"the API says of {compared.rows[0].id}: {compared.listed.dead}"
        remedy = f"remove it from {source.CONFIG}; the stored values stay"
        yield Finding(Severity.WARNING, where, what, remedy)
    stored = {metric for row in compared.rows for metric in unlisted if (row.asset, metric) in with_values}
    if never := [metric for metric in unlisted if metric not in stored]:
        remedy = f"no run can fetch it: remove it from {source.CONFIG}"
        yield Finding(Severity.WARNING, where, f"the API does not list {few(never)} for it", remedy)
    if stored:
        what = f"the API does not list {few(sorted(stored))} for it now, though values are stored"
        yield Finding(Severity.NOTE, where, what)


def _without_values(api: BaseSource, client: Client, unlisted: Sequence[Asset]) -> tuple[list[Asset], list[str]]:
    """The unlisted rows for which the API has no value either, and the failures of calls.

    A row whose call failed is not among them.
    """
    targets: list[Target] = []
    for row in unlisted:
        if row.kind in api.UNLISTED_KINDS:
            pulled = [each for each in row.targets() if Verb.PULL in api.METRICS[each.metric].verbs]
            targets += [each for each in pulled if api.can_request(each.metric, with_key=bool(api.key))][:1]
    with_value: set[tuple[str, str]] = set()
    failures = []
    for call in api.calls(Verb.PULL, targets, pull_window(datetime.now(UTC), api.PULL_DAYS)):
        known: Collection[Target] = call.targets
        try:
            points = {(point.asset, point.metric) for point in client.answer(call).points}
            known = [each for each in call.targets if (each.asset, each.metric) in points]
        except CallFailed as error:
            if error.status in UNKNOWN:
                continue
            failures.append(str(error))
        with_value |= {(each.kind, each.id) for each in known}
    return [row for row in unlisted if (row.kind, row.id) not in with_value], failures
