"""How the health of the pipeline is shown: on one screen, and as plain values."""

import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from model.text import printable
from model.values import DAY
from pipeline.freshness import Freshness, SeriesState
from pipeline.health import Health, SourceHealth
from pipeline.run_health import TROUBLE, DutyHealth, Problem, moment

WIDTH = 99  # columns
REASON_LINES = 2


def lines(health: Health) -> Iterator[str]:
    """The screen for a person."""
    yield from _scheduler_lines(health)
    for each in health.sources:
        for problem in each.problems():
            yield from _problem_lines(f"{each.source}: ", problem)
    for each in health.sources:
        yield from _source_lines(health, each)


def _scheduler_lines(health: Health) -> Iterator[str]:
    if problem := health.problem():
        yield from _problem_lines("scheduler: ", problem)
    else:
        yield f"scheduler: {health.life}"
    beat = health.beat
    if beat and health.at:
        told = span(health.at - beat.beaten_at)
        yield f"  pid {beat.pid} on {beat.host} since {moment(beat.started_at)}; last told of itself {told} ago:"
        yield from (_cut(f"  {doing}") for doing in beat.doing.split("; "))


def _problem_lines(where: str, problem: Problem) -> Iterator[str]:
    yield _cut(f"! {where}{problem.what}{':' if problem.reason else ''}")
    for text, most in ((problem.reason, REASON_LINES), (problem.remedy, None)):
        wrapped = textwrap.wrap(printable(text), WIDTH - 4, max_lines=most, placeholder="…")
        yield from (f"    {line}" for line in wrapped)


def _source_lines(health: Health, source: SourceHealth) -> Iterator[str]:
    title = f"{source.source}: {'NEEDS A LOOK' if source.problems() else 'well'}"
    yield f"{title:<32}{'state':<10}{'last success':<30}next"
    for each in source.duties:
        yield from _duty_lines(health, each)
    yield from _freshness_lines(health, source.freshness)
    yield f"  last 24 h: {source.calls:,} requests, {source.failed_calls:,} failed"


def _duty_lines(health: Health, duty: DutyHealth) -> Iterator[str]:
    runs, state = duty.runs, duty.state.upper() if duty.state in TROUBLE else duty.state
    ago = f" ({span(health.at - runs.succeeded)} ago)" if runs.succeeded and health.at else ""
    coming = "when a scheduler runs" if duty.next is None else "now" if duty.next == health.at else moment(duty.next)
    yield f"  {duty.duty.verb:<10}{duty.duty.schedule!s:<20}{state:<10}{moment(runs.succeeded) + ago:<29} {coming}"
    if runs.failed:
        yield _cut(f"{'':<12}last failure {moment(runs.failed)}: {runs.failure or 'the log says why'}")


def _freshness_lines(health: Health, found: Freshness) -> Iterator[str]:
    due = f"due by now: {found.due.closed}"
    if found.due.next:
        due += f"; by {moment(found.due.next)}: {found.due.closed + DAY}"
    if found.newest and health.at:
        yield f"  newest point {found.newest:%Y-%m-%d} ({span(health.at - found.newest)} old); {due}"
    else:
        yield f"  no point yet; {due}"
    number = found.count
    counts = f"  {found.expected:,} series: {number(SeriesState.FRESH):,} fresh, {number(SeriesState.STALE):,} stale"
    counts += f", {number(SeriesState.NEVER_SEEN):,} never seen"
    counts += f", {quiet:,} quiet (the API has nothing newer)" if (quiet := number(SeriesState.QUIET)) else ""
    yield counts + (f", {awaited:,} awaited" if (awaited := number(SeriesState.AWAITED)) else "")


def _cut(line: str) -> str:
    """A line that fits the screen."""
    line = printable(line)
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def as_json(health: Health) -> dict[str, Any]:
    """All of it as plain values; times as ISO 8601 text in UTC, ages in seconds, a key for each whatever is known."""
    beat, problem = health.beat, health.problem()
    return {
        "at": _iso(health.at),
        "exit_code": health.exit_code,
        "scheduler": {
            "alive": health.alive,
            "state": health.life.value,
            "problem": str(problem) if problem else None,
            "host": beat and beat.host,
            "pid": beat and beat.pid,
            "sources": beat and list(beat.sources),
            "started_at": _iso(beat.started_at if beat else None),
            "beaten_at": _iso(beat.beaten_at if beat else None),
            "doing": beat and beat.doing,
        },
        "sources": [
            {
                "source": each.source,
                "problems": [str(problem) for problem in each.problems()],
                "runs": [_duty_as_json(duty) for duty in each.duties],
                "series": _freshness_as_json(health, each.freshness),
                "requests": each.calls,
                "failed_requests": each.failed_calls,
            }
            for each in health.sources
        ],
    }


def _duty_as_json(duty: DutyHealth) -> dict[str, Any]:
    runs = duty.runs
    return {
        "verb": duty.duty.verb.value,
        "schedule": str(duty.duty.schedule),
        "state": duty.state.value,
        "last_success": _iso(runs.succeeded),
        "last_failure": _iso(runs.failed),
        "failure": runs.failure,
        "failures_in_a_row": runs.failures,
        "failing_since": _iso(runs.failing_since),
        "running_since": _iso(runs.running_since) if duty.running else None,
        "next": _iso(duty.next),
    }


def _freshness_as_json(health: Health, found: Freshness) -> dict[str, Any]:
    age = health.at - found.newest if health.at and found.newest else None
    return {
        "expected": found.expected,
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


def span(length: timedelta) -> str:
    """A length of time for a person, in the unit that suits it."""
    seconds = max(length.total_seconds(), 0.0)
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} days"
