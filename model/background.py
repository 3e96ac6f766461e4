"""Threads: how they are started, and work that is done in one."""

import logging
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from model.errors import PipelineError

log = logging.getLogger(__name__)
T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Start work in a thread of its own, so that the main thread handles signals while the work waits."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised where the result is taken)
            future.set_exception(error)

    start(threading.Thread(target=run, name="work", daemon=True))
    return future


def start(thread: threading.Thread) -> None:
    """Start a thread. Raises MemoryError where the system has no memory for one, or allows no more of them."""
    try:
        thread.start()
    except RuntimeError as error:
        raise MemoryError(str(error)) from error


class Repeated:
    """Work that is repeated in the background, while its caller never waits for it.

    A repetition begins at the earliest `seconds` after the one before, and once that has ended. An error is logged
    once, and again only after an error of another kind or a repetition that went well.
    """

    def __init__(self, name: str, work: Callable[[], object], seconds: float) -> None:
        self._name, self._work, self._seconds = name, work, seconds
        self._thread = threading.Thread()
        self._began = -math.inf
        self._failure: type[Exception] | None = None  # of the last repetition

    def __call__(self) -> None:
        """Begin the work, if it is time for it; returns at once."""
        now = time.monotonic()
        if now - self._began < self._seconds or self._thread.is_alive():
            return
        self._began = now
        self._thread = threading.Thread(target=self._repeat, name=self._name, daemon=True)
        try:
            start(self._thread)
        except MemoryError as error:
            self._log_failure(error)

    def wait(self, seconds: float) -> None:
        """Wait for the end of the work under way, at most so many seconds."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _repeat(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 (a bug, too, must not end the repetitions; it is logged)
            self._log_failure(error)
        else:
            if self._failure:
                log.info("%s: works again", self._name)
            self._failure = None

    def _log_failure(self, error: Exception) -> None:
        if type(error) is not self._failure:
            if isinstance(error, PipelineError | MemoryError):
                log.warning("%s: %s: trying again every %.0f s", self._name, error, self._seconds)
            else:
                log.error("%s: this is a bug: report it with the lines below", self._name, exc_info=error)
        self._failure = type(error)
