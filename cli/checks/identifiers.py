"""The area `identifiers`: the identifiers and metrics of the configs, compared with what the APIs list."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from cli.checks.context import OFFLINE, CheckContext
from cli.checks.finding import Area, Finding, Severity, few
from cli.listed_assets import Comparison, compare
from db.coverage import Name
from model.errors import CallFailed, PipelineError, SourceStopped
from model.text import counted
from model.values import Target, Verb
from pipeline.plan import pull_window
from sources.base import BaseSource, Call, ListedAsset
from sources.config import Asset
from sources.http import Client
from sources.listing import Listing, fetch_listing, with_metrics

log = logging.getLogger(__name__)

ID_ALIKE = 0.7  # of 1: how like an identifier a listed one must be to be suggested
UNKNOWN = (400, 404, 422)  # HTTP statuses with which an API answers to an identifier that it does not know


class ApiLists:
    """What the lists of an API say, for questions about single rows of a config."""

    def __init__(self, assets: Sequence[ListedAsset]) -> None:
        self._assets = assets
        self._by_name: dict[tuple[str, str], ListedAsset] = {}
        self._listed_metrics: set[tuple[str, str]] = set()  # kind and metric, of any asset
        self._one_by_one: set[str] = set()  # kinds whose metrics the API lists for one asset at a time
        for asset in assets:
            self._by_name.setdefault((asset.kind, asset.name.casefold()), asset)
            self._listed_metrics.update((asset.kind, metric) for metric in asset.metrics or ())
            if asset.metrics is None:
                self._one_by_one.add(asset.kind)

    def named(self, row: Asset) -> ListedAsset | None:
        """The asset that has the name of a row."""
        return self._by_name.get((row.kind, row.name.casefold())) if row.name else None

    def nearest(self, row: Asset) -> ListedAsset | None:
        """What an unlisted row may mean: the asset of its name, or one with a similar identifier."""
        if asset := self.named(row):
            return asset
        if row.id.isdecimal():  # similar numbers mean nothing
            return None
        by_id = {asset.id.casefold(): asset for asset in self._assets if asset.kind == row.kind}
        close = get_close_matches(row.id.casefold(), by_id, n=1, cutoff=ID_ALIKE)
        return by_id[close[0]] if close else None

    def unlisted_metrics(self, compared: Comparison) -> list[str]:
        """The configured metrics that the API lists for other assets and not for this one."""
        kind = compared.listed.kind
        one_by_one = kind in self._one_by_one
        return [each for each in compared.unlisted if one_by_one or (kind, each) in self._listed_metrics]


def check_identifiers(context: CheckContext) -> Area:
    """The rows of each config compared with the lists of its API."""
    if context.offline:
        return Area(OFFLINE, None)
    findings: list[Finding] = []
    checked = []
    for name, (api, client) in context.clients.items():
        rows, _ = context.configs[name]
        if not rows:
            continue
        log.info("%s: reading the lists of the API", name)
        try:
            found, explained = _identifier_findings(api, client, rows, _with_values(context, name))
        except SourceStopped as error:
            findings.append(Finding(Severity.ERROR, name, str(error)))
            continue
        findings += found
        context.explained[name] = explained
        checked.append(f"{len({(row.kind, row.id) for row in rows}):,} of {name}")
    return Area(", ".join(checked), findings) if checked or findings else Area("no API answers", None)


def _with_values(context: CheckContext, name: str) -> Collection[Name]:
    """The configured series that have values, as far as the database can be read."""
    try:
        return context.records[name].with_values if name in context.records else ()
    except PipelineError:  # a finding of the area `series`
        return ()


def _identifier_findings(
    api: BaseSource, client: Client, rows: Sequence[Asset], with_values: Collection[Name]
) -> tuple[list[Finding], set[Name]]:
    """What is wrong with rows, and which series have no values for that reason; raises SourceStopped."""
    source, listing = type(api), fetch_listing(api, client)
    lists = ApiLists(listing.assets)
    compared = [each for each in compare(listing.assets, rows, source, listing.unsure) if each.rows]
    if one_by_one := sum(api.metrics_call(each.listed) is not None for each in compared):
        seconds = one_by_one * api.REQUEST_DELAY
        log.info("%s: asking for the metrics of %d assets: at least %.0f s", api.name, one_by_one, seconds)
    completed = with_metrics(api, client, [each.listed for each in compared])
    compared = [each._replace(listed=asset) for each, asset in zip(compared, completed.assets, strict=True)]
    unknown, failures = _without_values(api, client, unlisted_rows(rows, compared, listing))
    failures = [*listing.failed.values(), *completed.failed.values(), *failures]
    findings = []
    if failures:
        what = f"no answer from {counted(len(failures), 'list')}, so not all is known: {failures[0]}"
        findings.append(Finding(Severity.WARNING, api.name, what, "try again later"))
    findings += unknown_findings(source, unknown, lists)
    explained = {(row.asset, metric) for row in unknown for metric in row.metrics}
    for each in compared:
        findings += listed_findings(source, each, lists, with_values)
        unlisted = lists.unlisted_metrics(each)
        explained |= {(row.asset, metric) for row in each.rows for metric in row.metrics if metric in unlisted}
    return findings, explained


def unlisted_rows(rows: Iterable[Asset], compared: Iterable[Comparison], listing: Listing) -> list[Asset]:
    """The rows that belong to no listed asset, of the kinds whose lists are complete."""
    listed = {row for each in compared for row in each.rows}
    complete = {asset.kind for asset in listing.assets} - listing.unsure
    return [row for row in rows if row.kind in complete and row not in listed]


def unknown_findings(source: type[BaseSource], unknown: Iterable[Asset], lists: ApiLists) -> Iterator[Finding]:
    """Rows whose identifiers the API does not know; one finding for each asset."""
    for row in {(each.asset, each.kind, each.id): each for each in unknown}.values():
        asset = lists.nearest(row)
        kind = f"{row.kind} " if row.kind else ""
        hint = f"did you mean {_called(asset)}? " if asset else ""
        remedy = f"{hint}python main.py discover {source.name} lists what there is"
        yield Finding(Severity.ERROR, f"{source.name} {row.asset}", f"the API knows no {kind}{row.id}", remedy)


def listed_findings(
    source: type[BaseSource], compared: Comparison, lists: ApiLists, with_values: Collection[Name]
) -> Iterator[Finding]:
    """What is wrong with rows of a listed asset: it is dead, seems renamed, or has metrics that are not listed."""
    asset, row, where = compared.listed, compared.rows[0], f"{source.name} {compared.asset}"
    if asset.dead:
        remedy = f"take it out of {source.CONFIG}; the stored values stay"
        yield Finding(Severity.WARNING, where, f"the API says of {row.id}: {asset.dead}", remedy)
    meant = lists.named(row)
    if meant and asset.name and meant.id != asset.id and asset.name.casefold() != row.name.casefold():
        what = f"{row.id} is {asset.name} at the API, and {row.name} is {_called(meant)}"
        yield Finding(Severity.NOTE, where, what, "if it has been renamed, correct the id or the name")
    unlisted = lists.unlisted_metrics(compared)
    stored = {metric for row in compared.rows for metric in unlisted if (row.asset, metric) in with_values}
    if never := [metric for metric in unlisted if metric not in stored]:
        remedy = f"no run can find it: take it out of {source.CONFIG}"
        yield Finding(Severity.WARNING, where, f"the API does not list {few(never)} for it", remedy)
    if stored:
        what = f"the API does not list {few(sorted(stored))} for it now, though values are stored"
        yield Finding(Severity.NOTE, where, what)


def _called(asset: ListedAsset) -> str:
    return f"{asset.id} ({asset.name})" if asset.name and asset.name.casefold() != asset.id.casefold() else asset.id


def _without_values(api: BaseSource, client: Client, unlisted: Sequence[Asset]) -> tuple[list[Asset], list[str]]:
    """The unlisted rows for which the API has no value either, and why calls had no answer.

    A row without an answer is not among them. Only kinds that a pull never takes from a list can have values without
    being listed: DefiLlama has prices of coins that no list names.
    """
    from_lists = {kind for kind in {row.kind for row in unlisted} if _pulled_from_lists(api, kind)}
    targets = [_pulled(api, row.targets())[:1] for row in unlisted if row.kind not in from_lists]
    with_value: set[tuple[str, str]] = set()
    failures = []
    for call in _pull_calls(api, [target for first in targets for target in first]):
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


def _pulled_from_lists(api: BaseSource, kind: str) -> bool:
    """Whether a pull takes any value of a kind from a list, which then names every asset that has one."""
    lists = {call.path for call in api.listing_calls()}
    targets = [Target("any", name, "any", kind) for name, metric in api.METRICS.items() if kind in metric.kinds]
    return any(call.path in lists for call in _pull_calls(api, _pulled(api, targets)))


def _pulled(api: BaseSource, targets: Sequence[Target]) -> list[Target]:
    return [target for target in targets if Verb.PULL in api.METRICS[target.metric].verbs]


def _pull_calls(api: BaseSource, targets: Sequence[Target]) -> Iterator[Call]:
    return api.calls(Verb.PULL, targets, pull_window(datetime.now(UTC), api.PULL_DAYS))
