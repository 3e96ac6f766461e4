"""The commands that clear and bring back: fresh, restore."""

import argparse
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from cli.process import open_database, stop_on_signals
from cli.pull_backfill_settle import announce, names_of, need_series, pace_of, run_one, whole_job
from db.archive import restore
from db.setup import Database, ensure_schema
from model.errors import ConfigurationError
from model.settings import ROOT, Settings
from model.values import Verb
from pipeline.fresh_start import fresh
from pipeline.plan import Job
from sources import SOURCES
from sources.pace import Pace

SAVED = ROOT / "saved"


def start_fresh(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Keep in a file what can't be fetched again, ask, clear, refill; the exit code of the refills."""
    jobs = [whole_job(name, Verb.BACKFILL, settings) for name in names_of(arguments.source)]
    for job in jobs:
        need_series(job)
        announce(job)
    check_confirmation(arguments)

    with open_database(settings) as database, stop_on_signals() as stop:
        ensure_schema(database)
        paces = {job.source.name: pace_of(type(job.source), settings) for job in jobs}
        return clear_and_refill(
            jobs,
            arguments,
            database,
            stop,
            paces,
            tell=print,
            refill=lambda job: run_one(job, database, stop, scrub, paces[job.source.name]),
        )


def check_confirmation(arguments: argparse.Namespace) -> None:
    """Raise ConfigurationError where a fresh start wants to ask first, and nobody is there."""
    if not arguments.yes and not sys.stdin.isatty():
        raise ConfigurationError("nobody is there to be asked before all is cleared: write --yes")


def clear_and_refill(
    jobs: Sequence[Job],
    arguments: argparse.Namespace,
    database: Database,
    stop: threading.Event,
    paces: Mapping[str, Pace],
    *,
    tell: Callable[[str], None],
    refill: Callable[[Job], int],
) -> int:
    """The fresh start of each job's source as the options say; the highest exit code of the refills."""
    return fresh(
        jobs,
        database,
        stop,
        folder=SAVED,
        now=datetime.now(UTC),
        keep_all=arguments.keep_all,
        confirm=lambda: arguments.yes or _confirmed([job.source.name for job in jobs]),
        pace=lambda job: paces[job.source.name],
        tell=tell,
        refill=refill,
    )


def restore_file(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Bring back the rows of a file, those that are missing."""
    del scrub
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


def _confirmed(names: list[str]) -> bool:
    print(f"clear all that is stored of {', '.join(names)}, and fetch it anew? Write yes: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"
