"""The command `status`: one screen that says how the pipeline is."""

import argparse
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from cli import status_screen as screen
from cli.process import open_database, until_stopped
from db.session import session_for
from db.setup import Database, has_tables, need_schema
from model.errors import ConfigurationError, DatabaseLost
from model.scrub import scrubbed
from model.settings import Settings
from pipeline.health import Health, Life, diagnose

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def show_status(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """How the scheduler and its sources are: 0 all well, 1 something fails or is stale, 3 no scheduler lives."""
    if not settings.has_database():  # none is made for a look
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


def _show(health: Health, scrub: Callable[[str], str], *, as_json: bool, watch: bool = False) -> int:
    """Print it; the exit code."""
    if as_json:
        print(json.dumps(scrubbed(screen.as_json(health), scrub), indent=None if watch else 1), flush=True)
    else:
        shown = [*_watch_lines(), *screen.lines(health)] if watch else screen.lines(health)
        print(scrub("\n".join(shown)), flush=True)
    return health.exit_code


def _show_error(database: Database, error: str, *, as_json: bool) -> None:
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


def _look(database: Database, settings: Settings) -> Health:
    """How all is now. A signal is heard while the database does not answer, too."""
    found = until_stopped(threading.Event(), lambda: _ask(database, settings))
    if found is None:
        raise DatabaseLost
    return found


def _ask(database: Database, settings: Settings) -> Health:
    with session_for(database, "status", "read") as session, session, session.cursor() as cursor:
        if not has_tables(cursor):
            return Health(None, Life.NONE, None)
        need_schema(database)
        return diagnose(cursor, settings)
