"""Every command and option, declared with argparse alone; the module of a command is imported when it runs.

`command` names the function of a command as "module:function". The function takes the arguments, the settings and a
function that hides secrets, and returns the exit code.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from model.text import nearest
from model.values import Verb
from sources import SOURCES
from sources.base import BaseSource

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

FORMATS = ("table", "csv", "json", "jsonl")  # of query and latest
JSON_HELP = "print everything as JSON"

RUNS = {
    Verb.PULL: "store the current values",
    Verb.BACKFILL: "store the history up to yesterday that was not requested yet",
    Verb.SETTLE: "request the last closed days again, and adopt the values that the provider has restated",
}


def backfill_parser(source: str) -> argparse.ArgumentParser:
    """The command line of the script that backfills one source."""
    parser = argparse.ArgumentParser(description=f"The same as `python main.py backfill {source}`.")
    _add_run(parser, Verb.BACKFILL)
    parser.set_defaults(source=source)
    return parser


def scheduler_parser() -> argparse.ArgumentParser:
    """The command line of scheduler.py."""
    parser = argparse.ArgumentParser(description="Starts each run when it is due, until it is stopped.")
    parser.add_argument("--fresh", action="store_true", help="first clear each source, once; see main.py fresh --help")
    _add_fresh(parser, "with --fresh: ")
    parser.add_argument("--source", action="append", choices=list(SOURCES), help="only this source; may be repeated")
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="format of the log (default: text)"
    )
    parser.set_defaults(command="cli.scheduler:run_scheduler")
    return parser


def parser() -> argparse.ArgumentParser:
    """The command line of main.py."""
    parser = argparse.ArgumentParser(description="Crypto and equity metrics from Artemis and DefiLlama, in PostgreSQL.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb, text in RUNS.items():
        command = commands.add_parser(verb.value, help=text)
        _add_source(command)
        _add_run(command, verb)
    _add_stored(commands)
    _add_query(commands)
    report = commands.add_parser("report", help="write an HTML page: freshness, coverage, charts, revisions, failures")
    _add_source(report, optional=True)
    report.add_argument(
        "--out", type=_file, required=True, metavar="FILE", help="write the page to this file; - for standard output"
    )
    _add_names(report, "charts of ")
    report.set_defaults(command="cli.report:write_report")
    fresh = commands.add_parser("fresh", help="clear everything stored of a source, and fetch its history again")
    _add_source(fresh)
    _add_fresh(fresh)
    fresh.set_defaults(command="cli.fresh:start_fresh")
    restore = commands.add_parser("restore", help="restore the rows that a fresh start has saved; may be repeated")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(command="cli.fresh:restore_file")
    _add_discover(commands)
    setup = commands.add_parser("setup", help="create or upgrade the tables; may be repeated")
    setup.set_defaults(command="cli.setup_tables:setup")
    return parser


def _add_run(parser: argparse.ArgumentParser, verb: Verb) -> None:
    add = parser.add_argument
    _add_names(parser)
    _add_config(parser)
    dry_run = "show the calls and how long they take; send nothing"
    add("--dry-run", action="store_const", dest="command", const="cli.dry_run:show_plans", help=dry_run)
    if verb is Verb.SETTLE:
        days = f"closed days to request again (default: {BaseSource.SETTLE_DAYS})"
        add("--days", type=int, metavar="N", help=days)
    if verb is Verb.BACKFILL:
        start = "first day, YYYY-MM-DD (default: all that the API has; for Artemis five years)"
        add("--start", type=_date, metavar="DATE", help=start)
        add("--end", type=_date, metavar="DATE", help="the day after the last one (default: today, UTC)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--full", action="store_true", help="request all days again")
        which.add_argument(
            "--gaps", action="store_true", help="request only days that were never requested, since each series began"
        )
        add("--retry-empty", action="store_true", help="with --gaps: also request the empty days again")
    parser.set_defaults(command="cli.pull_backfill_settle:run_all", verb=verb)


def _add_stored(commands: Commands) -> None:
    sources = commands.add_parser("sources", help="show the metrics of each source, its key and the size of its config")
    sources.set_defaults(command="cli.sources:show_sources")
    gaps = commands.add_parser("gaps", help="show what is stored for each series, and why each gap exists")
    _add_source(gaps, optional=True)
    gaps.add_argument("--json", action="store_true", help=JSON_HELP)
    _add_config(gaps)
    gaps.add_argument("--forget-lost", action="store_true", help="accept the loss of days that no backfill can fetch")
    _add_names(gaps)
    gaps.set_defaults(command="cli.gaps:show_gaps")
    revisions = commands.add_parser("revisions", help="show how often and by how much a provider has restated values")
    _add_source(revisions)
    _add_names(revisions)
    revisions.set_defaults(command="cli.revisions:show_revisions", config=None)
    status = commands.add_parser("status", help="show the health of the scheduler and each source")
    status.add_argument("--watch", action="store_true", help="refresh every few seconds, until Ctrl-C")
    status.set_defaults(command="cli.status:show_status")
    check = commands.add_parser("check", help="check keys, configs, database and APIs, and say what a person must do")
    _add_source(check, optional=True)
    check.add_argument("--offline", action="store_true", help="send no request to an API")
    check.set_defaults(command="cli.check:check")
    for command in (status, check):
        command.add_argument("--json", action="store_true", help=JSON_HELP)


def _add_query(commands: Commands) -> None:
    points = commands.add_parser("query", help="show the stored points of an asset, or of all assets with a metric")
    add = points.add_argument
    add("asset", metavar="ASSET", help="an asset or entity, or all")
    add("metric", nargs="+", metavar="METRIC", help="several metrics become columns side by side")
    add("--start", metavar="TIME", help="first day or instant, ISO 8601, UTC (default: the first point)")
    add("--end", metavar="TIME", help="the day or instant after the last one (default: no end)")
    add("--plot", type=Path, metavar="FILE", help="also draw the points to this file: .png, .svg or .pdf")
    add("--log", action="store_true", help="a logarithmic scale for chart and plot")
    points.set_defaults(command="cli.query:query")
    newest = commands.add_parser("latest", help="show the newest value of a metric for each asset")
    newest.add_argument("metric", metavar="METRIC")
    newest.add_argument("--asset", action="append", metavar="NAME", help="only this asset; may be repeated")
    newest.set_defaults(command="cli.query:latest")
    for command in (points, newest):
        add = command.add_argument
        add("--source", metavar="SOURCE", help="needed where several sources have the series")
        add("--as-of", metavar="TIME", help="the values as they were known at this time")
        add(
            "--format",
            choices=FORMATS,
            help="default: table on a terminal, otherwise csv; with --out, the ending of FILE",
        )
        add("--out", type=_file, metavar="FILE", help="write the answer to this file, completely or not at all")


def _add_fresh(parser: argparse.ArgumentParser, when: str = "") -> None:
    parser.add_argument(
        "--keep-all", action="store_true", help=f"{when}also save the rows that a backfill can fetch again"
    )
    parser.add_argument("--yes", action="store_true", help=f"{when}clear without asking")


def _add_discover(commands: Commands) -> None:
    command = commands.add_parser(
        "discover", help="list the assets and metrics of an API, and which of them the config has"
    )
    add = command.add_argument
    add("source", choices=list(SOURCES))
    add("text", nargs="?", default="", metavar="TEXT", help="part of an identifier, name or symbol (default: all)")
    add("--kind", metavar="KIND", help="only assets of this kind")
    add("--limit", type=int, default=25, metavar="N", help="how many assets to show (default: 25)")
    how = command.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help=JSON_HELP)
    how.add_argument("--add", action="store_true", help="add the asset that TEXT names to the config")
    add("--metric", action="append", default=[], metavar="NAME", help="with --add: only this metric; may be repeated")
    _add_config(command)
    command.set_defaults(command="cli.discover:discover")


def _add_source(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    names = f"{', '.join(SOURCES)} or all"
    nargs = "?" if optional else None
    parser.add_argument("source", nargs=nargs, default="all", type=_source, metavar="SOURCE", help=names)


def _source(text: str) -> str:
    known = (*SOURCES, "all")
    if text not in known:
        raise argparse.ArgumentTypeError(f"unknown source {text!r}: {nearest(text, known)}")
    return text


def _add_names(parser: argparse.ArgumentParser, what: str = "only ") -> None:
    for kind in ("asset", "metric"):
        text = f"{what}this {kind}; may be repeated"
        parser.add_argument(f"--{kind}", action="append", default=[], metavar="NAME", help=text)


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="use this config file")


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date: write YYYY-MM-DD") from None


def _file(text: str) -> Path | None:
    """None for standard output."""
    return None if text == "-" else Path(text)
