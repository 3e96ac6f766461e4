"""One run: the place where a source meets the store."""

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
from pipeline.gaps import to_ask
from pipeline.plan import Job, Plan, Scope, make_plan
from pipeline.summary import Summary
from sources.base import Answer
from sources.fetch import Fetch, Outcome
from sources.http import Client
from sources.pace import Pace

log = logging.getLogger(__name__)

Update = Callable[[int, int, int], None]  # takes the calls that have ended, of how many, and the points received
Show = Callable[[str, int], AbstractContextManager[Update]]  # shows the progress of a run with this title and calls

BATCH_POINTS = 50_000  # as many rows as one transaction loads at full speed
BATCH_SECONDS = 2.0  # what a killed process may lose
BELIEVED_EMPTY = 7 * DAY  # for how long several series may have nothing at all


def run(
    job: Job,
    database: Database,
    stop: threading.Event,
    scrub: Callable[[str], str],
    pace: Pace,
    *,
    hold: Callable[[], None] = lambda: None,
    show: Show = lambda title, total: nullcontext(lambda *_: None),  # noqa: ARG005
) -> Summary:
    """Make the calls that a job takes, store what they give, record the run in pulls; ends early once `stop` is set.

    `scrub` hides secrets in what is recorded; `hold` makes sure, before anything is written, of another place that
    the caller must have. Raises RunRefused where the same run is under way elsewhere, or from `hold`; DatabaseLost
    where the database does not come back; failed calls are counted, not raised.
    """
    began = time.monotonic()
    source, verb = job.source, job.verb

    def hold_both() -> None:
        hold()
        lock.take()

    with (
        closing(SessionLock(database, place_of_run(source.name, verb), stop)) as lock,
        closing(Store(database, source.name, verb, hold_both, stop)) as store,
    ):
        hold()
        pull_id = store.begin_run([name for name, metric in source.METRICS.items() if metric.live_only], job.slot)
        summary = Summary(plan := plan_in(store, job), len({target for call in plan.calls for target in call.targets}))
        try:
            _fetch_and_store(summary, Client(source, stop, pace), store, show)
        except (DatabaseLost, RunRefused):
            raise  # nothing can be recorded, or may be
        except Exception as error:
            summary.broken = f"{type(error).__name__}: {error}"
            store.end_run(pull_id, summary.end(scrub))
            raise
        summary.seconds = time.monotonic() - began
        store.end_run(pull_id, summary.end(scrub))
    return summary


def plan_alone(database: Database, job: Job) -> Plan:
    """The calls that a run of the job would make now."""
    with closing(Store(database, job.source.name, job.verb)) as store:
        return plan_in(store, job)


def plan_in(store: Store, job: Job) -> Plan:
    """The calls that a job takes, given what the store has already."""
    if job.scope is Scope.FULL:
        return make_plan(job)
    if job.scope is Scope.MISSING:
        return make_plan(job, store.missing(job.targets, job.window))
    return make_plan(job, to_ask(job, store))


def _fetch_and_store(summary: Summary, client: Client, store: Store, show: Show) -> None:
    """Take answers as they come and load them batch by batch, each answer's points in one transaction."""
    batch: list[DataPoint] = []
    answered: list[Answered] = []
    loaded = time.monotonic()
    calls = summary.plan.calls
    total = len(calls)
    with Fetch(client, calls, client.source.answer) as outcomes, show(str(summary.plan.job), total) as update:
        for outcome in outcomes:
            if outcome is not None:
                batch += _take(outcome, summary)
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
        by_name = {(target.asset, target.metric): target for call in calls for target in call.targets}
        summary.silent = [by_name[name] for name in by_name.keys() - summary.seen - summary.unanswered]
        summary.silent.sort()


def _take(outcome: Outcome[Answer], summary: Summary) -> list[DataPoint]:
    """Count how a call ended; the points that it gives the run."""
    _count(outcome, summary)
    if outcome.answer:
        points = _fit(outcome.answer, summary)
        summary.seen.update((point.asset, point.metric) for point in points)
        return points
    if not outcome.pieces:
        summary.unanswered.update((target.asset, target.metric) for target in outcome.call.targets)
    return []


def _answered(outcome: Outcome[Answer], job: Job) -> Iterator[Answered]:
    """The series for which a call was answered, with the closed days that it asked for."""
    if outcome.answer is None or _says_nothing(outcome.answer):
        return
    call, today = outcome.call, midnight(outcome.answer.received)
    for target in call.targets:
        metric = job.source.METRICS[target.metric]
        if metric.live_only:  # what it was today can't be asked for tomorrow
            yield Answered(target.asset, target.metric, Window(today, today + DAY), api_id=target.id)
        elif call.dated and call.window.start < today:
            days = Window(call.window.start, min(call.window.end, today))
            yield Answered(target.asset, target.metric, days, metric.shift, target.id)
        else:
            yield Answered(target.asset, target.metric, api_id=target.id)


def _says_nothing(answer: Answer) -> bool:
    """Whether an answer for many series and days has nothing in it: it is not believed, and asked for again next time.

    An API answers so, with 200, where it does not know the path, as Artemis does; remembered, the days of all these
    series would never be asked for again.
    """
    call = answer.call
    many = len(call.targets) > 1 and call.window.end - call.window.start > BELIEVED_EMPTY
    return call.dated and many and not answer.points and not answer.nulls


def _fit(answer: Answer, summary: Summary) -> list[DataPoint]:
    """The points that the run may store: in its window, and for a pull dated at midnight of their own day."""
    window, metrics = answer.call.window, summary.plan.job.source.METRICS
    if summary.plan.job.verb is Verb.PULL:  # no upper bound: a run that passes midnight dates what it gets by its day
        points = [point for point in answer.points if point.at >= window.start]
        points.sort(key=lambda point: point.at)  # of one day's points the last is stored
        for point in points:
            point.at = midnight(point.at)
    else:
        points = [point for point in answer.points if point.at + metrics[point.metric].shift in window]
    summary.today = midnight(answer.received)
    summary.received += len(points)
    summary.nulls += answer.nulls
    summary.rejected.update(answer.rejected)
    return points


def _count(outcome: Outcome[Answer], summary: Summary) -> None:
    """Count a call that ended; log what failed, a stopped source once."""
    summary.calls += 1
    error = outcome.error
    if error is None:
        return
    if outcome.pieces:
        log.info("%s: asking again in %d smaller calls", error, outcome.pieces)
        return
    if not isinstance(error, (CallFailed, SourceStopped)):
        raise error
    summary.failed += 1
    if str(error) not in summary.failures:
        log.log(logging.ERROR if isinstance(error, SourceStopped) else logging.WARNING, "%s", error)
    summary.failures[str(error)] += 1
