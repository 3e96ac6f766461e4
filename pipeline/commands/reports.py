"""The commands that only look: sources, gaps, revisions."""

import argparse
import json
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.commands.runs import names_of
from pipeline.errors import ConfigurationError
from pipeline.process import has_database, open_database
from pipeline.settings import ROOT, Settings
from pipeline.values import Target, Verb, midnight
from sources import SOURCES

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

    from db.coverage import SeriesMap
    from db.revisions import Restated, Revision
    from pipeline.gaps import Look


def show_sources(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """What each source offers, which keys are set, and what the configs ask for."""
    del arguments, scrub
    from sources.config import read_config

    for name, source in SOURCES.items():
        assets = read_config(ROOT / source.CONFIG, source)
        key = "set" if settings.get(source.KEY_VARIABLE) else "not set"
        need = "needed" if source.KEY_REQUIRED else "for some metrics"
        print(f"{name}: one request each {source.REQUEST_DELAY} s; {source.KEY_VARIABLE} ({need}): {key}")
        print(f"  scheduled: {'; '.join(f'{verb} {schedule}' for verb, schedule in source.SCHEDULES.items())}")
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
    from pipeline.gaps import as_json, report_lines

    today = midnight(datetime.now(UTC))
    looks = [_look(name, session, arguments, today) for name, session in _each_source(arguments, settings)]
    if arguments.json:
        print(json.dumps([series for look in looks for series in as_json(look)], indent=1))
    for look in [] if arguments.json else looks:
        print("\n".join(report_lines(look, today)))
        if unasked := _never_asked(look, arguments, settings):
            print(f"  {unasked:,} series of {look.config_name} were never asked for, by a pull or a backfill")
    return int(any(series.lost for look in looks for series in look.maps))


def show_revisions(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """How often and by how much the values of each series were replaced; each revision where one series is named."""
    del scrub
    from db.revisions import restated, revisions

    wanted = arguments.asset or None, arguments.metric or None
    found: list[tuple[str, list[Restated], list[Revision]]] = []
    for name, session in _each_source(arguments, settings):
        with session, session.cursor() as cursor:
            series = restated(cursor, name, *wanted)
            found.append((name, series, revisions(cursor, name, *wanted) if all(wanted) else []))
    for name, series, listed in found:
        print(f"{name}: {sum(each.revisions for each in series):,} revisions of {len(series):,} series")
        for each in series:
            print(f"  {_restated_line(each)}")
        for revision in listed:
            print(f"    {_revision_line(revision)}")
    return 0


def _each_source(arguments: argparse.Namespace, settings: Settings) -> "Iterator[tuple[str, Connection]]":
    """Each source with a session, in no transaction, on a database that has the tables.

    Whoever prints does so after the last one: a reader of the output who takes his time must hold up nobody who
    writes, nor the embedded server's end. Raises ConfigurationError where there is no data, or none of the assets and
    metrics asked for.
    """
    from db.coverage import known_series
    from db.setup import ensure_schema
    from query.session import fill

    names = names_of(arguments.source, arguments.config)
    nothing = f"nothing is stored yet: {fill(settings, None if arguments.source == 'all' else arguments.source)}"
    configured = [series for name in names for series in _configured(name, arguments)]
    if not has_database(settings):  # none is made for a look
        raise ConfigurationError(nothing)
    with open_database(settings) as database:
        ensure_schema(database)
        with closing(database.connect("look")) as session:
            with session, session.cursor() as cursor:
                stored = [series for name in names for series in known_series(cursor, name)]
            if not stored:
                raise ConfigurationError(nothing)
            _check_names(arguments, [*stored, *configured])
            for name in names:
                yield name, session


def _look(name: str, session: "Connection", arguments: argparse.Namespace, today: datetime) -> "Look":
    """What is there of a source, once what was lost for good is claimed no longer, if that is asked for."""
    from db.coverage import series_maps
    from pipeline.gaps import Look, in_rhythm, lost_for_good, own_times

    source, targets = SOURCES[name], _configured(name, arguments)
    wanted = arguments.asset or None, arguments.metric or None
    with session, session.cursor() as cursor:
        maps = series_maps(cursor, name, today, own_times(source), *wanted)
    look = Look(source, arguments.config, targets, in_rhythm(source, maps, targets))
    gone = lost_for_good(look) if arguments.forget_lost else []
    if gone:
        _forget(name, session, gone)
    return look._replace(maps=[series._replace(lost=[]) if series in gone else series for series in look.maps])


def _forget(name: str, session: "Connection", gone: "Sequence[SeriesMap]") -> None:
    """Claim no longer that the lost days are there; raises ConfigurationError where the database can't be written."""
    from db.coverage import forget_lost
    from db.setup import plain_errors

    with plain_errors(session, session.info.dbname), session, session.cursor() as cursor:
        forget_lost(cursor, name, gone)


def _configured(name: str, arguments: argparse.Namespace) -> dict[tuple[str, str], Target]:
    from sources.config import read_targets

    source = SOURCES[name]
    targets = read_targets(arguments.config or ROOT / source.CONFIG, source)
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


def _never_asked(look: "Look", arguments: argparse.Namespace, settings: Settings) -> int:
    """How many series of the config that can be asked for with the keys that are set never were."""
    there = {(series.asset, series.metric) for series in look.maps}
    with_key = bool(settings.get(look.source.KEY_VARIABLE))
    return sum(
        (asset, metric) not in there
        and look.source.can_ask(metric, with_key=with_key)
        and (not arguments.asset or asset in arguments.asset)
        and (not arguments.metric or metric in arguments.metric)
        for asset, metric in look.targets
    )


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
