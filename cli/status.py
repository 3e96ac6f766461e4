"""The command `status`: the health of the pipeline on one screen."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from operator import methodcaller
from typing import Any

from cli import status_screen as screen
from cli.process import ask_database, open_database
from db.setup import Database, has_tables, need_schema
from model.errors import ConfigurationError, DatabaseLost
from model.scrub import scrubbed
from model.settings import Settings
from pipeline.health import Health, SchedulerState, diagnose

NOTHING_YET = Health(None, SchedulerState.NONE, None)
WATCH_SECONDS = 5.0
CLEAR_SCREEN = "\x1b[H\x1b[2J"


def show_status(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """The health of the scheduler and each source; 0 if all is well, 1 if something is wrong, 3 without a scheduler."""

    def show(health: Health) -> int:
        if arguments.json:
            found = scrubbed(screen.as_json(health), scrub)
            indent = None if arguments.watch else 1
            print(json.dumps(found, indent=indent, default=methodcaller("isoformat")), flush=True)
        else:
            _print_screen(screen.lines(health, scrub), watch=arguments.watch)
        return health.exit_code

    if not settings.has_database():  # read-only commands create none
        return show(NOTHING_YET)
    with open_database(settings) as database:
        exit_code = show(_read_health(database, settings))
        while arguments.watch:
            time.sleep(WATCH_SECONDS)
            try:
                show(_read_health(database, settings))
            except (ConfigurationError, DatabaseLost) as error:
                text = scrub(str(error))
                if arguments.json:
                    print(json.dumps({"error": text}), flush=True)
                else:
                    _print_screen([f"! {text}"], watch=True)
                with suppress(ConfigurationError):  # the next reading reports it
                    database.reopen()  # starts the embedded server again where it has ended
        return exit_code


def _print_screen(lines: Iterable[str], *, watch: bool) -> None:
    if watch:
        clear = CLEAR_SCREEN if sys.stdout.isatty() else ""
        print(f"{clear}{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z, every {WATCH_SECONDS:.0f} s until Ctrl-C")
    print("\n".join(lines), flush=True)


def _read_health(database: Database, settings: Settings) -> Health:
    def read(cursor: Any) -> Health:
        if not has_tables(cursor):
            return NOTHING_YET
        need_schema(database)
        return diagnose(cursor, settings)

    return ask_database(database, "status", read)
