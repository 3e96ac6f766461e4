"""Commands that are killed, stopped, made twice at once, or short of what a process needs; and databases that fail."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from random import Random

import psycopg2

from tests.faults.trial import Fault, Trial
from tests.waiting import until

LATEST = 2.0  # seconds after the begin of a run at which something happens to it
SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crypto-metrics %%'"
DONE_OR_FAILED = frozenset({0, 1})


def process_faults(seed: int) -> list[Fault]:
    """What happens to a process, at a moment that the seed chooses."""
    moment = Random(seed).uniform(0.2, LATEST)  # noqa: S311 (of a test)

    def signalled(*numbers: signal.Signals) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            process = _begun(trial, moment)
            for number in numbers:
                with suppress(ProcessLookupError):
                    process.send_signal(number)
                time.sleep(0.5 if len(numbers) > 1 else 0)
            return trial.end(process)

        return run

    def twice(trial: Trial) -> int:
        first, second = trial.start(), trial.start()
        return max(trial.end(first), trial.end(second))

    def limited(limit: int, value: int) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            usual = resource.getrlimit(limit)
            resource.setrlimit(limit, (value, usual[1]))
            try:
                process = trial.start()
            finally:
                resource.setrlimit(limit, usual)
            return trial.end(process)

        return run

    stopped = frozenset({0, 1, -signal.SIGTERM, -signal.SIGHUP, -signal.SIGINT, 130})
    return [
        Fault("process", "KILL", signalled(signal.SIGKILL), frozenset({0, -signal.SIGKILL})),
        Fault("process", "TERM", signalled(signal.SIGTERM), stopped),
        Fault("process", "HUP", signalled(signal.SIGHUP), stopped),
        Fault("process", "INT", signalled(signal.SIGINT), stopped),
        Fault("process", "STOP, then CONT", signalled(signal.SIGSTOP, signal.SIGCONT), DONE_OR_FAILED),
        Fault("process", "two at once", twice, frozenset({0, 1, 3})),
        Fault("process", "few descriptors", limited(resource.RLIMIT_NOFILE, 24), frozenset({0, 1, 2})),
        Fault("process", "no file larger than 1 KB", limited(resource.RLIMIT_FSIZE, 1024), frozenset({0, 1, 2})),
    ]


def database_faults(seed: int) -> list[Fault]:
    """What happens to the database while a command uses it, at a moment that the seed chooses."""
    moment = Random(seed).uniform(0.2, LATEST)  # noqa: S311 (of a test)

    def during(happen: Callable[[Trial, ExitStack], object]) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            process = _begun(trial, moment)
            with ExitStack() as undone:
                happen(trial, undone)
                time.sleep(1.0)
            until(lambda: _answers(trial))
            return trial.end(process)

        return run

    def set_for_all(*settings: str) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            [(name,)] = trial.rows("SELECT current_database()")
            for setting in settings:
                trial.rows(f"ALTER DATABASE {name} SET {setting}")
            code = trial.end(trial.start())
            trial.rows(f"BEGIN READ WRITE; ALTER DATABASE {name} RESET ALL; COMMIT")
            return code

        return run

    hostile = ("statement_timeout = '30ms'", "lock_timeout = '30ms'", "datestyle = 'SQL, DMY'",
               "extra_float_digits = -15", "timezone = 'Asia/Tokyo'")  # fmt: skip
    return [
        Fault("database", "sessions terminated", during(_terminate), DONE_OR_FAILED),
        Fault("database", "crash and recovery", during(_crash), DONE_OR_FAILED),
        Fault("database", "table locked for a second", during(_lock), DONE_OR_FAILED),
        Fault("database", "too many clients", during(_fill), frozenset({0, 1, 2})),
        Fault("database", "read-only", set_for_all("default_transaction_read_only = on"), frozenset({2})),
        Fault("database", "hostile settings", set_for_all(*hostile), frozenset({0})),
    ]


def mixed_faults(seed: int) -> list[Fault]:
    """All of these, for an API of which some answers fail as well."""
    faults = (*process_faults(seed), *database_faults(seed))
    return [replace(fault, family="mixed", codes=fault.codes | {1}) for fault in faults]


def _begun(trial: Trial, moment: float) -> subprocess.Popen[bytes]:
    """The command, some seconds after its run has begun."""
    process = trial.start()
    until(lambda: trial.rows("SELECT 1 FROM pulls"))
    time.sleep(moment)
    return process


def _terminate(trial: Trial, _: ExitStack) -> None:
    trial.rows(f"SELECT pg_terminate_backend(pid) {SESSIONS}")


def _crash(trial: Trial, _: ExitStack) -> None:
    for (pid,) in trial.rows(f"SELECT pid {SESSIONS} LIMIT 1"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # the server then ends all sessions, and recovers


def _lock(trial: Trial, undone: ExitStack) -> None:
    session = undone.enter_context(closing(psycopg2.connect(trial.url)))
    session.cursor().execute("SET statement_timeout = '5s'; LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")


def _fill(trial: Trial, undone: ExitStack) -> None:
    with suppress(psycopg2.OperationalError):
        for _ in range(200):
            undone.enter_context(closing(psycopg2.connect(trial.url)))


def _answers(trial: Trial) -> bool:
    try:
        return bool(trial.rows("SELECT 1"))
    except psycopg2.OperationalError:
        return False
