"""Reads SQL files and runs statements. In an SQL file, each statement follows a line `-- name: its_name`.

This module expands two shorthands of these files: day_of(time, shift) is the day to which a point belongs, as in
model.values.Metric.day_of; days_in(multirange) is the number of days in a DATEMULTIRANGE.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg2

T = TypeVar("T")  # what the work in a session returns
Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor
SHORTHANDS = {
    r"day_of\(([^(),]+), ([^(),]+)\)": r"(\1 + \2)::date",
    r"days_in\(([^()]+)\)": r"(SELECT coalesce(sum(upper(part) - lower(part)), 0) FROM unnest(\1) AS part)",
}


def read_statements(file: str) -> dict[str, str]:
    """The statements of an SQL file in this folder, by name and without comments."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    for shorthand, written_out in SHORTHANDS.items():
        text = re.sub(shorthand, written_out, text)
    _, *parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    statements = (re.sub(r"\s*--.*", "", part).strip() for part in parts[1::2])
    return dict(zip(parts[::2], statements, strict=True))


def filled_in(statement: str, **parts: str) -> str:
    """A statement in which each {name} is replaced by the SQL text of that name."""
    for name, part in parts.items():
        statement = statement.replace(f"{{{name}}}", part)
    return statement


def arrays(names: str, rows: Iterable[Sequence[Any]]) -> dict[str, list[Any]]:
    """The first columns of rows as lists, which a statement takes as arrays, under these names."""
    kept = list(rows)
    return {name: [row[place] for row in kept] for place, name in enumerate(names.split())}


def in_transaction(session: Connection, work: Callable[[Cursor], T]) -> T:
    """Do some work with a cursor in a transaction of its own."""
    with session, session.cursor() as cursor:
        return work(cursor)


def fetch(cursor: Any, statement: str, values: Any = None) -> list[tuple[Any, ...]]:
    """All rows of a statement."""
    cursor.execute(statement, values)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def fetch_one(cursor: Any, statement: str, values: Any = None) -> tuple[Any, ...]:
    """The row of a statement that always returns exactly one."""
    (row,) = fetch(cursor, statement, values)
    return row
