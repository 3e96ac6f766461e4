"""The scheduler: checks which runs are due, twice a minute and when a run ends; no source waits for another."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime

from db import pulls
from db.coverage import Name
from db.heartbeat import Heartbeat
from model.background import start
from model.errors import ConfigurationError, DatabaseLost, RunRefused
from model.memory import give_memory_back
from model.values import Verb
from pipeline.due import ScheduledRun, due, read_history
from pipeline.plan import Job
from pipeline.run import Show, Update
from pipeline.summary import Summary
from pipeline.systemd import Notify

log = logging.getLogger(__name__)

CHECK_SECONDS = 30.0  # between two checks of what is due, unless a run ends
END_CHECK_SECONDS = 0.5  # between two checks whether a run has ended
LAST_RUNS_SECONDS = 3.5  # that runs may take to store their points after a stop; less than SHUTDOWN_SECONDS
REFUSED_SECONDS = 60.0  # before the scheduler retries a run that another process is making
STILL_SECONDS = 300.0  # without progress in a run, after which status says so
HUNG_SECONDS = 5400.0  # the same, after which the watchdog is no longer reset; no call takes that long


class Activity:
    """The progress of a run under way, for the heartbeat and the watchdog."""

    def __init__(self, scheduled: ScheduledRun) -> None:
        self.text, self.progressed_at = str(scheduled), time.monotonic()

    def show(self, title: str, total: int) -> AbstractContextManager[Update]:
        """Follow the progress of a run with this title and this number of calls."""

        def update(done: int, total: int, points: int) -> None:  # called many times a second, also without progress
            text = f"{title}: {done:,} of {total:,} calls, {points:,} points"
            if text != self.text:
                self.text, self.progressed_at = text, time.monotonic()

        update(0, total, 0)
        return nullcontext(update)

    def __str__(self) -> str:
        still = time.monotonic() - self.progressed_at
        return f"{self.text}, no progress for {still / 60:.0f} minutes" if still >= STILL_SECONDS else self.text


@dataclass
class Scheduler:
    """Makes the runs that are due, each lane in its own thread, until it is stopped.

    Only the database records which runs were made, so a restart repeats none.
    """

    schedule: Sequence[ScheduledRun]
    heartbeat: Heartbeat
    stop: threading.Event
    notify: Notify
    scrub: Callable[[str], str]  # hides secrets
    check_place: Callable[[], None]  # raises RunRefused where another scheduler has taken over
    make_job: Callable[[ScheduledRun], Job]  # reads the config
    run: Callable[[Job, Show], Summary]
    # Called after each check that found the database and started nothing; it must return at once. While a run is being
    # started, its health may still say that it is overdue.
    after_check: Callable[[], None] = lambda: None
    _lanes: dict[tuple[str, bool], tuple[threading.Thread, Activity]] = field(default_factory=dict, init=False)
    # the slot of the last attempt, and the series that had no answer in it
    _unanswered: dict[ScheduledRun, tuple[datetime, frozenset[Name]]] = field(default_factory=dict, init=False)
    _database_away = _hung = False

    def serve(self) -> None:
        """Start runs when they are due, until the stop; then wait LAST_RUNS_SECONDS for the runs under way.

        Raises RunRefused where another scheduler has taken over while the database was away.
        """
        pause = min(CHECK_SECONDS, (self.notify.watchdog or CHECK_SECONDS * 2) / 2)
        try:
            while not self.stop.is_set():
                self._check()
                self._wait(pause)
        finally:
            self.stop.set()
            deadline = time.monotonic() + LAST_RUNS_SECONDS
            for thread, _ in list(self._lanes.values()):
                thread.join(max(0.0, deadline - time.monotonic()))
            if self._lanes:
                log.warning("stopped before these runs ended; their uncommitted rows are lost: %s", self._doing())

    def _wait(self, seconds: float) -> None:
        """Wait until the next check. A run that ends is a reason for one: another may be due after it."""
        busy, until = set(self._lanes), time.monotonic() + seconds
        while busy <= self._lanes.keys() and (left := until - time.monotonic()) > 0:
            if self.stop.wait(min(left, END_CHECK_SECONDS)):
                return

    def _check(self) -> None:
        """Start what is due. Where the database is away, log it once and leave the rest to the next check."""
        try:
            self.check_place()
            now = self.heartbeat.beat(self._doing())
            busy = list(self._lanes)  # read before the history: a run that ends in between then counts as busy
            sources, mine = sorted({each.source for each in self.schedule}), self.heartbeat.started
            self.heartbeat.do(lambda cursor: pulls.clear_future_slots(cursor, sources, now))
            history = self.heartbeat.do(
                lambda cursor: read_history(cursor, self.schedule, now, mine.started_at, mine.first_pull_id)
            )
            started = list(due(self.schedule, now, history, busy))
            for scheduled, slot in started:
                activity = Activity(scheduled)
                work = threading.Thread(target=self._work, args=(scheduled, slot, activity), name=str(scheduled))
                work.daemon = True  # waiting for a database that does not answer, it must not outlive the stop
                self._lanes[scheduled.lane] = work, activity
                start(work)
            if started:
                self.heartbeat.beat(self._doing())
        except (DatabaseLost, ConfigurationError) as error:
            if not self._database_away:
                log.warning("%s: waiting for the database", error)
            self._database_away = True
            self.notify.send("STATUS=waiting for the database")
        else:
            if self._database_away:
                log.info("the database is back")
            self._database_away = False
            self.notify.send(f"STATUS={self._doing()}")
            if not started:
                self.after_check()
        self._reset_watchdog()

    def _reset_watchdog(self) -> None:
        since = time.monotonic() - HUNG_SECONDS
        hung = [str(activity) for _, activity in list(self._lanes.values()) if activity.progressed_at < since]
        if not hung:
            self.notify.send("WATCHDOG=1")
        elif not self._hung:
            log.error("the watchdog is no longer reset: %s", "; ".join(hung))
        self._hung = bool(hung)

    def _doing(self) -> str:
        return "; ".join(str(activity) for _, activity in list(self._lanes.values())) or "idle"

    def _work(self, scheduled: ScheduledRun, slot: datetime, activity: Activity) -> None:
        """Make one run. Whatever fails, the scheduler and the other lanes go on."""
        try:
            job = self.make_job(scheduled)
            # a retry requests only the series that had no answer
            tried, unanswered = self._unanswered.get(scheduled, (None, frozenset()))
            targets = tuple(target for target in job.targets if (target.asset, target.metric) in unanswered)
            job = replace(job, slot=slot, targets=targets if targets and tried == slot else job.targets)
            summary = self.run(job, activity.show)
            self._unanswered.pop(scheduled, None)
            # a backfill requests only what is missing anyway; after a stopped run the retry requests all series
            if scheduled.verb is not Verb.BACKFILL and summary.failed and not summary.not_made:
                self._unanswered[scheduled] = slot, frozenset(summary.unanswered)
        except RunRefused as error:
            log.info("%s: retrying in %.0f s", error, REFUSED_SECONDS)
            self.stop.wait(REFUSED_SECONDS)
        except ConfigurationError as error:
            wrong = "; ".join(str(error).splitlines())
            log.error("%s: %s", scheduled, wrong)  # noqa: TRY400 - a person's mistake needs no traceback
            self._record(scheduled, slot, wrong)
        except DatabaseLost as error:
            log.warning("%s: %s", scheduled, error)
            self._record(scheduled, slot, str(error))  # a database with a full disk can still record the failure
        except Exception:
            log.exception("%s: this is a bug: report it with the lines below", scheduled)
        finally:
            del self._lanes[scheduled.lane]
            give_memory_back()

    def _record(self, scheduled: ScheduledRun, slot: datetime, why: str) -> None:
        """Record a run that could not begin as a failed attempt."""
        try:
            self.check_place()
            failure = self.scrub(why)
            kind = scheduled.verb.value
            self.heartbeat.do(lambda cursor: pulls.enter_refused_run(cursor, scheduled.source, kind, slot, failure))
        except (DatabaseLost, ConfigurationError, RunRefused) as lost:
            log.info("%s: the failure could not be recorded: %s", scheduled, lost)
