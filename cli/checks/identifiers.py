"""The area `identifiers`: the identifiers and metrics of the configs, compared with what the APIs list."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from difflib import get_close_matches

from cli.checks.context import OFFLINE, CheckContext
from cli.checks.finding import Area, Finding, Severity, few
from db.coverage import Name
from model.errors import CallFailed, PipelineError, SourceStopped
from model.text import counted
from model.values import Target, Verb
from pipeline.plan import pull_window
from sources.base import BaseSource, Call, Offer
from sources.config import Asset
from sources.http import Client
from sources.listing import Offers, fetch_offers, with_metrics

log = logging.getLogger(__name__)

ALIKE = 0.7  # of 1: how like an identifier a listed one must be to be suggested
UNKNOWN = (400, 404, 422)  # HTTP statuses with which an API answers to an identifier that it does not know


class Catalogue:
    """What an API lists, found by kind and identifier in any spelling that the API takes."""

    def __init__(self, source: type[BaseSource], offers: Offers) -> None:
        self._spelling, self.unsure = source.one_spelling, offers.unsure
        self._by_id: dict[str, dict[str, Offer]] = {}
        self._by_name: dict[tuple[str, str], Offer] = {}
        self._metrics: dict[str, set[str]] = {}
        self._one_by_one: set[str] = set()  # kinds whose metrics the API lists for one asset at a time
        for offer in offers.listed:
            self._by_id.setdefault(offer.kind, {})[self._spelling(offer.kind, offer.id)] = offer
            if offer.name:
                self._by_name.setdefault((offer.kind, offer.name.casefold()), offer)
            self._metrics.setdefault(offer.kind, set()).update(offer.metrics or ())
            if offer.metrics is None:
                self._one_by_one.add(offer.kind)

    def match(self, rows: Iterable[Asset]) -> tuple[list[tuple[Asset, Offer]], list[Asset]]:
        """The rows that are listed, and those that are not; without kinds of which no list has anything."""
        listed, unlisted = [], []
        for row in rows:
            of_kind = self._by_id.get(row.kind)
            offer = of_kind and of_kind.get(self._spelling(row.kind, row.id))
            if offer:
                listed.append((row, offer))
            elif of_kind and row.kind not in self.unsure:
                unlisted.append(row)
        return listed, unlisted

    def named(self, row: Asset) -> Offer | None:
        """The asset that has the name of a row."""
        return self._by_name.get((row.kind, row.name.casefold())) if row.name else None

    def nearest(self, row: Asset) -> Offer | None:
        """What an unlisted row may mean: the asset of its name, or one with a similar identifier."""
        if offer := self.named(row):
            return offer
        if row.id.isdecimal():  # similar numbers mean nothing
            return None
        listed = self._by_id.get(row.kind, {})
        close = get_close_matches(row.id.casefold(), listed, n=1, cutoff=ALIKE)
        return listed[close[0]] if close else None

    def unlisted_metrics(self, row: Asset, offer: Offer) -> list[str]:
        """The metrics of a row that the API does not list for its asset; none where a list had no answer."""
        if offer.metrics is None or row.kind in self.unsure:
            return []
        known = self._metrics.get(row.kind, ())
        return [
            name
            for name in row.metrics
            if name not in offer.metrics and (row.kind in self._one_by_one or name in known)  # else no list has it
        ]


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
            found, context.explained[name] = _compare(api, client, merged(rows), _with_values(context, name))
        except SourceStopped as error:
            findings.append(Finding(Severity.ERROR, name, str(error)))
            continue
        findings += found
        checked.append(f"{len({(row.kind, row.id) for row in rows}):,} of {name}")
    return Area(", ".join(checked), findings) if checked or findings else Area("no API answers", None)


def _with_values(context: CheckContext, name: str) -> Collection[Name]:
    """The configured series that have values, as far as the database can be read."""
    try:
        return context.records[name].with_values if name in context.records else ()
    except PipelineError:  # a finding of the area `series`
        return ()


def _compare(
    api: BaseSource, client: Client, rows: Sequence[Asset], with_values: Collection[Name]
) -> tuple[list[Finding], set[Name]]:
    """What is wrong with rows, and which series have no values for that reason; raises SourceStopped."""
    source, offers = type(api), fetch_offers(api, client)
    catalogue = Catalogue(source, offers)
    listed, unlisted = catalogue.match(rows)
    if one_by_one := sum(api.metrics_of(offer) is not None for _, offer in listed):
        seconds = one_by_one * api.REQUEST_DELAY
        log.info("%s: asking for the metrics of %d assets: at least %.0f s", api.name, one_by_one, seconds)
    completed = with_metrics(api, client, [offer for _, offer in listed])
    pairs = list(zip((row for row, _ in listed), completed.listed, strict=True))
    unknown, failures = _without_values(api, client, unlisted)
    failures = [*offers.failed.values(), *completed.failed.values(), *failures]
    findings = []
    if failures:
        what = f"no answer from {counted(len(failures), 'list')}, so not all is known: {failures[0]}"
        findings.append(Finding(Severity.WARNING, api.name, what, "try again later"))
    findings += unknown_findings(source, unknown, catalogue)
    for row, offer in pairs:
        findings += listed_findings(source, row, offer, catalogue, with_values)
    explained = {(row.asset, metric) for row in unknown for metric in row.metrics}
    explained |= {(row.asset, metric) for row, offer in pairs for metric in catalogue.unlisted_metrics(row, offer)}
    return findings, explained


def unknown_findings(source: type[BaseSource], unknown: Iterable[Asset], catalogue: Catalogue) -> Iterator[Finding]:
    """Rows whose identifiers the API does not know."""
    for row in unknown:
        offer = catalogue.nearest(row)
        kind = f"{row.kind} " if row.kind else ""
        hint = f"did you mean {_called(offer)}? " if offer else ""
        remedy = f"{hint}python main.py discover {source.name} lists what there is"
        yield Finding(Severity.ERROR, f"{source.name} {row.asset}", f"the API knows no {kind}{row.id}", remedy)


def listed_findings(
    source: type[BaseSource], row: Asset, offer: Offer, catalogue: Catalogue, with_values: Collection[Name]
) -> Iterator[Finding]:
    """What is wrong with a listed row: it is dead, seems renamed, or wants metrics that the API does not list."""
    where = f"{source.name} {row.asset}"
    if offer.dead:
        remedy = f"take it out of {source.CONFIG}; the stored values stay"
        yield Finding(Severity.WARNING, where, f"the API says of {row.id}: {offer.dead}", remedy)
    meant = catalogue.named(row)
    if meant and offer.name and meant.id != offer.id and offer.name.casefold() != row.name.casefold():
        what = f"{row.id} is {offer.name} at the API, and {row.name} is {_called(meant)}"
        yield Finding(Severity.NOTE, where, what, "if it has been renamed, correct the id or the name")
    unlisted = catalogue.unlisted_metrics(row, offer)
    if never := [metric for metric in unlisted if (row.asset, metric) not in with_values]:
        remedy = f"no run can find it: take it out of {source.CONFIG}"
        yield Finding(Severity.WARNING, where, f"the API does not list {few(never)} for it", remedy)
    if once := [metric for metric in unlisted if metric not in never]:
        what = f"the API does not list {few(once)} for it now, though values are stored"
        yield Finding(Severity.NOTE, where, what)


def merged(rows: Sequence[Asset]) -> list[Asset]:
    """One row for each kind and identifier, with the metrics of all; the first one names it."""
    found: dict[tuple[str, str], Asset] = {}
    for row in rows:
        key = row.kind, row.id.casefold()
        first = found.get(key, row)
        found[key] = replace(first, metrics=tuple(dict.fromkeys((*first.metrics, *row.metrics))))
    return list(found.values())


def _called(offer: Offer) -> str:
    return f"{offer.id} ({offer.name})" if offer.name and offer.name.casefold() != offer.id.casefold() else offer.id


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
    lists = {call.path for call in api.listings()}
    targets = [Target("any", name, "any", kind) for name, metric in api.METRICS.items() if kind in metric.kinds]
    return any(call.path in lists for call in _pull_calls(api, _pulled(api, targets)))


def _pulled(api: BaseSource, targets: Sequence[Target]) -> list[Target]:
    return [target for target in targets if Verb.PULL in api.METRICS[target.metric].verbs]


def _pull_calls(api: BaseSource, targets: Sequence[Target]) -> Iterator[Call]:
    return api.calls(Verb.PULL, targets, pull_window(datetime.now(UTC), api.PULL_DAYS))
