"""Threads: how they are started, and work that is done in one."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

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
