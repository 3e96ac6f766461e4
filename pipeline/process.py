"""What a process needs around its work: the database, an end on signals, a log."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from pipeline.settings import DATABASE_URL, EMBEDDED_DIRECTORY, Settings

if TYPE_CHECKING:
    from db.setup import Database

log = logging.getLogger(__name__)


def has_database(settings: Settings) -> bool:
    """Whether there is a database already, as far as can be told without opening it."""
    return bool(settings.get(DATABASE_URL)) or EMBEDDED_DIRECTORY.exists()


@contextmanager
def open_database(settings: Settings) -> Iterator["Database"]:
    """The database of the settings; SIGTERM while it is opened ends the process as Ctrl-C does."""
    from db.setup import Database

    url = settings.get(DATABASE_URL)
    if not has_database(settings):
        log.info("DATABASE_URL is not set: making an embedded PostgreSQL, which takes some seconds")
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the server is let go of
    try:
        database = Database(url, EMBEDDED_DIRECTORY)
        try:
            log.info("database: %s", database)
            yield database
        finally:
            database.close()
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first SIGINT or SIGTERM sets; the second one ends the process at once."""
    stop = threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_signal(number: int, frame: object) -> None:
        del frame
        stop.set()
        for each in previous:
            signal.signal(each, signal.SIG_DFL)
        told = f"\n{signal.Signals(number).name}: storing what has been fetched; a second one ends at once\n"
        os.write(2, told.encode())  # not logged: the signal may have come in the middle of a log line

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever sys.stderr is now, so that lines go above a progress bar."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """The base class sets it; it is looked up anew each time."""


def log_to_stderr(formatter: logging.Formatter) -> None:
    """Send the log to standard error, its times in UTC."""
    formatter.converter = time.gmtime
    formatter.default_msec_format = ""
    handler = _StderrHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings repeat what the client reports, with URLs
