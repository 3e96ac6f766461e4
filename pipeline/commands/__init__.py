"""The command line: what `main.py` and the backfill scripts offer, each command one function."""

import argparse
import logging
import os
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError, PipelineError, RunRefused
from pipeline.process import log_to_stderr, open_database, stop_on_signals
from pipeline.settings import ROOT, Scrubber, Settings
from pipeline.values import Verb
from sources import SOURCES

if TYPE_CHECKING:
    from db.setup import Database
    from pipeline.plan import Plan

log = logging.getLogger(__name__)

LOG_PATTERN = "%(asctime)sZ %(levelname)s %(message)s"


def main(argv: Sequence[str] | None = None, *, verb: Verb | None = None, source: str | None = None) -> int:
    """Run one command; its exit code: 0, 1 where calls failed, 2 for a wrong configuration or usage.

    A script that fixes `verb` and `source` takes that command's options alone.
    """
    arguments = _parser(verb, source).parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as standard error: no text ends a command
    scrubber = Scrubber([], LOG_PATTERN)
    try:
        settings = Settings.read()
        scrubber = Scrubber(settings.secrets(source.KEY_VARIABLE for source in SOURCES.values()), LOG_PATTERN)
        log_to_stderr(scrubber)
        exit_code: int = arguments.command(arguments, settings, scrubber.scrub)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has seen enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PipelineError as error:
        print(scrubber.scrub(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except Exception:
        log.exception("this is a bug")
        return 1
    return exit_code


def _parser(verb: Verb | None, source: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Crypto and equity metrics from Artemis and DefiLlama, in PostgreSQL.")
    if verb and source:
        parser.description = f"{verb.capitalize()} {source}: the same as `python main.py {verb} {source}`."
        _add_run_options(parser, verb)
        parser.set_defaults(command=_run, verb=verb, source=source)
        return parser
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    setup = commands.add_parser("setup", help="create or upgrade the tables; may be repeated")
    setup.set_defaults(command=_setup)
    for name, text in ((Verb.PULL, "store the current values"), (Verb.BACKFILL, "store the history up to yesterday")):
        command = commands.add_parser(name.value, help=text)
        command.add_argument("source", type=_source, metavar="SOURCE", help=f"{', '.join(SOURCES)} or all")
        _add_run_options(command, name)
        command.set_defaults(command=_run, verb=name)
    sources = commands.add_parser("sources", help="what each source offers and what the configs ask of it")
    sources.set_defaults(command=_sources)
    return parser


def _add_run_options(parser: argparse.ArgumentParser, verb: Verb) -> None:
    parser.add_argument("--asset", action="append", default=[], metavar="NAME", help="only this asset; may be repeated")
    parser.add_argument(
        "--metric", action="append", default=[], metavar="NAME", help="only this metric; may be repeated"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="another config file")
    parser.add_argument("--dry-run", action="store_true", help="show the calls and how long they take; send nothing")
    if verb is Verb.BACKFILL:
        start = "first day, YYYY-MM-DD (default: all there is, of Artemis five years)"
        parser.add_argument("--start", type=_date, metavar="DATE", help=start)
        parser.add_argument("--end", type=_date, metavar="DATE", help="first day not asked for (default: today, UTC)")


def _source(text: str) -> str:
    from sources.config import nearest

    known = (*SOURCES, "all")
    if text not in known:
        raise argparse.ArgumentTypeError(f"unknown source {text!r}: {nearest(text, known)}")
    return text


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write YYYY-MM-DD") from None


def _setup(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    del arguments, scrub
    from db.setup import ensure_schema

    with open_database(settings) as database:
        ensure_schema(database, always=True)
        print(f"the tables are ready: {database}")
    return 0


def _run(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    names = list(SOURCES) if arguments.source == "all" else [arguments.source]
    if arguments.config and len(names) > 1:
        raise ConfigurationError("--config goes with one source: name it in place of 'all'")
    plans = [_plan(name, arguments, settings) for name in names]  # every source is checked before the first call
    for plan in plans:
        _announce(plan)
    if arguments.dry_run:
        for plan in plans:
            print(scrub("\n".join(plan.lines())))
        return 0

    from db.setup import ensure_schema

    with open_database(settings) as database, stop_on_signals() as stop:
        ensure_schema(database)
        return max([_run_one(plan, database, stop, scrub) for plan in plans])


def _run_one(plan: "Plan", database: "Database", stop: threading.Event, scrub: Callable[[str], str]) -> int:
    """One run and its summary; the exit code. A run that another one holds up does not keep the next from its turn."""
    from pipeline.run import run

    if stop.is_set():
        print(f"{plan.source.name} {plan.verb}: not started")
        return 1
    try:
        summary = run(plan, database, stop, scrub)
    except RunRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if summary.silent:
        named = ", ".join(f"{target.asset} {target.metric}" for target in summary.silent[:10])
        log.info("without data: %s%s", named, " and more" if len(summary.silent) > 10 else "")
    print(scrub("\n".join(summary.lines())))
    return summary.exit_code


def _plan(name: str, arguments: argparse.Namespace, settings: Settings) -> "Plan":
    from pipeline.plan import backfill_window, choose, make_plan, pull_window
    from sources.config import read_config

    source = SOURCES[name]
    file = arguments.config or ROOT / source.CONFIG
    assets = read_config(file, source)
    key = settings.key(source.KEY_VARIABLE)
    if source.KEY_REQUIRED and not key:
        raise ConfigurationError(f"{name} needs a key: write {source.KEY_VARIABLE}=… into .env or the environment")
    now = datetime.now(UTC)
    if arguments.verb is Verb.PULL:
        window = pull_window(now, source.PULL_DAYS)
    else:
        window = backfill_window(now, source.history_start(now), arguments.start, arguments.end)
    targets = choose(assets, arguments.asset, arguments.metric, file.name)
    plan = make_plan(source(key, settings.url(source.BASE_URL_VARIABLE)), arguments.verb, targets, window)
    if not plan.calls:
        why = f"set {source.KEY_VARIABLE}" if plan.without_key else _elsewhere(plan)
        raise ConfigurationError(f"none of these series can be asked for in a {arguments.verb}: {why}")
    return plan


def _announce(plan: "Plan") -> None:
    name = plan.source.name
    if plan.without_key:
        log.warning(
            "%s: %d series are skipped: they need %s, which is not set",
            name, plan.without_key, plan.source.KEY_VARIABLE,
        )  # fmt: skip
    if plan.left_out:
        why = "have a history only" if plan.verb is Verb.PULL else "exist only live"
        log.info("%s: %d series %s: %s", name, len(plan.left_out), why, _elsewhere(plan))


def _elsewhere(plan: "Plan") -> str:
    """The commands that ask for the series which this plan leaves out."""
    verbs = {verb for target in plan.left_out for verb in plan.source.METRICS[target.metric].verbs}
    return " or ".join(f"python main.py {verb} {plan.source.name}" for verb in Verb if verb in verbs)


def _sources(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    del arguments, scrub
    from sources.config import read_config

    for name, source in SOURCES.items():
        assets = read_config(ROOT / source.CONFIG, source)
        key = "set" if settings.get(source.KEY_VARIABLE) else "not set"
        need = "needed" if source.KEY_REQUIRED else "for some metrics"
        print(f"{name}: one request each {source.REQUEST_DELAY} s; {source.KEY_VARIABLE} ({need}): {key}")
        print(f"  {source.CONFIG}: {len(assets)} rows, {sum(len(asset.metrics) for asset in assets)} series")
        for group in source.KINDS or ("",):
            alike: dict[str, list[str]] = {}
            for metric, known in sorted(source.METRICS.items()):
                if group in known.kinds:
                    verbs = " and ".join(verb for verb in Verb if verb in known.verbs)
                    alike.setdefault(f"{verbs}{', with the key' if known.needs_key else ''}", []).append(metric)
            for how, metrics in alike.items():
                print(f"  {f'{group}, ' if group else ''}{how}:")
                print(textwrap.fill(" ".join(metrics), 110, initial_indent=" " * 4, subsequent_indent=" " * 4))
    return 0
