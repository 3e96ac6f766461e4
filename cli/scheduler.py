"""The command of scheduler.py."""

import argparse
import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial

from cli.fresh_restore import check_confirmation, clear_sources
from cli.jobs import announce, job_of, need_series, warn_of_exposed_secrets, with_keys
from cli.logs import JOURNAL, PERSON, JsonLines, formatter_for, json_line, log_to, secrets_of
from cli.notify import check_webhooks, reports
from cli.process import open_database, stop_on_signals, until_stopped
from cli.pull_backfill_settle import pace_of
from cli.run_text import summary_line
from db.database import Database
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SessionLock
from model.errors import DatabaseAway, DatabaseLost
from model.settings import MAIN, WEBHOOKS, Settings
from model.values import Verb
from pipeline.due import ScheduledRun
from pipeline.plan import Job, must_be_verified_since
from pipeline.run import Show, run
from pipeline.scheduler import Scheduler
from pipeline.summary import Summary
from pipeline.systemd import Notify
from pipeline.tables import ensure_tables
from sources import SOURCES

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two attempts to reach a database that does not answer at the start
EXTENSION_SECONDS = 60.0  # that each attempt adds to the start timeout of systemd
CLEARED_BEFORE = (
    "not cleared again, since an earlier start with --fresh has cleared it: %s; to clear it once more, run "
    f"{MAIN} fresh SOURCE, or start once without --fresh"
)


def run_scheduler(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Run the scheduler until a signal; returns 0, or 1 where the fresh start was not made.

    Raises SchedulerRefused where another scheduler is running.
    """
    formatter = formatter_for(arguments)
    log_to("stdout", formatter(secrets_of(settings), JOURNAL if "JOURNAL_STREAM" in os.environ else PERSON))
    names = arguments.source or with_keys(SOURCES, settings)
    for name in names:  # checks all sources before anything else
        pull, backfill = (job_of(name, verb, settings) for verb in (Verb.PULL, Verb.BACKFILL))
        announce(pull)
        if arguments.fresh:
            need_series(backfill)
        elif not backfill.targets:
            need_series(pull)
    check_webhooks(settings)
    warn_of_exposed_secrets(names, settings, WEBHOOKS)
    if arguments.fresh:
        check_confirmation(arguments)
    notify = Notify()
    signals = stop_on_signals(partial(json_line, "WARNING")) if formatter is JsonLines else stop_on_signals()
    with open_database(settings) as database, signals as stop:
        code = until_stopped(stop, lambda: _serve(names, arguments, settings, scrub, database, stop, notify))
        notify.send("STOPPING=1")
    return code or 0


def _serve(
    names: Sequence[str],
    arguments: argparse.Namespace,
    settings: Settings,
    scrub: Callable[[str], str],
    database: Database,
    stop: threading.Event,
    notify: Notify,
) -> int:
    """Become the one scheduler, make the requested fresh start, and schedule until the stop; returns the exit code."""
    entered = _enter(names, arguments, database, stop, notify)
    if entered is None:
        return 0
    place, heartbeat = entered
    with closing(place), closing(heartbeat), reports(settings, database, scrub) as report:
        paces = {name: pace_of(SOURCES[name], settings) for name in names}
        if arguments.fresh:
            if done := [name for name in names if name in heartbeat.cleared]:
                log.info(CLEARED_BEFORE, ", ".join(done))
            jobs = [job_of(name, Verb.BACKFILL, settings) for name in names if name not in done]
            cleared = list(clear_sources(jobs, arguments, settings, database, stop, log.info))
            if len(cleared) < len(jobs):
                return 1
        notify.send("READY=1")
        schedule = [ScheduledRun(name, verb, at) for name in names for verb, at in SOURCES[name].SCHEDULES.items()]
        log.info("scheduling: %s", "; ".join(f"{each} {each.schedule}" for each in schedule))

        def make_run(job: Job, show: Show) -> Summary:
            summary = run(job, database, stop, scrub, paces[job.source.name], check_place=place.take, show=show)
            level = logging.WARNING if summary.exit_code else logging.INFO
            log.log(level, "%s", summary_line(summary), extra={"run": summary.figures()})
            return summary

        Scheduler(
            schedule,
            heartbeat,
            stop,
            notify,
            scrub,
            check_place=place.take,
            make_job=lambda scheduled: _job_of(scheduled, settings),
            run=make_run,
            after_check=report,
        ).serve()
    return 0


def _job_of(scheduled: ScheduledRun, settings: Settings) -> Job:
    since = must_be_verified_since(scheduled.schedule, datetime.now(UTC))
    return job_of(scheduled.source, scheduled.verb, settings, verified_since=since)


def _enter(
    names: Sequence[str], arguments: argparse.Namespace, database: Database, stop: threading.Event, notify: Notify
) -> tuple[SessionLock, Heartbeat] | None:
    """Wait for the database, take the place of the one scheduler and start its heartbeat; None after a stop."""
    logged = False
    while not stop.is_set():
        with ExitStack() as undone:
            try:
                place = undone.enter_context(closing(SessionLock(database, SCHEDULER, stop)))
                ensure_tables(database)
                heartbeat = Heartbeat(database, arguments.source or list(SOURCES), fresh=arguments.fresh)
            except (DatabaseAway, DatabaseLost) as error:
                if not logged:
                    log.warning("%s: waiting for the database", error)
                    notify.send("STATUS=waiting for the database")
                logged = True
                notify.send(f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000:.0f}")
                stop.wait(RETRY_SECONDS)
            else:
                undone.pop_all()
                return place, heartbeat
    return None
