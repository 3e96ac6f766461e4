"""The command `gaps`: what is stored for each series, and why each gap exists."""

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cli.run_text import window_text
from cli.stored_sources import configured_series, read_sources
from db.coverage import SeriesMap, forget_lost, series_maps
from db.quarantine import series_with
from model.settings import MAIN, Settings
from model.text import first_of
from model.values import DAY, Window, midnight, number_of_days
from pipeline.confirmation import confirmed_text, withdrawn_text
from pipeline.gaps import SourceGaps, in_rhythm
from sources import SOURCES

NAMES_IN_COMMAND = 5  # in a command that repairs gaps; with more names, the command repairs all gaps
GAPS_SHOWN = 6  # of one series and reason
REASONS = {
    "never": "never answered",
    "empty": "empty at the API",
    "refused": "refused",
    "lost": "LOST here, though the API had them",
}


def show_gaps(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show what is stored for each series, and why each gap exists; returns 1 where stored days were lost."""
    now = datetime.now(UTC)
    today = midnight(now)
    access = "written" if arguments.forget_lost else "read"
    found = read_sources(arguments, settings, lambda cursor, name: _source_gaps(cursor, name, arguments, today), access)
    if arguments.json:
        print(json.dumps([_as_json(gaps, series) for gaps in found for series in gaps.maps], indent=1))
    else:
        for gaps in found:
            print("\n".join(_lines(gaps, now)))
    return int(any(series.lost for gaps in found for series in gaps.maps))


def _source_gaps(cursor: Any, name: str, arguments: argparse.Namespace, today: datetime) -> SourceGaps:
    """The gaps of a source. With --forget-lost, lost days that no backfill can fetch no longer count as lost."""
    source, targets = SOURCES[name], configured_series(name, arguments)
    only = arguments.assets or None, arguments.metrics or None
    maps = series_maps(cursor, name, today, source.own_times(), *only)
    waiting = series_with(cursor, name, "waiting")
    gaps = SourceGaps(source, arguments.config, targets, in_rhythm(source, maps, targets), waiting)
    if arguments.forget_lost and (gone := gaps.lost_for_good()):
        forget_lost(cursor, name, gone)
        gaps = replace(gaps, maps=[each._replace(lost=[]) if each in gone else each for each in gaps.maps])
    return gaps


def _as_json(gaps: SourceGaps, series: SeriesMap) -> dict[str, Any]:
    return {
        "source": gaps.source.name,
        "asset": series.asset,
        "metric": series.metric,
        "live_only": gaps.is_live_only(series),
        "days": series.days,
        "answered": _pairs(series.answered),
        "never_asked": _pairs(series.never),
        "empty": _pairs(series.empty),
        "lost": _pairs(series.lost),
        "refused": _pairs(series.refused),
        "refused_because": series.reason,
        "withdrawn": _pairs(series.withdrawn),
        "withdrawn_at": _text(series.withdrawn_at),
        "verified_at": _text(series.verified_at),
        "waiting": (series.asset, series.metric) in gaps.waiting,
    }


def _pairs(windows: Sequence[Window]) -> list[tuple[str, str]]:
    """The first and the last day of each window."""
    return [(f"{window.start.date()}", f"{(window.end - DAY).date()}") for window in windows]


def _text(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _lines(gaps: SourceGaps, now: datetime) -> Iterator[str]:
    """The gaps of a source for a person, and the commands that fill them."""
    none = "no gaps" if gaps.maps else "nothing was requested yet"
    yield f"{gaps.source.name}: {len(gaps.maps):,} series; {'; '.join(_totals(gaps)) or none}"
    for series in gaps.maps:
        requested = "no history requested"
        if series.answered:
            requested = f"requested {window_text(Window(series.answered[0].start, series.answered[-1].end))}"
        requested += f", {_standing(gaps, series, now)}" if series.answered or gaps.is_live_only(series) else ""
        left = "" if gaps.configures(series) else f", not in {gaps.config_name}"
        yield f"  {series.asset} {series.metric}: {series.days:,} days; {requested}{left}"
        if days := number_of_days(series.withdrawn):
            which = first_of([*map(window_text, series.withdrawn)], GAPS_SHOWN)
            yield f"      {withdrawn_text(days, series.withdrawn_at)}: {which}"
        for reason, text in REASONS.items():
            windows: list[Window] = getattr(series, reason)
            if windows:
                why = f"{text}: {series.reason}" if reason == "refused" else text
                which = first_of([*map(window_text, windows)], GAPS_SHOWN)
                yield f"      {why}, {number_of_days(windows):,} days: {which}"
    yield from _remedies(gaps, midnight(now))


def _standing(gaps: SourceGaps, series: SeriesMap, now: datetime) -> str:
    """Since when a series is confirmed, and whether a restatement waits; one that has only live values can't be."""
    if gaps.is_live_only(series):
        return "has no history at the API"
    waits = "; a restatement waits for a person" if (series.asset, series.metric) in gaps.waiting else ""
    return f"{confirmed_text(series.verified_at, now)}{waits}"


def _totals(gaps: SourceGaps) -> Iterator[str]:
    """How many days are missing, by reason; without days never answered that no backfill would request."""
    for reason, text in REASONS.items():
        counted = [series for series in gaps.maps if reason != "never" or gaps.can_backfill(series)]
        days = [number for series in counted if (number := number_of_days(getattr(series, reason)))]
        if days:
            yield f"{sum(days):,} days of {len(days):,} series {text}"


def _remedies(gaps: SourceGaps, today: datetime) -> Iterator[str]:
    """The commands that fill the gaps, by reason."""
    name, config = gaps.source.name, f" --config {shlex.quote(str(gaps.config))}" if gaps.config else ""
    backfill = f"{MAIN} backfill {name}{config}"
    default_start = gaps.source.history_start(today)

    def start(first: datetime) -> str:
        """The option that a backfill needs to reach a day before its default start."""
        return f" --start {first.date()}" if first < default_start else ""

    fillable = [series for series in gaps.maps if gaps.can_backfill(series)]
    if never := [window.start for series in fillable for window in series.never]:
        yield f"  to request the days never answered: {backfill} --gaps{start(min(never))}"
    if empty := [window.start for series in fillable for window in [*series.empty, *series.refused]]:
        yield f"  to request the empty and refused days again: {backfill} --gaps --retry-empty{start(min(empty))}"
    if gaps.lost_for_good():
        yield (
            f"  no backfill can fetch lost live values, or series that {gaps.config_name} does not name: "
            f"{MAIN} restore FILE restores what a fresh start has saved, "
            f"{MAIN} gaps {name}{config} --forget-lost stops counting the days as lost"
        )
    if lost := [series for series in fillable if series.lost]:
        command = f"{backfill} --full{start(min(series.lost[0].start for series in lost))}"
        for kind in ("asset", "metric"):
            names = sorted({getattr(series, kind) for series in lost})
            if len(names) <= NAMES_IN_COMMAND:
                command += "".join(f" --{kind} {shlex.quote(each)}" for each in names)
        yield f"  to fetch the lost days again: {command}"
