"""The identifiers of a config beside what the API lists."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from cli.checks.finding import Finding, Severity, few
from sources.base import BaseSource, ListedAsset
from sources.config import Asset

ALIKE = 0.7  # of 1: how near an identifier is to one that is listed to be taken for it


class Match(NamedTuple):
    """A row of a config, and what the API lists under its identifier: None where it lists nothing."""

    row: Asset
    offer: ListedAsset | None


class Told(NamedTuple):
    """What was found of identifiers, and the series (asset, metric) that have no values for one of these reasons."""

    findings: list[Finding]
    explained: frozenset[tuple[str, str]]


class Catalogue:
    """What an API lists, by kind and identifier, in whatever spelling."""

    def __init__(self, source: type[BaseSource], offers: Iterable[ListedAsset]) -> None:
        self._spelling = source.canonical_id
        self._by_id: dict[str, dict[str, ListedAsset]] = {}
        self._by_name: dict[tuple[str, str], ListedAsset] = {}
        self._metrics: dict[str, set[str]] = {}
        self._one_by_one: set[str] = set()
        for offer in offers:
            self._by_id.setdefault(offer.kind, {})[self._spelling(offer.kind, offer.id)] = offer
            if offer.name:
                self._by_name.setdefault((offer.kind, offer.name.casefold()), offer)
            self._metrics.setdefault(offer.kind, set()).update(offer.metrics or ())
            if offer.metrics is None:
                self._one_by_one.add(offer.kind)

    def match(self, rows: Iterable[Asset]) -> list[Match]:
        """Each row with its offer; less those of a kind of which nothing is listed at all."""
        listed = [(row, self._by_id[row.kind]) for row in rows if row.kind in self._by_id]
        return [Match(row, offers.get(self._spelling(row.kind, row.id))) for row, offers in listed]

    def named(self, row: Asset) -> ListedAsset | None:
        """What the API calls by the name of a row."""
        return self._by_name.get((row.kind, row.name.casefold())) if row.name else None

    def nearest(self, row: Asset) -> ListedAsset | None:
        """What a row may mean whose identifier is not listed: what has its name, or an identifier like its own."""
        if offer := self.named(row):
            return offer
        if row.id.isdecimal():  # no number is near to another
            return None
        listed = self._by_id.get(row.kind, {})
        close = get_close_matches(row.id.casefold(), listed, n=1, cutoff=ALIKE)
        return listed[close[0]] if close else None

    def unlisted(self, match: Match, unsure: Collection[str] = ()) -> list[str]:
        """The metrics of a row that the API does not list for its asset; none of a kind that is `unsure`."""
        row, offer = match
        if offer is None or offer.metrics is None or row.kind in unsure:
            return []
        return [name for name in row.metrics if self.tells(row.kind, name) and name not in offer.metrics]

    def tells(self, kind: str, metric: str) -> bool:
        """Whether the API says at all which assets have a metric: a list of them, or each asset for itself."""
        return kind in self._one_by_one or metric in self._metrics.get(kind, ())


def missing_findings(source: type[BaseSource], missing: Iterable[Asset], catalogue: Catalogue) -> Iterator[Finding]:
    """Rows whose identifiers the API does not know."""
    for row in missing:
        offer = catalogue.nearest(row)
        kind = f"{row.kind} " if row.kind else ""
        hint = f"did you mean {_called(offer)}? " if offer else ""
        remedy = f"{hint}python main.py discover {source.name} lists what there is"
        yield Finding(Severity.ERROR, f"{source.name} {row.asset}", f"the API knows no {kind}{row.id}", remedy)


def listed_findings(
    source: type[BaseSource],
    matches: Iterable[Match],
    catalogue: Catalogue,
    unsure: Collection[str],
    seen: Collection[tuple[str, str]],
) -> Iterator[Finding]:
    """Listed rows that have ended, that may mean something else, or ask for metrics that the API does not list.

    Of kinds that are `unsure` no metric is missed; one of which the table has seen values may come back.
    """
    for match in matches:
        row, offer = match
        if offer is None:
            continue
        where = f"{source.name} {row.asset}"
        if offer.dead:
            remedy = f"take it out of {source.CONFIG}; what is stored stays"
            yield Finding(Severity.WARNING, where, f"the API says of {row.id}: {offer.dead}", remedy)
        meant = catalogue.named(row)
        if meant and offer.name and meant.id != offer.id and offer.name.casefold() != row.name.casefold():
            what = f"{row.id} is {offer.name} at the API, and {row.name} is {_called(meant)}"
            yield Finding(Severity.NOTE, where, what, "if it has been renamed, correct the id or the name")
        yield from _metric_findings(source, row, catalogue.unlisted(match, unsure), seen)


def merged(rows: Sequence[Asset]) -> list[Asset]:
    """One row for each kind and identifier, with the metrics of all; the first one names it."""
    found: dict[tuple[str, str], Asset] = {}
    for row in rows:
        first = found.setdefault((row.kind, row.id.casefold()), row)
        if first is not row:
            metrics = dict.fromkeys((*first.metrics, *row.metrics))
            found[row.kind, row.id.casefold()] = replace(first, metrics=tuple(metrics))
    return list(found.values())


def _metric_findings(
    source: type[BaseSource], row: Asset, missed: Sequence[str], seen: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    where, what = f"{source.name} {row.asset}", "the API does not list"
    never = [metric for metric in missed if (row.asset, metric) not in seen]
    if never:
        remedy = f"a run will find nothing: take it out of {source.CONFIG}"
        yield Finding(Severity.WARNING, where, f"{what} {few(never)} for it", remedy)
    if once := [metric for metric in missed if metric not in never]:
        yield Finding(Severity.NOTE, where, f"{what} {few(once)} for it now, though it once had values")


def _called(offer: ListedAsset) -> str:
    return f"{offer.id} ({offer.name})" if offer.name and offer.name.casefold() != offer.id.casefold() else offer.id
