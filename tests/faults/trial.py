"""One trial: a command under a fault, a plain command after it, and what the table then holds."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import psycopg2

from db.database import Database
from db.embedded import EmbeddedServer
from db.setup import ensure_schema
from tests.commands import ROOT, Table

LONGEST = 120.0  # seconds of one command
MOST_MEGABYTES = 600
KEY = "a-secret/key+of=ours"
NUMBERS = count(1)
PATCHED = """
import sys
from runpy import run_path
import sources.http
sources.http.LONGEST_ANSWER, sources.http.READ_TIMEOUT, sources.http.CONNECT_TIMEOUT = 2.0, 2.0, 2.0
sys.argv = sys.argv[1:]
run_path(sys.argv[0], run_name="__main__")
"""


@dataclass
class Trial:
    """A fresh database, and the commands on it."""

    url: str
    folder: Path
    truth: Table
    environment: Mapping[str, str]
    line: str
    code: int | None = None  # of the command under the fault
    seconds: float = 0.0
    megabytes: int = 0
    said: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the command; its output goes to a file."""
        usual = {"DATABASE_URL": self.url, "PACE_DIRECTORY": str(self.folder / "pace"), **self.environment}
        env = {**os.environ, **usual, **environment}
        with (self.folder / "said").open("ab") as out:
            process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, "-c", PATCHED, *self.line.split()],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a command, and keep the largest of its figures; one that does not end is killed, and counts."""
        began = time.monotonic()
        while (done := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > LONGEST:
                process.kill()
            time.sleep(0.02)
        _, status, used = done
        process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = max(self.seconds, time.monotonic() - began)
        self.megabytes = max(self.megabytes, used.ru_maxrss // 1024)
        return process.returncode

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """All rows of a query, in a session of its own."""
        with closing(psycopg2.connect(self.url)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else []


@dataclass(frozen=True)
class Fault:
    """Something that is broken while `run` makes the command of a trial, and the exit codes that may follow."""

    family: str
    name: str
    run: Callable[[Trial], int]
    codes: frozenset[int] = frozenset({1})

    def mixed(self) -> "Fault":
        """The same, while some answers of the API fail as well."""
        return replace(self, family="mixed", codes=self.codes | {1})


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    fault: str
    seed: int
    expected: int  # rows
    lost: int
    doubled: int
    wrong: int
    code: int
    seconds: float
    megabytes: int
    faults: tuple[str, ...]  # what was not as it must be

    def __str__(self) -> str:
        return (
            f"{self.fault:44} {self.seed:4} {self.expected:6,} {self.lost:4} {self.doubled:4} {self.wrong:5} "
            f"{self.code:4} {self.seconds:6.1f} {self.megabytes:4}  {'; '.join(self.faults) or 'ok'}"
        )


HEADER = f"{'fault':44} {'seed':>4} {'rows':>6} {'lost':>4} {'dbl':>4} {'wrong':>5} {'exit':>4} {'s':>6} {'MB':>4}"


def judge(fault: Fault, trial: Trial, seed: int) -> Result:
    """Make the command under the fault, then a plain one on another day, and compare the table with the truth."""
    code = fault.run(trial)
    seconds, megabytes, before = trial.seconds, trial.megabytes, stored(trial)
    trial.rows("UPDATE refused SET last_on = last_on - 1")  # the plain command runs on the next day
    plain = trial.end(trial.start())
    after, said = stored(trial), (trial.folder / "said").read_text(errors="replace")
    wrong = sum(trial.truth.get(key) != value for table in (before, after) for key, value in table.items())
    lost = len(trial.truth.keys() - after.keys())
    [(doubled,)] = trial.rows("SELECT count(*) - count(DISTINCT (source, asset, metric_name, pulled_at)) FROM metrics")
    [(open_runs,)] = trial.rows("SELECT count(*) FROM pulls WHERE finished_at IS NULL AND failure IS NULL")
    [(texts,)] = trial.rows("SELECT coalesce(string_agg(failure, ' '), '') FROM pulls")
    checks = {
        f"exit {code}": code not in fault.codes,
        f"the plain command ended with {plain}": plain != 0,
        "rows are lost": lost > 0,
        "rows are doubled": doubled > 0,
        "rows are wrong": wrong > 0,
        "it took too long": seconds >= LONGEST,
        "it took too much memory": megabytes > MOST_MEGABYTES,
        "the key was shown": KEY in said + texts,
        "a traceback was shown": "Traceback" in said,
        "a run has neither end nor reason": open_runs > 0,
    }
    failed = tuple(text for text, true in checks.items() if true)
    name = f"{fault.family}: {fault.name}"
    return Result(name, seed, len(trial.truth), lost, doubled, wrong, code, seconds, megabytes, failed)


def stored(trial: Trial) -> Table:
    """The whole table."""
    found = trial.rows("SELECT asset, metric_name, pulled_at, value FROM metrics")
    return {(asset, metric, at): value for asset, metric, at, value in found}


@contextmanager
def trial_on(
    server: EmbeddedServer, truth: Mapping[tuple[str, str, datetime], float], environment: Mapping[str, str], line: str
) -> Iterator[Trial]:
    """A trial on a fresh database of this server, which is dropped at the end: a crash syncs the files of all."""
    name = f"trial_{next(NUMBERS)}"
    with closing(psycopg2.connect(server.dsn)) as session:
        session.autocommit = True
        session.cursor().execute(f"CREATE DATABASE {name} TEMPLATE template0")
    url = server.dsn.replace("dbname=metrics", f"dbname={name}")
    ensure_schema(Database(url, server.directory))
    with tempfile.TemporaryDirectory() as folder:
        yield Trial(url, Path(folder), dict(truth), environment, line)
    with closing(psycopg2.connect(server.dsn)) as session:
        session.autocommit = True
        session.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
