"""The command line: what `main.py` and the backfill scripts offer, each command one function."""

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pipeline.errors import ConfigurationError, PipelineError, RunRefused
from pipeline.settings import DATABASE_URL, EMBEDDED_DIRECTORY, ROOT, Scrubber, Settings
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
    scrubber = Scrubber([], LOG_PATTERN)
    try:
        settings = Settings.read()
        scrubber = Scrubber(settings.secrets(), LOG_PATTERN)
        _log_to_stderr(scrubber)
        return int(arguments.command(arguments, settings, scrubber.scrub))
    except PipelineError as error:
        print(scrubber.scrub(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except Exception:
        log.exception("this is a bug")
        return 1


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
        command = commands.add_parser(name, help=text)
        command.add_argument("source", choices=[*SOURCES, "all"], metavar="SOURCE", help=f"{', '.join(SOURCES)} or all")
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
        parser.add_argument("--start", type=_date, metavar="DATE", help="first day, YYYY-MM-DD (default: all there is)")
        parser.add_argument("--end", type=_date, metavar="DATE", help="first day not asked for (default: today, UTC)")


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write YYYY-MM-DD") from None


def _setup(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    del arguments, scrub
    from db.setup import ensure_schema

    with _open_database(settings) as database:
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
            _print_calls(plan)
        return 0

    from db.setup import ensure_schema
    from pipeline.run import run

    exit_code = 0
    with _open_database(settings) as database, _stop_on_signals() as stop:
        ensure_schema(database)
        for plan in plans:
            try:
                summary = run(plan, database, stop, scrub)
            except RunRefused as error:
                print(f"error: {error}", file=sys.stderr)
                exit_code = error.exit_code
                continue
            if summary.silent:
                named = ", ".join(f"{target.asset} {target.metric}" for target in summary.silent[:10])
                log.info("without data: %s%s", named, " and more" if len(summary.silent) > 10 else "")
            print(scrub("\n".join(summary.lines())))
            exit_code = max(exit_code, summary.exit_code)
            if stop.is_set():
                break
    return exit_code


def _plan(name: str, arguments: argparse.Namespace, settings: Settings) -> "Plan":
    from pipeline.plan import backfill_window, choose, make_plan, pull_window
    from sources.config import read_config

    kind = SOURCES[name]
    assets = read_config(arguments.config or ROOT / kind.CONFIG, kind)
    key = settings.key(kind.KEY_VARIABLE)
    if kind.KEY_REQUIRED and not key:
        raise ConfigurationError(f"{name} needs a key: write {kind.KEY_VARIABLE}=… into .env or the environment")
    now = datetime.now(UTC)
    if arguments.verb is Verb.PULL:
        window = pull_window(now, kind.PULL_DAYS)
    else:
        window = backfill_window(now, kind.history_start(now), arguments.start, arguments.end)
    targets = choose(assets, arguments.asset, arguments.metric)
    plan = make_plan(kind(key, settings.get(kind.BASE_URL_VARIABLE)), arguments.verb, targets, window)
    if not plan.calls:
        other = next(other for other in Verb if other is not arguments.verb)
        why = f"set {kind.KEY_VARIABLE}" if plan.without_key else f"python main.py {other} {name} asks for them"
        raise ConfigurationError(f"none of these series can be asked for in a {arguments.verb}: {why}")
    return plan


def _announce(plan: "Plan") -> None:
    if plan.without_key:
        log.warning(
            "%s: %d series are skipped: they need %s, which is not set",
            plan.source.name, plan.without_key, plan.source.KEY_VARIABLE,
        )  # fmt: skip
    if plan.left_to_other_verb:
        why = "have a history only" if plan.verb is Verb.PULL else "exist only live"
        log.info("%s: %d series %s and are left out of a %s", plan.source.name, plan.left_to_other_verb, why, plan.verb)


def _print_calls(plan: "Plan") -> None:
    print(
        f"{plan.source.name} {plan.verb}: {len(plan.calls):,} calls for {plan.series:,} series, at least {_span(plan)}"
    )
    for call in plan.calls:
        print(f"  {call}")


def _span(plan: "Plan") -> str:
    seconds = plan.duration.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _sources(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    del arguments, scrub
    from sources.config import read_config

    for name, kind in SOURCES.items():
        assets = read_config(ROOT / kind.CONFIG, kind)
        key = "set" if settings.get(kind.KEY_VARIABLE) else "not set"
        need = "needed" if kind.KEY_REQUIRED else "for Pro metrics"
        print(f"{name}: one request each {kind.REQUEST_DELAY} s; {kind.KEY_VARIABLE} ({need}): {key}")
        print(f"  {kind.CONFIG}: {len(assets)} rows, {sum(len(asset.metrics) for asset in assets)} series")
        for group in kind.KINDS or ("",):
            rows = sorted(metric for metric, known in kind.METRICS.items() if group in known.kinds)
            print(f"  {group or 'metrics'}:")
            for metric in rows:
                known = kind.METRICS[metric]
                verbs = " and ".join(verb for verb in Verb if verb in known.verbs)
                print(f"    {metric:32} {verbs}{', needs the key' if known.needs_key else ''}")
    return 0


@contextmanager
def _open_database(settings: Settings) -> Iterator["Database"]:
    from db.setup import Database

    database = Database(settings.get(DATABASE_URL), EMBEDDED_DIRECTORY)
    log.info("database: %s", database)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second one ends the process at once."""
    stop = threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: object) -> None:
        del frame
        stop.set()
        for each in previous:
            signal.signal(each, signal.SIG_DFL)
        log.warning("%s: storing what has been fetched", signal.Signals(number).name)

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is now, so that lines go above a progress bar."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """The base class sets it; it is looked up anew each time."""


def _log_to_stderr(formatter: logging.Formatter) -> None:
    formatter.converter = time.gmtime
    handler = _StderrHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings repeat what the client reports, with URLs
