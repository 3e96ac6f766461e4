"""One run: fetches from a source and stores what it receives."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext

from db.lock import SessionLock, place_of_run
from db.setup import Database
from db.store import Store
from model.errors import CallFailed, DatabaseLost, RunRefused, SourceStopped
from model.values import DAY, Answered, DataPoint, Verb, Window, midnight
from pipeline.plan import Job, plan_in
from pipeline.summary import Summary
from sources.base import Answer
from sources.fetch import Fetch, Outcome
from sources.http import Client
from sources.pace import Pace

log = logging.getLogger(__name__)

Update = Callable[[int, int, int], None]  # takes the numbers of ended calls, of all calls and of received points
Show = Callable[[str, int], AbstractContextManager[Update]]  # shows the progress of a run with this title and calls

BATCH_POINTS = 50_000  # in one transaction, at full speed
BATCH_SECONDS = 2.0  # of work that a killed process may lose
LONGEST_EMPTY = 7 * DAY  # an empty answer for several series and a longer window does not count as coverage


def run(
    job: Job,
    database: Database,
    stop: threading.Event,
    scrub: Callable[[str], str],
    pace: Pace,
    *,
    check_place: Callable[[], None] = lambda: None,
    show: Show = lambda title, total: nullcontext(lambda *_: None),  # noqa: ARG005
) -> Summary:
    """Make the calls of a job, store the points and record the run in pulls; ends early once `stop` is set.

    `scrub` hides secrets in what is recorded. `check_place` is called before each write; it raises RunRefused where
    the caller has lost a place of its own, such as that of the scheduler. A failed call is counted, not raised.
    Raises RunRefused where another process is making the same run, and DatabaseLost where the database stays away.
    """
    began = time.monotonic()
    source, verb = job.source, job.verb

    def check_both_places() -> None:
        check_place()
        lock.take()

    with (
        closing(SessionLock(database, place_of_run(source.name, verb), stop)) as lock,
        closing(Store(database, source.name, verb, check_both_places, stop)) as store,
    ):
        check_place()
        pull_id = store.begin_run([name for name, metric in source.METRICS.items() if metric.live_only], job.slot)
        summary = Summary(plan_in(store, job))
        try:
            _fetch_and_store(summary, Client(source, stop, pace), store, show)
        except (DatabaseLost, RunRefused):
            raise  # the end of the run cannot be recorded, or must not be
        except Exception as error:
            summary.failures[f"{type(error).__name__}: {error}"] += 1
            store.end_run(pull_id, summary.end(scrub))
            raise
        summary.seconds = time.monotonic() - began
        store.end_run(pull_id, summary.end(scrub))
    return summary


def _fetch_and_store(summary: Summary, client: Client, store: Store, show: Show) -> None:
    """Take answers as they come and load them in batches; the points of one answer share a transaction."""
    batch: list[DataPoint] = []
    answered: list[Answered] = []
    loaded = time.monotonic()
    calls = summary.plan.calls
    total = len(calls)
    with Fetch(client, calls, client.source.answer) as outcomes, show(str(summary.plan.job), total) as update:
        for outcome in outcomes:
            if outcome is not None:
                batch += _count(outcome, summary)
                answered += _answered(outcome, summary.plan.job)
                total += outcome.pieces
            if len(batch) >= BATCH_POINTS or (answered and time.monotonic() - loaded >= BATCH_SECONDS):
                summary.counts.add(store.load(batch, answered))
                batch.clear()
                answered.clear()
                loaded = time.monotonic()
            update(summary.calls, total, summary.received)
    summary.counts.add(store.load(batch, answered))
    summary.not_made = total - summary.calls
    if not summary.not_made:
        known = summary.with_data | summary.unanswered
        summary.without_data = sorted(each for each in summary.plan.series if (each.asset, each.metric) not in known)


def _count(outcome: Outcome[Answer], summary: Summary) -> list[DataPoint]:
    """Count a call that ended, log each failure once, and return the points of its answer that the run stores."""
    summary.calls += 1
    if outcome.answer:
        points = _points_to_store(outcome.answer, summary.plan.job)
        summary.today = midnight(outcome.answer.received)
        summary.received += len(points)
        summary.nulls += outcome.answer.nulls
        summary.rejected.update(outcome.answer.rejected)
        summary.with_data.update((point.asset, point.metric) for point in points)
        return points
    if outcome.pieces:
        log.info("%s: retrying as %d smaller calls", outcome.error, outcome.pieces)
    elif isinstance(outcome.error, (CallFailed, SourceStopped)):
        message, stopped = str(outcome.error), isinstance(outcome.error, SourceStopped)
        if message not in summary.failures:
            log.log(logging.ERROR if stopped else logging.WARNING, "%s", message)
        summary.failures[message] += 1
        summary.failed += 1
        summary.unanswered.update((target.asset, target.metric) for target in outcome.call.targets)
    elif outcome.error:
        raise outcome.error
    return []


def _answered(outcome: Outcome[Answer], job: Job) -> Iterator[Answered]:
    """The series for which a call got an answer, and the days that the answer covers."""
    if outcome.answer is None or _is_suspicious(outcome.answer):
        return
    call, today = outcome.call, midnight(outcome.answer.received)
    for target in call.targets:
        metric = job.source.METRICS[target.metric]
        if metric.live_only:  # tomorrow the API no longer has the value of today
            yield Answered(target.asset, target.metric, Window(today, today + DAY), api_id=target.id)
        elif call.dated and call.window.start < today:
            days = Window(call.window.start, min(call.window.end, today))
            yield Answered(target.asset, target.metric, days, metric.shift, target.id)
        else:
            yield Answered(target.asset, target.metric, api_id=target.id)


def _is_suspicious(answer: Answer) -> bool:
    """Whether an answer for several series and many days is empty. The next run requests these days again.

    Artemis answers an unknown path with status 200 and no data. If such an answer counted as coverage, no backfill
    would ever request these days again.
    """
    call = answer.call
    large = len(call.targets) > 1 and call.window.end - call.window.start > LONGEST_EMPTY
    return call.dated and large and not answer.points and not answer.nulls


def _points_to_store(answer: Answer, job: Job) -> list[DataPoint]:
    """The points in the window of the call; a pull dates each of them at the midnight of its day."""
    window, metrics = answer.call.window, job.source.METRICS
    if job.verb is not Verb.PULL:
        first, end = window.start.date(), window.end.date()
        return [point for point in answer.points if first <= metrics[point.metric].day_of(point.at) < end]
    # no upper bound: a run that passes midnight may receive points of the new day
    points = [point for point in answer.points if point.at >= window.start]
    points.sort(key=lambda point: point.at)  # the store keeps the last point of each day
    for point in points:
        point.at = midnight(point.at)
    return points
