"""The commands that show stored values: query, latest."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from io import BytesIO, TextIOWrapper
from pathlib import Path

from cli.query_screen import NO_POINT, log_count, show_newest, show_points
from db.reader import KNOWN_AT, Reader
from model.errors import ConfigurationError
from model.files import atomic_write
from model.settings import Settings
from model.text import counted
from model.values import Series
from query.csv_and_json import WRITERS, Cells, columns_of, newest_of_each, side_by_side
from query.query_session import QuerySession
from query.question import Question
from query.series_names import Names
from query.time_arguments import lag_of, lag_text, past_instant, window
from sources import unit_of

log = logging.getLogger(__name__)

TABLE = "table"
PARQUET = "parquet"
ENDINGS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
PICTURES = (".png", ".svg", ".pdf")
ALL = "all"
NOT_KNOWN = "no such point was known so early: a value is known from the run on that stored it, a backfilled one too"


def query(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Print or write the points of one asset, or of all assets that have the metrics, by time."""
    form = output_format(arguments, ENDINGS | {".parquet": PARQUET})
    if form == PARQUET:
        from query import arrow_tables  # noqa: F401 - fails here where pyarrow is missing
    if arguments.plot:
        _check_plot(arguments.plot, arguments.out)
    with atomic_write(arguments.plot) if arguments.plot else nullcontext() as picture:
        span, as_of, lag = window(arguments.start, arguments.end), past_instant(arguments.as_of), lag_of(arguments.lag)
        session = QuerySession()
        series, extras = _series(session.names(), arguments), [KNOWN_AT] if arguments.known_at else []
        question = Question(series, span, as_of, lag=lag, extras=extras)
        reader, every = session.reader(), arguments.asset.casefold() == ALL
        rows, columns = side_by_side(reader, question), ["asset", "pulled_at", *columns_of(question)]
        if not every:
            rows, columns = (row[1:] for row in rows), columns[1:]
        assets = counted(len({each.asset for each in question.series}), "asset") if every else question.series[0].asset
        title, none = _title(question, assets), _if_none(question)
        if form == TABLE:
            unit = unit_of(question.series) if sys.stdout.isatty() and not every else None
            charted = question.metrics if unit is not None else ()
            show_points(rows, columns, title, charted, unit=unit or "", log_scale=arguments.log, if_none=none)
        elif form == PARQUET:
            _write_parquet(arguments.out, reader, question, title, none)
        else:
            write_rows(form, arguments.out, columns, rows, title, none)
        if picture:
            drawn = _drawn(reader, question, "asset" if every else "metric", arguments)
            picture.write_bytes(drawn)  # not by matplotlib, which hides the error of a full disk
            log.info("%s in %s", title, arguments.plot)
    return 0


def latest(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Print or write the newest value of each asset: in a table the greatest first, otherwise by asset."""
    form, as_of = output_format(arguments), past_instant(arguments.as_of)
    session = QuerySession()
    series = sorted(set(session.names().many(arguments.metric, arguments.asset or None, arguments.source)))
    question = Question(series, as_of=as_of)
    rows = newest_of_each(session.reader(), question)
    title, none = _title(question), _if_none(question)
    if form == TABLE:
        show_newest(rows, series[0].metric, title, as_of or datetime.now(UTC), none)
    else:
        write_rows(form, arguments.out, ["asset", "pulled_at", series[0].metric], rows, title, none)
    if missing := len(series) - len(rows):
        log.warning("%s of %s assets had no value of %s at that time", missing, len(series), series[0].metric)
    return 0


def output_format(arguments: argparse.Namespace, endings: Mapping[str, str] = ENDINGS) -> str:
    """The format that the user names, or that of the file's ending; otherwise a table on a terminal, CSV elsewhere."""
    named: str | None = arguments.format
    out: Path | None = arguments.out
    if out is None:
        if named == PARQUET:
            raise ConfigurationError(f"--format {PARQUET} is for a file: add --out FILE.parquet")
        return named or (TABLE if sys.stdout.isatty() else "csv")
    if named == TABLE:
        raise ConfigurationError(f"--format {TABLE} is for a screen: write csv, json or jsonl for --out")
    if named is None and out.suffix.lower() not in endings:
        raise ConfigurationError(
            f"--out {out}: write a file that ends in {', '.join(endings)}, or name the format with --format"
        )
    return named or endings[out.suffix.lower()]


def _series(names: Names, arguments: argparse.Namespace) -> list[Series]:
    """The series that the arguments name, metric by metric; raises BadQuestion for unknown names."""
    every = arguments.asset.casefold() == ALL
    if every and arguments.plot and len(arguments.metric) > 1:
        raise ConfigurationError("--plot draws one metric of all assets, or several of one: leave the others out")
    return names.grid(None if every else [arguments.asset], arguments.metric, arguments.source, by_metric=True)


def _title(question: Question, *assets: str) -> str:
    known_at = f" as of {question.as_of:%Y-%m-%d %H:%M:%SZ}" if question.as_of else ""
    lag = f" {lag_text(question.lag)} after each day" if question.lag is not None else ""
    return " ".join([question.series[0].source, *assets, *question.metrics]) + known_at + lag


def _if_none(question: Question) -> str:
    """Why an answer has no rows."""
    return NO_POINT if question.as_of is None and question.lag is None else NOT_KNOWN


def write_rows(
    form: str, out: Path | None, columns: Sequence[str], rows: Iterable[Cells], title: str, if_none: str = NO_POINT
) -> None:
    """Write rows to a file or to standard output, in UTF-8 whatever the locale, and log how many."""
    if out is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        count = WRITERS[form](sys.stdout, columns, rows)
    else:
        with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="") as file:
            count = WRITERS[form](file, columns, rows)
    where = f" in {out}" if out else ""
    log_count(f"{title}: {counted(count, 'row')}{where}", count, if_none)


def _write_parquet(out: Path, reader: Reader, question: Question, title: str, if_none: str) -> None:
    """Write the points to a file, one a row, and log how many."""
    from query import arrow_tables

    with atomic_write(out) as part, part.open("wb") as file:
        count = arrow_tables.write_parquet(file, reader, question)
    log_count(f"{title}: {counted(count, 'row')} in {out}", count, if_none)


def _check_plot(file: Path, out: Path | None) -> None:
    """Refuse a wrong file, and a Python without matplotlib, before anything is read."""
    if file.suffix.lower() not in PICTURES:
        raise ConfigurationError(f"--plot {file}: write a file that ends in {', '.join(PICTURES)}")
    if out and out.resolve() == file.resolve():
        raise ConfigurationError(f"--plot {file}: --out writes to the same file: name another one")
    os.environ["MPLBACKEND"] = "Agg"  # it needs no screen, unlike what the user may have set
    from query import plots  # noqa: F401 - fails here where matplotlib is missing


def _drawn(reader: Reader, question: Question, label: str, arguments: argparse.Namespace) -> bytes:
    """The picture of the points, as query_data draws it in a notebook."""
    from matplotlib import pyplot

    from query import frames, plots
    from query.point_arrays import points

    question = question._replace(extras=())
    frame = frames.wide(points(reader, question), question.series, [label])
    plots.plot(frames.with_attrs(frame, question, {}), log=arguments.log)
    picture = BytesIO()
    pyplot.savefig(picture, format=arguments.plot.suffix[1:].lower())
    return picture.getvalue()
