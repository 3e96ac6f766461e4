"""The commands that clear and bring back: fresh, restore."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from pipeline.commands.runs import announce, names_of, pace_of, run_one, whole_job
from pipeline.errors import ConfigurationError
from pipeline.process import open_database, stop_on_signals
from pipeline.settings import ROOT, Settings
from pipeline.values import Verb
from sources import SOURCES

SAVED = ROOT / "saved"


def start_fresh(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Keep in a file what can't be fetched again, ask, clear, refill; the exit code of the refills."""
    jobs = [whole_job(name, Verb.BACKFILL, settings) for name in names_of(arguments.source)]
    if not arguments.yes and not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked before all is cleared: write --yes")

    from db.setup import ensure_schema
    from pipeline.fresh import fresh

    for job in jobs:
        announce(job)
    with open_database(settings) as database, stop_on_signals() as stop:
        ensure_schema(database)
        return fresh(
            jobs,
            database,
            stop,
            folder=SAVED,
            now=datetime.now(UTC),
            keep_all=arguments.keep_all,
            confirm=lambda: arguments.yes or confirmed([job.source.name for job in jobs]),
            tell=print,
            refill=lambda job: run_one(job, database, stop, scrub, pace_of(type(job.source), settings)),
        )


def restore_file(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Bring back the rows of a file, those that are missing."""
    del scrub
    from db.archive import restore
    from db.setup import ensure_schema

    if not arguments.file.is_file():  # before a database is made for it
        raise ConfigurationError(f"{arguments.file}: there is no such file")
    live_only = {
        name: [metric for metric, known in source.METRICS.items() if known.live_only]
        for name, source in SOURCES.items()
    }
    with open_database(settings) as database:
        ensure_schema(database)
        done = restore(database, arguments.file, live_only)
    print(
        f"{arguments.file}: {done.new:,} points restored, {done.unchanged:,} were there, "
        f"{done.kept:,} are there with another value and stay; {done.revisions:,} revisions restored, "
        f"{done.revisions_unchanged:,} were there"
    )
    return 0


def confirmed(names: list[str]) -> bool:
    """Whether the person at the terminal wants these sources cleared."""
    print(f"clear all that is stored of {', '.join(names)}, and fetch it anew? Write yes: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"
