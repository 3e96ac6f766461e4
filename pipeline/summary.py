"""What a run did, to be printed and recorded."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from db.load import Counts
from db.pulls import STOPPED, RunEnd
from model.values import DAY, Target, Verb
from pipeline.plan import Plan

FAILURES_SHOWN = 5  # distinct messages in the summary
FAILURES_KEPT = 20  # distinct messages in pulls.failure


@dataclass(slots=True)
class Summary:
    """What a run did, to be printed and recorded."""

    plan: Plan
    series: int  # that are asked for
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
    today: datetime | None = None  # when the last answer came, which a settle counts back from

    @property
    def status(self) -> str:
        """What pulls.status says."""
        if self.failed or self.not_made or self.broken:
            return "error"
        return "success" if self.received or not self.plan.calls else "no_data"

    @property
    def exit_code(self) -> int:
        """1 where a call failed or was not made."""
        return int(self.status == "error")

    def line(self) -> str:
        """The summary in one line, for a log: the figures, and what failed."""
        return "; ".join([self._figures(), *(line.strip() for line in self._failures())])

    def figures(self) -> dict[str, object]:
        """The same as plain values."""
        job, counts = self.plan.job, self.counts
        return {
            "source": job.source.name,
            "kind": job.verb.value,
            "slot": job.slot and job.slot.isoformat(),
            "status": self.status,
            "calls": self.calls,
            "failed_calls": self.failed,
            "calls_not_made": self.not_made,
            "series": self.series,
            "series_without_data": len(self.silent),
            "points_received": self.received,
            "points_new": counts.new,
            "points_changed": counts.changed,
            "points_unchanged": counts.unchanged,
            "points_kept": counts.kept,
            "seconds": round(self.seconds, 3),
            "failures": [message for message, _ in self.failures.most_common(FAILURES_SHOWN)],
        }

    def lines(self) -> list[str]:
        """The summary for a person."""
        counts = self.counts
        if not self.plan.calls:
            return [self._figures()]
        lines = [self._figures(), *self._failures()]
        if self.status == "error":
            lines.append("  what was received is stored; run it again for the rest")
        if counts.kept:
            lines.append(f"  kept as stored: {counts.kept:,} values; to adopt the API's: {self._settle()}")
        if counts.withdrawn:
            lines.append(f"  had data once and has none now: {counts.withdrawn:,} days; what is stored is kept")
        if self.nulls:
            lines.append(f"  null in place of a value, so no data: {self.nulls:,}")
        if self.rejected:
            reasons = ", ".join(f"{reason} ({number:,})" for reason, number in self.rejected.most_common(5))
            lines.append(f"  left out as impossible: {self.rejected.total():,}: {reasons}")
        return lines

    def end(self, scrub: Callable[[str], str]) -> RunEnd:
        """What the run's row in pulls says in the end; `scrub` hides secrets."""
        failures = [self.broken] if self.broken else []
        failures += [message for message, _ in self.failures.most_common()]
        text = "; ".join(failures[:FAILURES_KEPT])
        if len(failures) > FAILURES_KEPT:
            text += f"; and {len(failures) - FAILURES_KEPT} more"
        if self.not_made:
            text = "; ".join(filter(None, [text, f"{STOPPED} {self.not_made} calls were made"]))
        return RunEnd(
            self.status,
            records=self.counts.new + self.counts.changed,
            calls=self.calls,
            failed=self.failed,
            received=self.received,
            failure=scrub(text) or None,
            differing=self.counts.changed + self.counts.kept,
        )

    def _figures(self) -> str:
        job, counts = self.plan.job, self.counts
        if not self.plan.calls:
            none = f"no series of its config can be asked for in a {job.verb}"
            why = f"all {job.not_asked(len(job.targets))}" if job.targets else none
            return f"{job}: nothing to ask: {why}; {self.seconds:.1f} s"
        kept = f", {counts.kept:,} stored with another value" if counts.kept else ""
        changed = "restated" if job.verb is Verb.SETTLE else "changed"
        return (
            f"{job}: {self.calls:,} calls, {self.failed:,} failed; "
            f"{self.received:,} points received: {counts.new:,} new, {counts.changed:,} {changed}, "
            f"{counts.unchanged:,} unchanged{kept}; {len(self.silent):,} of {self.series:,} series without data; "
            f"{self.seconds:.1f} s"
        )

    def _failures(self) -> list[str]:
        lines = [
            f"  failed{f' {number:,} times' if number > 1 else ''}: {message}"
            for message, number in self.failures.most_common(FAILURES_SHOWN)
        ]
        if len(self.failures) > FAILURES_SHOWN:
            lines.append(f"  failed in {len(self.failures) - FAILURES_SHOWN:,} more ways: see the column pulls.failure")
        if self.not_made:
            lines.append(f"  stopped: {self.not_made:,} calls were not made")
        return lines

    def _settle(self) -> str:
        job = self.plan.job
        number = ((self.today or job.window.end) - job.window.start) // DAY
        return f"python main.py settle {job.source.name} --days {number}"
