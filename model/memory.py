"""Return freed memory of a long-running process to the system."""

import ctypes
import os
import sys


def use_plain_malloc() -> None:
    """Start this command again with the allocator of the C library, unless it is in use already.

    Python's own allocator keeps what a run has freed: after a backfill an idle scheduler held 120 MB instead of 50 MB.
    """
    wanted = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "2"}
    if not wanted.keys() <= os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, {**wanted, **os.environ})  # noqa: S606 - the same command


def give_memory_back() -> None:
    """Return freed memory to the system, if the C library can; glibc would keep it while the process is idle."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
