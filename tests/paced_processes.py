"""Processes that share the pace of a source, and a lock that another process holds."""

import fcntl
import itertools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sources.pace import Pace
from tests.commands import ROOT

DELAY = 0.08
SLACK = 1e-9  # seconds, of adding floats
SOON = 20.0  # seconds, far more than any wait of these tests takes
PREAMBLE = """
import signal, sys, threading, time
from contextlib import contextmanager
from pathlib import Path
from sources.pace import Pace
from sources.host_pace import NextStart
file, delay, more = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
"""


@contextmanager
def process(program: str, file: Path, delay: float = DELAY, more: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """Start a program that shares the file, and wait until it is ready; killed in the end if it still runs."""
    words = [sys.executable, "-c", PREAMBLE + program, str(file), str(delay), str(more)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, encoding="utf-8") as found:  # noqa: S603 - our own
        try:
            assert found.stdout is not None
            assert found.stdout.readline() == "ready\n"
            yield found
        finally:
            found.kill()


def closer_than(delay: float, starts: Iterable[float]) -> list[float]:
    """The distances between two starts that are shorter than the delay; `starts` are seconds of the host's clock."""
    distances = [later - sooner for sooner, later in itertools.pairwise(sorted(starts))]
    return [distance for distance in distances if distance < delay - SLACK]


def soon(pace: Pace, number: int = 1) -> float:
    """The last of so many next starts; fails if they do not come."""
    pool = ThreadPoolExecutor(1)
    try:
        return [pool.submit(pace.wait) for _ in range(number)][-1].result(SOON)
    finally:
        pool.shutdown(wait=False)


@contextmanager
def held(file: Path) -> Iterator[int]:
    """Hold the lock, as a suspended process would."""
    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
