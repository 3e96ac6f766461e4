"""The commands that ask the APIs: pull, backfill, settle; and setup."""

import argparse
import hashlib
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cli.process import open_database, stop_on_signals
from cli.progress_bar import progress_bar
from db.setup import Database, ensure_schema, has_schema
from model.errors import ConfigurationError, RunRefused
from model.settings import OWN_PACE_DIRECTORY, PACE_DIRECTORY, ROOT, Settings
from model.values import Verb, Window
from pipeline.plan import Job, Scope, backfill_window, choose, make_job, make_plan, pull_window, settle_window
from pipeline.run import plan_alone, run
from sources import SOURCES
from sources.base import BaseSource
from sources.config import read_targets
from sources.host_pace import HostNextStart
from sources.pace import Pace

log = logging.getLogger(__name__)


def names_of(source: str, config: Path | None = None) -> list[str]:
    """The sources that a command line names; raises ConfigurationError for a config file that is to be that of all."""
    if config and source == "all":
        raise ConfigurationError("--config goes with one source: name it in place of 'all'")
    return list(SOURCES) if source == "all" else [source]


def run_all(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """A pull, a backfill or a settle of one source or of all; the exit code."""
    names = names_of(arguments.source, arguments.config)
    jobs = [_job(name, arguments, settings) for name in names]  # every source is checked before the first call
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
    """One run and its summary; the exit code. A run that another one holds up does not keep the next from its turn."""
    if stop.is_set():
        print(f"{job}: not started")
        return 1
    try:
        summary = run(job, database, stop, scrub, pace, show=progress_bar)
    except RunRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if summary.silent:
        named = ", ".join(f"{target.asset} {target.metric}" for target in summary.silent[:10])
        log.info("without data: %s%s", named, " and more" if len(summary.silent) > 10 else "")
    print(scrub("\n".join(summary.lines())))
    return summary.exit_code


def whole_job(name: str, verb: Verb, settings: Settings) -> Job:
    """The run for all that a source's config names, which may be nothing; raises ConfigurationError as it is read."""
    defaults = argparse.Namespace(
        verb=verb, asset=[], metric=[], config=None, start=None, end=None,
        full=False, gaps=False, retry_empty=False, days=SOURCES[name].SETTLE_DAYS,
    )  # fmt: skip
    return _job(name, defaults, settings)


def pace_of(source: type[BaseSource], settings: Settings) -> Pace:
    """The pace of a source, kept together with all processes of this host that ask the same server by the same key."""
    asked = f"{settings.url(source.BASE_URL_VARIABLE)} {settings.key(source.KEY_VARIABLE)}"
    name = f"{source.name}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
    directory = Path(settings.get(PACE_DIRECTORY) or OWN_PACE_DIRECTORY)
    return Pace(source.REQUEST_DELAY, next_start=HostNextStart(directory / name))


def needed_key(source: type[BaseSource], settings: Settings) -> str:
    """The key of a source, empty where it goes without; raises ConfigurationError where it does not."""
    key = settings.key(source.KEY_VARIABLE)
    if source.KEY_REQUIRED and not key:
        raise ConfigurationError(
            f"{source.name} needs a key: write {source.KEY_VARIABLE}=… into .env or the environment"
        )
    return key


def need_series(job: Job) -> None:
    """Raise ConfigurationError where a run that a person has asked for has nothing to ask."""
    if not job.targets:
        why = f"set {job.source.KEY_VARIABLE}" if job.without_key else _elsewhere(job)
        raise ConfigurationError(f"none of these series can be asked for in a {job.verb}: {why}")


def announce(job: Job) -> None:
    """Log which series a job leaves out, and why."""
    name = job.source.name
    if job.without_key:
        log.warning(
            "%s: %d series are skipped: they need %s, which is not set",
            name, job.without_key, job.source.KEY_VARIABLE,
        )  # fmt: skip
    if job.left_out:
        why = "have a history only" if job.verb is Verb.PULL else "exist only live"
        log.info("%s: %d series %s: %s", name, len(job.left_out), why, _elsewhere(job))


def _job(name: str, arguments: argparse.Namespace, settings: Settings) -> Job:
    source = SOURCES[name]
    file = arguments.config or ROOT / source.CONFIG
    every = read_targets(file, source)
    key = needed_key(source, settings)
    window = _window(source, arguments, datetime.now(UTC))
    targets = choose(every, arguments.asset, arguments.metric, file.name)
    api = source(key, settings.url(source.BASE_URL_VARIABLE))
    return make_job(api, arguments.verb, targets, window, _scope(arguments))


def _window(source: type[BaseSource], arguments: argparse.Namespace, now: datetime) -> Window:
    if arguments.verb is Verb.PULL:
        return pull_window(now, source.PULL_DAYS)
    if arguments.verb is Verb.SETTLE:
        return settle_window(now, arguments.days)
    return backfill_window(now, source.history_start(now), arguments.start, arguments.end)


def _scope(arguments: argparse.Namespace) -> Scope:
    if arguments.verb is not Verb.BACKFILL or arguments.full:
        if arguments.verb is Verb.BACKFILL and arguments.retry_empty:
            raise ConfigurationError("--retry-empty goes with --gaps, not with --full, which asks for everything")
        return Scope.FULL
    if arguments.retry_empty and not arguments.gaps:
        raise ConfigurationError("--retry-empty goes with --gaps: write both")
    if arguments.gaps:
        return Scope.EMPTY_GAPS if arguments.retry_empty else Scope.GAPS
    return Scope.MISSING


def _show_plans(jobs: Sequence[Job], settings: Settings, scrub: Callable[[str], str]) -> None:
    """Print what the runs would ask for; the database is read where it matters, and none is made for it."""
    if all(job.scope is Scope.FULL for job in jobs) or not settings.has_database():
        plans = [make_plan(job) for job in jobs]
    else:
        with open_database(settings) as database:
            known = has_schema(database)
            plans = [plan_alone(database, job) if known else make_plan(job) for job in jobs]
    for plan in plans:
        print(scrub("\n".join(plan.lines())))


def _elsewhere(job: Job) -> str:
    """The commands that ask for the series which this job leaves out."""
    verbs = {verb for target in job.left_out for verb in job.source.METRICS[target.metric].verbs}
    first = [verb for verb in (Verb.PULL, Verb.BACKFILL) if verb in verbs]  # there is nothing to settle before
    return " or ".join(f"python main.py {verb} {job.source.name}" for verb in first)
