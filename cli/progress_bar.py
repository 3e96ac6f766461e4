"""The progress of a run: a bar on a terminal, or else a log line now and then."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.run import Update

log = logging.getLogger(__name__)

LINE_EVERY = 30.0  # seconds between two log lines


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Update]:
    """A function that shows the progress; it takes the numbers of ended calls, of all calls and of received points."""
    if not sys.stderr.isatty():
        logged = time.monotonic()

        def log_now_and_then(done: int, total: int, points: int) -> None:
            nonlocal logged
            if time.monotonic() - logged >= LINE_EVERY:
                logged = time.monotonic()
                log.info("%s: %d of %d calls, %s points", title, done, total, f"{points:,}")

        yield log_now_and_then
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)

        def show(done: int, total: int, points: int) -> None:
            bar.update(task, completed=done, total=total, description=f"{title} {points:,} points")

        yield show
