"""The command `status`: one screen that says how the pipeline is."""

import argparse
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError, DatabaseLost
from pipeline.logs import scrubbed
from pipeline.process import has_database, open_database, until_stopped
from pipeline.schedule import SCHEDULER, Duty
from pipeline.settings import ROOT, Settings
from sources import SOURCES

if TYPE_CHECKING:
    from db.heartbeat import Beat
    from db.setup import Database
    from pipeline.health import Health, SourceHealth
    from pipeline.values import Target

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def show_status(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """How the scheduler and its sources are: 0 all well, 1 something fails or is stale, 3 no scheduler lives."""
    if not has_database(settings):  # none is made for a look
        from pipeline.health import Health, Life

        return _show(Health(None, Life.NONE, None), scrub, as_json=arguments.json)
    with open_database(settings) as database:
        seen = False
        while True:
            try:
                health = _look(database, settings)
                exit_code = _show(health, scrub, as_json=arguments.json, watch=arguments.watch)
            except (ConfigurationError, DatabaseLost) as error:
                if not seen:
                    raise
                _show_error(database, scrub(str(error)), as_json=arguments.json)
            if not arguments.watch:
                return exit_code
            seen = True
            time.sleep(WATCH_SECONDS)


def _show(health: "Health", scrub: Callable[[str], str], *, as_json: bool, watch: bool = False) -> int:
    """Print it; the exit code."""
    from pipeline import screen

    if as_json:
        print(json.dumps(scrubbed(screen.as_json(health), scrub), indent=None if watch else 1), flush=True)
    else:
        shown = [*_watch_lines(), *screen.lines(health)] if watch else screen.lines(health)
        print(scrub("\n".join(shown)), flush=True)
    return health.exit_code


def _show_error(database: "Database", error: str, *, as_json: bool) -> None:
    """Tell in place of a screen why there is none, and do what helps where the server is our own."""
    print(json.dumps({"error": error}) if as_json else "\n".join([*_watch_lines(), f"! {error}"]), flush=True)
    try:
        database.reopen()
    except ConfigurationError as again:
        log.debug("%s", again)


def _watch_lines() -> Iterator[str]:
    """What stands above a screen that is drawn again and again."""
    clear = CLEAR_SCREEN if sys.stdout.isatty() else ""
    yield f"{clear}{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z, every {WATCH_SECONDS:.0f} s until Ctrl-C"


def _look(database: "Database", settings: Settings) -> "Health":
    """How all is now. A signal is heard while the database does not answer, too."""
    found = until_stopped(threading.Event(), lambda: _ask(database, settings))
    if found is None:
        raise DatabaseLost
    return found


def _ask(database: "Database", settings: Settings) -> "Health":
    from db.health import has_tables, sessions
    from db.heartbeat import last_beat
    from db.lock import is_held
    from db.setup import has_schema, session_for
    from pipeline.health import Health, Life, life_of

    with session_for(database, "status", "read") as session, session, session.cursor() as cursor:
        if not has_tables(cursor):
            return Health(None, Life.NONE, None)
        if not has_schema(database):
            raise ConfigurationError("the tables are of another version: python main.py setup")
        now, beat = last_beat(cursor)
        life = life_of(beat, now, held=is_held(cursor, SCHEDULER), sessions=sessions(cursor, SCHEDULER, beat))
        alive = life in (Life.ALIVE, Life.STARTING)
        names = [name for name in (beat.sources if beat else SOURCES) if name in SOURCES]
        sources = [_source_health(cursor, name, settings, now, beat, alive=alive) for name in names]
    return Health(now, life, beat, tuple(sources))


def _source_health(
    cursor: Any, name: str, settings: Settings, now: datetime, beat: "Beat | None", *, alive: bool
) -> "SourceHealth":
    from db.health import ages, last_day, last_runs
    from db.heartbeat import history
    from db.lock import is_held
    from pipeline.duties import duties_health
    from pipeline.freshness import freshness
    from pipeline.health import SourceHealth

    duties = [Duty(name, verb, schedule) for verb, schedule in SOURCES[name].SCHEDULES.items()]
    started, first_pull_id = (beat.started_at, beat.first_pull_id) if beat else (now, 0)
    past = history(cursor, duties, now, started, first_pull_id)
    runs = last_runs(cursor, [(name, duty.verb.value) for duty in duties])
    running = [duty for duty in duties if is_held(cursor, f"{duty.verb} {name}")]
    targets, changed = _configured(name, settings)
    series = ages(cursor, name, [(each.asset, each.metric) for each in targets])
    healths = duties_health(duties, now, past, runs, running, alive=alive)
    since = max(started, changed) if changed < now else started
    fresh = freshness(SOURCES[name], targets, series, now, healths, since)
    return SourceHealth(name, tuple(healths), fresh, *last_day(cursor, name))


def _configured(name: str, settings: Settings) -> "tuple[list[Target], datetime]":
    """The series that the scheduler asks for, and when the config was changed; raises ConfigurationError.

    A monitor needs no keys: without one, those of a source that has none without are still asked for by the scheduler.
    """
    from sources.config import read_targets

    source = SOURCES[name]
    file = ROOT / source.CONFIG
    targets = read_targets(file, source)
    with_key = bool(settings.key(source.KEY_VARIABLE))
    targets = [target for target in targets if source.can_ask(target.metric, with_key=with_key)]
    return targets, datetime.fromtimestamp(file.stat().st_mtime, UTC)
