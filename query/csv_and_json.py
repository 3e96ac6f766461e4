"""Endings of a question as text: CSV, JSON and JSON lines, row by row; a reader gets the very same floats back."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import TextIO

Cell = str | float | datetime | None  # times in aware UTC
Cells = Sequence[Cell]
Writer = Callable[[TextIO, Sequence[str], Iterable[Cells]], int]  # gives how many rows it has written


def iso(at: datetime) -> str:
    """An aware UTC time in ISO 8601, with Z."""
    return f"{at.isoformat()[:-6]}Z"


def write_csv(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> int:
    """A header and a line for each row; None is an empty cell."""
    writer, count = csv.writer(out, lineterminator="\n"), 0
    writer.writerow(columns)
    for row in rows:
        count += 1
        writer.writerow([iso(cell) if isinstance(cell, datetime) else cell for cell in row])
    return count


def write_json(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> int:
    """One list of objects, a line for each; None and numbers that are not finite are null."""
    count = 0
    for count, row in enumerate(rows, start=1):
        out.write(f"{'[' if count == 1 else ','}\n {_object(columns, row)}")
    out.write("\n]\n" if count else "[]\n")
    return count


def write_json_lines(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> int:
    """One object a line, each a document of its own."""
    count = 0
    for row in rows:
        count += 1
        out.write(f"{_object(columns, row)}\n")
    return count


def _object(columns: Sequence[str], row: Cells) -> str:
    return json.dumps(dict(zip(columns, map(_plain, row), strict=True)))


def _plain(cell: Cell) -> str | float | None:
    if isinstance(cell, datetime):
        return iso(cell)
    return None if isinstance(cell, float) and not isfinite(cell) else cell


WRITERS: Mapping[str, Writer] = {"csv": write_csv, "json": write_json, "jsonl": write_json_lines}
