"""Runs one command; an error becomes one line on standard error and an exit code."""

import errno
import logging
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from pkgutil import resolve_name

from cli import arguments
from cli.ending_signals import ending_signals
from cli.logs import PERSON, log_to, secrets_of
from model.errors import PipelineError
from model.scrub import Scrubber
from model.settings import Settings

log = logging.getLogger(__name__)

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # why a write to standard output fails


def main(argv: Sequence[str] | None = None, parser: ArgumentParser | None = None) -> int:
    """Run one command; returns its exit code: 0, 1 if something failed, 2 for a wrong configuration or usage.

    Without a `parser` of its own, a script has that of main.py.
    """
    parsed = (parser or arguments.parser()).parse_args(argv)
    if sys.stdout is None:  # the caller has closed it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process lives
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # so that any text can be printed, as on standard error
    scrubber = Scrubber([], PERSON)
    try:
        settings = Settings.read()
        scrubber = Scrubber(secrets_of(settings), PERSON)
        log_to("stderr", scrubber)
        command = resolve_name(parsed.command)
        # These signals act as Ctrl-C does: temporary files are removed, and an embedded server is released. The handler
        # is set after the imports, which can lose the exception that it raises; until then there is nothing to tidy up.
        for number in ending_signals():
            signal.signal(number, signal.default_int_handler)
        exit_code: int = command(parsed, settings, scrubber.scrub)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        _discard_output()
        return 1
    except PipelineError as error:
        print(scrubber.scrub(f"error: {error}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    except MemoryError as error:
        print(f"error: there is too little memory: {error}".removesuffix(": "), file=sys.stderr)
        return 1
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
            _discard_output()
            print(f"error: standard output can't be written: {error.strerror}", file=sys.stderr)
        else:
            log.exception("this is a bug: report it with the lines below")
        return 1
    return exit_code


def _discard_output() -> None:
    """Send buffered output to the null device, so that Python's flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
