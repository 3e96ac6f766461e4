"""The command `discover`: which assets an API lists, with which metrics, and which of these the config has."""

import argparse
import json
import logging
import textwrap
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.jobs import api_of, warn_of_exposed_secrets
from cli.listed_assets import Comparison, all_names, compare, row_to_add, search
from cli.pull_backfill_settle import pace_of
from model.errors import CallFailed, ConfigurationError, PipelineError
from model.scrub import scrubbed
from model.settings import MAIN, ROOT, Settings
from model.text import nearest
from sources import SOURCES
from sources.base import BaseSource, Call, ListedAsset
from sources.config import Asset, append_rows, read_config
from sources.http import Client
from sources.listing import Listing, fetch_listing, one_line, with_metrics

log = logging.getLogger(__name__)

METRICS_WIDTH = 118  # columns
CANDIDATES = 10  # assets that an error names


def discover(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show the assets that match, or add one to the config; returns 1 if a call failed, so some may be missing."""
    source = _source(arguments, settings)
    config = arguments.config or ROOT / source.CONFIG
    rows = read_config(config, type(source), may_be_empty=True)  # refused before the first request
    if not source.key and any(metric.needs_key for metric in source.METRICS.values()):
        log.info("%s: %s is not set: assets and metrics that need it are left out", source.name, source.KEY_VARIABLE)
    client = Client(source, threading.Event(), pace_of(type(source), settings))
    listing = fetch_listing(source, client)
    matches = _matches(listing, arguments)
    chosen = [pick(matches, arguments.text)] if arguments.add else matches[: arguments.limit]
    completed = with_metrics(source, client, chosen)
    _warn(completed.failed)
    found, more = compare(completed.assets, rows, type(source), listing.unsure), len(matches) - len(chosen)
    if arguments.add:
        print(scrub(_add(found[0], config, rows, arguments.metric, type(source))))
    elif arguments.json:
        print(json.dumps(scrubbed(as_json(found), scrub), indent=1))
        if more:
            log.warning("%s more assets are left out: write --limit N", f"{more:,}")
    else:
        print(scrub("\n".join(lines(found))))
        if more:
            print(f"and {more:,} more: write more of the name, or --limit N")
    return 1 if listing.failed or completed.failed else 0


def _source(arguments: argparse.Namespace, settings: Settings) -> BaseSource:
    """The requested source; raises ConfigurationError if an argument does not fit it."""
    source, kind = SOURCES[arguments.source], arguments.kind
    if kind is not None and kind not in source.KINDS:
        hint = nearest(kind, source.KINDS) if source.KINDS else f"{source.name} has no kinds, so leave --kind out"
        raise ConfigurationError(f"unknown kind {kind!r}: {hint}")
    if arguments.limit < 1:
        raise ConfigurationError(f"--limit {arguments.limit}: write a number of at least 1")
    if arguments.add and not arguments.text.strip():
        raise ConfigurationError("--add needs the name of the asset to add: write it as TEXT")
    if arguments.metric and not arguments.add:
        raise ConfigurationError("--metric only goes with --add: it says which metrics are added")
    for metric in arguments.metric:
        if metric not in source.METRICS:
            raise ConfigurationError(f"{source.name} has no metric {metric!r}: {nearest(metric, source.METRICS)}")
    warn_of_exposed_secrets([source.name], settings)
    return api_of(source, settings)


def _warn(failed: Mapping[Call, str]) -> None:
    for why in failed.values():
        log.warning("assets or metrics may be missing, since a call failed: %s", why)


def _matches(listing: Listing, arguments: argparse.Namespace) -> list[ListedAsset]:
    """The listed assets that match; raises PipelineError with the nearest names if there are none."""
    name, text, kind = arguments.source, arguments.text, arguments.kind
    if not listing.assets and listing.failed:
        raise PipelineError(f"{name}: none of the lists could be fetched: {next(iter(listing.failed.values()))}")
    _warn(listing.failed)
    if matches := search(listing.assets, text, kind):
        return matches
    names = [each for asset in listing.assets if kind in (None, asset.kind) for each in all_names(asset)]
    hint = nearest(text.strip(), names, f"{MAIN} discover {name}, or write less of its name", 3)
    nothing = f"{name} lists no {f'{kind} ' if kind else ''}{text!r}: {hint}"
    if listing.failed:
        raise PipelineError(f"{nothing}; or it is in a list that could not be fetched: try again later")
    raise ConfigurationError(nothing)


def _add(
    found: Comparison, config: Path, rows: Sequence[Asset], metrics: Sequence[str], source: type[BaseSource]
) -> str:
    """Add the missing row to the config; returns a line that says so."""
    if found.listed.metrics is None:
        raise CallFailed(f"nothing is added: the metrics of {found.asset} could not be fetched: try again later")
    row = row_to_add(found, rows, metrics, source)
    if row is None:
        had = " ".join(metrics) or "all listed metrics that are not deprecated"
        return f"{config.name}: nothing to add, it has {had} of {found.asset}"
    (line,) = append_rows(config, source, [row])
    dead = f"\n  but the API says: {found.listed.dead}" if found.listed.dead else ""
    return f"{config.name}: added {line}{dead}"


def pick(matches: Sequence[ListedAsset], text: str) -> ListedAsset:
    """The one asset that a text means: the only match, or the only one with that identifier or name.

    If several assets of one kind have the name, it means the one with that identifier. Raises ConfigurationError with
    the candidates where it is unclear.
    """
    wanted = text.strip().casefold()
    equal = [each for each in matches if wanted in (each.id.casefold(), each.asset.casefold(), each.name.casefold())]
    same_id = [each for each in equal if each.id.casefold() == wanted]
    candidates = matches if len(matches) == 1 else equal or matches
    if len(same_id) == 1 and len({each.kind for each in equal}) == 1:
        candidates = same_id
    if len(candidates) == 1:
        return candidates[0]
    kinds = ", and --kind if two have the same id" if len({each.kind for each in candidates}) > 1 else ""
    named = "".join(f"\n  {line}" for line in _heads(map(Comparison, candidates[:CANDIDATES])))
    more = f"\n  and {len(candidates) - CANDIDATES:,} more" if len(candidates) > CANDIDATES else ""
    raise ConfigurationError(f"{text!r} matches {len(candidates):,} assets: write the id of one{kinds}{named}{more}")


def lines(found: Sequence[Comparison]) -> Iterator[str]:
    """A line for each asset, and below it its metrics: those in the config, and the others."""
    for each, head in zip(found, _heads(found), strict=True):
        yield head + (f"  [{each.listed.dead}]" if each.listed.dead else "")
        listed = [metric for metric in each.configured if metric not in each.unlisted]
        by_title = {"configured": listed, "configured, but not listed": each.unlisted, "to add": each.missing}
        for title, metrics in by_title.items():
            yield from textwrap.wrap(
                " ".join(metrics), METRICS_WIDTH,
                initial_indent=f"    {title}: ", subsequent_indent=" " * 8, break_on_hyphens=False,
            )  # fmt: skip
        if each.listed.metrics is None:
            yield "    metrics not known"


def as_json(found: Sequence[Comparison]) -> list[dict[str, Any]]:
    """The assets as plain values; `metrics` is null if they are not known."""
    return [
        {
            **each.listed._asdict(),
            "asset": each.asset,
            "metrics": None if each.listed.metrics is None else sorted(each.listed.metrics),
            "configured": each.configured,
            "missing": each.missing,
        }
        for each in found
    ]


def _heads(found: Iterable[Comparison]) -> list[str]:
    """A line for each asset, in columns: its name in the config, its kind, its identifier, and what it is called."""
    rows = []
    for asset, listed in ((each.asset, each.listed) for each in found):
        symbol = f"({listed.symbol})" if listed.symbol.casefold() not in ("", listed.name.casefold()) else ""
        cells = (asset, *filter(None, [listed.kind]), listed.id, f"{listed.name} {symbol}".strip())
        rows.append([one_line(cell) for cell in cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
