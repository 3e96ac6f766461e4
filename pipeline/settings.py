"""What the environment says, read once, at the edge; and the secrets in it, kept out of everything printed."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from dotenv import dotenv_values

from pipeline.errors import ConfigurationError

ROOT = Path(__file__).resolve().parent.parent
DATABASE_URL = "DATABASE_URL"
EMBEDDED_DIRECTORY = ROOT / ".data" / "postgres"
HIDDEN = "***"


class Settings:
    """The variables of the environment, completed by those of .env."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value.strip() for name, value in values.items()}

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, file: Path = ROOT / ".env") -> "Settings":
        """The settings of this process; raises ConfigurationError where .env can't be read."""
        try:
            written = {name: value for name, value in dotenv_values(file).items() if value is not None}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file}: can't be read: {error}") from error
        return cls({**written, **environment})

    def get(self, name: str) -> str:
        """The value of a variable, empty where it is not set."""
        return self._values.get(name, "")

    def key(self, name: str) -> str:
        """The value of a variable that holds an API key; raises ConfigurationError where it can't be one."""
        value = self.get(name)
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ConfigurationError(f"{name} holds a space or a character that no API key has: copy it again")
        return value

    def secrets(self) -> list[str]:
        """All that must never be printed, as it stands and as it stands in a URL; the longest first."""
        found = {value for name, value in self._values.items() if name.endswith("_API_KEY")}
        found |= _passwords(self.get(DATABASE_URL))
        return sorted(
            {form for value in found if value for form in (value, quote(value, safe=""))}, key=len, reverse=True
        )


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


def _passwords(url: str) -> set[str]:
    """The password in a database URL or in a string of key=value pairs."""
    if "://" not in url:
        return {word.removeprefix("password=").strip("'") for word in url.split() if word.startswith("password=")}
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return {url}
    return {password, unquote(password)}
