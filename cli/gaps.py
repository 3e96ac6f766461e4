"""The command `gaps`: what is stored for each series, and why each gap exists."""

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from cli.run_text import window_text
from cli.stored_sources import configured_series, each_source
from db.coverage import SeriesMap, forget_lost, series_maps
from db.session import plain_errors
from model.settings import Settings
from model.text import first_of
from model.values import DAY, Window, midnight
from pipeline.gaps import SourceGaps, in_rhythm
from sources import SOURCES

NAMES_SHOWN = 5  # in a command that repairs gaps; with more names, the command repairs all gaps
GAPS_SHOWN = 6  # of one series and reason
REASONS = {
    "never": "never requested",
    "empty": "empty at the API",
    "lost": "LOST here, though the API had them",
}


def show_gaps(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show what is stored for each series, and why each gap exists; 1 where stored days were lost."""
    del scrub
    today = midnight(datetime.now(UTC))
    found = [_source_gaps(name, session, arguments, today) for name, session in each_source(arguments, settings)]
    if arguments.json:
        print(json.dumps([values for gaps in found for values in _as_json(gaps)], indent=1))
    else:
        for gaps in found:
            print("\n".join(_lines(gaps, today)))
            if number := _never_requested(gaps, arguments, settings):
                print(f"  {number:,} series of {gaps.config_name} were never requested, by a pull or a backfill")
    return int(any(series.lost for gaps in found for series in gaps.maps))


def _source_gaps(name: str, session: Connection, arguments: argparse.Namespace, today: datetime) -> SourceGaps:
    """The gaps of a source. With --forget-lost, days that no backfill can bring back no longer count as lost."""
    source, targets = SOURCES[name], configured_series(name, arguments)
    with session, session.cursor() as cursor:
        only = arguments.asset or None, arguments.metric or None
        maps = series_maps(cursor, name, today, source.own_times(), *only)
    gaps = SourceGaps(source, arguments.config, targets, in_rhythm(source, maps, targets))
    gone = gaps.lost_for_good() if arguments.forget_lost else []
    if gone:
        with plain_errors(session, session.info.dbname), session, session.cursor() as cursor:
            forget_lost(cursor, name, gone)
    return replace(gaps, maps=[each._replace(lost=[]) if each in gone else each for each in gaps.maps])


def _never_requested(gaps: SourceGaps, arguments: argparse.Namespace, settings: Settings) -> int:
    """How many series of the config were never requested, although the keys allow it."""
    requested = {(series.asset, series.metric) for series in gaps.maps}
    with_key = bool(settings.get(gaps.source.KEY_VARIABLE))
    return sum(
        (asset, metric) not in requested
        and gaps.source.can_ask(metric, with_key=with_key)
        and (not arguments.asset or asset in arguments.asset)
        and (not arguments.metric or metric in arguments.metric)
        for asset, metric in gaps.targets
    )


def _as_json(gaps: SourceGaps) -> Iterator[dict[str, Any]]:
    """Each series as plain values; a gap is a pair of its first and its last day."""
    for series in gaps.maps:
        windows = {
            "answered": series.answered,
            "never_asked": series.never,
            "empty": series.empty,
            "lost": series.lost,
        }
        yield {
            "source": gaps.source.name,
            "asset": series.asset,
            "metric": series.metric,
            "live_only": gaps.is_live_only(series),
            "days": series.days,
            **{
                name: [[f"{window.start.date()}", f"{(window.end - DAY).date()}"] for window in found]
                for name, found in windows.items()
            },
        }


def _lines(gaps: SourceGaps, today: datetime) -> Iterator[str]:
    """The gaps of a source for a person, and the commands that fill them."""
    yield f"{gaps.source.name}: {len(gaps.maps):,} series; {'; '.join(_totals(gaps)) or 'no gaps'}"
    for series in gaps.maps:
        requested = "no history requested"
        if series.answered:
            requested = f"requested {window_text(Window(series.answered[0].start, series.answered[-1].end))}"
        live = ", exists only live" if gaps.is_live_only(series) else ""
        left = "" if gaps.configures(series) else f", not in {gaps.config_name}"
        yield f"  {series.asset} {series.metric}: {series.days:,} days; {requested}{live}{left}"
        for reason, text in REASONS.items():
            windows: list[Window] = getattr(series, reason)
            if windows:
                yield f"      {text}, {_days(windows):,} days: {first_of([*map(window_text, windows)], GAPS_SHOWN)}"
    yield from _remedies(gaps, today)


def _totals(gaps: SourceGaps) -> Iterator[str]:
    """The days of all gaps by reason; without days never requested that no backfill would ask for."""
    for reason, text in REASONS.items():
        counted = [series for series in gaps.maps if reason != "never" or gaps.can_backfill(series)]
        days = [number for series in counted if (number := _days(getattr(series, reason)))]
        if days:
            yield f"{sum(days):,} days of {len(days):,} series {text}"


def _remedies(gaps: SourceGaps, today: datetime) -> Iterator[str]:
    """The commands that fill the gaps, by reason."""
    name, config = gaps.source.name, f" --config {shlex.quote(str(gaps.config))}" if gaps.config else ""
    backfill = f"python main.py backfill {name}{config}"
    default_start = gaps.source.history_start(today)

    def start(first: datetime) -> str:
        """The option that a backfill needs to reach a day before its default start."""
        return f" --start {first.date()}" if first < default_start else ""

    fillable = [series for series in gaps.maps if gaps.can_backfill(series)]
    if never := [window.start for series in fillable for window in series.never]:
        yield f"  to request what never was: {backfill} --gaps{start(min(never))}"
    if empty := [window.start for series in fillable for window in series.empty]:
        yield f"  to request again what was empty: {backfill} --gaps --retry-empty{start(min(empty))}"
    if gone := gaps.lost_for_good():
        kinds = ["live values"] if any(gaps.is_live_only(series) for series in gone) else []
        kinds += [f"series that {gaps.config_name} does not name"] if not all(map(gaps.configures, gone)) else []
        yield (
            f"  no backfill can fetch lost {' or '.join(kinds)}: python main.py restore FILE brings back what a fresh "
            f"start has kept, python main.py gaps {name}{config} --forget-lost stops counting the days as lost"
        )
    if lost := [series for series in fillable if series.lost]:
        first = min(series.lost[0].start for series in lost)
        yield f"  to fetch again what was lost: {' '.join([f'{backfill} --full{start(first)}', *_only(lost)])}"


def _only(series: Sequence[SeriesMap]) -> Iterator[str]:
    """The options that narrow a command down to these series, where they are few."""
    names = {"asset": [each.asset for each in series], "metric": [each.metric for each in series]}
    for kind, every in names.items():
        found = list(dict.fromkeys(every))
        yield from (f"--{kind} {shlex.quote(name)}" for name in found if len(found) <= NAMES_SHOWN)


def _days(windows: Sequence[Window]) -> int:
    return sum((window.end - window.start) // DAY for window in windows)
