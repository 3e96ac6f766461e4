"""Commands that are killed, stopped, made twice at once, or short of what a process needs."""

import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

from tests.faults.trial import Fault, Trial
from tests.waiting import until

LATEST = 2.0  # seconds after the begin of a run at which something happens to it
DONE_OR_FAILED = frozenset({0, 1})


def process_faults(seed: int) -> list[Fault]:
    """What happens to a process, at a moment that the seed chooses."""
    moment = moment_of(seed)

    def signalled(*numbers: signal.Signals) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            process = begun(trial, moment)
            for number in numbers:
                with suppress(ProcessLookupError):
                    process.send_signal(number)
                time.sleep(0.5 if len(numbers) > 1 else 0)
            return trial.end(process)

        return run

    def stopped(number: signal.Signals) -> frozenset[int]:
        """A run that was over, that was stopped, or that had not begun; or a process that was still being started."""
        return frozenset({0, 1, 128 + number, -number})

    short = frozenset({0, 1, 2})
    return [
        Fault("process", "KILL", signalled(signal.SIGKILL), frozenset({0, -signal.SIGKILL})),
        Fault("process", "TERM", signalled(signal.SIGTERM), stopped(signal.SIGTERM)),
        Fault("process", "HUP", signalled(signal.SIGHUP), stopped(signal.SIGHUP)),
        Fault("process", "INT", signalled(signal.SIGINT), stopped(signal.SIGINT)),
        Fault("process", "STOP, then CONT", signalled(signal.SIGSTOP, signal.SIGCONT), DONE_OR_FAILED),
        Fault("process", "two at once", _twice, frozenset({0, 1, 3})),
        Fault("process", "few descriptors", _limited(resource.RLIMIT_NOFILE, 24), short),
        Fault("process", "no file larger than 1 KB", _limited(resource.RLIMIT_FSIZE, 1024), short),
    ]


def moment_of(seed: int) -> float:
    """How many seconds after the begin of a run something happens to it."""
    return Random(seed).uniform(0.2, LATEST)  # noqa: S311 (of a test)


def begun(trial: Trial, moment: float) -> subprocess.Popen[bytes]:
    """The command, some seconds after its run has begun."""
    process = trial.start()
    until(lambda: trial.rows("SELECT 1 FROM pulls"))
    time.sleep(moment)
    return process


def _twice(trial: Trial) -> int:
    first, second = trial.start(), trial.start()
    return max(trial.end(first), trial.end(second))


def _limited(limit: int, value: int) -> Callable[[Trial], int]:
    def run(trial: Trial) -> int:
        usual = resource.getrlimit(limit)
        resource.setrlimit(limit, (value, usual[1]))
        try:
            process = trial.start()
        finally:
            resource.setrlimit(limit, usual)
        return trial.end(process)

    return run
