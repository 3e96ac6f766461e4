"""How a line of the log looks: for a person, for the journal, for a machine."""

import json
import logging
from datetime import UTC, datetime

from pipeline.settings import Scrubber

PERSON = "%(asctime)sZ %(levelname)s %(message)s"
JOURNAL = "%(levelname)s %(message)s"  # which dates each line itself


class JsonLines(Scrubber):
    """One JSON object a line; with the figures of a run where the record has them as `run`."""

    def __init__(self, secrets: list[str], *, dated: bool) -> None:
        super().__init__(secrets)
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        """The scrubbed object of a record."""
        line: dict[str, object] = {}
        if self._dated:
            line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line |= {"level": record.levelname, "message": self.scrub(record.getMessage())}
        line |= {name: self._scrubbed(value) for name, value in getattr(record, "run", {}).items()}
        if record.exc_info:
            line["exception"] = self.scrub(self.formatException(record.exc_info))
        return json.dumps(line)

    def _scrubbed(self, value: object) -> object:
        if isinstance(value, list):
            return [self._scrubbed(each) for each in value]
        return self.scrub(value) if isinstance(value, str) else value
