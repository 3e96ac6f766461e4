"""The machine under a command: disks that are full, and clocks that are wrong."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from tests.faults.http_faults import Server, answer, rows
from tests.faults.process_faults import DONE_OR_FAILED, begun, moment_of
from tests.faults.trial import Fault, Trial
from tests.pgbouncer import PGBOUNCER

PADDING = 6 * 2**20  # bytes; an answer of this size goes to a temporary file
LEFT = 200_000  # bytes that are left on the disk of the database
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)  # moves the clock of a process
RIGHT = "+0d"


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """The folder of a file system of its own, until the end of the block; raises CalledProcessError without a right."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", folder)
        subprocess.run(mount, check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - our own folder
        try:
            yield Path(folder)
        finally:
            unmount = ("umount", "--lazy", folder)
            subprocess.run(unmount, check=True)  # noqa: S603 - our own folder


@contextmanager
def moved_clock() -> Iterator[Path]:
    """A file with how far the clock is off, for the processes that are started in the block."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "clock")
        file.write_text(RIGHT)
        Path(folder).chmod(0o755)  # the server runs under an account of its own
        moved = {
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with patch.dict(os.environ, {"LD_PRELOAD": str(FAKETIME), **moved}):
            yield file


def impossible() -> dict[str, str]:
    """The families and faults that this machine can't have, and why."""
    missing = {}
    if PGBOUNCER is None:
        missing["pooler"] = "PgBouncer is not installed"
    if FAKETIME is None:
        missing["clock"] = "libfaketime is not installed"
    try:
        with small_disk(1):
            pass
    except (subprocess.CalledProcessError, FileNotFoundError):
        missing["disk"] = "only root may mount a file system"
    return missing


def disk_faults(server: Server) -> list[Fault]:
    """A disk that is full under a folder that a backfill writes to."""

    def without_pace_files(trial: Trial) -> int:
        with small_disk(1) as tiny:
            _fill(tiny)
            return trial.end(trial.start(PACE_DIRECTORY=str(tiny)))

    def without_temporary_files(trial: Trial) -> int:
        padded = json.loads(rows())
        padded[0]["note"] = "a" * PADDING
        server.pieces = lambda: answer(json.dumps(padded).encode())
        try:
            with small_disk(1) as tiny:
                return trial.end(trial.start(TMPDIR=str(tiny)))
        finally:
            server.pieces = None

    return [
        Fault("disk", "full under the pace files", without_pace_files, frozenset({0, 2})),
        Fault("disk", "full under temporary files", without_temporary_files),
    ]


def full_database(disk: Path) -> Fault:
    """A disk that becomes full under the database, which lies on it."""

    def run(trial: Trial) -> int:
        filler = _fill(disk, LEFT)
        try:
            return trial.end(trial.start())
        finally:
            filler.unlink()

    return Fault("disk", "full under the database", run)


def clock_faults(clock: Path, seed: int) -> list[Fault]:
    """A clock that is wrong during a whole run, or jumps within it, for the command and the database."""
    moment = moment_of(seed)

    def wrong(by: str) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            with _set(clock, by):
                return trial.end(trial.start())

        return run

    def jumping(by: str) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            process = begun(trial, moment)
            with _set(clock, by):
                return trial.end(process)

        return run

    moves = {"two days ahead": "+2d", "two days back": "-2d", "an hour back": "-1h"}
    whole = [Fault("clock", name, wrong(by), DONE_OR_FAILED) for name, by in moves.items()]
    return whole + [Fault("clock", f"{name}, in a run", jumping(by), DONE_OR_FAILED) for name, by in moves.items()]


@contextmanager
def _set(clock: Path, by: str) -> Iterator[None]:
    clock.write_text(by)
    try:
        yield
    finally:
        clock.write_text(RIGHT)
        time.sleep(1.1)  # the processes look once a second


def _fill(disk: Path, left: int = 0) -> Path:
    """Fill a file system but for so many bytes; returns the file that does it."""
    found, filler = os.statvfs(disk), disk / "filler"
    filler.write_bytes(bytes(max(found.f_bavail * found.f_frsize - left, 0)))
    return filler
