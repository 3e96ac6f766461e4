"""The table api_limits: what runs have found out about the limits of an API."""

from datetime import datetime
from typing import Any, NamedTuple

from db.statements import fetch


class ApiLimit(NamedTuple):
    """One limit, and when it was found (aware UTC)."""

    value: float
    found_at: datetime


def api_limits(cursor: Any, source: str) -> dict[str, ApiLimit]:
    """The known limits of a source, by name."""
    rows = fetch(cursor, "SELECT name, value, found_at FROM api_limits WHERE source = %s", (source,))
    return {name: ApiLimit(value, found_at) for name, value, found_at in rows}


def set_api_limit(cursor: Any, source: str, name: str, value: float) -> None:
    """Enter a limit that was found now, in place of what was known."""
    cursor.execute(
        """
        INSERT INTO api_limits (source, name, value, found_at) VALUES (%s, %s, %s, now())
        ON CONFLICT (source, name) DO UPDATE SET value = EXCLUDED.value, found_at = EXCLUDED.found_at
        """,
        (source, name, value),
    )
