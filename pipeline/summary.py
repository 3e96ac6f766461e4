"""The figures of a run."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from db.coverage import Name
from db.load import Counts
from db.pulls import STOPPED, RunEnd
from model.values import Target
from pipeline.plan import Plan
from sources.base import Call

FAILURES_SHOWN = 5  # distinct messages in a summary
FAILURES_KEPT = 20  # distinct messages in pulls.failure


@dataclass(slots=True)
class Summary:
    """The figures of a run; they grow while it runs."""

    plan: Plan
    calls: int = 0  # that were answered or given up
    failed: int = 0  # of these
    not_made: int = 0  # because the run was stopped
    answered: set[Call] = field(default_factory=set)
    split: list[Sequence[Call]] = field(default_factory=list)  # the smaller calls that replaced each failed call
    counts: Counts = field(default_factory=Counts)
    received: int = 0  # points in the window
    nulls: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # points, by reason
    unconfirmed: set[Name] = field(default_factory=set)  # series without a value, until an answer of another day agrees
    warnings: list[str] = field(default_factory=list)  # what a person must decide, or the next run does again anyway
    failures: Counter[str] = field(default_factory=Counter)  # by message: failed calls, and what ended the whole run
    with_data: set[Name] = field(default_factory=set)  # series with a point
    unanswered: set[Name] = field(default_factory=set)  # series of failed calls
    without_data: list[Target] = field(default_factory=list)  # series whose calls were answered without a point
    seconds: float = 0.0
    today: datetime | None = None  # the UTC day of the last answer

    @property
    def status(self) -> str:
        """The value of pulls.status."""
        if self.failures or self.not_made:
            return "error"
        return "success" if self.received or not self.plan.calls else "no_data"

    @property
    def exit_code(self) -> int:
        """1 where a call failed or was not made, or a person must decide something."""
        return int(self.status == "error" or bool(self.warnings))

    def figures(self) -> dict[str, object]:
        """The summary as plain values, for a log in JSON."""
        job, counts = self.plan.job, self.counts
        return {
            "source": job.source.name,
            "kind": job.verb.value,
            "slot": job.slot and job.slot.isoformat(),
            "status": self.status,
            "calls": self.calls,
            "failed_calls": self.failed,
            "calls_not_made": self.not_made,
            "series": len(self.plan.series),
            "series_without_data": len(self.without_data),
            "points_received": self.received,
            "points_new": counts.new,
            "points_changed": counts.changed,
            "points_unchanged": counts.unchanged,
            "points_kept": counts.kept,
            "seconds": round(self.seconds, 3),
            "warnings": self.warnings,
            "failures": [message for message, _ in self.failures.most_common(FAILURES_SHOWN)],
        }

    def end(self, scrub: Callable[[str], str]) -> RunEnd:
        """The columns of the run's row in pulls that are written at its end; `scrub` hides secrets."""
        failures = [message for message, _ in self.failures.most_common(FAILURES_KEPT)]
        if len(self.failures) > FAILURES_KEPT:
            failures.append(f"and {len(self.failures) - FAILURES_KEPT} more")
        if self.not_made:
            failures.append(f"{STOPPED} the last {self.not_made} calls")
        failures += self.warnings  # at the end, so that a run that was only stopped is known by the begin of its text
        return RunEnd(
            self.status,
            records=self.counts.new + self.counts.changed,
            calls=self.calls,
            failed=self.failed,
            received=self.received,
            failure=scrub("; ".join(failures)) or None,
            differing=self.counts.changed + self.counts.kept,
        )
