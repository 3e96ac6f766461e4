"""Hides secrets by value, wherever they stand: in log lines, tracebacks, and values that are about to become JSON."""

import logging
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; hiding anything shorter would make every text unreadable


def spellings(secrets: Iterable[str]) -> list[str]:
    """Each secret as it stands in a text, in a URL and in the repr of an error; the longest first."""
    forms = {form for secret in secrets for form in (secret, quote(secret, safe=""), repr(secret)[1:-1])}
    return sorted((form for form in forms if len(form) >= SHORTEST_SECRET), key=len, reverse=True)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with every one of these spellings hidden."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


class Scrubber(logging.Formatter):
    """A log format that hides secrets, in tracebacks too."""

    def __init__(self, secrets: list[str], pattern: str = "%(message)s") -> None:
        super().__init__(pattern)
        self._secrets = secrets

    def scrub(self, text: str) -> str:
        """The text with every secret hidden."""
        return hide(text, self._secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The scrubbed line or lines of a record."""
        return self.scrub(super().format(record))


def scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    """The same value with every text in it scrubbed, before it is wrapped, escaped or written as JSON."""
    if type(value) is str:  # not a member of an enumeration: that is our own text
        return scrub(value)
    if isinstance(value, dict):
        return {name: scrubbed(each, scrub) for name, each in value.items()}
    if isinstance(value, list):
        return [scrubbed(each, scrub) for each in value]
    if isinstance(value, tuple):
        parts = (scrubbed(each, scrub) for each in value)
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    return value
