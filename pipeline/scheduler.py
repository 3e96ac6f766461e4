"""The scheduler: looks twice a minute what is due, and makes it; no source waits for another."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime

from db import pulls
from db.heartbeat import Heartbeat
from model.errors import ConfigurationError, DatabaseLost, PipelineError, RunRefused
from model.memory import give_memory_back
from model.values import Verb
from pipeline.due import Duty, History, due, read_history
from pipeline.plan import Job
from pipeline.run import Show, Update
from pipeline.summary import Summary
from pipeline.systemd import Notify

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0  # between two looks at what is due
STOP_SECONDS = 3.5  # for the runs under way to store what they have; a little less than the process has
REFUSED_SECONDS = 60.0  # before a run whose place is taken, by a command of a person, is tried again
HUNG_SECONDS = 1800.0  # without any movement of a run, after which the process is no longer called alive


class Activity:
    """How far a run of the scheduler is, for its heartbeat."""

    def __init__(self, duty: Duty) -> None:
        self._text = self._title = str(duty)
        self.moved = time.monotonic()

    def __str__(self) -> str:
        return self._text

    def show(self, title: str, total: int) -> AbstractContextManager[Update]:
        """What shows the progress of a run that has its calls."""
        self._title = title
        self._update(0, total, 0)
        return nullcontext(self._update)

    def _update(self, done: int, total: int, points: int) -> None:
        self._text = f"{self._title}: {done:,} of {total:,} calls, {points:,} points"
        self.moved = time.monotonic()


class Scheduler:
    """Makes the runs that are due, each lane in a thread of its own, until it is stopped.

    `scrub` hides secrets, `hold` makes sure of the place of the one scheduler, `make_job` gives the whole job of a duty
    as the config says now, `run` makes it. What has been done stands in the database alone.
    """

    def __init__(
        self,
        duties: Sequence[Duty],
        heartbeat: Heartbeat,
        stop: threading.Event,
        notify: Notify,
        scrub: Callable[[str], str],
        *,
        hold: Callable[[], None],
        make_job: Callable[[Duty], Job],
        run: Callable[[Job, Show], Summary],
    ) -> None:
        self._duties, self._heartbeat, self._stop, self._notify = duties, heartbeat, stop, notify
        self._scrub = scrub
        self._hold, self._make_job, self._run = hold, make_job, run
        self._lanes: dict[tuple[str, bool], tuple[threading.Thread, Activity]] = {}
        self._rest: dict[Duty, tuple[datetime, frozenset[tuple[str, str]]]] = {}
        self._away = self._hung = False

    def serve(self) -> None:
        """Look, work and wait until the stop; then see the runs under way to their ends.

        Raises RunRefused where another scheduler has taken the place while the database was away.
        """
        pause = min(LOOK_SECONDS, (self._notify.watchdog or LOOK_SECONDS * 2) / 2)
        try:
            while not self._stop.is_set():
                self._look()
                self._stop.wait(pause)
        finally:
            self._stop.set()
            deadline = time.monotonic() + STOP_SECONDS
            for thread, _ in list(self._lanes.values()):
                thread.join(max(0.0, deadline - time.monotonic()))
            if self._lanes:
                log.warning("left undone, with what was not committed: %s", self._doing())

    def _look(self) -> None:
        """Begin what is due; where the database is away, say so once and leave it to the next look."""
        try:
            self._hold()
            now = self._heartbeat.beat(self._doing())
            busy = list(self._lanes)  # before the history: what ends in between has ended in neither
            begun = list(due(self._duties, now, self._history(now), busy))
            for duty, slot in begun:
                self._begin(duty, slot)
            if begun:
                self._heartbeat.beat(self._doing())
        except (DatabaseLost, ConfigurationError) as error:
            if not self._away:
                log.warning("%s: waiting for it", error)
            self._away = True
            self._notify.status("waiting for the database")
        else:
            if self._away:
                log.info("the database is back")
            self._away = False
            self._notify.status(self._doing())
        self._feed_watchdog()

    def _history(self, now: datetime) -> History:
        """The runs for the latest slot of each duty."""
        started = self._heartbeat.started
        self._heartbeat.do(lambda cursor: pulls.disown(cursor, sorted({duty.source for duty in self._duties}), now))
        return self._heartbeat.do(
            lambda cursor: read_history(cursor, self._duties, now, started.started_at, started.first_pull_id)
        )

    def _feed_watchdog(self) -> None:
        since = time.monotonic() - HUNG_SECONDS
        hung = [activity for _, activity in list(self._lanes.values()) if activity.moved < since]
        if not hung:
            self._notify.alive()
        elif not self._hung:
            log.error("no movement for %.0f minutes: %s", HUNG_SECONDS / 60, "; ".join(map(str, hung)))
        self._hung = bool(hung)

    def _doing(self) -> str:
        return "; ".join(str(activity) for _, activity in list(self._lanes.values())) or "idle"

    def _begin(self, duty: Duty, slot: datetime) -> None:
        activity = Activity(duty)
        # a daemon: a thread that waits for a database which does not answer must not outlive the stop
        thread = threading.Thread(target=self._work, args=(duty, slot, activity), name=str(duty), daemon=True)
        self._lanes[duty.lane] = thread, activity
        thread.start()

    def _work(self, duty: Duty, slot: datetime, activity: Activity) -> None:
        """One run, whatever comes of it: the loop and the other lanes go on."""
        try:
            job = self._job(duty, slot)
            summary = self._run(job, activity.show)
            self._remember(duty, slot, summary)
            level = logging.WARNING if summary.exit_code else logging.INFO
            log.log(level, "%s", summary.line(), extra={"run": summary.figures()})
        except RunRefused as error:
            log.info("%s: waiting for it", error)
            self._stop.wait(REFUSED_SECONDS)
        except ConfigurationError as error:
            log.error("%s: %s", duty, error)  # noqa: TRY400 - a person's mistake, which needs no traceback
            self._record(duty, slot, error)
        except DatabaseLost as error:
            log.warning("%s: %s", duty, error)
            self._record(duty, slot, error)  # where there is a database, but no room in it, as with a full disk
        except Exception:
            log.exception("%s: this is a bug", duty)
        finally:
            del self._lanes[duty.lane]
            give_memory_back()

    def _job(self, duty: Duty, slot: datetime) -> Job:
        """The job of a slot; where it was tried before, of the series alone that had no answer then."""
        job = self._make_job(duty)
        tried, rest = self._rest.get(duty, (None, frozenset()))
        targets = tuple(target for target in job.targets if (target.asset, target.metric) in rest)
        return replace(job, slot=slot, targets=targets if targets and tried == slot else job.targets)

    def _remember(self, duty: Duty, slot: datetime, summary: Summary) -> None:
        """Which series are left; a backfill knows it from the coverage, and of a run that was stopped all are."""
        self._rest.pop(duty, None)
        if duty.verb is not Verb.BACKFILL and summary.failed and not summary.not_made:
            self._rest[duty] = slot, frozenset(summary.unanswered)

    def _record(self, duty: Duty, slot: datetime, error: PipelineError) -> None:
        """Record what has no row of its own, so that it counts as a failed try."""
        try:
            self._hold()
            failure = self._scrub(str(error))
            self._heartbeat.do(lambda cursor: pulls.refuse(cursor, duty.source, duty.verb.value, slot, failure))
        except (DatabaseLost, ConfigurationError, RunRefused) as lost:
            log.info("%s: not recorded: %s", duty, lost)
