"""The commands that store values: pull, backfill, settle; and their option --dry-run."""

import argparse
import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from cli.decisions import NO_RUN, decide, is_decision
from cli.jobs import jobs_of, names_of, with_keys
from cli.process import open_database, read_database, stop_on_signals
from cli.progress_bar import progress_bar
from cli.run_text import plan_lines, summary_lines
from db.database import Database
from db.setup import has_schema
from model.errors import ConfigurationError, RunRefused
from model.settings import OWN_PACE_DIRECTORY, PACE_DIRECTORY, Settings
from model.text import first_of
from pipeline.plan import Job, Scope, make_plan, plan_alone
from pipeline.run import run
from pipeline.tables import ensure_tables
from sources.base import BaseSource
from sources.host_pace import NextStart
from sources.pace import Pace

log = logging.getLogger(__name__)

SERIES_NAMED = 10  # in the log line about series without data


def run_all(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Pull, backfill or settle one source or all; returns the highest exit code, 1 where a source was skipped.

    With --accept or --reject it makes no run.
    """
    if is_decision(arguments):
        return decide(arguments, settings)
    jobs, skipped = _jobs(arguments, settings)
    with open_database(settings) as database, stop_on_signals() as stop:
        ensure_tables(database)
        codes = [run_one(job, database, stop, scrub, pace_of(type(job.source), settings)) for job in jobs]
    return max(*codes, int(skipped))


def _jobs(arguments: argparse.Namespace, settings: Settings) -> tuple[list[Job], bool]:
    """The jobs of a command line, and whether a source that it does not name was skipped, since it has no key."""
    if is_decision(arguments):  # beside --dry-run
        raise ConfigurationError(NO_RUN)
    names = names_of(arguments.source, arguments.config)
    served = with_keys(names, settings) if arguments.source == "all" else names
    return jobs_of(served, arguments, settings), served != names


def show_plans(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Print the calls of each run. The database is read where the calls depend on it, but never created."""
    jobs, skipped = _jobs(arguments, settings)
    if all(job.scope is Scope.FULL for job in jobs) or not settings.has_database():
        plans = [make_plan(job) for job in jobs]
    else:
        with open_database(settings) as database:
            known = read_database(database, "check schema", has_schema)
            plans = [plan_alone(database, job) if known else make_plan(job) for job in jobs]
    for plan in plans:
        print(scrub("\n".join(plan_lines(plan))))
    return int(skipped)


def run_one(job: Job, database: Database, stop: threading.Event, scrub: Callable[[str], str], pace: Pace) -> int:
    """Make a run and print its summary; returns the exit code, also where another process is making the same run."""
    if stop.is_set():
        print(f"{job}: not started, since the command was stopped")
        return 1
    try:
        summary = run(job, database, stop, scrub, pace, show=progress_bar)
    except RunRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if summary.without_data:
        names = [f"{target.asset} {target.metric}" for target in summary.without_data]
        log.info("series without data: %s", first_of(names, SERIES_NAMED))
    print(scrub("\n".join(summary_lines(summary))))
    return summary.exit_code


def pace_of(source: type[BaseSource], settings: Settings) -> Pace:
    """The pace of a source. All processes of this host that use the same server and key share it."""
    api = source(settings.key(source.KEY_VARIABLE), settings.url(source.BASE_URL_VARIABLE))
    directory = Path(settings.get(PACE_DIRECTORY) or OWN_PACE_DIRECTORY)
    return Pace(api.delay(with_key=bool(api.key)), next_start=NextStart(directory / api.account))
