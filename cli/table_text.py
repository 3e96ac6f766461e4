"""Rows as a table for a person: aligned, with six digits.

rich draws tables, too, but it does not align decimal points, and it cuts wide cells.
"""

from collections.abc import Sequence
from datetime import datetime
from math import floor, isfinite, log10

from model.text import printable
from model.values import midnight
from query.csv_and_json import Cell, Cells

DIGITS = 6  # significant ones of a number
SMALLEST, LARGEST = 1e-6, 1e15  # smaller and larger numbers are written with an exponent


def table_lines(columns: Sequence[str], rows: Sequence[Cells]) -> list[str]:
    """The header and a line for each row: texts and times to the left, numbers aligned at their decimal points."""
    by_column = [_column(name, [row[place] for row in rows]) for place, name in enumerate(columns)]
    return ["  ".join(cells).rstrip() for cells in zip(*by_column, strict=True)]


def number(value: float) -> str:
    """A number with six significant digits and all of its whole digits, grouped by thousands."""
    value += 0.0  # removes the sign of a negative zero
    size = abs(value)
    if not isfinite(value) or (size and not SMALLEST <= size < LARGEST):
        return f"{value:.{DIGITS}g}"
    decimals = max(DIGITS - 1 - floor(log10(size)), 0) if size else 0
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _column(name: str, cells: Sequence[Cell]) -> list[str]:
    numeric = any(isinstance(cell, float) for cell in cells)
    if numeric:
        texts = _aligned([number(cell) if isinstance(cell, float) else "" for cell in cells])
    elif any(isinstance(cell, datetime) for cell in cells):
        texts = _times(cells)
    else:
        texts = [printable(cell) if isinstance(cell, str) else "" for cell in cells]
    width = max(map(len, [name, *texts]))
    return [text.rjust(width) if numeric else text.ljust(width) for text in [name, *texts]]


def _aligned(texts: Sequence[str]) -> list[str]:
    """Numbers padded after their decimal points, so that all have the same length there."""
    parts = [text.partition(".") for text in texts]
    width = max(len(point + rest) for _, point, rest in parts)
    return [whole + (point + rest).ljust(width) for whole, point, rest in parts]


def _times(cells: Sequence[Cell]) -> list[str]:
    """Times; dates alone where all times are midnights."""
    times = [cell for cell in cells if isinstance(cell, datetime)]
    form = "%Y-%m-%d" if all(at == midnight(at) for at in times) else "%Y-%m-%d %H:%M:%SZ"
    return [f"{cell:{form}}" if isinstance(cell, datetime) else "" for cell in cells]
