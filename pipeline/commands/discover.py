"""The command `discover`: what an API offers, and what of it the config asks for."""

import argparse
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.commands.runs import needed_key, pace_of
from pipeline.errors import CallFailed, ConfigurationError, PipelineError
from pipeline.settings import ROOT, Settings
from sources import SOURCES

if TYPE_CHECKING:
    from pipeline.discovery import Found
    from pipeline.offers import Offers
    from sources.base import BaseSource, Call, Offer
    from sources.config import Asset

log = logging.getLogger(__name__)


def discover(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show what matches, or add it to the config; 1 where a call failed, so that something may be missing."""
    from pipeline.discovery import as_json, compare, pick
    from pipeline.offers import fetch_offers, with_metrics
    from sources.config import read_config
    from sources.http import Client

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


def _open(arguments: argparse.Namespace, settings: Settings) -> "BaseSource":
    """The source that is asked; raises ConfigurationError for a question that can't be asked of it."""
    from sources.config import nearest

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


def _tell(failed: "Mapping[Call, str]") -> None:
    for why in failed.values():
        log.warning("no answer, so something may be missing: %s", why)


def _matches(offers: "Offers", arguments: argparse.Namespace) -> "list[Offer]":
    """What matches the text; raises PipelineError where nothing does, with the nearest names."""
    from pipeline.discovery import match, suggestion

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
    found: "Found", config: Path, assets: "Sequence[Asset]", arguments: argparse.Namespace, source: "BaseSource"
) -> str:
    """Write the row that is missing; what was done."""
    from pipeline.discovery import row_for
    from sources.config import append_rows

    if found.offer.metrics is None:
        raise CallFailed(f"nothing is added: {source.name} has not said which metrics it has for {found.asset}")
    row = row_for(found, assets, arguments.metric, type(source))
    if row is None:
        asked = " ".join(arguments.metric) or "all that is listed"
        return f"{config.name}: nothing to add, it has {asked} of {found.asset}"
    (line,) = append_rows(config, type(source), [row])
    dead = f"\n  but the API says: {found.offer.dead}" if found.offer.dead else ""
    return f"{config.name}: added {line}{dead}"


def _show(found: "Sequence[Found]", matches: int, scrub: Callable[[str], str]) -> None:
    from pipeline.discovery import lines

    print(scrub("\n".join(lines(found))))
    if matches > len(found):
        print(f"and {matches - len(found):,} more: name more of what is looked for, or write --limit N")
