"""The commands that only look: sources, gaps, revisions."""

import argparse
import json
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.commands.runs import names_of
from pipeline.errors import ConfigurationError
from pipeline.process import has_database, open_database
from pipeline.settings import ROOT, Settings
from pipeline.values import Target, Verb, midnight
from sources import SOURCES

if TYPE_CHECKING:
    from db.coverage import SeriesMap
    from db.revisions import Restated, Revision


def show_sources(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """What each source offers, which keys are set, and what the configs ask for."""
    del arguments, scrub
    from sources.config import read_config

    for name, source in SOURCES.items():
        assets = read_config(ROOT / source.CONFIG, source)
        key = "set" if settings.get(source.KEY_VARIABLE) else "not set"
        need = "needed" if source.KEY_REQUIRED else "for some metrics"
        print(f"{name}: one request each {source.REQUEST_DELAY} s; {source.KEY_VARIABLE} ({need}): {key}")
        print(f"  {source.CONFIG}: {len(assets)} rows, {sum(len(asset.metrics) for asset in assets)} series")
        for group in source.KINDS or ("",):
            alike: dict[str, list[str]] = {}
            for metric, known in sorted(source.METRICS.items()):
                if group in known.kinds:
                    verbs = ", ".join(verb for verb in Verb if verb in known.verbs)
                    alike.setdefault(f"{verbs}{'; with the key' if known.needs_key else ''}", []).append(metric)
            for how, metrics in alike.items():
                print(f"  {f'{group}, ' if group else ''}{how}:")
                print(textwrap.fill(" ".join(metrics), 110, initial_indent=" " * 4, subsequent_indent=" " * 4))
    return 0


def show_gaps(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """What is there of each series, and whose the holes are; 1 where anything was lost."""
    del scrub
    from db.coverage import forget_lost, series_maps
    from pipeline.gaps import as_json, in_rhythm, lost_for_good, own_times, report_lines

    today = midnight(datetime.now(UTC))
    found: list[dict[str, Any]] = []
    lost = False
    for name, cursor in _each_source(arguments, settings):
        source = SOURCES[name]
        targets = _configured(name)
        wanted = arguments.asset or None, arguments.metric or None
        maps = in_rhythm(source, series_maps(cursor, name, today, own_times(source), *wanted), targets)
        gone = lost_for_good(source, maps) if arguments.forget_lost else []
        forget_lost(cursor, name, gone)
        maps = [series._replace(lost=[]) if series in gone else series for series in maps]
        lost = lost or any(series.lost for series in maps)
        key = settings.get(source.KEY_VARIABLE)
        askable = [name for name in targets if key or not source.METRICS[name[1]].needs_key]
        unasked = _never_asked(askable, maps, arguments)
        if arguments.json:
            found += as_json(source, maps)
            continue
        print("\n".join(report_lines(source, maps, today)))
        if unasked:
            print(f"  {unasked:,} series of {source.CONFIG} were never asked for, by a pull or a backfill")
    if arguments.json:
        print(json.dumps(found, indent=1))
    return int(lost)


def show_revisions(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """How often and by how much the values of each series were replaced; each revision where one series is named."""
    del scrub
    from db.revisions import restated, revisions

    for name, cursor in _each_source(arguments, settings):
        wanted = arguments.asset or None, arguments.metric or None
        series = restated(cursor, name, *wanted)
        print(f"{name}: {sum(each.revisions for each in series):,} revisions of {len(series):,} series")
        for each in series:
            print(f"  {_restated_line(each)}")
        if arguments.asset and arguments.metric:
            for revision in revisions(cursor, name, *wanted):
                print(f"    {_revision_line(revision)}")
    return 0


def _each_source(arguments: argparse.Namespace, settings: Settings) -> Iterator[tuple[str, Any]]:
    """Each source with a cursor on a database that has the tables.

    Raises ConfigurationError where there is no data, or none of the assets and metrics asked for.
    """
    from db.coverage import known_series
    from db.setup import ensure_schema

    names, nothing = names_of(arguments.source), f"nothing is stored yet: python main.py backfill {arguments.source}"
    if not has_database(settings):  # none is made for a look
        raise ConfigurationError(nothing)
    with open_database(settings) as database:
        ensure_schema(database)
        with closing(database.connect("look")) as session, session, session.cursor() as cursor:
            stored = [name for source in names for name in known_series(cursor, source)]
            if not stored:
                raise ConfigurationError(nothing)
            _check_names(arguments, [*stored, *(name for source in names for name in _configured(source))])
            for name in names:
                yield name, cursor


def _configured(name: str) -> dict[tuple[str, str], Target]:
    from sources.config import read_config

    source = SOURCES[name]
    targets = [target for asset in read_config(ROOT / source.CONFIG, source) for target in asset.targets()]
    return {(target.asset, target.metric): target for target in targets}


def _check_names(arguments: argparse.Namespace, known: Collection[tuple[str, str]]) -> None:
    """Raise ConfigurationError, with the nearest name, for an asset or metric that neither config nor table has."""
    from sources.config import nearest

    where = "no source" if arguments.source == "all" else arguments.source
    assets, metrics = {asset for asset, _ in known}, {metric for _, metric in known}
    for kind, names, existing in (("asset", arguments.asset, assets), ("metric", arguments.metric, metrics)):
        for name in names:
            if name not in existing:
                has = "has" if where == "no source" else "has no"
                raise ConfigurationError(f"{where} {has} {kind} {name!r}: {nearest(name, existing)}")


def _never_asked(
    targets: Collection[tuple[str, str]], maps: "Sequence[SeriesMap]", arguments: argparse.Namespace
) -> int:
    there = {(series.asset, series.metric) for series in maps}
    wanted = [
        (asset, metric)
        for asset, metric in targets
        if (not arguments.asset or asset in arguments.asset) and (not arguments.metric or metric in arguments.metric)
    ]
    return sum(name not in there for name in wanted)


def _restated_line(each: "Restated") -> str:
    size = f"by {each.median:.2%} (median), {each.largest:.2%} at most; " if each.median is not None else ""
    return (
        f"{each.asset} {each.metric}: {each.revisions:,} revisions of {each.points:,} of {each.stored:,} points, "
        f"{size}last {each.last:%Y-%m-%d %H:%M:%SZ}"
    )


def _revision_line(revision: "Revision") -> str:
    return (
        f"{revision.at:%Y-%m-%d %H:%M:%S}: {revision.old!r} until {revision.replaced_at:%Y-%m-%d %H:%M:%SZ}, "
        f"then {revision.new!r} (run {revision.pull_id})"
    )
