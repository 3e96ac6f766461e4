"""Times and lengths of time as text for a person."""

from datetime import datetime, timedelta


def moment(at: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}Z" if at else "never"


def span(length: timedelta) -> str:
    """A length of time in the unit that suits it."""
    seconds = max(length.total_seconds(), 0.0)
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} days"
