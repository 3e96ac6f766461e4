"""What a process needs around its work: the database, an end on signals, a log."""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, TypeVar

from pipeline.aside import Aside
from pipeline.settings import DATABASE_URL, EMBEDDED_DIRECTORY, Settings

if TYPE_CHECKING:
    from db.setup import Database

log = logging.getLogger(__name__)
T = TypeVar("T")

STOP_SECONDS = 4.0  # that work may take to end once it is told to


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
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the work as Ctrl-C does, so that nothing half-made is left behind."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
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


def until_stopped(stop: threading.Event, work: Callable[[], T]) -> T | None:
    """What the work gives, or its error; None where it has not ended some seconds after the stop, and is left undone.

    It goes on in a thread of its own, so that a signal is heard whatever the work waits for.
    """
    aside = Aside(work)
    while not aside.ended(0.5) and not stop.is_set():
        pass  # not for ever: a signal is heard between two waits at the latest
    if not aside.ended(STOP_SECONDS):
        log.warning("not all has ended within %.0f s: what was not committed is left undone", STOP_SECONDS)
        return None
    return aside.result()


def use_plain_malloc() -> None:
    """Start this very command anew on the C library's allocator, unless it runs on it already.

    Python's own keeps what a run has freed: after its first backfill an idle scheduler held 120 MB in place of 50.
    """
    wanted = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "2"}
    if not wanted.keys() <= os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, {**wanted, **os.environ})  # noqa: S606 - the same command


def give_memory_back() -> None:
    """Return to the system what has been freed, where the C library can: glibc keeps it while all is idle."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to whatever the standard stream of that name is now, so that lines go above a progress bar."""

    def __init__(self, name: str) -> None:
        self._stream_name = name
        super().__init__()

    @property
    def stream(self) -> TextIO:
        stream: TextIO = getattr(sys, self._stream_name)
        return stream

    @stream.setter
    def stream(self, value: TextIO) -> None:
        """The base class sets it; it is looked up anew each time."""


def log_to(stream: str, formatter: logging.Formatter) -> None:
    """Send the log to the standard stream of that name, its times in UTC."""
    formatter.converter = time.gmtime
    formatter.default_msec_format = ""
    handler = _Handler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings repeat what the client reports, with URLs
