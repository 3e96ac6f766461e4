"""The command of scheduler.py."""

import argparse
import logging
import os
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing

from cli.fresh import check_confirmation, clear_and_refill
from cli.logs import JOURNAL, PERSON, JsonLines, log_to, secrets_of
from cli.process import open_database, stop_on_signals, until_stopped
from cli.pull_backfill_settle import announce, need_series, pace_of, whole_job
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SessionLock
from db.setup import Database, ensure_schema
from model.errors import DatabaseAway, DatabaseLost, RunRefused, SchedulerRefused
from model.scrub import Scrubber
from model.settings import Settings
from model.values import Verb
from pipeline.due import Duty
from pipeline.plan import Job
from pipeline.run import run
from pipeline.scheduler import Scheduler
from pipeline.systemd import Notify
from sources import SOURCES

log = logging.getLogger(__name__)

WAIT_SECONDS = 5.0  # between two looks for a database that is not there yet
EXTENSION_SECONDS = 60.0  # for which each of these looks puts off the end of the start


def run_scheduler(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Schedule until a signal: 0 then, 1 where the fresh start was not made, 3 where another scheduler is at work."""
    names = arguments.source or list(SOURCES)
    _log_as(arguments.log_format, settings)
    for name in names:  # every source is checked before anything else
        pull, backfill = (whole_job(name, verb, settings) for verb in (Verb.PULL, Verb.BACKFILL))
        announce(pull)
        if arguments.fresh:
            need_series(backfill)
        elif not backfill.targets:
            need_series(pull)
    if arguments.fresh:
        check_confirmation(arguments)
    notify = Notify()
    with open_database(settings) as database, stop_on_signals() as stop:
        code = until_stopped(stop, lambda: _serve(names, arguments, settings, scrub, database, stop, notify))
        notify.stopping()
    return code or 0


def _log_as(log_format: str, settings: Settings) -> None:
    """Log to standard output, without dates of our own where the journal sets them."""
    dated = "JOURNAL_STREAM" not in os.environ
    secrets = secrets_of(settings)
    text = Scrubber(secrets, PERSON if dated else JOURNAL)
    log_to("stdout", JsonLines(secrets, dated=dated) if log_format == "json" else text)


def _serve(
    names: Sequence[str],
    arguments: argparse.Namespace,
    settings: Settings,
    scrub: Callable[[str], str],
    database: Database,
    stop: threading.Event,
    notify: Notify,
) -> int:
    came_up = _come_up(names, arguments, database, stop, notify)
    if came_up is None:
        return 0
    place, heartbeat = came_up
    with closing(place), closing(heartbeat):
        paces = {name: pace_of(SOURCES[name], settings) for name in names}
        if arguments.fresh:
            jobs = _to_clear(names, heartbeat.cleared, settings)
            code = clear_and_refill(jobs, arguments, database, stop, paces, tell=log.info, refill=_later)
            if code:
                return code
        notify.ready()
        duties = [Duty(name, verb, at) for name in names for verb, at in SOURCES[name].SCHEDULES.items()]
        log.info("scheduling: %s", "; ".join(f"{duty} {duty.schedule}" for duty in duties))
        scheduler = Scheduler(
            duties,
            heartbeat,
            stop,
            notify,
            scrub,
            hold=place.take,
            make_job=lambda duty: whole_job(duty.source, duty.verb, settings),
            run=lambda job, show: run(job, database, stop, scrub, paces[job.source.name], hold=place.take, show=show),
        )
        try:
            scheduler.serve()
        except RunRefused as error:
            raise SchedulerRefused(str(error)) from None
    return 0


def _come_up(
    names: Sequence[str], arguments: argparse.Namespace, database: Database, stop: threading.Event, notify: "Notify"
) -> tuple[SessionLock, Heartbeat] | None:
    """The place of the one scheduler and its heartbeat, once the database is there; None where it is stopped before."""
    told = False
    while not stop.is_set():
        with ExitStack() as undone:
            try:
                place = undone.enter_context(closing(SessionLock(database, SCHEDULER, stop)))
                ensure_schema(database)
                heartbeat = Heartbeat(database, names, fresh=arguments.fresh)
            except (DatabaseAway, DatabaseLost) as error:
                if not told:
                    log.warning("%s: waiting for it", error)
                    notify.status("waiting for the database")
                told = True
                notify.extend(EXTENSION_SECONDS)
                stop.wait(WAIT_SECONDS)
            except RunRefused as error:
                raise SchedulerRefused(str(error)) from None
            else:
                undone.pop_all()
                return place, heartbeat
    return None


def _later(job: Job) -> int:
    """What is cleared is backfilled by the scheduler itself, as at each start."""
    del job
    return 0


def _to_clear(names: Sequence[str], cleared: Collection[str], settings: Settings) -> list[Job]:
    """The backfills of the sources that have not had their fresh start yet."""
    if done := [name for name in names if name in cleared]:
        log.info(
            "not cleared again, as an earlier start with --fresh has done it: %s; to clear once more: "
            "python main.py fresh, or a start without --fresh in between",
            ", ".join(done),
        )
    return [whole_job(name, Verb.BACKFILL, settings) for name in names if name not in done]
