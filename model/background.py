"""Work in a thread of its own, so that the main thread hears signals whatever the work waits for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Work that has begun in a daemon thread: the process may end before the work does."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="work", daemon=True)
        self._thread.start()

    def ended(self, within: float | None = None) -> bool:
        """Whether the work ends within so many seconds; without a number, wait until it ends."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What the work returned; raises its error. Only for work that has ended."""
        if self._error:
            raise self._error
        return self._result[0]

    def _run(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as error:  # noqa: BLE001 (raised where the result is taken)
            self._error = error
