"""How far a run is: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

log = logging.getLogger(__name__)

LINE_EVERY = 30.0  # seconds between two lines where there is no terminal


class Progress:
    """Shows how many of a run's calls have ended."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._told = time.monotonic()
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(title, total=total)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, total: int, points: int) -> None:
        """Show where the run is; `total` may have grown."""
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, description=f"{self._title} {points:,} points")
        elif time.monotonic() - self._told >= LINE_EVERY:
            self._told = time.monotonic()
            log.info("%s: %d of %d calls, %s points", self._title, done, total, f"{points:,}")
