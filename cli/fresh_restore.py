"""The commands that clear and restore what is stored: fresh, restore."""

import argparse
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from cli.jobs import jobs_of, names_of
from cli.process import open_database, stop_on_signals
from cli.pull_backfill_settle import pace_of, run_one
from db.archive import check_clearable, restore, save
from db.database import Database
from model.errors import ConfigurationError
from model.settings import MAIN, ROOT, Settings
from pipeline.fresh_start import check_api, clear_source
from pipeline.plan import Job
from pipeline.tables import ensure_tables
from sources import SOURCES

SAVED = ROOT / "saved"  # the folder of the files


def start_fresh(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Save what cannot be fetched again, ask the user, clear each source and backfill it.

    Returns the highest exit code of the backfills, 1 where a source was not cleared.
    """
    jobs = jobs_of(names_of(arguments.source), arguments, settings)
    check_confirmation(arguments)

    with open_database(settings) as database, stop_on_signals() as stop:
        ensure_tables(database)
        cleared = clear_sources(jobs, arguments, settings, database, stop, print)
        codes = [run_one(job, database, stop, scrub, pace_of(type(job.source), settings)) for job in cleared]
    return max(codes) if len(codes) == len(jobs) else 1


def check_confirmation(arguments: argparse.Namespace) -> None:
    """Raise ConfigurationError where a fresh start has to ask a person, but standard input is not a terminal."""
    if not arguments.yes and not sys.stdin.isatty():
        raise ConfigurationError("nobody can confirm the clearing, since standard input is not a terminal: write --yes")


def clear_sources(
    jobs: Sequence[Job],
    arguments: argparse.Namespace,
    settings: Settings,
    database: Database,
    stop: threading.Event,
    say: Callable[[str], None],
) -> Iterator[Job]:
    """Clear the source of each job, a backfill, and yield the job; stops where the user says no, or at a signal.

    Before anything is cleared, each API must have answered, the role must have the right for it, and what the backfills
    cannot fetch again must be saved.
    Raises ConfigurationError, SourceStopped or RunRefused with nothing cleared of the source in question.
    """
    for job in jobs:
        check_api(job, stop, pace_of(type(job.source), settings))
    check_clearable(database)
    now, keep_all = datetime.now(UTC), arguments.keep_all
    files = {job: SAVED / f"{job.source.name}-{now:%Y%m%dT%H%M%SZ}.csv.gz" for job in jobs}
    for job, file in files.items():
        rows = save(database, job.source.name, () if keep_all else job.targets, job.window, file)
        which = "of all kinds" if keep_all else "that can't be fetched again"
        say(f"{job.source.name}: {rows:,} rows {which} are saved in {file}")
    if jobs and not arguments.yes:
        names = ", ".join(job.source.name for job in jobs)
        print(f"clear everything stored of {names}, and fetch the history again? Write yes: ", end="", flush=True)
        if sys.stdin.readline().strip().lower() != "yes":
            say("nothing was cleared")
            return
    for job, file in files.items():
        name = job.source.name
        if stop.is_set():
            say(f"{name}: not cleared, since the command was stopped")
            return
        points, rows = clear_source(job, database, file, stop, keep_all=keep_all)
        say(f"{name}: {points:,} points cleared; {rows:,} rows saved; to restore them: {MAIN} restore {file}")
        yield job


def restore_file(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Restore the rows of a file that a fresh start has written, where they are missing."""
    if not arguments.file.is_file():  # checked before a database is created
        raise ConfigurationError(f"{arguments.file}: there is no such file")
    live_only = {
        name: [metric for metric, known in source.METRICS.items() if known.live_only]
        for name, source in SOURCES.items()
    }
    with open_database(settings) as database:
        ensure_tables(database)
        done = restore(database, arguments.file, live_only)
    print(
        f"{arguments.file}: {done.new:,} points restored, {done.unchanged:,} were stored already, "
        f"{done.kept:,} are stored with another value, which stays; {done.revisions:,} revisions restored, "
        f"{done.revisions_unchanged:,} were stored already"
    )
    return 0
