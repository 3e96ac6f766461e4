"""Rows as CSV and JSON, written one by one; floats come back from them as they are."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import TextIO

Cell = str | float | datetime | None  # times in aware UTC
Cells = Sequence[Cell]
Writer = Callable[[TextIO, Sequence[str], Iterable[Cells]], None]


def iso(at: datetime) -> str:
    """An aware UTC time in ISO 8601, with Z."""
    return f"{at.isoformat()[:-6]}Z"


def write_csv(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> None:
    """A header and a line for each row; what is absent is empty."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([iso(cell) if isinstance(cell, datetime) else cell for cell in row] for row in rows)


def write_json(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> None:
    """One list of objects, a line for each; what is absent, or no finite number, is null."""
    before = "[\n "
    for row in rows:
        out.write(f"{before}{_object(columns, row)}")
        before = ",\n "
    out.write("[]\n" if before.startswith("[") else "\n]\n")


def write_json_lines(out: TextIO, columns: Sequence[str], rows: Iterable[Cells]) -> None:
    """An object a line, each a document of its own."""
    for row in rows:
        out.write(f"{_object(columns, row)}\n")


def _object(columns: Sequence[str], row: Cells) -> str:
    return json.dumps(dict(zip(columns, map(_plain, row), strict=True)))


def _plain(cell: Cell) -> str | float | None:
    if isinstance(cell, datetime):
        return iso(cell)
    return None if isinstance(cell, float) and not isfinite(cell) else cell


WRITERS: Mapping[str, Writer] = {"csv": write_csv, "json": write_json, "jsonl": write_json_lines}
