"""One run: fetches from a source and stores what it receives."""

import logging
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext

from db.api_limits import Limit
from db.coverage import Name
from db.database import Database
from db.lock import SessionLock, place_of_run
from db.store import Store
from model.errors import CallFailed, DatabaseLost, RunRefused, SourceStopped
from model.values import DataPoint, Verb, Window, midnight
from pipeline.acceptance import Judgement, judge
from pipeline.api_limits import keep_to, size_limit
from pipeline.identities import without_changed_identities
from pipeline.plan import Job, Plan, plan_in
from pipeline.restatements import decide_restatements
from pipeline.summary import Summary
from pipeline.usage import calls_left
from sources.base import Answer
from sources.fetch import Fetch, Outcome
from sources.http import Client
from sources.pace import Pace

log = logging.getLogger(__name__)

Update = Callable[[int, int, int], None]  # takes the numbers of ended calls, of all calls and of received points
Show = Callable[[str, int], AbstractContextManager[Update]]  # shows the progress of a run with this title and calls

BATCH_POINTS = 50_000  # in one transaction, at full speed
BATCH_SECONDS = 2.0  # of work that a killed process may lose
TURN_SECONDS = 0.0005  # of a busy thread; with Python's own 5 ms, the next request starts late while an answer is read


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
    sys.setswitchinterval(TURN_SECONDS)
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
        summary = Summary(Plan(job, {}))
        try:
            _make_calls(summary, job, store, pace, stop, show)
        except (DatabaseLost, RunRefused):
            raise  # the end of the run cannot be recorded, or must not be
        except Exception as error:
            summary.failures[f"{type(error).__name__}: {error}"] += 1
            store.end_run(pull_id, summary.end(scrub))
            raise
        summary.seconds = time.monotonic() - began
        store.end_run(pull_id, summary.end(scrub))
    return summary


def _make_calls(summary: Summary, job: Job, store: Store, pace: Pace, stop: threading.Event, show: Show) -> None:
    """Plan and make the calls, within the limits of the API that are known; remember those that the run finds."""
    source, client = job.source, Client(job.source, stop, pace)
    keep_to(store.api_limits(source.account), source, pace)
    delay = pace.delay
    summary.plan = plan_in(store, job)
    if summary.plan.calls:
        kept = without_changed_identities(job, client, store, summary)
        summary.plan = summary.plan if kept == job else plan_in(store, kept)
    compared = _fetch_and_store(summary, client, store, show)
    if job.verb is Verb.SETTLE:
        if not summary.not_made:
            decide_restatements(summary, store, compared)
        store.verify(compared)
    found: dict[Limit, float | None] = {Limit.REQUEST_DELAY: pace.delay if pace.delay != delay else None}
    if source.SERIES_A_CALL:
        found[Limit.SERIES_A_CALL] = size_limit(summary.split, summary.answered)
    if summary.answered and not summary.not_made and job.verb is not Verb.PULL:  # an hourly pull does not ask
        found[Limit.CALLS_LEFT] = calls_left(source, Client(source, stop, pace))
    store.set_api_limits(source.account, {name: value for name, value in found.items() if value is not None})


def _fetch_and_store(summary: Summary, client: Client, store: Store, show: Show) -> Mapping[Name, Sequence[Window]]:
    """Take answers as they come and load them in batches; the points of one answer share a transaction.

    Returns the days of each series that the answers which count are about.
    """
    job, calls = summary.plan.job, summary.plan.calls
    live = [each._replace(metric=live) for each in job.targets if (live := job.source.METRICS[each.metric].live_name)]
    known = store.known([*job.targets, *live]) if calls else {}
    batch: list[DataPoint] = []
    means = Judgement()
    compared: dict[Name, list[Window]] = defaultdict(list)
    loaded = time.monotonic()
    total = summary.calls + len(calls)
    with Fetch(client, calls, client.source.answer) as outcomes, show(str(job), total) as update:
        for outcome in outcomes:
            if outcome is not None:
                total += len(outcome.pieces)
                summary.calls += 1
                if outcome.answer:
                    points = _points_to_store(outcome.answer, job)
                    judged = judge(outcome.answer, points, job.source, known)
                    _count_answer(outcome.answer, points, judged, summary)
                    batch += points
                    means.add(judged)
                    for each in [*judged.answered, *judged.withdrawn]:
                        if each.days:
                            compared[each.asset, each.metric].append(each.days)
                else:
                    _count_failure(outcome, summary)
            if len(batch) >= BATCH_POINTS or (means.answered and time.monotonic() - loaded >= BATCH_SECONDS):
                summary.counts.add(store.load(batch, means.answered, means.refused, means.withdrawn))
                batch, means = [], Judgement()
                loaded = time.monotonic()
            update(summary.calls, total, summary.received)
    summary.counts.add(store.load(batch, means.answered, means.refused, means.withdrawn))
    summary.not_made = total - summary.calls
    if not summary.not_made:
        explained = summary.with_data | summary.unanswered
        summary.without_data = sorted(
            each for each in summary.plan.series if (each.asset, each.metric) not in explained
        )
    return compared


def _count_answer(answer: Answer, points: Sequence[DataPoint], judged: Judgement, summary: Summary) -> None:
    """Count an answer, its points, and what was refused of it: then the call counts as failed."""
    summary.answered.add(answer.call)
    summary.today = midnight(answer.received)
    summary.received += len(points)
    summary.nulls += answer.nulls
    summary.refused.update(point.why for point in answer.refused)
    summary.with_data.update((point.asset, point.metric) for point in points)
    summary.unconfirmed |= judged.unconfirmed
    if judged.failures:
        (name, why), *others = judged.failures.items()
        also = f", as for {len(others):,} more series" if others else ""
        message = f"{answer.call}: refused for {' '.join(name)}: {why}{also}; the next run requests this again"
        _count_failed_call(message, judged.failures, summary)


def _count_failure(outcome: Outcome[Answer], summary: Summary) -> None:
    """Count a call without an answer; raises an error that is not about the API."""
    if outcome.pieces:
        summary.split.append(outcome.pieces)
        log.info("%s: retrying as %d smaller calls", outcome.error, len(outcome.pieces))
    elif isinstance(outcome.error, (CallFailed, SourceStopped)):
        names = [(target.asset, target.metric) for target in outcome.call.targets]
        level = logging.ERROR if isinstance(outcome.error, SourceStopped) else logging.WARNING
        _count_failed_call(str(outcome.error), names, summary, level)
    elif outcome.error:
        raise outcome.error


def _count_failed_call(message: str, names: Iterable[Name], summary: Summary, level: int = logging.WARNING) -> None:
    """Count a call that gave nothing for these series, and log each message once."""
    if message not in summary.failures:
        log.log(level, "%s", message)
    summary.failures[message] += 1
    summary.failed += 1
    summary.unanswered.update(names)


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
