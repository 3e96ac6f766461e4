"""Work in a thread of its own, so that the main one hears signals whatever the work waits for."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Aside(Generic[T]):
    """Some work that has begun; a process does not wait for it at its end."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._ended: list[T | BaseException] = []
        self._work = work
        self._thread = threading.Thread(target=self._keep, name="work", daemon=True)
        self._thread.start()

    def ended(self, within: float | None = None) -> bool:
        """Whether it ends within so many seconds; waits as long as it takes where None is given."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What it gave, or its error; once it has ended."""
        (found,) = self._ended
        if isinstance(found, BaseException):
            raise found
        return found

    def _keep(self) -> None:
        try:
            self._ended.append(self._work())
        except BaseException as error:  # noqa: BLE001 (raised where the result is taken)
            self._ended.append(error)
