"""Plans and summaries of runs, as sentences for a terminal and for the log."""

from collections.abc import Iterator

from model.settings import MAIN
from model.text import first_of
from model.values import DAY, Verb, Window
from pipeline.plan import Job, Plan, Scope
from pipeline.summary import FAILURES_SHOWN, Summary
from sources.base import Call

CALLS_SHOWN = 3  # of those whose paths differ only in the last part
WINDOWS_SHOWN = 8
REASONS_SHOWN = 5  # why points were refused


def window_text(window: Window) -> str:
    """A window as its first and last day."""
    first, last = window.start.date(), (window.end - DAY).date()
    return f"{first}" if first == last else f"{first} to {last}"


def plan_lines(plan: Plan) -> Iterator[str]:
    """How many calls a plan has, how long they take, which days they request, and examples of their paths."""
    job, source = plan.job, plan.job.source
    seconds = len(plan.calls) * source.delay(with_key=bool(source.key))  # the least time, at the source's pace
    span = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    yield f"{job}: {len(plan.calls):,} calls for {len(plan.series):,} series, at least {span}"
    if others := len(set(job.targets) - plan.series):
        yield f"  {_not_needed(job, others)}: nothing to request"
    for window in sorted(plan.windows)[:WINDOWS_SHOWN]:
        calls = plan.windows[window]
        series = {target for call in calls for target in call.targets}
        yield f"  {window_text(window)}: {len(calls):,} calls for {len(series):,} series"
    if len(plan.windows) > WINDOWS_SHOWN:
        yield f"  and {len(plan.windows) - WINDOWS_SHOWN:,} more windows"
    alike: dict[str, list[Call]] = {}
    for call in plan.calls:
        alike.setdefault(call.path.rstrip("/").rpartition("/")[0], []).append(call)
    for folder, calls in alike.items():
        shown = calls if len(calls) <= CALLS_SHOWN + 1 else calls[:CALLS_SHOWN]
        yield from (f"    {call}" for call in shown)
        if len(calls) > len(shown):
            yield f"    and {len(calls) - len(shown):,} more of {folder}/…"


def summary_line(summary: Summary) -> str:
    """What a run did, in one line for the log."""
    return "; ".join([_figures(summary), *(line.strip() for line in _failures(summary))])


def summary_lines(summary: Summary) -> Iterator[str]:
    """What a run did, and what to do about it, for a person."""
    yield _figures(summary)
    yield from _failures(summary)
    if not summary.plan.calls:
        return
    if summary.status == "error":
        rest = "what was received is stored; run the command again for the rest"
        yield f"  {rest if summary.received else 'nothing was received; run the command again once that is mended'}"
    job, counts = summary.plan.job, summary.counts
    if counts.kept:
        yield f"  kept as stored: {counts.kept:,} values{_remedy_for_kept(job)}"
    if counts.withdrawn:
        yield f"  no longer at the API: {counts.withdrawn:,} days; the stored values are kept"
    if summary.nulls:
        yield f"  null, which counts as no data: {summary.nulls:,}"
    if summary.refused:
        reasons = [f"{reason} ({number:,})" for reason, number in summary.refused.most_common()]
        yield f"  points refused as invalid: {summary.refused.total():,}: {first_of(reasons, REASONS_SHOWN)}"
    if summary.unconfirmed:
        yield (
            f"  no value in a long window: {len(summary.unconfirmed):,} series, which may not have begun by then; "
            "a run on another day requests these days once more before they count as answered"
        )


def _figures(summary: Summary) -> str:
    job, counts = summary.plan.job, summary.counts
    if not summary.plan.calls:
        none = "each series is left out" if summary.warnings else f"a {job.verb} can request no series of its config"
        why = f"all {_not_needed(job, len(job.targets))}" if job.targets else none
        return f"{job}: nothing to request: {why}; {summary.seconds:.1f} s"
    kept = f", {counts.kept:,} stored with another value" if counts.kept else ""
    changed = "restated" if job.verb is Verb.SETTLE else "changed"
    return (
        f"{job}: {summary.calls:,} calls, {summary.failed:,} failed; "
        f"{summary.received:,} points received: {counts.new:,} new, {counts.changed:,} {changed}, "
        f"{counts.unchanged:,} unchanged{kept}; "
        f"{len(summary.without_data):,} of {len(summary.plan.series):,} series without data; {summary.seconds:.1f} s"
    )


def _failures(summary: Summary) -> Iterator[str]:
    yield from (f"  needs attention: {message}" for message in summary.warnings)
    for message, number in summary.failures.most_common(FAILURES_SHOWN):
        yield f"  failed{f' {number:,} times' if number > 1 else ''}: {message}"
    if len(summary.failures) > FAILURES_SHOWN:
        yield f"  failed with {len(summary.failures) - FAILURES_SHOWN:,} more messages: see the column pulls.failure"
    if summary.not_made:
        yield f"  stopped: {summary.not_made:,} calls were not made"


def _remedy_for_kept(job: Job) -> str:
    """What becomes of the API's values, where a run has kept other ones."""
    settle = f"{MAIN} settle {job.source.name}"
    if job.verb is Verb.BACKFILL:
        return f"; to adopt the API's values: {settle} --all"
    if job.verb is Verb.PULL:
        return f" of closed days; the next settle decides about the API's values: {settle}"
    why = "the API's values wait for a person, are held back with these, or were rejected"
    return f", since {why}: {MAIN} check {job.source.name}"


def _not_needed(job: Job, number: int) -> str:
    """Why a run makes no call for this number of its series."""
    covered = job.scope is Scope.MISSING
    return f"{number:,} series {f'are covered from {window_text(job.window)}' if covered else 'have no such gap'}"
