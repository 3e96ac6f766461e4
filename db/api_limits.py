"""The table api_limits: what runs have found out about the limits of an API."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from db.statements import fetch


class Limit(StrEnum):
    """The name of a limit; the text is the one of the column name."""

    REQUEST_DELAY = "request_delay"  # seconds between two requests
    SERIES_A_CALL = "series_a_call"
    CALLS_LEFT = "calls_left"  # in the month in which it was found


class KnownLimit(NamedTuple):
    """The value of a limit, when it was found (aware UTC), and how long ago that was by the database's clock."""

    value: float
    at: datetime
    age: timedelta


def api_limits(cursor: Any, account: str) -> dict[Limit, KnownLimit]:
    """The limits that are known of an account: see BaseSource.account."""
    known = "SELECT name, value, found_at, now()::timestamp - found_at FROM api_limits WHERE account = %s"
    return {Limit(name): KnownLimit(value, at, age) for name, value, at, age in fetch(cursor, known, (account,))}


def set_api_limits(cursor: Any, account: str, values: Mapping[Limit, float]) -> None:
    """Enter limits that were found now, in place of what was known."""
    for name, value in values.items():
        cursor.execute(
            """
            INSERT INTO api_limits (account, name, value, found_at) VALUES (%s, %s, %s, now())
            ON CONFLICT (account, name) DO UPDATE SET value = EXCLUDED.value, found_at = EXCLUDED.found_at
            """,
            (account, name.value, value),
        )
