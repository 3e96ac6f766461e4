"""The command `discover`: what an API offers, and what of it the config asks for."""

import argparse
import json
import logging
import textwrap
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from cli.jobs import needed_key
from cli.pull_backfill_settle import pace_of
from model.errors import CallFailed, ConfigurationError, PipelineError
from model.settings import ROOT, Settings
from model.text import close_names, nearest
from sources import SOURCES
from sources.base import BaseSource, Call, Offer
from sources.config import Asset, append_rows, read_config
from sources.http import Client
from sources.listing import Offers, fetch_offers, names_for, one_line, with_metrics

log = logging.getLogger(__name__)

WIDTH = 118  # characters of a line of metrics
NAMED = 10  # candidates that an error names


class Found(NamedTuple):
    """One offer and the rows of the config that ask for it, under whatever asset."""

    offer: Offer
    rows: tuple[Asset, ...] = ()
    unsure: bool = False  # whether a list that tells its metrics had no answer

    @property
    def asset(self) -> str:
        """What the config calls it, or would."""
        return self.rows[0].asset if self.rows else self.offer.asset

    @property
    def configured(self) -> list[str]:
        """The metrics that the config asks for, in its order."""
        return list(dict.fromkeys(metric for row in self.rows for metric in row.metrics))

    @property
    def missing(self) -> list[str]:
        """The metrics that the API lists and the config does not ask for."""
        return sorted((self.offer.metrics or frozenset()) - set(self.configured))

    @property
    def unlisted(self) -> list[str]:
        """The metrics that the config asks for and no list of the API tells of."""
        offered = self.offer.metrics
        if offered is None or self.unsure:
            return []
        return [metric for metric in self.configured if metric not in offered]


def discover(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show what matches, or add it to the config; 1 where a call failed, so that something may be missing."""
    source = _open(arguments, settings)
    config = arguments.config or ROOT / source.CONFIG
    assets = read_config(config, type(source), may_be_empty=True)  # before anything is sent
    if not source.key and any(metric.needs_key for metric in source.METRICS.values()):
        log.info("%s: %s is not set: what needs it is left out", source.name, source.KEY_VARIABLE)
    client = Client(source, threading.Event(), pace_of(type(source), settings))
    offers = fetch_offers(source, client)
    matches = _matches(offers, arguments)
    chosen = [pick(matches, arguments.text)] if arguments.add else matches[: arguments.limit]
    completed = with_metrics(source, client, chosen)
    _tell(completed.failed)
    found = compare(completed.listed, assets, offers.unsure)
    if arguments.add:
        print(scrub(_add(found[0], config, assets, arguments, source)))
    elif arguments.json:
        print(scrub(json.dumps(as_json(found), indent=1)))
        if (more := len(matches) - len(found)) > 0:
            log.warning("%s more are left out: write --limit N", f"{more:,}")
    else:
        _show(found, len(matches), scrub)
    return 1 if offers.failed or completed.failed else 0


def _open(arguments: argparse.Namespace, settings: Settings) -> BaseSource:
    """The source that is asked; raises ConfigurationError for a question that can't be asked of it."""
    source = SOURCES[arguments.source]
    kind = arguments.kind
    if kind is not None and kind not in source.KINDS:
        hint = nearest(kind, source.KINDS) if source.KINDS else f"{source.name} has no kinds"
        raise ConfigurationError(f"unknown kind {kind!r}: {hint}")
    if arguments.limit < 1:
        raise ConfigurationError(f"--limit {arguments.limit}: write a number of assets from 1 on")
    if arguments.add and not arguments.text.strip():
        raise ConfigurationError("--add wants the name of what is to be added")
    if arguments.metric and not arguments.add:
        raise ConfigurationError("--metric goes with --add: it says which metrics are added")
    for metric in arguments.metric:
        if metric not in source.METRICS:
            raise ConfigurationError(f"{source.name} has no metric {metric!r}: {nearest(metric, source.METRICS)}")
    return source(needed_key(source, settings), settings.url(source.BASE_URL_VARIABLE))


def _tell(failed: Mapping[Call, str]) -> None:
    for why in failed.values():
        log.warning("no answer, so something may be missing: %s", why)


def _matches(offers: Offers, arguments: argparse.Namespace) -> list[Offer]:
    """What matches the text; raises PipelineError where nothing does, with the nearest names."""
    if not offers.listed and offers.failed:
        raise PipelineError(f"{arguments.source} has answered none of its lists: {next(iter(offers.failed.values()))}")
    _tell(offers.failed)
    matches = match(offers.listed, arguments.text, arguments.kind)
    if matches:
        return matches
    what = f"{arguments.kind} " if arguments.kind else ""
    hint = suggestion(offers.listed, arguments.text, arguments.kind) or "write less of its name"
    nothing = f"{arguments.source} lists no {what}{arguments.text!r}: {hint}"
    raise PipelineError(f"{nothing}; or it is in what had no answer") if offers.failed else ConfigurationError(nothing)


def _add(
    found: Found, config: Path, assets: Sequence[Asset], arguments: argparse.Namespace, source: "BaseSource"
) -> str:
    """Write the row that is missing; what was done."""
    if found.offer.metrics is None:
        raise CallFailed(f"nothing is added: {source.name} has not said which metrics it has for {found.asset}")
    row = row_for(found, assets, arguments.metric, type(source))
    if row is None:
        asked = " ".join(arguments.metric) or "all that is listed"
        return f"{config.name}: nothing to add, it has {asked} of {found.asset}"
    (line,) = append_rows(config, type(source), [row])
    dead = f"\n  but the API says: {found.offer.dead}" if found.offer.dead else ""
    return f"{config.name}: added {line}{dead}"


def _show(found: Sequence[Found], matches: int, scrub: Callable[[str], str]) -> None:
    print(scrub("\n".join(lines(found))))
    if matches > len(found):
        print(f"and {matches - len(found):,} more: name more of what is looked for, or write --limit N")


def match(offers: Sequence[Offer], text: str, kind: str | None = None) -> list[Offer]:
    """The offers that have the text in an identifier, name or symbol, whatever its case; those that equal it first."""
    text = text.strip().casefold()
    ranked: list[list[Offer]] = [[], [], []]
    for offer in offers:
        words = [word.casefold() for word in _words(offer)]
        if (kind is not None and offer.kind != kind) or not any(text in word for word in words):
            continue
        rank = 0 if text in words else 1 if any(word.startswith(text) for word in words) else 2
        ranked[rank].append(offer)
    return [offer for alike in ranked for offer in alike]


def suggestion(offers: Sequence[Offer], text: str, kind: str | None = None) -> str:
    """The names most like a text that matches nothing; empty where none is like it."""
    words = [word for offer in offers if kind in (None, offer.kind) for word in _words(offer)]
    near = close_names(text.strip(), words, 3)
    return f"did you mean {' or '.join(near)}?" if near else ""


def compare(offers: Sequence[Offer], assets: Sequence[Asset], unsure: Collection[str] = ()) -> list[Found]:
    """Each offer with the rows of the config that are of its kind and identifier; of some kinds lists are missing."""
    rows: dict[tuple[str, str], list[Asset]] = {}
    for asset in assets:
        rows.setdefault((asset.kind, asset.id.casefold()), []).append(asset)
    return [
        Found(offer, tuple(rows.get((offer.kind, offer.id.casefold()), ())), offer.kind in unsure) for offer in offers
    ]


def pick(offers: Sequence[Offer], text: str) -> Offer:
    """The match that a text means: the only one, or the only one whose asset, identifier or name it is.

    Raises ConfigurationError, with the candidates, where that is unclear.
    """
    wanted = text.strip().casefold()
    exact = [
        offer for offer in offers if wanted in (offer.id.casefold(), offer.asset.casefold(), offer.name.casefold())
    ]
    same_id = [offer for offer in exact if offer.id.casefold() == wanted]
    for only in (offers, exact, same_id if len({offer.kind for offer in exact}) == 1 else ()):
        if len(only) == 1:
            return only[0]
    candidates = exact or offers
    named = "\n".join(f"  {line}" for line in _columns([_cells(Found(offer)) for offer in candidates[:NAMED]]))
    more = f"\n  and {len(candidates) - NAMED:,} more" if len(candidates) > NAMED else ""
    kinds = ", and --kind where two have the same" if len({offer.kind for offer in candidates}) > 1 else ""
    raise ConfigurationError(f"{text!r} may be one of {len(candidates):,}: write its id{kinds}\n{named}{more}")


def row_for(found: Found, assets: Sequence[Asset], only: Collection[str], source: type[BaseSource]) -> Asset | None:
    """The row that a config lacks for an offer, with these metrics or, where none are named, all; None for nothing.

    Its asset is the one that the config has for it, else one that no other row of the kind has. Raises
    ConfigurationError for a metric that the API does not list for it.
    """
    offer = found.offer
    offered = offer.metrics or frozenset()
    for metric in only:
        if metric not in offered:
            hint = nearest(metric, offered, f"python main.py discover {source.name} {offer.id}")
            raise ConfigurationError(f"{source.name} lists no {metric} for {found.asset}: {hint}")
    wanted = [metric for metric in source.METRICS if metric in found.missing and (not only or metric in only)]
    if not wanted:
        return None
    if found.rows:
        return replace(found.rows[0], metrics=tuple(wanted))
    taken = {asset.asset.casefold() for asset in assets if asset.kind == offer.kind}
    name = next((name for name in names_for(offer) if name.casefold() not in taken), offer.id)
    return Asset(name, tuple(wanted), offer.id, offer.kind, offer.name, "")


def lines(found: Sequence[Found]) -> Iterator[str]:
    """One line for each offer, and below it its metrics: those that the config asks for, and the others."""
    heads = _columns([_cells(each) for each in found])
    for each, head in zip(found, heads, strict=True):
        yield head + (f"  [{each.offer.dead}]" if each.offer.dead else "")
        listed = [metric for metric in each.configured if metric not in each.unlisted]
        yield from _metrics_lines("configured", listed)
        yield from _metrics_lines("configured, but not listed", each.unlisted)
        yield from _metrics_lines("to add", each.missing)
        if each.offer.metrics is None:
            yield "    metrics not known"


def as_json(found: Sequence[Found]) -> list[dict[str, Any]]:
    """The same as plain values; `metrics` is null where they are not known."""
    return [
        {
            "asset": each.asset,
            "kind": each.offer.kind,
            "id": each.offer.id,
            "name": each.offer.name,
            "symbol": each.offer.symbol,
            "metrics": None if each.offer.metrics is None else sorted(each.offer.metrics),
            "configured": each.configured,
            "missing": each.missing,
            "dead": each.offer.dead,
        }
        for each in found
    ]


def _words(offer: Offer) -> tuple[str, ...]:
    return tuple(word for word in (offer.id, offer.asset, offer.name, offer.symbol) if word)


def _cells(found: Found) -> tuple[str, ...]:
    offer = found.offer
    symbol = f"({offer.symbol})" if offer.symbol and offer.symbol.casefold() != offer.name.casefold() else ""
    kind = (offer.kind,) if offer.kind else ()
    return (found.asset, *kind, offer.id, f"{offer.name} {symbol}".strip())


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    rows = [tuple(one_line(cell) for cell in row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _metrics_lines(what: str, metrics: Sequence[str]) -> list[str]:
    head = f"    {what}: "
    return textwrap.wrap(
        " ".join(metrics), WIDTH, initial_indent=head, subsequent_indent=" " * 8, break_on_hyphens=False
    )
