"""Whose turn it is to ask an API: the moment before which no request of a source starts."""

import logging
import math
import os
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from pathlib import Path

from sources.retry import LONGEST_PAUSE

if sys.platform != "win32":  # absent there, and the command line must still come up to say so
    import fcntl

log = logging.getLogger(__name__)

RECORD = struct.Struct("dd")  # when it was written, and the moment that was written, both on the host's monotonic clock
PATIENCE, GLANCE = 0.1, 0.001  # seconds for a lock that is held for microseconds, and between two tries


class Turn:
    """The moment of the next start, for the threads of this process that share it."""

    def __init__(self) -> None:
        self.moment = -math.inf

    @contextmanager
    def taken(self, clock: Callable[[], float]) -> Iterator[float]:
        """Within it, `moment` is for its holder alone to read and to set; gives the time since when it is."""
        yield clock()


class HostTurn(Turn):
    """The moment of the next start, for all processes of this host that name the same file.

    The file holds one record, read and written under a flock that the kernel drops with its process, so a killed one
    leaves at the most one start unused. It is opened anew each time, which costs some microseconds, and leaves no
    descriptor behind and nobody with a file that others have removed. Where it can't be used, that is said once, and
    the moment is this process's own.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._told = False
        with suppress(OSError):  # which the first use tells
            file.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def taken(self, clock: Callable[[], float]) -> Iterator[float]:
        """As of a turn of this process, and of no other one meanwhile."""
        with ExitStack() as leaving:
            try:
                record = leaving.enter_context(self._open())
                locked = _lock(record)
                now = clock()
                written, moment = _read(record)
            except OSError as error:
                self._tell(error)
                yield clock()
                return
            if written <= now and moment - written <= LONGEST_PAUSE:  # else it is of another boot
                self.moment = max(self.moment, moment)
            yield now
            try:
                if locked:
                    os.pwrite(record.fileno(), RECORD.pack(now, self.moment), 0)
            except OSError as error:
                self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            log.warning("the pace is not shared with other processes: %s", error)
        self._told = True

    def _open(self) -> FileIO:
        if sys.platform == "win32":
            raise OSError("this system has no flock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        return FileIO(os.open(self._file, flags, 0o666), "r+")


def _lock(record: FileIO) -> bool:
    """Take the lock; False where its holder has been stopped with it, which must stop nobody else."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(GLANCE)
        else:
            return True


def _read(record: FileIO) -> tuple[float, float]:
    """What stands in the file; a moment long past where that is no record."""
    held = os.pread(record.fileno(), RECORD.size, 0)
    return RECORD.unpack(held) if len(held) == RECORD.size else (-math.inf, -math.inf)
