"""The commands that show stored values: query, latest."""

import argparse
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from cli.process import ended_by_sigterm
from cli.query_screen import Screen, Shown, newest_shown, points_shown
from db.points import latest as newest
from model.errors import ConfigurationError
from model.files import atomic_write
from model.settings import Settings
from model.values import Series, Window
from query.dates import instant, window
from query.export import WRITERS, Cells
from query.query_session import QuerySession
from query.rows import Row, rows
from sources import unit_of

log = logging.getLogger(__name__)

TABLE = "table"
FORMATS = (TABLE, "csv", "json", "jsonl")
ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PICTURES = (".png", ".svg", ".pdf")
ALL = "all"
WITHOUT_BRAILLE = ("dumb", "linux")  # what TERM says of terminals that have no letters for it


class Asked(NamedTuple):
    """What is asked for, and what it was found to mean."""

    session: "QuerySession"
    series: Sequence["Series"]
    metrics: Sequence[str]
    every: bool  # asset that has it, so that each row says which
    span: "Window"
    as_of: datetime | None

    @property
    def columns(self) -> list[str]:
        """Of each row."""
        return [*(["asset"] if self.every else []), "pulled_at", *self.metrics]

    @property
    def title(self) -> str:
        """In one line."""
        assets = f"{len({each.asset for each in self.series}):,} assets" if self.every else self.series[0].asset
        return f"{self.series[0].source} {assets} {' '.join(self.metrics)}{_then(self.as_of)}"


def _then(as_of: datetime | None) -> str:
    return f" as of {as_of:%Y-%m-%d %H:%M:%SZ}" if as_of else ""


def query(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """The points of one asset, or of all that have it, by time."""
    del settings, scrub
    form = _form(arguments)
    with ended_by_sigterm(), _picture(arguments.plot, arguments.out) as picture:
        asked = _asked(arguments)
        if form == TABLE:
            _show_points(asked, arguments)
        else:
            _write(form, arguments.out, asked.columns, _cells(asked, _rows(asked)), asked.title)
        if picture:
            _draw(asked, arguments, picture)
    return 0


def latest(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """The newest value of each asset: in a table the greatest first, elsewhere by asset."""
    del settings, scrub
    form, as_of = _form(arguments), instant(arguments.as_of)
    with ended_by_sigterm():
        session = QuerySession()
        series = sorted(set(session.names().many(arguments.metric, arguments.asset or None, arguments.source)))
        metric, source = series[0].metric, series[0].source
        answer = session.reader().rows(*newest(series, as_of))
    rows = [(series[number].asset, at, value if value == value else None) for number, at, value in answer]
    title = f"{source} {metric}{_then(as_of)}"
    if form == TABLE:
        _show(newest_shown(metric, rows, as_of or datetime.now(UTC), _screen()), title)
    else:
        _write(form, arguments.out, ["asset", "pulled_at", metric], rows, title)
    if len(rows) < len(series):
        log.warning("of %s assets %s have no value of %s then", len(series), len(series) - len(rows), metric)
    return 0


def _form(arguments: argparse.Namespace) -> str:
    """The form of the output: as told, by the file's ending, or as suits who reads it."""
    told: str | None = arguments.format
    out: Path | None = arguments.out
    if out is None:
        return told or (TABLE if sys.stdout.isatty() else "csv")
    if told == TABLE:
        raise ConfigurationError(f"--format {TABLE} is for a screen: write csv, json or jsonl for --out")
    if told is None and out.suffix.lower() not in ENDINGS:
        endings = ", ".join(ENDINGS)
        raise ConfigurationError(f"--out {out}: write a file that ends in {endings}, or say which by --format")
    return told or ENDINGS[out.suffix.lower()]


def _asked(arguments: argparse.Namespace) -> Asked:
    """Raises BadQuestion for what can't be asked."""
    span, as_of = window(arguments.start, arguments.end), instant(arguments.as_of)
    session = QuerySession()
    names, every = session.names(), arguments.asset.casefold() == ALL
    metrics = list(dict.fromkeys(metric.strip().upper() for metric in arguments.metric))
    if every and arguments.plot and len(metrics) > 1:
        raise ConfigurationError("--plot draws one metric of all assets, or several of one: leave the others out")
    if not every:
        series = names.of_asset(arguments.asset, metrics, arguments.source)
    else:
        series = names.many(metrics[0], None, arguments.source)
        for metric in metrics[1:]:
            series += names.many(metric, None, series[0].source)
    return Asked(session, series, metrics, every, span, as_of)


def _rows(asked: Asked) -> Iterator[Row]:
    return rows(asked.session, asked.series, asked.metrics, asked.span, asked.as_of)


def _cells(asked: Asked, found: Iterable[Row]) -> Iterator[Cells]:
    return ((asset, at, *values) if asked.every else (at, *values) for asset, at, values in found)


def _write(form: str, out: Path | None, columns: Sequence[str], rows: Iterable[Cells], title: str) -> None:
    """Write rows to a file or to standard output, in UTF-8 whatever the locale, and log how many."""
    counted = _Counted(rows)
    if out is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        WRITERS[form](sys.stdout, columns, counted)
    else:
        with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="") as file:
            WRITERS[form](file, columns, counted)
    where = f" in {out}" if out else ""
    _log_count(f"{title}: {counted.rows:,} rows{where}", counted.rows)


def _log_count(text: str, rows: int) -> None:
    log.log(logging.INFO if rows else logging.WARNING, "%s%s", text, "" if rows else ": there is no such point")


class _Counted:
    """Rows, and how many of them have been taken."""

    def __init__(self, rows: Iterable[Cells]) -> None:
        self._each, self.rows = rows, 0

    def __iter__(self) -> Iterator[Cells]:
        for row in self._each:
            self.rows += 1
            yield row


def _show_points(asked: Asked, arguments: argparse.Namespace) -> None:
    charted = sys.stdout.isatty() and not asked.every
    unit, found = unit_of(asked.series), _rows(asked)
    how = {"assets": asked.every, "charted": charted, "log": arguments.log}
    _show(points_shown(found, asked.metrics, _screen(), unit=unit, **how), asked.title)


def _show(shown: Shown, title: str) -> None:
    """Print what is shown; elsewhere than on a terminal the table alone, and log the rest."""
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        print("\n".join([title, *shown.charts, *([""] if shown.charts else [])]))
    print("\n".join(shown.table))
    if on_terminal and shown.rows:
        print(shown.foot)
    else:
        _log_count(f"{title}: {shown.foot}", shown.rows)


def _screen() -> Screen:
    """The terminal, or where there is none what the environment says of one."""
    columns, lines = shutil.get_terminal_size()
    try:
        "⣿█┤".encode(sys.stdout.encoding or "ascii")
        plain = os.environ.get("TERM") in WITHOUT_BRAILLE
    except UnicodeEncodeError:
        plain = True
    return Screen(columns, lines, plain)


@contextmanager
def _picture(file: Path | None, out: Path | None) -> Iterator[Path | None]:
    """Where to draw what takes the place of the file in the end; refuses, before anything is asked, what can't be."""
    if file is None:
        yield None
        return
    if file.suffix.lower() not in PICTURES:
        raise ConfigurationError(f"--plot {file}: write a file that ends in {', '.join(PICTURES)}")
    if out and out.resolve() == file.resolve():
        raise ConfigurationError(f"--plot {file}: that is the file of --out: name another one")
    os.environ["MPLBACKEND"] = "Agg"  # whatever it is, as there may be no screen
    from query import plots  # noqa: F401 (says how to get what plots need where it is missing)

    with atomic_write(file) as part:
        yield part


def _draw(asked: Asked, arguments: argparse.Namespace, picture: Path) -> None:
    """Draw the points as query_data does in a notebook."""
    from matplotlib import pyplot

    from query import frames, plots

    points = frames.points(asked.session.reader(), asked.series, asked.span, asked.as_of)
    labels = [each.asset if asked.every else each.metric for each in asked.series]
    frame = frames.wide(points, labels, "asset" if asked.every else "metric")
    plots.plot(frames.described(frame, asked.series, asked.as_of, {}), log=arguments.log)
    drawn = BytesIO()  # a full disk is told as such only by whoever writes himself
    pyplot.savefig(drawn, format=arguments.plot.suffix[1:].lower())
    picture.write_bytes(drawn.getvalue())
    log.info("%s in %s", asked.title, arguments.plot)
