"""The command `status`: the health of the pipeline as problems with their remedies, on one screen, or for a program."""

import argparse
import json
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from operator import methodcaller
from typing import Any

from cli.process import open_database, read_database
from cli.status_json import as_json
from cli.status_prometheus import as_prometheus
from db.database import Database
from db.setup import has_tables, need_schema
from model.errors import ConfigurationError, DatabaseLost, PipelineError
from model.files import atomic_write
from model.scrub import scrubbed
from model.settings import Settings
from model.text import moment, printable, span
from model.values import DAY
from pipeline.confirmation import Confirmation, confirmation_text, withdrawn_text
from pipeline.freshness import Freshness, SeriesState
from pipeline.health import Health, SchedulerState, diagnose
from pipeline.problems import Problem, scheduler_problem, source_problems
from pipeline.run_health import RunHealth
from pipeline.usage import usage_text
from pipeline.waiting_restatements import rejected_text

NOTHING_YET = Health(None, SchedulerState.NONE, None)
WATCH_SECONDS = 5.0
CLEAR_SCREEN = "\x1b[H\x1b[2J"
LEAST_WIDTH, FULL_WIDTH = 40, 99  # columns; with fewer than the full width, the facts of a run stand below each other
REASON_LINES = 2
RARE_STATES = {  # not shown where no series has them
    SeriesState.QUIET: "quiet (the API has nothing newer)",
    SeriesState.AWAITED: "awaited (the first run is not over)",
}


def show_status(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show the health of the scheduler and each source; returns 0, 1 if something is wrong, 3 without a scheduler."""
    if arguments.format == "prometheus":
        return _write_metrics(arguments, settings)
    if arguments.out:
        raise ConfigurationError("--out goes with --format prometheus: leave it out, or add that option")

    def show(health: Health) -> int:
        if arguments.json:
            found = scrubbed(as_json(health), scrub)
            indent = None if arguments.watch else 1
            print(json.dumps(found, indent=indent, default=methodcaller("isoformat")), flush=True)
        else:
            columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else FULL_WIDTH
            width = max(LEAST_WIDTH, min(columns, FULL_WIDTH))
            _print_screen(lines(health, scrub, width), watch=arguments.watch)
        return health.exit_code

    if not settings.has_database():  # read-only commands create none
        return show(NOTHING_YET)
    with open_database(settings) as database:
        exit_code = show(_read_health(database, settings))
        while arguments.watch:
            time.sleep(WATCH_SECONDS)
            try:
                show(_read_health(database, settings))
            except (ConfigurationError, DatabaseLost) as error:
                text = scrub(str(error))
                if arguments.json:
                    print(json.dumps({"error": text}), flush=True)
                else:
                    _print_screen([f"! {text}"], watch=True)
                with suppress(ConfigurationError):  # the next reading reports it
                    database.reopen()  # restarts the embedded server if it has ended
        return exit_code


def _write_metrics(arguments: argparse.Namespace, settings: Settings) -> int:
    """Write the health for Prometheus to the file or to standard output, also if no database answers.

    The file is written completely or not at all, and others may read it, since a program of another user collects it.
    """
    if arguments.watch:
        raise ConfigurationError("--watch does not go with --format prometheus: leave it out")

    def write(found: dict[str, Any] | None, exit_code: int) -> int:
        text = as_prometheus(found, exit_code)
        if arguments.out:
            with atomic_write(arguments.out, mode=0o644) as part:
                part.write_text(text, encoding="utf-8")
        else:
            print(text, end="")
        return exit_code

    if not settings.has_database():
        return write(None, NOTHING_YET.exit_code)
    try:
        with open_database(settings) as database:
            health = _read_health(database, settings)
    except PipelineError as error:
        write(None, error.exit_code)
        raise
    return write(as_json(health), health.exit_code)


def _print_screen(screen: Iterable[str], *, watch: bool) -> None:
    if watch:
        clear = CLEAR_SCREEN if sys.stdout.isatty() else ""
        print(f"{clear}{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z, every {WATCH_SECONDS:.0f} s until Ctrl-C")
    print("\n".join(screen), flush=True)


def _read_health(database: Database, settings: Settings) -> Health:
    def read(cursor: Any) -> Health:
        if not has_tables(cursor):
            return NOTHING_YET
        need_schema(cursor)
        return diagnose(cursor, settings)

    return read_database(database, "status", read)


def lines(health: Health, scrub: Callable[[str], str], width: int) -> Iterator[str]:
    """The screen: the problems first, then each source. Secrets are hidden before a text is wrapped or cut."""
    yield from _wrapped(_scheduler_lines(health, scrub, width), width)
    for each in health.sources:
        for problem in source_problems(each):
            yield from _problem_lines(each.source, scrubbed(problem, scrub), width)
    yield from _wrapped(_source_lines(health, scrub, width), width)


def _wrapped(lines: Iterable[str], width: int) -> Iterator[str]:
    """The lines as they fit a screen that is narrower than they were made for."""
    for line in lines:
        yield from [line] if width == FULL_WIDTH else textwrap.wrap(line, width, subsequent_indent=" " * 4)


def _scheduler_lines(health: Health, scrub: Callable[[str], str], width: int) -> Iterator[str]:
    """Whether the scheduler is alive, and what it is doing."""
    if problem := scheduler_problem(health):
        yield from _problem_lines("scheduler", problem, width)
    else:
        yield f"scheduler: {health.scheduler}"
    if (beat := health.beat) and health.at:
        age = span(health.at - beat.beaten_at)
        yield f"  pid {beat.pid} on {beat.host} since {moment(beat.started_at)}; last heartbeat {age} ago:"
        yield from (_cut(f"  {doing}", width) for doing in scrub(beat.doing).split("; "))


def _source_lines(health: Health, scrub: Callable[[str], str], width: int) -> Iterator[str]:
    """The runs, series and requests of each source."""
    for each in health.sources:
        state = "NEEDS ATTENTION" if each.needs_attention else "ok"
        head = f"{each.source}: {state}"
        yield f"{head:<32}{'state':<10}{'last success':<30}next" if width == FULL_WIDTH else head
        for run in each.runs:
            yield from _run_lines(health, run, scrub, width)
        yield from _freshness_lines(health, each.freshness)
        yield from _confirmation_lines(health, each.confirmation)
        if each.rejected:
            yield f"  {rejected_text(each.rejected)}"
        yield f"  last 24 h: {each.calls:,} requests, {each.failed_calls:,} failed"
        if left := each.calls_left:
            yield f"  {usage_text(round(left.value), each.calls_a_month)} (as of {moment(left.at)})"


def _problem_lines(where: str, problem: Problem, width: int) -> Iterator[str]:
    what = printable(f"! {where}: {problem.what}{':' if problem.reason else ''}")
    yield from textwrap.wrap(what, width, subsequent_indent=" " * 4, break_on_hyphens=False)
    first, *others = problem.remedy.splitlines()
    for text, most in ((problem.reason, REASON_LINES), (first, None)):
        wrapped = textwrap.wrap(printable(text), width - 4, max_lines=most, placeholder="…", break_on_hyphens=False)
        yield from (f"    {line}" for line in wrapped)
    yield from (f"    {printable(line)}" for line in others)  # not wrapped: a command can be copied


def _run_lines(health: Health, run: RunHealth, scrub: Callable[[str], str], width: int) -> Iterator[str]:
    last, state = run.last, run.state.upper() if run.needs_attention else run.state
    success = moment(last.succeeded)
    if last.succeeded and health.at:
        success += f" ({span(health.at - last.succeeded)} ago)"
    following = "when a scheduler runs" if run.next is None else "now" if run.next == health.at else moment(run.next)
    verb, schedule, indent = run.scheduled.verb, run.scheduled.schedule, 12 if width == FULL_WIDTH else 4
    if width == FULL_WIDTH:
        yield f"  {verb:<10}{schedule!s:<20}{state:<10}{success:<29} {following}"
    else:
        yield from (f"  {verb}, {schedule}: {state}", f"    last success {success}", f"    next {following}")
    if last.failed:
        failure = f"last failure {moment(last.failed)}: {scrub(last.failure or 'the log says why')}"
        yield _cut(f"{'':<{indent}}{failure}", width)


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


def _confirmation_lines(health: Health, found: Confirmation) -> Iterator[str]:
    if health.at and found.series:
        yield f"  {confirmation_text(found, health.at)}"
    if found.withdrawn.days:
        yield f"  {withdrawn_text(*found.withdrawn)}"


def _cut(line: str, width: int) -> str:
    """A line that fits the screen."""
    line = printable(line)
    return line if len(line) <= width else f"{line[: width - 1]}…"
