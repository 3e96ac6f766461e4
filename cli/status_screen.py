"""The health of the pipeline as one screen of text, and as plain values for JSON."""

import textwrap
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from cli.health_text import Problem, scheduler_problem, source_problems
from cli.time_text import moment, span
from model.scrub import scrubbed
from model.text import printable
from model.values import DAY
from pipeline.freshness import Freshness, SeriesState
from pipeline.health import Health, SourceHealth
from pipeline.run_health import RunHealth

STATUS_WIDTH = 99  # columns
REASON_LINES = 2


def lines(health: Health, scrub: Callable[[str], str]) -> Iterator[str]:
    """The screen: the problems first, then each source. Secrets are hidden before a text is wrapped or cut."""
    yield from _scheduler_lines(health, scrub)
    for each in health.sources:
        for problem in source_problems(each):
            yield from _problem_lines(each.source, scrubbed(problem, scrub))
    for each in health.sources:
        yield f"{f'{each.source}: {_state(each)}':<32}{'state':<10}{'last success':<30}next"
        for run in each.runs:
            yield from _run_lines(health, run, scrub)
        yield from _freshness_lines(health, each.freshness)
        yield f"  last 24 h: {each.calls:,} requests, {each.failed_calls:,} failed"


def _state(source: SourceHealth) -> str:
    return "NEEDS ATTENTION" if source.in_trouble else "ok"


def _scheduler_lines(health: Health, scrub: Callable[[str], str]) -> Iterator[str]:
    if problem := scheduler_problem(health):
        yield from _problem_lines("scheduler", problem)
    else:
        yield f"scheduler: {health.scheduler}"
    beat = health.beat
    if beat and health.at:
        age = span(health.at - beat.beaten_at)
        yield f"  pid {beat.pid} on {beat.host} since {moment(beat.started_at)}; last heartbeat {age} ago:"
        yield from (_cut(f"  {doing}") for doing in scrub(beat.doing).split("; "))


def _problem_lines(where: str, problem: Problem) -> Iterator[str]:
    yield _cut(f"! {where}: {problem.what}{':' if problem.reason else ''}")
    for text, most in ((problem.reason, REASON_LINES), (problem.remedy, None)):
        wrapped = textwrap.wrap(printable(text), STATUS_WIDTH - 4, max_lines=most, placeholder="…")
        yield from (f"    {line}" for line in wrapped)


def _run_lines(health: Health, run: RunHealth, scrub: Callable[[str], str]) -> Iterator[str]:
    last, state = run.last, run.state.upper() if run.in_trouble else run.state
    ago = f" ({span(health.at - last.succeeded)} ago)" if last.succeeded and health.at else ""
    following = "when a scheduler runs" if run.next is None else "now" if run.next == health.at else moment(run.next)
    yield f"  {run.duty.verb:<10}{run.duty.schedule!s:<20}{state:<10}{moment(last.succeeded) + ago:<29} {following}"
    if last.failed:
        yield _cut(f"{'':<12}last failure {moment(last.failed)}: {scrub(last.failure or 'the log says why')}")


def _freshness_lines(health: Health, found: Freshness) -> Iterator[str]:
    due = f"due by now: {found.due.closed}"
    if found.due.next:
        due += f"; by {moment(found.due.next)}: {found.due.closed + DAY}"
    if found.newest and health.at:
        yield f"  newest point {found.newest:%Y-%m-%d} ({span(health.at - found.newest)} old); {due}"
    else:
        yield f"  no point yet; {due}"
    counts = [f"{found.count(state):,} {state}" for state in SeriesState if state not in RARE_STATES]
    counts += [f"{number:,} {text}" for state, text in RARE_STATES.items() if (number := found.count(state))]
    yield f"  {len(found.states):,} series: {', '.join(counts)}"


RARE_STATES = {  # not shown where no series has them
    SeriesState.QUIET: "quiet (the API has nothing newer)",
    SeriesState.AWAITED: "awaited (the first run is not over)",
}


def _cut(line: str) -> str:
    """A line that fits the screen."""
    line = printable(line)
    return line if len(line) <= STATUS_WIDTH else f"{line[: STATUS_WIDTH - 1]}…"


def as_json(health: Health) -> dict[str, Any]:
    """All of it as plain values: times as ISO 8601 text in UTC, ages in seconds; every key is always there."""
    beat, problem = health.beat, scheduler_problem(health)
    return {
        "at": _iso(health.at),
        "exit_code": health.exit_code,
        "scheduler": {
            "alive": health.scheduler.alive,
            "state": health.scheduler.value,
            "problem": str(problem) if problem else None,
            "host": beat and beat.host,
            "pid": beat and beat.pid,
            "sources": beat and list(beat.sources),
            "started_at": _iso(beat and beat.started_at),
            "beaten_at": _iso(beat and beat.beaten_at),
            "doing": beat and beat.doing,
        },
        "sources": [
            {
                "source": each.source,
                "problems": [str(problem) for problem in source_problems(each)],
                "runs": [_run_as_json(run) for run in each.runs],
                "series": _freshness_as_json(health, each.freshness),
                "requests": each.calls,
                "failed_requests": each.failed_calls,
            }
            for each in health.sources
        ],
    }


def _run_as_json(run: RunHealth) -> dict[str, Any]:
    last = run.last
    return {
        "verb": run.duty.verb.value,
        "schedule": str(run.duty.schedule),
        "state": run.state.value,
        "last_success": _iso(last.succeeded),
        "last_failure": _iso(last.failed),
        "failure": last.failure,
        "failures_in_a_row": last.failures,
        "failing_since": _iso(last.failing_since),
        "running_since": _iso(last.running_since) if run.running else None,
        "next": _iso(run.next),
    }


def _freshness_as_json(health: Health, found: Freshness) -> dict[str, Any]:
    age = health.at - found.newest if health.at and found.newest else None
    return {
        "expected": len(found.states),
        **{state.value.replace(" ", "_"): found.count(state) for state in SeriesState},
        "newest": _iso(found.newest),
        "age_seconds": age and round(age.total_seconds()),
        "due": found.due.closed.isoformat(),
        "due_live": found.due.live.isoformat(),
        "due_moves_at": _iso(found.due.next),
        "stalled_since": found.stalled and found.stalled.isoformat(),
        "stalest": [
            {"asset": each.asset, "metric": each.metric, "newest": _iso(each.newest)} for each in found.stalest
        ],
    }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
