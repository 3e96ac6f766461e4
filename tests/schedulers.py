"""A real scheduler as a process, on a copy of the repository with small configs: what the tests of it share.

As a program (`python -m tests.schedulers RUNS …`): the scheduler's lanes without a pause, and what they hold after so
many runs.
"""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self

import psycopg2

from cli.jobs import job_of
from db.database import Database
from db.embedded import EmbeddedServer
from db.heartbeat import Heartbeat
from db.lock import PLACES, SCHEDULER, SessionLock
from db.setup import ensure_schema
from model.schedule import Schedule, daily
from model.settings import Settings
from model.values import Verb
from pipeline.due import ScheduledRun
from pipeline.plan import Job
from pipeline.run import Show, run
from pipeline.scheduler import Scheduler
from pipeline.summary import Summary
from pipeline.systemd import Notify
from sources import SOURCES
from sources.host_pace import NextStart
from sources.pace import Pace
from tests.commands import (
    Rows,
    Table,
    artemis_backfill,
    artemis_pull,
    copy_tree,
    defillama_backfill,
    defillama_pull,
    differences,
    stored,
    today,
)
from tests.fake_api import FakeApi
from tests.waiting import until

DEFILLAMA = "asset,kind,metrics,id\naave-v3,protocol,FEES FEES_24H TVL,\nweth,coin,PRICE,coingecko:weth\n"
ARTEMIS = "asset,metrics\nsol,PRICE FEES\n"
SHORT_CHECK = "pipeline.scheduler.CHECK_SECONDS = 0.2"
SHORT_WAIT = "pipeline.due.FIRST_WAIT = timedelta(seconds=0.5)"
SHORT_REST = "pipeline.scheduler.REFUSED_SECONDS = 0.2"
PATCHED = """
import sys
from datetime import timedelta
import cli.process, cli.scheduler, pipeline.due, pipeline.scheduler, scheduler, sources.fetch
{changes}
sys.exit(scheduler.main())
"""
LINE = re.compile(r"(\S+ \S+)Z (?:INFO|WARNING) (\w+ (?:pull|backfill|settle)): (.*; \d+\.\d s.*)")
FIRST_RUNS = sorted(f"{name} {verb}" for name in SOURCES for verb in (Verb.PULL, Verb.BACKFILL))
STOP = 20  # seconds; a scheduler ends within five where the machine has time for it
OURS = "SELECT FROM pg_stat_activity WHERE application_name LIKE 'crypto-metrics %%' AND datname = current_database()"
TWICE = """
SELECT source_name, slot, count(*) FROM pulls WHERE kind = 'pull' AND status <> 'error'
GROUP BY source_name, slot HAVING count(*) > 1
"""
WATCH_THE_PLACE = f"""
CREATE TABLE unheld (said text);
CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = {PLACES}
                   AND objid = {zlib.crc32(SCHEDULER.encode()) & 0x7FFF_FFFF}) THEN
        INSERT INTO unheld VALUES (TG_TABLE_NAME || ' by ' || current_setting('application_name'));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER look AFTER INSERT OR UPDATE ON metrics FOR EACH STATEMENT EXECUTE FUNCTION look();
CREATE TRIGGER look AFTER INSERT OR UPDATE ON pulls FOR EACH STATEMENT EXECUTE FUNCTION look();
"""  # noqa: S608 - our own numbers


class Home(NamedTuple):
    """A copy of the repository with small configs."""

    root: Path

    @classmethod
    def make(cls, root: Path, defillama: str = DEFILLAMA, artemis: str = ARTEMIS) -> "Home":
        """A copy with these configs."""
        copy_tree(root)
        home = cls(root)
        home.configure("defillama", defillama)
        home.configure("artemis", artemis)
        return home

    def configure(self, source: str, config: str) -> None:
        """Write the config of a source."""
        (self.root / SOURCES[source].CONFIG).write_text(config)

    def api(self, **options: Any) -> FakeApi:
        """A fake API that knows the configs."""
        return FakeApi(universe=list(self.root.glob("*_config.csv")), shipped=False, **options)

    def truth(self, source: str) -> Table:
        """What a backfill and a pull leave of a source."""
        config, day = (self.root / SOURCES[source].CONFIG).read_text(), today()
        if source == "artemis":
            return artemis_backfill(config, day) | artemis_pull(config, day)
        return defillama_backfill(config, day) | defillama_pull(config, day)

    def lies(self, rows: Rows) -> list[str]:
        """Where the table is not the truth."""
        return [each for name in SOURCES for each in differences(stored(rows, name), self.truth(name))]


class Running:
    """A scheduler as a process; killed where it outlives the `with` block.

    `changes` are statements that make its waits shorter.
    """

    def __init__(self, home: Home, env: Mapping[str, str], line: str = "", *changes: str) -> None:
        self.out, self.err = (home.root / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
        program = ["-c", PATCHED.format(changes="\n".join(changes))] if changes else ["scheduler.py"]
        ours = {name: value for name, value in env.items() if name != "JOURNAL_STREAM" or value != os.environ.get(name)}
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(  # noqa: S603 - our own script
                [sys.executable, *program, *line.split()],
                cwd=home.root, env=ours, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def said(self, words: str = "") -> list[str]:
        """The whole lines on standard output that hold these words."""
        return [line for line in self.out.read_text().split("\n")[:-1] if words in line]

    def complained(self) -> str:
        """All of standard error."""
        return self.err.read_text()

    def runs(self) -> list[tuple[datetime, str, str]]:
        """Of each run that it has told of: when, which, and its figures."""
        found = [LINE.fullmatch(line) for line in self.said()]
        return [(datetime.fromisoformat(f"{each[1]}Z"), each[2], each[3]) for each in found if each is not None]

    def begun(self) -> Self:
        """The same, once it schedules."""
        until(lambda: self.said("scheduling: ") or self.process.poll() is not None)
        assert self.process.poll() is None, self.complained()
        return self

    def made(self, number: int = len(FIRST_RUNS)) -> Self:
        """The same, once it has told of so many runs."""
        until(lambda: len(self.runs()) >= number or self.process.poll() is not None)
        assert len(self.runs()) >= number, self.complained()
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(number)
        return self.process.wait(STOP)


class Server:
    """A database server of a test's own, which it may end and start again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = [EmbeddedServer(folder)]
        self.url = self._held[0].dsn

    def start(self) -> None:
        """Start it where it does not run."""
        self._held.append(EmbeddedServer(self._folder))

    def end(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT crashes it, SIGINT stops it in good order."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, how)
        until(lambda: not Path(f"/proc/{pid}").exists())

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query, on a session of its own."""
        with closing(psycopg2.connect(self.url)) as session, session, session.cursor() as cursor:
            cursor.execute(query, values or None)
            return [] if cursor.description is None else cursor.fetchall()

    def close(self) -> None:
        """Stop it."""
        for held in self._held:
            held.release()


@contextmanager
def service_manager(path: Path) -> Iterator[list[str]]:
    """What arrives at a NOTIFY_SOCKET at this path."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(path))

        def hear() -> None:
            while message := datagrams.recv(4096).decode():
                heard.append(message)

        thread = threading.Thread(target=hear)
        thread.start()
        yield heard
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"", str(path))
        thread.join()


def mend(api: FakeApi) -> None:
    """Let everything be answered from now on."""
    api.options = dataclasses.replace(api.options, broken={}, faults=0.0)


def wait_for_room(seconds: float = 25) -> None:
    """Where a slot or a day begins within so many seconds, wait until it has: none then falls into the test."""
    for schedule in {daily(0, 0), *(at for source in SOURCES.values() for at in source.SCHEDULES.values())}:
        now = datetime.now(UTC)
        left = (schedule.slot(now) + schedule.every - now).total_seconds()
        if left < seconds:
            time.sleep(left + 0.1)


class Lanes:
    """The parts of a scheduler, put together as its command does, in this process: for its settings, at full pace."""

    def __init__(self, period: timedelta, heartbeat: type[Heartbeat] = Heartbeat) -> None:
        settings = Settings(os.environ)
        self.made, self._counting = 0, threading.Lock()
        self.database = Database(settings.get("DATABASE_URL"), Path())
        ensure_schema(self.database)
        self.place = SessionLock(self.database, SCHEDULER)
        self.heartbeat = heartbeat(self.database, list(SOURCES), fresh=False)
        stop = threading.Event()
        at = Schedule(period, timedelta())
        pace = Pace(0.001, next_start=NextStart(Path(settings.get("PACE_DIRECTORY")) / "lanes"))

        def make(job: Job, show: Show) -> Summary:
            summary = run(job, self.database, stop, str, pace, check_place=self.place.take, show=show)
            with self._counting:
                self.made += 1
            return summary

        self.scheduler = Scheduler(
            [ScheduledRun(name, verb, at) for name in SOURCES for verb in (Verb.PULL, Verb.BACKFILL)],
            self.heartbeat, stop, Notify({}), str, check_place=self.place.take,
            make_job=lambda scheduled: job_of(scheduled.source, scheduled.verb, settings), run=make,
        )  # fmt: skip

    def look(self) -> None:
        """One look at what is due."""
        self.scheduler._check()

    def rest(self) -> None:
        """Wait until no run is under way."""
        until(lambda: not self.scheduler._lanes)

    def close(self) -> None:
        """End all."""
        self.rest()
        self.heartbeat.close()
        self.place.close()


def held() -> dict[str, int]:
    """What this process holds: kilobytes of memory, descriptors, threads."""
    status = Path("/proc/self/status").read_text()
    resident = int(re.findall(r"VmRSS:\s+(\d+)", status)[0])
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    return {"kilobytes": resident, "descriptors": descriptors, "threads": threading.active_count()}


def main(marks: list[int]) -> None:
    """Make runs without a pause; at each of these numbers of runs print what is held, as JSON."""
    with closing(Lanes(timedelta(milliseconds=1))) as lanes:
        for mark in marks:
            while lanes.made < mark:
                lanes.look()
                time.sleep(0.005)
            lanes.rest()
            until(lambda: threading.active_count() == 1)  # the thread of the last run still has to end
            print(json.dumps({"runs": lanes.made, **held()}), flush=True)  # noqa: T201 - the result of this program


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]])
