"""How a process opens the database, and how it ends on a signal."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import closing, contextmanager
from typing import Any, TypeVar

from cli.ending_signals import ending_signals
from db.database import Database
from db.session import session_for
from model.background import in_background
from model.settings import DATABASE_URL, EMBEDDED_DIRECTORY, EMBEDDED_PORT, Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

SIGNAL_SECONDS = 0.5  # of one wait for background work: Python handles a signal between two of them
SHUTDOWN_SECONDS = 4.0  # that background work may take to end after a stop


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of the settings; an embedded one is created where none exists."""
    if not settings.has_database():
        log.info("DATABASE_URL is not set: creating an embedded PostgreSQL, which takes some seconds")
    url, port = settings.get(DATABASE_URL), settings.port(EMBEDDED_PORT)
    with closing(Database(url, EMBEDDED_DIRECTORY, port)) as database:
        log.info("database: %s", database)
        yield database


def read_database(database: Database, purpose: str, question: Callable[[Any], T]) -> T:
    """Call `question` with a read-only cursor and return its result; a signal ends the wait for a slow database.

    Raises ConfigurationError if the role may not read, DatabaseLost if the database goes away.
    """

    def read() -> T:
        with session_for(database, purpose, "read") as session, session, session.cursor() as cursor:
            return question(cursor)

    running = in_background(read)
    while not wait([running], SIGNAL_SECONDS).done:
        pass
    return running.result()


@contextmanager
def stop_on_signals(as_line: Callable[[str], str] = "\n{}".format) -> Iterator[threading.Event]:
    """An event that the first SIGINT, SIGTERM or SIGHUP sets; the second one ends the process at once.

    `as_line` formats the message for standard error; by default it is a line of its own below a progress bar.
    """
    stop = threading.Event()
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, *ending_signals())}

    def on_signal(number: int, frame: object) -> None:
        stop.set()
        for each in previous:
            signal.signal(each, signal.SIG_DFL)
        name = signal.Signals(number).name
        line = as_line(f"{name}: storing what has been fetched; a second signal ends the process at once")
        os.write(2, f"{line}\n".encode())  # not logged: the signal may interrupt the writing of a log line

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def until_stopped(stop: threading.Event, work: Callable[[], T]) -> T | None:
    """Do work in a background thread; returns its result or raises its error. None if the work outlasts the stop.

    The main thread thus handles signals even while the work waits for a server that does not answer.
    """
    running = in_background(work)
    while not stop.is_set() and not wait([running], SIGNAL_SECONDS).done:
        pass
    if not wait([running], SHUTDOWN_SECONDS).done:
        log.warning("gave up waiting for running work after %.0f s: uncommitted rows are lost", SHUTDOWN_SECONDS)
        return None
    return running.result()
