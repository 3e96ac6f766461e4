"""The database as those see it who ask: one read-only session, and the names of what is there."""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from db.coverage import StoredSeries, stored_series
from db.reader import Reader
from db.setup import Database, has_tables, need_schema
from model.errors import ConfigurationError
from model.settings import DATABASE_URL, EMBEDDED_DIRECTORY, ROOT, Settings
from model.values import Series
from query.names import Names, Wanted
from sources import SOURCES
from sources.config import Asset, valid_rows

log = logging.getLogger(__name__)
T = TypeVar("T")


class QuerySession:
    """Opened at the first question and kept; thread-safe. Another DATABASE_URL or a fork opens another one."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._reader: Reader | None = None
        self._opened_for: tuple[str, int] | None = None

    def reader(self) -> Reader:
        """The session; raises ConfigurationError where there is no database, or nothing in it. None is made."""
        settings = Settings.read()
        wanted = settings.get(DATABASE_URL), os.getpid()
        with self._turn:
            if self._reader is None or self._opened_for != wanted:
                if self._reader and self._opened_for and self._opened_for[1] == wanted[1]:
                    self._reader.close()  # but not that of the process we are a fork of
                self._reader, self._opened_for = _open(settings), wanted
            return self._reader

    def names(self) -> Names:
        """The names of what is stored and configured."""
        return Names(self.stored, configs())

    def stored(self, wanted: Wanted) -> list[StoredSeries]:
        """The series that were ever asked for, of a source, of assets of about these names, of these metrics."""
        sources = None if wanted.source is None else [wanted.source]
        return self.reader().do(lambda cursor: stored_series(cursor, sources, wanted.assets, wanted.metrics))

    def batches(self, series: Sequence[Series], points: int) -> Iterator[list[Series]]:
        """The same series in order, some together that have about so many points, each once at least."""
        metrics = tuple({each.metric for each in series})
        counts = {each.series: each.points for each in self.stored(Wanted(metrics=metrics))}
        yield from batched(series, lambda each: counts.get(each, 0), points)


def batched(items: Iterable[T], points: Callable[[T], int], most: int) -> Iterator[list[T]]:
    """The same items in order, so many together as have no more points, each once at least."""
    batch, held = list[T](), 0
    for item in items:
        size = points(item)
        if batch and held + size > most:
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
    if batch:
        yield batch


def configs() -> dict[str, list[Asset]]:
    """The right rows of each source's config file, as it is now; what is wrong with it is logged once."""
    found = {}
    for name, source in SOURCES.items():
        file = ROOT / source.CONFIG
        stat = file.stat() if file.exists() else None
        found[name] = _config(name, file, stat and (stat.st_mtime_ns, stat.st_size))
    return found


@lru_cache(maxsize=2 * len(SOURCES))
def _config(name: str, file: Path, version: tuple[int, int] | None) -> list[Asset]:
    del version  # a file that has changed is read again
    rows, errors = valid_rows(file, SOURCES[name])
    for error in errors:
        log.warning("%s", error)
    return rows


def fill(settings: Settings, source: str | None = None) -> str:
    """The command that fetches what there is of a source, or of all that can be asked with the keys that are set."""
    if source:
        return f"python main.py backfill {source}"
    names = [name for name, source in SOURCES.items() if settings.get(source.KEY_VARIABLE) or not source.KEY_REQUIRED]
    return f"python main.py backfill {'all' if len(names) == len(SOURCES) else ' or '.join(names)}"


def _open(settings: Settings) -> Reader:
    if not settings.has_database():
        raise ConfigurationError(f"nothing is stored yet: {fill(settings)}")
    reader = Reader(database := Database(settings.get(DATABASE_URL), EMBEDDED_DIRECTORY))
    try:
        if not reader.do(has_tables):
            raise ConfigurationError(f"nothing is stored yet: {fill(settings)}")
        need_schema(database)
    except BaseException:
        reader.close()
        raise
    return reader
