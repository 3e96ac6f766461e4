"""Run a command against the fake APIs, or serve them until interrupted."""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import FrameType

from db.embedded import EmbeddedServer
from model.errors import ConfigurationError
from model.settings import DATABASE_URL, ROOT
from tests.fake_api.faults import FAULT_KINDS, RETRY_AFTER, Options
from tests.fake_api.server import FakeApi

NOON = time(12, 34, 56, tzinfo=UTC)  # the moment of a --today
FAKE_DATABASE = ROOT / ".data" / "fake"
EXAMPLE = "example: python -m tests.fake_api --latency 0.02 --rate-limit 1000 main.py pull artemis"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m tests.fake_api", description=__doc__, epilog=EXAMPLE)
    _add_serving(made.add_argument_group("what is served"))
    _add_trouble(made.add_argument_group("what goes wrong"))
    script = "what to run against the fake; a word in .py is run by this Python"
    made.add_argument("command", nargs=argparse.REMAINDER, help=script)
    return made


def _add_serving(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--port", type=int, default=0, help="default: a free one")
    add("--today", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the APIs' day (default: the real one)")
    add("--restated", type=int, default=0, metavar="N", help="the N-th restatement of history")
    add(
        "--universe",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="config to list; repeatable",
    )
    add("--artemis-key", type=words, metavar="A,B", help="accepted keys (default: any)")
    add("--defillama-key", type=words, metavar="A,B", help="accepted keys (default: any)")
    add("--log", type=Path, metavar="FILE", help="write the requests here as JSON at the end")


def _add_trouble(group: argparse._ArgumentGroup) -> None:
    add, kinds = group.add_argument, ", ".join(FAULT_KINDS)
    add("--latency", type=float, default=0.0, help="seconds before each answer")
    add("--rate-limit", type=int, metavar="N", help="requests per window; beyond it 429")
    add("--rate-window", type=float, default=60.0, help="seconds (default 60)")
    add("--retry-after", choices=RETRY_AFTER, default="seconds", help="form of the 429's header")
    add("--faults", type=float, default=0.0, metavar="SHARE", help="share of requests that fail, 0 to 1")
    add("--fault-kinds", type=words, default=FAULT_KINDS, metavar="A,B", help=f"of {kinds}; or any status")
    add("--seed", type=int, default=0, help="another seed, other requests that fail")
    add("--hang", type=float, default=30.0, help="seconds until a hanging request is dropped")
    add(
        "--broken",
        action="append",
        default=[],
        metavar="REGEX=KIND",
        help="such paths always fail; repeatable",
    )
    add("--bad-symbols", type=words, default=(), metavar="A,B", help="Artemis symbols whose batch answers 500")
    most = "Artemis answers 500 to a call for more, symbols × metrics (default 100)"
    add("--most-series", type=int, default=100, metavar="N", help=most)
    add("--credits-left", type=int, default=1_000_000, metavar="N", help="calls that a key of DefiLlama has left")
    add("--key-status", type=int, choices=(401, 403), default=401, help="DefiLlama's answer to another key")


def words(text: str) -> tuple[str, ...]:
    """A comma list."""
    return tuple(word for word in text.split(",") if word)


def options(given: argparse.Namespace) -> Options:
    """The command line as options; raises ValueError with what is wrong."""
    known = {field.name for field in dataclasses.fields(Options)}
    taken = {name: chosen for name, chosen in vars(given).items() if name in known}
    broken = dict(rule.rpartition("=")[::2] for rule in given.broken)
    made = Options(**taken | {"broken": broken, "universe": tuple(given.universe)})
    if given.today is None:
        return made
    fixed = datetime.combine(given.today, NOON)
    return dataclasses.replace(made, now=lambda: fixed)


def run(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command, hand it SIGINT and SIGTERM; its exit code, or 128 + n for signal n, as shells say."""
    line = [sys.executable, *command] if command[0].endswith(".py") else list(command)
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if not children:
            early.append(number)
        elif number == signal.SIGTERM or not _terminal_signals_us():
            children[0].send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    children.append(subprocess.Popen(line, env=os.environ | environment))  # noqa: S603 - the caller's own words
    for missed in early:
        children[0].send_signal(missed)
    code = children[0].wait()
    return code if code >= 0 else 128 - code


def _terminal_signals_us() -> bool:
    """Whether a Ctrl-C of the terminal reaches the whole group, so that the child has had it already."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


@contextmanager
def database() -> Iterator[dict[str, str]]:
    """A database of the fake's own where the environment names none, so that no made-up value meets a real one."""
    if os.environ.get(DATABASE_URL):
        yield {}
        return
    server = EmbeddedServer(FAKE_DATABASE)
    try:
        yield {DATABASE_URL: server.dsn}
    finally:
        server.release()


def serve() -> int:
    """Wait for SIGINT or SIGTERM."""
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    over.wait()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Serve while the command runs and return its exit code."""
    made = parser()
    given = made.parse_args(argv)
    try:
        api = FakeApi(options(given))
    except (ValueError, OSError) as refused:
        made.error(str(refused))
    with api:
        sys.stderr.write(f"fake APIs on {api.url}: every value is made up\n")
        command = given.command[1:] if given.command[:1] == ["--"] else given.command
        try:
            if command:
                with database() as own:
                    return run(command, api.environment() | own)
            sys.stdout.writelines(f"export {name}={value}\n" for name, value in api.environment().items())
            sys.stdout.flush()
            return serve()
        except FileNotFoundError as absent:
            sys.stderr.write(f"{absent.filename}: no such command\n")
            return 127
        except ConfigurationError as error:  # of the database of the fake's own
            sys.stderr.write(f"error: {error}\n")
            return error.exit_code
        finally:
            if given.log:
                given.log.write_text(json.dumps([dataclasses.asdict(request) for request in api.requests]))


if __name__ == "__main__":
    sys.exit(main())
