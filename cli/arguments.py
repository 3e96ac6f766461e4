"""Every command and option, declared with argparse alone; the module of a command is imported once it is asked for.

`command` names the function of a command as "module:function"; it takes the arguments, the settings and a function that
hides secrets, and returns the exit code.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

from model.text import nearest
from model.values import Verb
from sources import SOURCES
from sources.base import BaseSource

FORMATS = ("table", "csv", "json", "jsonl")  # of the answers of query and latest

HELP = {
    Verb.PULL: "store the current values",
    Verb.BACKFILL: "store the history up to yesterday, as far as it was not asked for yet",
    Verb.SETTLE: "ask again for the last closed days, and adopt what the provider has restated",
}


def backfill_parser(source: str) -> argparse.ArgumentParser:
    """The command line of the script that backfills one source."""
    parser = argparse.ArgumentParser(description=f"The same as `python main.py backfill {source}`.")
    _add_run_options(parser, Verb.BACKFILL)
    parser.set_defaults(command="cli.pull_backfill_settle:run_all", verb=Verb.BACKFILL, source=source)
    return parser


def scheduler_parser() -> argparse.ArgumentParser:
    """The command line of scheduler.py."""
    parser = argparse.ArgumentParser(description="Makes every run when it is due, for as long as it runs.")
    add = parser.add_argument
    add("--fresh", action="store_true", help="first clear what is stored of each source, once; see main.py fresh")
    add("--keep-all", action="store_true", help="with --fresh: keep every row in a file, not only what is live-only")
    add("--yes", action="store_true", help="with --fresh: do not ask before anything is cleared")
    names = f"only this source, one of {', '.join(SOURCES)}; may be repeated"
    add("--source", action="append", choices=list(SOURCES), metavar="NAME", help=names)
    add("--log-format", choices=("text", "json"), default="text", help="of the log on standard output")
    parser.set_defaults(command="cli.scheduler:run_scheduler")
    return parser


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Crypto and equity metrics from Artemis and DefiLlama, in PostgreSQL.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, text in HELP.items():
        command = commands.add_parser(name.value, help=text)
        _add_source(command)
        _add_run_options(command, name)
        command.set_defaults(command="cli.pull_backfill_settle:run_all", verb=name)
    _add_reports(commands)
    _add_status(commands)
    _add_query(commands)
    _add_report(commands)
    _add_archive(commands)
    _add_discover(commands)
    _add_check(commands)
    setup = commands.add_parser("setup", help="create or upgrade the tables; may be repeated")
    setup.set_defaults(command="cli.setup_tables:setup")
    return parser


def _add_run_options(parser: argparse.ArgumentParser, verb: Verb) -> None:
    _add_names(parser)
    _add_config(parser)
    dry_run = "show the calls and how long they take; send nothing"
    parser.add_argument("--dry-run", action="store_const", dest="command", const="cli.dry_run:show_plans", help=dry_run)
    if verb is Verb.SETTLE:
        text = f"closed days to ask for again (default {BaseSource.SETTLE_DAYS})"
        parser.add_argument("--days", type=_whole, default=BaseSource.SETTLE_DAYS, metavar="N", help=text)
    if verb is Verb.BACKFILL:
        start = "first day, YYYY-MM-DD (default: all there is, of Artemis five years)"
        parser.add_argument("--start", type=_date, metavar="DATE", help=start)
        parser.add_argument("--end", type=_date, metavar="DATE", help="first day not asked for (default: today, UTC)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--full", action="store_true", help="ask for everything again")
        gaps = "ask only for the holes since each series' first day that were never asked for"
        which.add_argument("--gaps", action="store_true", help=gaps)
        retry = "with --gaps: ask again where the API had nothing"
        parser.add_argument("--retry-empty", action="store_true", help=retry)


def _add_reports(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sources = commands.add_parser("sources", help="what each source offers and what the configs ask of it")
    sources.set_defaults(command="cli.sources:show_sources")
    gaps = commands.add_parser("gaps", help="what is there of each series, and whose the holes are")
    gaps.add_argument("source", nargs="?", default="all", type=_source, metavar="SOURCE", help=_sources_help())
    gaps.add_argument("--json", action="store_true", help="all of it as JSON")
    _add_config(gaps)
    forget = "of what was lost and no backfill asks for, claim no longer that it is there"
    gaps.add_argument("--forget-lost", action="store_true", help=forget)
    gaps.set_defaults(command="cli.gaps:show_gaps")
    revisions = commands.add_parser("revisions", help="how often and by how much a provider has restated values")
    _add_source(revisions)
    revisions.set_defaults(command="cli.revisions:show_revisions", config=None)
    for command in (gaps, revisions):
        _add_names(command)


def _add_status(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("status", help="how the scheduler and each source are")
    command.add_argument("--json", action="store_true", help="all of it as JSON")
    command.add_argument("--watch", action="store_true", help="look again every few seconds, until Ctrl-C")
    command.set_defaults(command="cli.status:show_status")


def _add_query(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    points = commands.add_parser("query", help="the stored points of an asset, or of all that have a metric")
    points.add_argument("asset", metavar="ASSET", help="an asset or entity, or all")
    points.add_argument("metric", nargs="+", metavar="METRIC", help="several stand side by side, by time")
    points.add_argument(
        "--start", metavar="TIME", help="first day or instant, ISO 8601, UTC (default: the first point)"
    )
    points.add_argument("--end", metavar="TIME", help="the day or instant after the last one (default: no end)")
    picture = "also draw them into this file: .png, .svg or .pdf"
    points.add_argument("--plot", type=Path, metavar="FILE", help=picture)
    points.add_argument("--log", action="store_true", help="a logarithmic scale for chart and plot")
    points.set_defaults(command="cli.query:query")
    newest = commands.add_parser("latest", help="the newest value of a metric, of each asset")
    newest.add_argument("metric", metavar="METRIC")
    newest.add_argument("--asset", action="append", metavar="NAME", help="only this asset; may be repeated")
    newest.set_defaults(command="cli.query:latest")
    for command in (points, newest):
        command.add_argument("--source", metavar="SOURCE", help="where several have it")
        command.add_argument("--as-of", metavar="TIME", help="values as they were known then")
        forms = "default: table on a terminal, else csv; of --out by the file's ending"
        command.add_argument("--format", choices=FORMATS, help=forms)
        command.add_argument(
            "--out", type=_file, metavar="FILE", help="write them into this file, at once or not at all"
        )


def _add_discover(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("discover", help="what an API offers, and what of it the config asks for")
    add = command.add_argument
    add("source", choices=list(SOURCES), metavar="SOURCE", help=f"{' or '.join(SOURCES)}")
    add("text", nargs="?", default="", metavar="TEXT", help="part of an identifier, name or symbol (default: all)")
    add("--kind", metavar="KIND", help="only assets of this kind")
    add("--limit", type=_whole, default=25, metavar="N", help="how many are told (default 25)")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="the same as JSON")
    how.add_argument("--add", action="store_true", help="add the one that TEXT names to the config")
    add("--metric", action="append", default=[], metavar="NAME", help="with --add: only this metric; may be repeated")
    _add_config(command)
    command.set_defaults(command="cli.discover:discover")


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("report", help="one HTML page: freshness, coverage, charts, revisions, failures")
    add = command.add_argument
    add("source", nargs="?", default="all", type=_source, metavar="SOURCE", help=_sources_help())
    add("--out", type=_file, required=True, metavar="FILE", help="the page; - for standard output")
    add("--asset", action="append", default=[], metavar="NAME", help="charts of this asset; may be repeated")
    add("--metric", action="append", default=[], metavar="NAME", help="charts of this metric; may be repeated")
    command.set_defaults(command="cli.report:write_report")


def _add_archive(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    fresh = commands.add_parser("fresh", help="clear what is stored of a source, and fetch its history anew")
    _add_source(fresh)
    fresh.add_argument("--keep-all", action="store_true", help="keep every row in a file, not only what is live-only")
    fresh.add_argument("--yes", action="store_true", help="do not ask before anything is cleared")
    fresh.set_defaults(command="cli.fresh:start_fresh")
    restore = commands.add_parser("restore", help="bring back the rows that a fresh start has kept; may be repeated")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(command="cli.fresh:restore_file")


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("check", help="look at everything that can be wrong, and say what needs a hand")
    command.add_argument("source", nargs="?", default="all", type=_source, metavar="SOURCE", help=_sources_help())
    command.add_argument("--offline", action="store_true", help="ask no API")
    command.add_argument("--json", action="store_true", help="all of it as JSON")
    command.set_defaults(command="cli.check:check")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=_source, metavar="SOURCE", help=_sources_help())


def _sources_help() -> str:
    return f"{', '.join(SOURCES)} or all"


def _add_names(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--asset", action="append", default=[], metavar="NAME", help="only this asset; may be repeated")
    add("--metric", action="append", default=[], metavar="NAME", help="only this metric; may be repeated")


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="another config file")


def _source(text: str) -> str:
    known = (*SOURCES, "all")
    if text not in known:
        raise argparse.ArgumentTypeError(f"unknown source {text!r}: {nearest(text, known)}")
    return text


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date: write YYYY-MM-DD") from None


def _file(text: str) -> Path | None:
    """None for standard output."""
    return None if text == "-" else Path(text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
