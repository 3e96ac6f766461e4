"""The moment from which the next request of a source may start, shared by all threads or all processes of this host."""

import fcntl
import logging
import math
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from sources.retry import LONGEST_PAUSE

log = logging.getLogger(__name__)

RECORD = struct.Struct("dd")  # when the record was written, and the moment; both on the host's monotonic clock
LOCK_TIMEOUT = 0.1  # seconds to wait for a lock that others hold for microseconds
LOCK_POLL = 0.001  # seconds between two attempts to take it


class NextStart:
    """The moment of the next start, shared by the threads of this process; with a file, by all processes of the host.

    The file holds one record, read and written under a flock. The kernel releases the lock of a process that dies, so a
    killed process wastes one start at most. Each use opens the file anew, which takes a few microseconds: no descriptor
    stays open, and a file that somebody has removed is created again. If the file can't be used, a warning is logged
    once, and the moment is shared within this process only.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.moment = -math.inf
        self._file = file
        self._warned = False
        if file is not None:
            with suppress(OSError):  # the first use logs it
                file.parent.mkdir(0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self, clock: Callable[[], float]) -> Iterator[float]:
        """Yield the current time; until the end of the block only the caller reads and sets `moment`."""
        if self._file is None:
            yield clock()
            return
        with ExitStack() as stack:
            try:
                descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                stack.callback(os.close, descriptor)
                locked = _lock(descriptor)
                now = clock()
                content = os.pread(descriptor, RECORD.size, 0)
            except OSError as error:
                self._warn(error)
                yield clock()
                return
            if len(content) == RECORD.size:
                written, moment = RECORD.unpack(content)
                if written <= now and moment - written <= LONGEST_PAUSE:  # otherwise it was written before a reboot
                    self.moment = max(self.moment, moment)
            yield now
            try:
                if locked:
                    os.pwrite(descriptor, RECORD.pack(now, self.moment), 0)
            except OSError as error:
                self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            log.warning("the pace is not shared with other processes: %s", error)
        self._warned = True


def _lock(descriptor: int) -> bool:
    """Take the lock; False after a timeout, since a process that was suspended with the lock must not stop others."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOCK_POLL)
        else:
            return True
