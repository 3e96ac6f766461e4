"""One read-only session for all questions, and the names of what is stored and configured."""

import logging
import os
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from db.coverage import StoredSeries, stored_series
from db.database import Database
from db.reader import Reader
from db.setup import has_tables, need_schema
from model.errors import ConfigurationError
from model.settings import DATABASE_URL, EMBEDDED_DIRECTORY, EMBEDDED_PORT, MAIN, ROOT, Settings
from query.series_names import Names
from sources import SOURCES
from sources.config import Asset, valid_rows

log = logging.getLogger(__name__)


class QuerySession:
    """Opens a reader at the first query and keeps it; opens another after a fork or a new DATABASE_URL. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._reader: Reader | None = None
        self._opened_for: tuple[str, int] | None = None

    def reader(self) -> Reader:
        """The reader; raises ConfigurationError if there is no database or it has no tables. It creates no database."""
        settings = Settings.read()
        wanted = settings.get(DATABASE_URL), os.getpid()
        with self._turn:
            if self._reader is None or self._opened_for != wanted:
                if self._reader and self._opened_for and self._opened_for[1] == wanted[1]:
                    self._reader.close()  # a fork must not close the session of its parent
                self._reader, self._opened_for = _open(settings), wanted
            return self._reader

    def names(self) -> Names:
        """The names of what is stored and configured."""
        settings = Settings.read()
        keyless = [name for name, source in SOURCES.items() if not settings.get(source.KEY_VARIABLE)]
        return Names(self.stored, configs(), keyless)

    def stored(self, source: str | None = None, *assets_and_metrics: Sequence[str] | None) -> list[StoredSeries]:
        """The series ever requested, of a source, of assets and metrics if given: see db.coverage.stored_series."""
        sources = None if source is None else [source]
        return self.reader().do(lambda cursor: stored_series(cursor, sources, *assets_and_metrics))


SESSION = QuerySession()  # of all calls of query_data


def configs() -> dict[str, list[Asset]]:
    """The valid rows of each source's config file, as it is now; wrong rows are logged once."""
    found = {}
    for name, source in SOURCES.items():
        file = ROOT / source.CONFIG
        stat = file.stat() if file.exists() else None
        found[name] = _config(name, file, stat and (stat.st_mtime_ns, stat.st_size))
    return found


@lru_cache(maxsize=2 * len(SOURCES))
def _config(name: str, file: Path, version: tuple[int, int] | None) -> list[Asset]:
    del version  # only a key of the cache: a file that has changed is read again
    rows, errors = valid_rows(file, SOURCES[name])
    for error in errors:
        log.warning("%s", error)
    return rows


def fill_command(settings: Settings, source: str | None = None) -> str:
    """The command that fills the tables from a source, or from all sources for which the keys are set."""
    if source:
        return f"{MAIN} backfill {source}"
    names = [name for name, source in SOURCES.items() if not source.missing_key(settings.get(source.KEY_VARIABLE))]
    return f"{MAIN} backfill {'all' if len(names) == len(SOURCES) else ' or '.join(names)}"


def _open(settings: Settings) -> Reader:
    if not settings.has_database():
        raise ConfigurationError(f"nothing is stored yet: {fill_command(settings)}")
    reader = Reader(Database(settings.get(DATABASE_URL), EMBEDDED_DIRECTORY, settings.port(EMBEDDED_PORT)))
    try:
        if not reader.do(has_tables):
            raise ConfigurationError(f"nothing is stored yet: {fill_command(settings)}")
        reader.do(need_schema)
    except BaseException:
        reader.close()
        raise
    return reader
