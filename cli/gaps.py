"""The command `gaps`: what is stored of each series, and why each gap exists."""

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from cli.stored_sources import configured_series, each_source
from db.coverage import SeriesMap, forget_lost, series_maps
from db.session import plain_errors
from model.settings import Settings
from model.values import midnight
from pipeline.gaps import Look, as_json, in_rhythm, lost_for_good, report_lines
from sources import SOURCES


def show_gaps(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """What is there of each series, and whose the holes are; 1 where anything was lost."""
    del scrub
    today = midnight(datetime.now(UTC))
    looks = [_look(name, session, arguments, today) for name, session in each_source(arguments, settings)]
    if arguments.json:
        print(json.dumps([series for look in looks for series in as_json(look)], indent=1))
    for look in [] if arguments.json else looks:
        print("\n".join(report_lines(look, today)))
        if unasked := _never_asked(look, arguments, settings):
            print(f"  {unasked:,} series of {look.config_name} were never asked for, by a pull or a backfill")
    return int(any(series.lost for look in looks for series in look.maps))


def _look(name: str, session: Connection, arguments: argparse.Namespace, today: datetime) -> Look:
    """What is there of a source, once what was lost for good is claimed no longer, if that is asked for."""
    source, targets = SOURCES[name], configured_series(name, arguments)
    wanted = arguments.asset or None, arguments.metric or None
    with session, session.cursor() as cursor:
        maps = series_maps(cursor, name, today, source.own_times(), *wanted)
    look = Look(source, arguments.config, targets, in_rhythm(source, maps, targets))
    gone = lost_for_good(look) if arguments.forget_lost else []
    if gone:
        _forget(name, session, gone)
    return look._replace(maps=[series._replace(lost=[]) if series in gone else series for series in look.maps])


def _forget(name: str, session: Connection, gone: Sequence[SeriesMap]) -> None:
    """Claim no longer that the lost days are there; raises ConfigurationError where the database can't be written."""
    with plain_errors(session, session.info.dbname), session, session.cursor() as cursor:
        forget_lost(cursor, name, gone)


def _never_asked(look: Look, arguments: argparse.Namespace, settings: Settings) -> int:
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
