"""Hides secrets by value, wherever they stand: in log lines, tracebacks, and values that are about to become JSON."""

import logging
from collections.abc import Callable
from typing import Any

HIDDEN = "***"


class Scrubber(logging.Formatter):
    """A log format that hides secrets by value, wherever they stand, in tracebacks too."""

    def __init__(self, secrets: list[str], pattern: str = "%(message)s") -> None:
        super().__init__(pattern)
        self._secrets = secrets

    def scrub(self, text: str) -> str:
        """The text with every secret hidden."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def format(self, record: logging.LogRecord) -> str:
        """The scrubbed line or lines of a record."""
        return self.scrub(super().format(record))


def scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    """The same value with every text in it scrubbed, before it is wrapped, escaped or spelled as JSON."""
    if type(value) is str:  # members of enumerations are our own words
        return scrub(value)
    if isinstance(value, dict):
        return {name: scrubbed(each, scrub) for name, each in value.items()}
    if isinstance(value, list):
        return [scrubbed(each, scrub) for each in value]
    if isinstance(value, tuple):
        parts = (scrubbed(each, scrub) for each in value)
        return value._make(parts) if hasattr(value, "_make") else tuple(parts)
    return value
