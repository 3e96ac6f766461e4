"""The table api_limits: what runs have found out about the limits of an API."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from db.statements import fetch


class Limit(StrEnum):
    """The name of a limit; the text is the one of the column name."""

    REQUEST_DELAY = "request_delay"  # seconds between two requests
    SERIES_A_CALL = "series_a_call"
    CALLS_LEFT = "calls_left"  # in the month in which it was found


class Found(NamedTuple):
    """The value of a limit, and when it was found (aware UTC)."""

    value: float
    at: datetime


def api_limits(cursor: Any, account: str) -> dict[Limit, Found]:
    """The limits that are known of an account: see BaseSource.account."""
    rows = fetch(cursor, "SELECT name, value, found_at FROM api_limits WHERE account = %s", (account,))
    return {Limit(name): Found(value, at) for name, value, at in rows}


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
