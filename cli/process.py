"""What a process needs around its work: the database, and an end on signals."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from typing import Any, TypeVar

from db.setup import Database, session_for
from model.background import in_background
from model.errors import DatabaseLost
from model.settings import DATABASE_URL, EMBEDDED_DIRECTORY, Settings

log = logging.getLogger(__name__)
T = TypeVar("T")

STOP_SECONDS = 4.0  # that work may take to end once it is told to


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The database of the settings; SIGTERM while it is opened ends the process as Ctrl-C does."""
    url = settings.get(DATABASE_URL)
    if not settings.has_database():
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


def ask_database(database: Database, purpose: str, question: Callable[[Any], T]) -> T:
    """The result of a question, which gets a cursor that only reads; a signal ends the wait for a slow database.

    Raises ConfigurationError if the role may not read, DatabaseLost if the database goes away.
    """

    def ask() -> T:
        with session_for(database, purpose, "read") as session, session, session.cursor() as cursor:
            return question(cursor)

    found = until_stopped(threading.Event(), ask)
    if found is None:
        raise DatabaseLost
    return found


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
    future = in_background(work)
    while not wait([future], 0.5).done and not stop.is_set():
        pass  # not for ever: a signal is heard between two waits at the latest
    if not wait([future], STOP_SECONDS).done:
        log.warning("not all has ended within %.0f s: what was not committed is left undone", STOP_SECONDS)
        return None
    return future.result()
