"""Rows for terminals and files: the metrics of an asset side by side, and writers of CSV, JSON and JSON lines."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, TextIO

from db.reader import Reader
from model.text import FORMULA_SIGNS
from query.question import Question, extra_cells, newest, portions, time_of

POINTS_AT_ONCE = 50_000  # in memory

Cell = str | float | datetime | None  # times in aware UTC
Cells = Sequence[Cell]
Writer = Callable[[TextIO, Sequence[str], Iterable[Cells]], int]  # returns how many rows it has written


def side_by_side(reader: Reader, question: Question) -> Iterator[Cells]:
    """Rows of (asset, time, a value for each metric of the question), sorted by asset and time.

    Each extra of the question follows, for each metric. A value is None if the asset has no point at that time. All
    series must be of one source.
    """
    metrics, extras = question.metrics, question.extras
    width = len(metrics)
    for part, columns in portions(reader, question, POINTS_AT_ONCE):
        places = [(series.asset, metrics.index(series.metric)) for series in part.series]
        found: dict[tuple[str, int], list[Cell]] = defaultdict(lambda: [None] * (width * (1 + len(extras))))
        for number, at, value, *more in columns.rows():
            asset, place = places[number]
            found[asset, at][place] = value if value == value else None
            if more:
                found[asset, at][place + width :: width] = extra_cells(extras, more)
        for asset, at in sorted(found):
            yield asset, time_of(at), *found[asset, at]


def columns_of(question: Question) -> list[str]:
    """The names of the columns of `side_by_side` after the time: PRICE, FEES, PRICE_known_at, FEES_known_at."""
    return [*question.metrics, *(f"{metric}_{extra}" for extra in question.extras for metric in question.metrics)]


def newest_of_each(reader: Reader, question: Question) -> list[tuple[Any, ...]]:
    """Rows of (asset, time, value, extras): the newest point of each series that has any, in the question's order."""
    found = []
    for number, at, value, *more in sorted(newest(reader, question).rows()):
        value = value if value == value else None
        found.append((question.series[number].asset, time_of(at), value, *extra_cells(question.extras, more)))
    return found


def iso(at: datetime) -> str:
    """An aware UTC time in ISO 8601, with Z."""
    return f"{at.isoformat()[:-6]}Z"


def write_csv(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> int:
    """Write a header and a line for each row; None is an empty cell. Floats are written without loss.

    A text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    writer, count = csv.writer(out, lineterminator="\n"), 0
    writer.writerow(columns)
    for row in rows:
        count += 1
        writer.writerow([_csv_cell(cell) for cell in row])
    return count


def _csv_cell(cell: Cell) -> Cell:
    if isinstance(cell, datetime):
        return iso(cell)
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell


def write_json(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> int:
    """Write one list of objects, each on a line of its own; None and numbers that are not finite become null."""
    count = 0
    for count, row in enumerate(rows, start=1):
        out.write(f"{'[' if count == 1 else ','}\n {_object(columns, row)}")
    out.write("\n]\n" if count else "[]\n")
    return count


def write_json_lines(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> int:
    """Write one object per line, each a JSON document of its own; null as in `write_json`."""
    count = 0
    for row in rows:
        count += 1
        out.write(f"{_object(columns, row)}\n")
    return count


def _object(columns: Sequence[str], row: Cells) -> str:
    cells = [None if isinstance(cell, float) and not isfinite(cell) else cell for cell in row]
    return json.dumps(dict(zip(columns, cells, strict=True)), default=iso)


WRITERS: Mapping[str, Writer] = {"csv": write_csv, "json": write_json, "jsonl": write_json_lines}
