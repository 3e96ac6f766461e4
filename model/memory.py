"""What a long-running process does so that freed memory goes back to the system."""

import ctypes
import os
import sys


def use_plain_malloc() -> None:
    """Start this very command anew on the C library's allocator, unless it runs on it already.

    Python's own keeps what a run has freed: after its first backfill an idle scheduler held 120 MB in place of 50.
    """
    wanted = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "2"}
    if not wanted.keys() <= os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, {**wanted, **os.environ})  # noqa: S606 - the same command


def give_memory_back() -> None:
    """Return to the system what has been freed, where the C library can: glibc keeps it while all is idle."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
