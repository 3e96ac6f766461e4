"""The forms of a log line: for a person, for the journal, for a machine."""

import argparse
import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import TextIO

from model.scrub import Scrubber, scrubbed
from model.settings import Settings
from sources import SOURCES

PERSON = "%(asctime)sZ %(levelname)s %(message)s"
JOURNAL = "%(levelname)s %(message)s"  # the journal dates each line itself


class JsonLines(Scrubber):
    """One JSON object for each line, with a time where the pattern has one, and with the figures of a run (`run`)."""

    def format(self, record: logging.LogRecord) -> str:
        """The scrubbed object of a record."""
        line: dict[str, object] = {}
        if self.usesTime():
            line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line |= {"level": record.levelname, "message": self.scrub(record.getMessage())}
        line |= scrubbed(getattr(record, "run", {}), self.scrub)
        if record.exc_info:
            line["exception"] = self.scrub(self.formatException(record.exc_info))
        return json.dumps(line)


def formatter_for(arguments: argparse.Namespace) -> type[Scrubber]:
    """The form of the log lines of a command that may have the option --log-format."""
    return JsonLines if getattr(arguments, "log_format", "") == "json" else Scrubber


def json_line(level: str, message: str) -> str:
    """A JSON line for a text that does not go through the log."""
    return json.dumps({"level": level, "message": message})


def secrets_of(settings: Settings) -> list[str]:
    """All secrets of all sources and of the database, none of which may be printed."""
    return settings.secrets(source.KEY_VARIABLE for source in SOURCES.values())


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the current sys.stdout or sys.stderr: a progress bar replaces them to print above itself."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._stream_name = name

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of a record."""
        self.stream = getattr(sys, self._stream_name)
        super().emit(record)


def log_to(stream: str, formatter: logging.Formatter) -> None:
    """Send the log to the standard stream of this name (stdout, stderr), with times in UTC."""
    formatter.converter = time.gmtime
    formatter.default_msec_format = ""
    handler = _Handler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings show URLs; the client reports the same failures
