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
from cli.logs import PERSON, JsonLines, formatter_for, json_line, log_to, secrets_of
from model.errors import PipelineError
from model.scrub import Scrubber
from model.settings import Settings, make_home

log = logging.getLogger(__name__)

ONLY_ANSWERS = (
    "cli.query:query",
    "cli.query:latest",
    "cli.revisions:show_revisions",
    "cli.sources:show_sources",
    "cli.vintages:show_vintages",
)
INTERRUPTED = 128  # plus the number of the signal, as shells count
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # why a write to standard output fails


def main(argv: Sequence[str] | None = None, parser: ArgumentParser | None = None) -> int:
    """Run one command; returns its exit code, of which docs/commands.md has the table.

    Without a `parser` of its own, a script has that of main.py.
    """
    parsed = (parser or arguments.parser()).parse_args(argv)
    _open_closed_streams()
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # so that any text can be printed, as on standard error
    formatter = formatter_for(parsed)
    scrubber = formatter([], PERSON)
    log_to("stderr", scrubber)
    try:
        make_home()
        settings = Settings.read()
        scrubber = formatter(secrets_of(settings), PERSON)
        log_to("stderr", scrubber)
        command = resolve_name(parsed.command)
        # These signals act as Ctrl-C does: temporary files are removed, and an embedded server is released. The handler
        # is set after the imports, which can lose the exception that it raises; until then there is nothing to tidy up.
        for number in ending_signals():
            signal.signal(number, _interrupt)
        exit_code: int = command(parsed, settings, scrubber.scrub)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        _discard_output()
        return 0 if parsed.command in ONLY_ANSWERS and not getattr(parsed, "plot", None) else 1
    except PipelineError as error:
        _report(scrubber, str(error))
        return error.exit_code
    except KeyboardInterrupt as error:
        _report(scrubber, "interrupted", prefix="")
        return INTERRUPTED + int(error.args[0] if error.args else signal.SIGINT)
    except MemoryError as error:
        _report(scrubber, f"there is too little memory: {error}".removesuffix(": "))
        return 1
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None and error.errno in UNWRITABLE:
            _discard_output()
            _report(scrubber, f"standard output can't be written: {error.strerror}")
        else:
            log.exception("this is a bug: report it with the lines below")
        return 1
    return exit_code


def _interrupt(number: int, _frame: object) -> None:
    raise KeyboardInterrupt(number)


def _open_closed_streams() -> None:
    """Put the null device in the place of each standard stream that the caller has closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - as long as we live


def _report(scrubber: Scrubber, text: str, prefix: str = "error: ") -> None:
    """Print a line on standard error, as a JSON object if the log consists of them."""
    line = scrubber.scrub(text)
    print(json_line("ERROR", line) if isinstance(scrubber, JsonLines) else f"{prefix}{line}", file=sys.stderr)


def _discard_output() -> None:
    """Send buffered output to the null device, so that Python's flush at exit does not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
