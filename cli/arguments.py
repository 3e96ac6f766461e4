"""Every command and option, declared with argparse alone; the module of a command is imported when it runs.

`command` names the function of a command as "module:function". The function takes the arguments, the settings and a
function that hides secrets, and returns the exit code.
"""

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.settings import MAIN, VERSION
from model.text import nearest
from model.values import Verb
from sources import SOURCES
from sources.base import BaseSource

Add = Callable[[str, str, str], argparse.ArgumentParser]  # adds a command: its name, its function, its help

JSON_HELP = "print everything as JSON"

RUN = "cli.pull_backfill_settle:run_all"
RUNS = {
    Verb.PULL: "store the current values",
    Verb.BACKFILL: "store the history up to yesterday that was not requested yet",
    Verb.SETTLE: "compare what is stored of closed days with the API, and adopt what the provider has restated",
}


class _Parser(argparse.ArgumentParser):
    """A parser that takes no abbreviation of an option, and a word such as -3d as a value, not as an option."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._negative_number_matcher = re.compile(r"-[0-9.]")  # so that a command can say what is wrong with it


def backfill_parser(source: str) -> argparse.ArgumentParser:
    """The command line of the script that backfills one source."""
    parser = _Parser(description=f"The same as `{MAIN} backfill {source}`.")
    _add_run(parser, Verb.BACKFILL)
    parser.set_defaults(source=source)
    return parser


def scheduler_parser() -> argparse.ArgumentParser:
    """The command line of scheduler.py."""
    parser = _Parser(description="Starts each run when it is due, until it is stopped.")
    parser.add_argument("--fresh", action="store_true", help=f"first clear each source, once; see {MAIN} fresh --help")
    _add_fresh(parser, "with --fresh: ")
    parser.add_argument("--source", action="append", choices=list(SOURCES), help="only this source; may be repeated")
    form = "format of the log (default: text)"
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help=form)
    parser.set_defaults(command="cli.scheduler:run_scheduler")
    return parser


def parser() -> argparse.ArgumentParser:
    """The command line of main.py."""
    parser = _Parser(description="Crypto and equity metrics from Artemis and DefiLlama, in PostgreSQL.")
    parser.add_argument("--version", action="version", version=f"crypto-metrics {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: str, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text)
        command.set_defaults(command=function)
        return command

    for verb, text in RUNS.items():
        command = add(verb.value, RUN, text)
        _add_source(command)
        _add_run(command, verb)
    _add_stored(add)
    _add_query(add)
    _add_export(add)
    page = "write an HTML page: freshness, coverage, charts, revisions, failures"
    report = add("report", "cli.report:write_report", page)
    _add_source(report, optional=True)
    out = "write the page to this file; - for standard output"
    report.add_argument("--out", type=_file, required=True, metavar="FILE", help=out)
    _add_names(report, "charts of ")
    fresh = add(
        "fresh",
        "cli.fresh_restore:start_fresh",
        "clear everything stored of a source, and fetch its history again",
    )
    fresh.set_defaults(verb=Verb.BACKFILL)
    _add_source(fresh)
    _add_fresh(fresh)
    saved = "restore the rows that a fresh start has saved; may be repeated"
    restore = add("restore", "cli.fresh_restore:restore_file", saved)
    restore.add_argument("file", type=Path, metavar="FILE")
    _add_discover(add)
    told = "test the webhook to which the scheduler sends a message when a source fails, waits, or is well again"
    notify = add("notify", "cli.notify:notify", told)
    notify.add_argument("--test", action="store_true", required=True, help="send a test message; says if it arrived")
    psql = add("psql", "cli.psql:open_psql", "open psql, PostgreSQL's own client, on the database in use")
    psql.add_argument("sql", nargs="?", metavar="SQL", help="run this statement alone")
    _add_backup(add)
    url = add("url", "cli.url:print_url", "print the connection string of the database in use, for other tools")
    url.add_argument("--password", action="store_true", help="with the password, which is otherwise left out")
    setup = add("setup", "cli.setup:setup", "create or upgrade the tables; may be repeated")
    reader = "also create or update this role, which may only read; READER_PASSWORD is its password, if set"
    setup.add_argument("--reader", metavar="NAME", help=reader)
    setup.add_argument("--distributed", action="store_true", help="distribute the rows to a Citus cluster")
    return parser


def _add_run(parser: argparse.ArgumentParser, verb: Verb) -> None:
    add = parser.add_argument
    _add_names(parser)
    _add_config(parser)
    dry_run = "show the calls and how long they take; send nothing"
    add("--dry-run", action="store_const", dest="command", const="cli.pull_backfill_settle:show_plans", help=dry_run)
    if verb is Verb.SETTLE:
        where = "where the API answers by window"
        which = parser.add_mutually_exclusive_group()
        days = f"{where}, the last closed days to compare (default: {BaseSource.SETTLE_DAYS})"
        which.add_argument("--days", type=int, metavar="N", help=days)
        which.add_argument("--all", action="store_true", dest="all_days", help=f"{where}, compare all answered days")
        for option, what in (("--accept", "adopt the values that wait"), ("--reject", "keep the stored values")):
            text = f"make no run, but {what} for this series (each name may be all); may be repeated"
            add(option, nargs=2, action="append", default=[], metavar=("ASSET", "METRIC"), help=text)
    if verb is Verb.BACKFILL:
        start = "first day, YYYY-MM-DD (default: all that the API has; for Artemis five years)"
        add("--start", type=_date, metavar="DATE", help=start)
        add("--end", type=_date, metavar="DATE", help="the day after the last one (default: today, UTC)")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--full", action="store_true", help="request all days again")
        gaps = "request only days that were never answered, since each series began"
        which.add_argument("--gaps", action="store_true", help=gaps)
        add("--retry-empty", action="store_true", help="with --gaps: also request the empty and refused days again")
    parser.set_defaults(command=RUN, verb=verb)


def _add_stored(add: Add) -> None:
    add("sources", "cli.sources:show_sources", "show the metrics of each source, its key and the size of its config")
    gaps = add("gaps", "cli.gaps:show_gaps", "show what is stored for each series, and why each gap exists")
    _add_source(gaps, optional=True)
    gaps.add_argument("--json", action="store_true", help=JSON_HELP)
    _add_config(gaps)
    gaps.add_argument("--forget-lost", action="store_true", help="accept the loss of days that no backfill can fetch")
    _add_names(gaps)
    restated = "show how often and by how much a provider has restated values"
    revisions = add("revisions", "cli.revisions:show_revisions", restated)
    revisions.set_defaults(config=None)
    _add_source(revisions)
    _add_names(revisions)
    status = add("status", "cli.status:show_status", "show the health of the scheduler and each source")
    status.add_argument("--watch", action="store_true", help="refresh every few seconds, until Ctrl-C")
    form = status.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help=JSON_HELP)
    form.add_argument("--format", choices=("prometheus",), help="print the figures as a scrape of Prometheus")
    out = "with --format: write to this file, completely or not at all"
    status.add_argument("--out", type=_file, metavar="FILE", help=out)
    check = add("check", "cli.check:check", "check keys, configs, database and APIs, and say what a person must do")
    _add_source(check, optional=True)
    check.add_argument("--offline", action="store_true", help="send no request to an API")
    confirm = "first accept that the API now means another asset by this row; may be repeated"
    check.add_argument("--confirm", action="append", default=[], metavar="ASSET", help=confirm)
    check.add_argument("--json", action="store_true", help=JSON_HELP)


def _add_query(add_command: Add) -> None:
    stored = "show the stored points of an asset, or of all assets with a metric"
    points = add_command("query", "cli.query:query", stored)
    add = points.add_argument
    add("asset", metavar="ASSET", help="an asset or entity, or all")
    add("metric", nargs="+", metavar="METRIC", help="several metrics become columns side by side")
    add("--plot", type=Path, metavar="FILE", help="also draw the points to this file: .png, .svg or .pdf")
    add("--log", action="store_true", help="a logarithmic scale for chart and plot")
    add("--lag", metavar="SPAN", help="each point as it was known so long after the end of its day: 3d or 12h")
    add("--known-at", action="store_true", help="also since when each value is known")
    had = "show every value that each point of a series had, since when and until when it was known, and why it changed"
    every = add_command("vintages", "cli.vintages:show_vintages", had)
    every.add_argument("asset", metavar="ASSET")
    every.add_argument("metric", metavar="METRIC")
    for command in (points, every):
        _add_window(command)
    newest = add_command("latest", "cli.query:latest", "show the newest value of a metric for each asset")
    newest.add_argument("metric", metavar="METRIC")
    newest.add_argument("--asset", action="append", metavar="NAME", help="only this asset; may be repeated")
    for command in (points, newest):
        command.add_argument("--as-of", metavar="TIME", help="the values as they were known at this time")
    for command in (points, every, newest):
        add = command.add_argument
        add("--source", metavar="SOURCE", help="needed where several sources have the series")
        by_default = "default: table on a terminal, otherwise csv; with --out, the ending of FILE"
        forms = ("table", "csv", "json", "jsonl", *(["parquet"] if command is points else []))
        add("--format", choices=forms, help=by_default)
        add("--out", type=_file, metavar="FILE", help="write the answer to this file, completely or not at all")


def _add_export(add_command: Add) -> None:
    stored = "write what is stored into a folder of Parquet files, as DuckDB, polars and Spark read them"
    command = add_command("export", "cli.export:export", stored)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that does not exist yet")
    command.add_argument("--source", metavar="SOURCE", help="only this source")
    command.add_argument("--as-of", metavar="TIME", help="the values as they were known at this time")
    _add_names(command)
    _add_window(command)


def _add_window(parser: argparse.ArgumentParser) -> None:
    first = "first day or instant, UTC; also 2026-11, 2026, or 30d for 30 days ago (default: the first point)"
    parser.add_argument("--start", metavar="TIME", help=first)
    parser.add_argument("--end", metavar="TIME", help="the day or instant after the last one (default: no end)")


def _add_fresh(parser: argparse.ArgumentParser, when: str = "") -> None:
    keep_all = f"{when}also save the rows that a backfill can fetch again"
    parser.add_argument("--keep-all", action="store_true", help=keep_all)
    parser.add_argument("--yes", action="store_true", help=f"{when}clear without asking")


def _add_backup(add: Add) -> None:
    whole = "write all tables of this program into a file, completely or not at all; runs may go on"
    empty = "restore such a file into an empty database, completely or not at all"
    for name, function, text in (("backup", "write_backup", whole), ("restore-backup", "restore_whole", empty)):
        add(name, f"cli.backup:{function}", text).add_argument("file", type=Path, metavar="FILE")
    newest = "move the embedded database to the newest PostgreSQL that is installed"
    upgrade = add("upgrade-database", "cli.backup:upgrade_database", newest)
    old = "a backup to restore, where the old PostgreSQL is gone (default: read the old database)"
    upgrade.add_argument("file", nargs="?", type=Path, metavar="FILE", help=old)


def _add_discover(add_command: Add) -> None:
    listed = "list the assets and metrics of an API, and which of them the config has"
    command = add_command("discover", "cli.discover:discover", listed)
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
        parser.add_argument(f"--{kind}", dest=f"{kind}s", action="append", default=[], metavar="NAME", help=text)


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
