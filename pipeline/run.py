"""One run: the place where a source meets the store."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from db.lock import RunLock
from db.setup import Database
from db.store import Counts, RunEnd, Store
from pipeline.errors import CallFailed, DatabaseLost, SourceStopped
from pipeline.plan import Plan
from pipeline.progress import Progress
from pipeline.values import DataPoint, Target, Verb, midnight
from sources.base import Answer
from sources.flight import Flight, Outcome
from sources.http import Client

log = logging.getLogger(__name__)

BATCH_POINTS = 50_000  # as many rows as one transaction loads at full speed
BATCH_SECONDS = 2.0  # what a killed process may lose
FAILURES_SHOWN = 5  # distinct messages in the summary
FAILURES_KEPT = 20  # distinct messages in pulls.failure


@dataclass(slots=True)
class Summary:
    """What a run did, to be printed and recorded."""

    plan: Plan
    calls: int = 0  # that ended, with an answer or given up
    failed: int = 0
    not_made: int = 0  # because the run was told to stop
    counts: Counts = field(default_factory=Counts)
    received: int = 0  # points in the window
    nulls: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    seen: set[tuple[str, str]] = field(default_factory=set)  # series with a point
    unanswered: set[tuple[str, str]] = field(default_factory=set)  # series of failed calls
    silent: list[Target] = field(default_factory=list)  # answered, without one point
    broken: str = ""  # what ended the run before its time, where it is not the stop
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """What pulls.status says."""
        if self.failed or self.not_made or self.broken:
            return "error"
        return "success" if self.received else "no_data"

    @property
    def exit_code(self) -> int:
        """1 where a call failed or was not made."""
        return int(self.status == "error")

    def lines(self) -> list[str]:
        """The summary for a person."""
        plan, counts = self.plan, self.counts
        lines = [
            f"{plan.source.name} {plan.verb}: {self.calls:,} calls, {self.failed:,} failed; "
            f"{self.received:,} points received: {counts.new:,} new, {counts.changed:,} changed, "
            f"{counts.unchanged:,} unchanged; {len(self.silent):,} of {plan.series:,} series without data; "
            f"{self.seconds:.1f} s"
        ]
        lines += [
            f"  failed{f' {number:,} times' if number > 1 else ''}: {message}"
            for message, number in self.failures.most_common(FAILURES_SHOWN)
        ]
        if len(self.failures) > FAILURES_SHOWN:
            lines.append(f"  failed in {len(self.failures) - FAILURES_SHOWN:,} more ways: see the column pulls.failure")
        if self.not_made:
            lines.append(f"  stopped: {self.not_made:,} calls were not made")
        if self.status == "error":
            lines.append("  what was received is stored; run it again for the rest")
        if self.nulls:
            lines.append(f"  null in place of a value, so no data: {self.nulls:,}")
        if self.rejected:
            reasons = ", ".join(f"{reason} ({number:,})" for reason, number in self.rejected.most_common(5))
            lines.append(f"  left out as impossible: {self.rejected.total():,}: {reasons}")
        return lines


def run(plan: Plan, database: Database, stop: threading.Event, scrub: Callable[[str], str]) -> Summary:
    """Make the calls of a plan, store what they give, record the run in pulls; ends early once `stop` is set.

    `scrub` hides secrets in what is recorded. Raises RunRefused where the same run is under way elsewhere,
    DatabaseLost where the database does not come back; failed calls are counted, not raised.
    """
    summary, began = Summary(plan), time.monotonic()
    source, verb = plan.source, plan.verb
    with (
        closing(RunLock(database, source.name, verb, stop)) as lock,
        closing(Store(database, source.name, verb, lock.take, stop)) as store,
    ):
        pull_id = store.begin_run()
        try:
            _fetch_and_store(summary, Client(source, stop), store)
        except DatabaseLost:
            raise  # nothing can be recorded
        except Exception as error:
            summary.broken = f"{type(error).__name__}: {error}"
            store.end_run(pull_id, _end(summary, scrub))
            raise
        summary.seconds = time.monotonic() - began
        store.end_run(pull_id, _end(summary, scrub))
    return summary


def _fetch_and_store(summary: Summary, client: Client, store: Store) -> None:
    """Take answers as they come and load them batch by batch, each answer's points in one transaction."""
    batch: list[DataPoint] = []
    loaded = time.monotonic()
    total = len(summary.plan.calls)
    title = f"{summary.plan.source.name} {summary.plan.verb}"
    with Flight(client, summary.plan.calls) as flight, Progress(title, total) as progress:
        for outcome in flight:
            if outcome is not None:
                batch += _take(outcome, summary)
                total += outcome.pieces
            if len(batch) >= BATCH_POINTS or (batch and time.monotonic() - loaded >= BATCH_SECONDS):
                summary.counts.add(store.load(batch))
                batch.clear()
                loaded = time.monotonic()
            progress.update(summary.calls, total, summary.received)
    summary.counts.add(store.load(batch))
    summary.not_made = total - summary.calls
    if not summary.not_made:
        by_name = {(target.asset, target.metric): target for call in summary.plan.calls for target in call.targets}
        summary.silent = [by_name[name] for name in by_name.keys() - summary.seen - summary.unanswered]
        summary.silent.sort()


def _take(outcome: Outcome, summary: Summary) -> list[DataPoint]:
    """Count how a call ended; the points that it gives the run."""
    _count(outcome, summary)
    if outcome.answer:
        points = _fit(outcome.answer, summary)
        summary.seen.update((point.asset, point.metric) for point in points)
        return points
    if not outcome.pieces:
        summary.unanswered.update((target.asset, target.metric) for target in outcome.call.targets)
    return []


def _fit(answer: Answer, summary: Summary) -> list[DataPoint]:
    """The points that the run may store: in its window, and for a pull dated at midnight of their own day."""
    window = answer.call.window
    if summary.plan.verb is Verb.BACKFILL:
        points = [point for point in answer.points if point.at in window]
    else:  # no upper bound: a run that passes midnight dates what it receives by the new day
        points = [point for point in answer.points if point.at >= window.start]
        points.sort(key=lambda point: point.at)  # of one day's points the last is stored
        for point in points:
            point.at = midnight(point.at)
    summary.received += len(points)
    summary.nulls += answer.nulls
    summary.rejected.update(answer.rejected)
    return points


def _count(outcome: Outcome, summary: Summary) -> None:
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


def _end(summary: Summary, scrub: Callable[[str], str]) -> RunEnd:
    """What the run's row says in the end."""
    failures = [summary.broken] if summary.broken else []
    failures += [message for message, _ in summary.failures.most_common()]
    text = "; ".join(failures[:FAILURES_KEPT])
    if len(failures) > FAILURES_KEPT:
        text += f"; and {len(failures) - FAILURES_KEPT} more"
    if summary.not_made:
        text = "; ".join(filter(None, [text, f"stopped before {summary.not_made} calls were made"]))
    return RunEnd(
        summary.status,
        records=summary.counts.new + summary.counts.changed,
        calls=summary.calls,
        failed=summary.failed,
        received=summary.received,
        failure=scrub(text) or None,
    )
