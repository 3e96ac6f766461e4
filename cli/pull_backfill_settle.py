"""The commands that ask the APIs: pull, backfill, settle."""

import argparse
import hashlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cli.process import open_database, stop_on_signals
from cli.progress_bar import progress_bar
from cli.run_text import plan_lines, summary_lines
from db.setup import Database, ensure_schema, has_schema
from model.errors import ConfigurationError, RunRefused
from model.settings import OWN_PACE_DIRECTORY, PACE_DIRECTORY, ROOT, Settings
from model.values import Verb
from pipeline.plan import Job, Scope, backfill_window, choose, make_job, make_plan, pull_window, settle_window
from pipeline.run import plan_alone, run
from sources import SOURCES
from sources.base import BaseSource
from sources.config import read_targets
from sources.host_pace import HostTurn
from sources.pace import Pace

log = logging.getLogger(__name__)

SERIES_NAMED = 10  # in the log line about series without data


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of a run on the command line; the defaults are those of the scheduler's runs."""

    assets: Sequence[str] = ()  # empty: all of the config
    metrics: Sequence[str] = ()  # empty: all of the config
    config: Path | None = None  # None: the source's own config file
    start: datetime | None = None  # of a backfill; None: where the source's history starts
    end: datetime | None = None  # of a backfill; None: today
    days: int | None = None  # of a settle; None: the default of the source
    scope: Scope = Scope.MISSING  # of a backfill


WHOLE = RunOptions()


def names_of(source: str, config: Path | None = None) -> list[str]:
    """The sources of a command line; raises ConfigurationError where one config file is given for all sources."""
    if config and source == "all":
        raise ConfigurationError("--config goes with one source: name it in place of 'all'")
    return list(SOURCES) if source == "all" else [source]


def run_all(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Pull, backfill or settle one source or all; the exit code."""
    names, options = names_of(arguments.source, arguments.config), _options(arguments)
    jobs = [job_of(name, arguments.verb, settings, options) for name in names]  # checks all sources before any call
    for job in jobs:
        need_series(job)
        announce(job)
    if arguments.dry_run:
        _show_plans(jobs, settings, scrub)
        return 0

    with open_database(settings) as database, stop_on_signals() as stop:
        ensure_schema(database)
        return max([run_one(job, database, stop, scrub, pace_of(type(job.source), settings)) for job in jobs])


def run_one(job: Job, database: Database, stop: threading.Event, scrub: Callable[[str], str], pace: Pace) -> int:
    """Make a run and print its summary; the exit code, also where another process is making the same run."""
    if stop.is_set():
        print(f"{job}: not started")
        return 1
    try:
        summary = run(job, database, stop, scrub, pace, show=progress_bar)
    except RunRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if summary.without_data:
        named = ", ".join(f"{target.asset} {target.metric}" for target in summary.without_data[:SERIES_NAMED])
        log.info("without data: %s%s", named, " and more" if len(summary.without_data) > SERIES_NAMED else "")
    print(scrub("\n".join(summary_lines(summary))))
    return summary.exit_code


def job_of(name: str, verb: Verb, settings: Settings, options: RunOptions = WHOLE) -> Job:
    """The job of a source; its series may be none. Raises ConfigurationError for a wrong config, key or option."""
    source, now = SOURCES[name], datetime.now(UTC)
    file = options.config or ROOT / source.CONFIG
    every = read_targets(file, source)
    key = needed_key(source, settings)
    scope = Scope.FULL
    if verb is Verb.PULL:
        window = pull_window(now, source.PULL_DAYS)
    elif verb is Verb.SETTLE:
        window = settle_window(now, source.SETTLE_DAYS if options.days is None else options.days)
    else:
        window, scope = backfill_window(now, source.history_start(now), options.start, options.end), options.scope
    targets = choose(every, options.assets, options.metrics, file.name)
    return make_job(source(key, settings.url(source.BASE_URL_VARIABLE)), verb, targets, window, scope)


def pace_of(source: type[BaseSource], settings: Settings) -> Pace:
    """The pace of a source. All processes of this host that use the same server and key share it."""
    account = f"{settings.url(source.BASE_URL_VARIABLE)} {settings.key(source.KEY_VARIABLE)}"
    name = f"{source.name}-{hashlib.sha256(account.encode()).hexdigest()[:16]}"
    directory = Path(settings.get(PACE_DIRECTORY) or OWN_PACE_DIRECTORY)
    return Pace(source.REQUEST_DELAY, turn=HostTurn(directory / name))


def needed_key(source: type[BaseSource], settings: Settings) -> str:
    """The API key of a source, which may be empty; raises ConfigurationError where the source needs one."""
    key = settings.key(source.KEY_VARIABLE)
    if source.KEY_REQUIRED and not key:
        raise ConfigurationError(
            f"{source.name} needs a key: write {source.KEY_VARIABLE}=… into .env or the environment"
        )
    return key


def need_series(job: Job) -> None:
    """Raise ConfigurationError where a job has no series."""
    if not job.targets:
        why = f"set {job.source.KEY_VARIABLE}" if job.without_key else _other_commands(job)
        raise ConfigurationError(f"none of these series can be asked for in a {job.verb}: {why}")


def announce(job: Job) -> None:
    """Log how many series a job leaves out, and why."""
    name = job.source.name
    if job.without_key:
        log.warning(
            "%s: %d series are skipped: they need %s, which is not set",
            name, job.without_key, job.source.KEY_VARIABLE,
        )  # fmt: skip
    if job.left_out:
        why = "have a history only" if job.verb is Verb.PULL else "exist only live"
        log.info("%s: %d series %s: %s", name, len(job.left_out), why, _other_commands(job))


def _options(arguments: argparse.Namespace) -> RunOptions:
    """The options of a command line; each verb has only some of them."""
    given = vars(arguments)
    return RunOptions(
        assets=arguments.asset,
        metrics=arguments.metric,
        config=arguments.config,
        start=given.get("start"),
        end=given.get("end"),
        days=given.get("days"),
        scope=_scope(arguments) if arguments.verb is Verb.BACKFILL else Scope.FULL,
    )


def _scope(arguments: argparse.Namespace) -> Scope:
    if arguments.retry_empty and not arguments.gaps:
        full = ", not with --full, which asks for everything" if arguments.full else ": write both"
        raise ConfigurationError(f"--retry-empty goes with --gaps{full}")
    if arguments.gaps:
        return Scope.EMPTY_GAPS if arguments.retry_empty else Scope.GAPS
    return Scope.FULL if arguments.full else Scope.MISSING


def _show_plans(jobs: Sequence[Job], settings: Settings, scrub: Callable[[str], str]) -> None:
    """Print the calls of each run. The database is read where it matters, but never created."""
    if all(job.scope is Scope.FULL for job in jobs) or not settings.has_database():
        plans = [make_plan(job) for job in jobs]
    else:
        with open_database(settings) as database:
            known = has_schema(database)
            plans = [plan_alone(database, job) if known else make_plan(job) for job in jobs]
    for plan in plans:
        print(scrub("\n".join(plan_lines(plan))))


def _other_commands(job: Job) -> str:
    """The commands that ask for the series which this job leaves out."""
    verbs = {verb for target in job.left_out for verb in job.source.METRICS[target.metric].verbs}
    first = [verb for verb in (Verb.PULL, Verb.BACKFILL) if verb in verbs]  # a settle needs one of these before it
    return " or ".join(f"python main.py {verb} {job.source.name}" for verb in first)
