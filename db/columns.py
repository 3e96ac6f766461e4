"""Points as columns, in the bytes of PostgreSQL's binary COPY: every row of it has the same length."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from db.points import Statement
from db.reader import Reader

HEADER, TRAILER = 19, 2  # bytes before and after the rows
ROW_BYTES = 34  # the number of fields, then of each field its length and its value
SERIES_AT, TIME_AT, VALUE_AT = 6, 14, 26  # where in a row its values begin: int4, int8 and float8, big-endian
ROW = struct.Struct(">6xi4xq4xd")


class Columns(NamedTuple):
    """Points as (number of the series, microseconds since 2000-01-01 UTC, value); the value is NaN for a NULL.

    numpy reads a column from the bytes without a copy of them; `rows` needs no numpy, so that a command starts quickly.
    """

    data: memoryview

    def rows(self) -> Iterator[tuple[int, int, float]]:
        """Each point, in the order in which PostgreSQL sent it: mostly, but not surely, by series and time."""
        return ROW.iter_unpack(self.data)

    def until(self, last: int) -> "Columns":
        """The points up to a time, that one included."""
        starts = range(0, len(self.data), ROW_BYTES)
        kept = (self.data[i : i + ROW_BYTES] for i, (_, at, _) in zip(starts, self.rows(), strict=True) if at <= last)
        return Columns(memoryview(b"".join(kept)))


def copied(reader: Reader, statement: Statement) -> Columns:
    """The answer to a statement of db.points that gives series, time and value."""
    data = reader.copy(*statement)
    return Columns(data[HEADER : len(data) - TRAILER])
