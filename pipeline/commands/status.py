"""The command `status`: one screen that says how the pipeline is."""

import argparse
import json
import logging
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError, DatabaseLost
from pipeline.logs import scrubbed
from pipeline.process import has_database, open_database, until_stopped
from pipeline.schedule import SCHEDULER, Duty
from pipeline.settings import ROOT, Settings
from sources import SOURCES

if TYPE_CHECKING:
    from db.heartbeat import Beat
    from db.setup import Database
    from pipeline.health import DutyHealth, Freshness, Health, Problem, SourceHealth
    from pipeline.values import Target

log = logging.getLogger(__name__)

WATCH_SECONDS = 5.0
CLEAR_SCREEN = "\x1b[H\x1b[2J"
WIDTH = 99  # columns
REASON_LINES = 2


def show_status(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """How the scheduler and its sources are: 0 all well, 1 something fails or is stale, 3 no scheduler lives."""
    if not has_database(settings):  # none is made for a look
        from pipeline.health import Health, Life

        return _show(Health(None, Life.NONE, None), scrub, as_json=arguments.json)
    with open_database(settings) as database:
        seen = False
        while True:
            try:
                health = _look(database, settings)
                exit_code = _show(health, scrub, as_json=arguments.json, watch=arguments.watch)
            except (ConfigurationError, DatabaseLost) as error:
                if not seen:
                    raise
                _show_error(database, scrub(str(error)), as_json=arguments.json)
            if not arguments.watch:
                return exit_code
            seen = True
            time.sleep(WATCH_SECONDS)


def _show(health: "Health", scrub: Callable[[str], str], *, as_json: bool, watch: bool = False) -> int:
    """Print it; the exit code."""
    if as_json:
        print(json.dumps(scrubbed(_as_json(health), scrub), indent=None if watch else 1), flush=True)
    else:
        lines = [*_watch_lines(), *_lines(health)] if watch else _lines(health)
        print(scrub("\n".join(lines)), flush=True)
    return health.exit_code


def _show_error(database: "Database", error: str, *, as_json: bool) -> None:
    """Tell in place of a screen why there is none, and do what helps where the server is our own."""
    print(json.dumps({"error": error}) if as_json else "\n".join([*_watch_lines(), f"! {error}"]), flush=True)
    try:
        database.reopen()
    except ConfigurationError as again:
        log.debug("%s", again)


def _watch_lines() -> Iterator[str]:
    """What stands above a screen that is drawn again and again."""
    clear = CLEAR_SCREEN if sys.stdout.isatty() else ""
    yield f"{clear}{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z, every {WATCH_SECONDS:.0f} s until Ctrl-C"


def _look(database: "Database", settings: Settings) -> "Health":
    """How all is now. A signal is heard while the database does not answer, too."""
    found = until_stopped(threading.Event(), lambda: _ask(database, settings))
    if found is None:
        raise DatabaseLost
    return found


def _ask(database: "Database", settings: Settings) -> "Health":
    from db.health import has_tables, sessions
    from db.heartbeat import last_beat
    from db.lock import is_held
    from db.setup import has_schema, session_for
    from pipeline.health import Health, Life, life_of

    with session_for(database, "status", "read") as session, session, session.cursor() as cursor:
        if not has_tables(cursor):
            return Health(None, Life.NONE, None)
        if not has_schema(database):
            raise ConfigurationError("the tables are of another version: python main.py setup")
        now, beat = last_beat(cursor)
        life = life_of(beat, now, held=is_held(cursor, SCHEDULER), sessions=sessions(cursor, SCHEDULER, beat))
        alive = life in (Life.ALIVE, Life.STARTING)
        names = [name for name in (beat.sources if beat else SOURCES) if name in SOURCES]
        sources = [_source_health(cursor, name, settings, now, beat, alive=alive) for name in names]
    return Health(now, life, beat, tuple(sources))


def _source_health(
    cursor: Any, name: str, settings: Settings, now: datetime, beat: "Beat | None", *, alive: bool
) -> "SourceHealth":
    from db.health import ages, last_day, last_runs
    from db.heartbeat import history
    from db.lock import is_held
    from pipeline.health import SourceHealth, duties_health, freshness

    duties = [Duty(name, verb, schedule) for verb, schedule in SOURCES[name].SCHEDULES.items()]
    started, first_pull_id = (beat.started_at, beat.first_pull_id) if beat else (now, 0)
    past = history(cursor, duties, now, started, first_pull_id)
    runs = last_runs(cursor, [(name, duty.verb.value) for duty in duties])
    running = [duty for duty in duties if is_held(cursor, f"{duty.verb} {name}")]
    targets, changed = _configured(name, settings)
    series = ages(cursor, name, [(each.asset, each.metric) for each in targets])
    healths = duties_health(duties, now, past, runs, running, alive=alive)
    since = max(started, changed) if changed < now else started
    fresh = freshness(SOURCES[name], targets, series, now, healths, since)
    return SourceHealth(name, tuple(healths), fresh, *last_day(cursor, name))


def _configured(name: str, settings: Settings) -> "tuple[list[Target], datetime]":
    """The series that the scheduler asks for, and when the config was changed; raises ConfigurationError.

    A monitor needs no keys: without one, those of a source that has none without are still asked for by the scheduler.
    """
    from sources.config import read_targets

    source = SOURCES[name]
    file = ROOT / source.CONFIG
    targets = read_targets(file, source)
    if not (settings.key(source.KEY_VARIABLE) or source.KEY_REQUIRED):
        targets = [target for target in targets if not source.METRICS[target.metric].needs_key]
    return targets, datetime.fromtimestamp(file.stat().st_mtime, UTC)


def _lines(health: "Health") -> Iterator[str]:
    yield from _scheduler_lines(health)
    for each in health.sources:
        for problem in each.problems():
            yield from _problem_lines(f"{each.source}: ", problem)
    for each in health.sources:
        yield from _source_lines(health, each)


def _scheduler_lines(health: "Health") -> Iterator[str]:
    from pipeline.health import moment, span

    if problem := health.problem():
        yield from _problem_lines("scheduler: ", problem)
    else:
        yield f"scheduler: {health.life}"
    beat = health.beat
    if beat and health.at:
        told = span(health.at - beat.beaten_at)
        yield f"  pid {beat.pid} on {beat.host} since {moment(beat.started_at)}; last told of itself {told} ago:"
        yield from (_cut(f"  {doing}") for doing in beat.doing.split("; "))


def _problem_lines(where: str, problem: "Problem") -> Iterator[str]:
    yield _cut(f"! {where}{problem.what}{':' if problem.reason else ''}")
    for text, most in ((problem.reason, REASON_LINES), (problem.remedy, None)):
        lines = textwrap.wrap(_plain(text), WIDTH - 4, max_lines=most, placeholder="…")
        yield from (f"    {line}" for line in lines)


def _source_lines(health: "Health", source: "SourceHealth") -> Iterator[str]:
    title = f"{source.source}: {'NEEDS A LOOK' if source.problems() else 'well'}"
    yield f"{title:<32}{'state':<10}{'last success':<30}next"
    for each in source.duties:
        yield from _duty_lines(health, each)
    yield from _freshness_lines(health, source.freshness)
    yield f"  last 24 h: {source.calls:,} requests, {source.failed_calls:,} failed"


def _duty_lines(health: "Health", duty: "DutyHealth") -> Iterator[str]:
    from pipeline.health import TROUBLE, moment, span

    runs, state = duty.runs, duty.state.upper() if duty.state in TROUBLE else duty.state
    ago = f" ({span(health.at - runs.succeeded)} ago)" if runs.succeeded and health.at else ""
    coming = "when a scheduler runs" if duty.next is None else "now" if duty.next == health.at else moment(duty.next)
    yield f"  {duty.duty.verb:<10}{duty.duty.schedule!s:<20}{state:<10}{moment(runs.succeeded) + ago:<30}{coming}"
    if runs.failed:
        yield _cut(f"{'':<12}last failure {moment(runs.failed)}: {runs.failure or 'the log says why'}")


def _freshness_lines(health: "Health", found: "Freshness") -> Iterator[str]:
    from pipeline.health import moment, span
    from pipeline.values import DAY

    due = f"due by now: {found.due.closed}"
    if found.due.next:
        due += f"; by {moment(found.due.next)}: {found.due.closed + DAY}"
    if found.newest and health.at:
        yield f"  newest point {found.newest:%Y-%m-%d} ({span(health.at - found.newest)} old); {due}"
    else:
        yield f"  no point yet; {due}"
    counts = f"  {found.expected:,} series: {found.fresh:,} fresh, {found.stale:,} stale"
    counts += f", {found.never_seen:,} never seen"
    counts += f", {found.quiet:,} quiet (the API has nothing newer)" if found.quiet else ""
    yield counts + (f", {found.awaited:,} awaited" if found.awaited else "")


def _cut(line: str) -> str:
    """A line that fits the screen."""
    line = _plain(line)
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _plain(text: str) -> str:
    """A text without what could move the cursor: a reason may quote an answer."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _as_json(health: "Health") -> dict[str, Any]:
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


def _duty_as_json(duty: "DutyHealth") -> dict[str, Any]:
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


def _freshness_as_json(health: "Health", found: "Freshness") -> dict[str, Any]:
    age = health.at - found.newest if health.at and found.newest else None
    return {
        "expected": found.expected,
        "fresh": found.fresh,
        "stale": found.stale,
        "never_seen": found.never_seen,
        "quiet": found.quiet,
        "awaited": found.awaited,
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
