"""The command `status`: one screen that says how the pipeline is."""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.commands.runs import whole_series
from pipeline.errors import ConfigurationError
from pipeline.process import has_database, open_database
from pipeline.schedule import SCHEDULER, Duty
from pipeline.settings import Settings
from sources import SOURCES

if TYPE_CHECKING:
    from db.heartbeat import Beat
    from db.setup import Database
    from pipeline.health import DutyHealth, Freshness, SourceHealth

WATCH_SECONDS = 5.0
CLEAR_SCREEN = "\x1b[H\x1b[2J\x1b[3J"
WELL, UNWELL, NOT_ALIVE = 0, 1, 3  # exit codes


def show_status(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """How the scheduler and its sources are: 0 all well, 1 something fails or is stale, 3 no scheduler lives."""
    if not has_database(settings):  # none is made for a look
        raise ConfigurationError("nothing is stored yet, and no scheduler has run: python scheduler.py")
    from db.setup import has_schema

    with open_database(settings) as database:
        if not has_schema(database):
            raise ConfigurationError("the tables are of another version or not there: python main.py setup")
        while True:
            text, exit_code = _look(database, settings, as_json=arguments.json)
            print(f"{CLEAR_SCREEN if arguments.watch else ''}{scrub(text)}", flush=True)
            if not arguments.watch:
                return exit_code
            time.sleep(WATCH_SECONDS)


def _look(database: "Database", settings: Settings, *, as_json: bool) -> tuple[str, int]:
    """The screen, and the exit code."""
    from db.heartbeat import last_beat
    from db.lock import is_held
    from db.setup import session_for
    from pipeline.health import is_alive

    with session_for(database, "status", "read") as session, session, session.cursor() as cursor:
        now, beat = last_beat(cursor)
        alive = is_alive(beat, now, held=is_held(cursor, SCHEDULER))
        names = beat.sources if beat else [name for name in SOURCES if whole_series(name, settings)]
        sources = [_source_health(cursor, name, settings, now, beat, alive=alive) for name in names if name in SOURCES]
    problems = {each.source: list(each.problems()) for each in sources}
    exit_code = NOT_ALIVE if not alive else UNWELL if any(problems.values()) else WELL
    if as_json:
        return json.dumps(_as_json(beat, sources, problems, alive=alive), indent=1, default=str), exit_code
    lines = [_scheduler_line(beat, alive=alive)]
    for each in sources:
        lines += _source_lines(each, problems[each.source])
    return "\n".join(lines), exit_code


def _source_health(
    cursor: Any, name: str, settings: Settings, now: datetime, beat: "Beat | None", *, alive: bool
) -> "SourceHealth":
    from db.health import ages, last_day, last_runs
    from db.heartbeat import history
    from pipeline.health import SourceHealth, duty_health, freshness

    source = SOURCES[name]
    duties = [Duty(name, verb, schedule) for verb, schedule in source.SCHEDULES.items()]
    past = history(cursor, duties, now, beat.started_at if beat else now, beat.first_pull_id if beat else 0)
    runs = last_runs(cursor, [(name, duty.verb.value) for duty in duties])
    targets = whole_series(name, settings)
    calls, failed = last_day(cursor, name)
    return SourceHealth(
        name,
        tuple(duty_health(duty, now, past, runs[name, duty.verb.value], alive=alive) for duty in duties),
        freshness(source, targets, ages(cursor, name, [(each.asset, each.metric) for each in targets]), now),
        calls,
        failed,
    )


def _scheduler_line(beat: "Beat | None", *, alive: bool) -> str:
    if beat is None:
        return "scheduler: none has ever run: python scheduler.py"
    who = f"{beat.host}, pid {beat.pid}, since {_time(beat.started_at)}"
    if alive:
        return f"scheduler: alive ({who}): {beat.doing}"
    return f"scheduler: NOT ALIVE; the last one ({who}) told of itself at {_time(beat.beaten_at)}: {beat.doing}"


def _source_lines(source: "SourceHealth", problems: list[str]) -> Iterator[str]:
    yield f"{source.source}: {'well' if not problems else 'NEEDS A LOOK'}"
    yield from (f"  ! {problem}" for problem in problems)
    yield from (_duty_line(each) for each in source.duties)
    yield f"  {_freshness_line(source.freshness)}"
    yield f"  last 24 hours: {source.calls:,} requests, {source.failed_calls:,} failed"


def _duty_line(health: "DutyHealth") -> str:
    runs = health.runs
    line = f"  {health.duty.verb:<9}{health.duty.schedule!s:<19} {health.state:<8}"
    line += f" last success {_time(runs.succeeded) if runs.succeeded else 'never'}"
    if runs.failed:
        line += f"; last failure {_time(runs.failed)}: {runs.failure or 'ended before its time'}"
    return f"{line}; next {_time(health.next) if health.next else 'never'}"


def _freshness_line(found: "Freshness") -> str:
    newest = f"newest point {found.newest:%Y-%m-%d}" if found.newest else "no point"
    return (
        f"{newest}, due {found.due}; {found.expected:,} series expected: {found.fresh:,} fresh, {found.stale:,} stale, "
        f"{found.quiet:,} of which the API has nothing newer, {found.never_seen:,} never seen"
    )


def _as_json(
    beat: "Beat | None", sources: "list[SourceHealth]", problems: dict[str, list[str]], *, alive: bool
) -> dict[str, Any]:
    """All of it as plain values; times as ISO 8601 text in UTC."""
    return {
        "scheduler": {"alive": alive, **(beat._asdict() if beat else {})},
        "sources": [
            {
                "source": each.source,
                "problems": problems[each.source],
                "runs": [
                    {
                        "verb": duty.duty.verb.value,
                        "schedule": str(duty.duty.schedule),
                        "state": duty.state.value,
                        "last_success": duty.runs.succeeded,
                        "last_failure": duty.runs.failed,
                        "failure": duty.runs.failure,
                        "next": duty.next,
                    }
                    for duty in each.duties
                ],
                "series": dataclasses.asdict(each.freshness),
                "requests": each.calls,
                "failed_requests": each.failed_calls,
            }
            for each in sources
        ],
    }


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
