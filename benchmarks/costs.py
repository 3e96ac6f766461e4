"""What the project costs while nothing happens: start-up of commands, an idle scheduler, bytes on disk, and ids."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.commands import environment, run, write_config
from benchmarks.load import make_points
from benchmarks.rows import Row, Setting
from benchmarks.servers import VACUUM, Server, server
from db.store import Store
from model.settings import HOME, ROOT
from model.values import DataPoint, Verb
from tests.fake_api import FakeApi

COMMANDS = (
    "--help", "sources", "status", "gaps defillama", "revisions defillama", "latest TVL", "query aave TVL --format csv",
    "vintages aave TVL", "pull defillama --dry-run", "backfill defillama --dry-run", "settle defillama --dry-run",
    "pull defillama", "report --out {}/report.html", "export --out {}/exported", "backup {}/metrics.dump", "setup",
)  # fmt: skip
ROWS = {"defillama": [("aave", "protocol", "TVL")], "artemis": [("sol", "", "PRICE")]}
POINTS, DAYS = 500_000, 2_000  # on disk
SIZES = """
SELECT relname, pg_relation_size(oid) FROM pg_class
WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace
"""
SERIES, YEARS, LAST_ID = 200_000, 10, 2**31 - 1  # every asset of both providers


def measure(setting: Setting) -> Iterator[Row]:
    """Each cost in turn."""
    with tempfile.TemporaryDirectory() as home, server() as made:
        for source, rows in ROWS.items():
            write_config(Path(home), source, rows)
        with FakeApi() as api:
            env = environment(made.dsn, api) | {HOME: home}
            yield from _starts(setting, home, env)
            yield _idle(made, env, 300 if setting.long else 60)
    yield from _disk()
    yearly = SERIES * 365
    what = f"years until the int4 id ends: {SERIES:,} series, after {YEARS} years of history"
    yield Row(what, (LAST_ID - yearly * YEARS) / yearly, "years")


def _starts(setting: Setting, home: str, env: dict[str, str]) -> Iterator[Row]:
    run(["main.py", "backfill", "defillama"], env)
    bare = median(run(["-c", "pass"], env).seconds for _ in range(setting.rounds))
    for command in COMMANDS:
        rounds = 1 if "--out" in command or "backup" in command else setting.rounds  # they write a file once
        words = ["main.py", *command.format(home).split()]
        taken = median(run(words, env, fine=(0, 1, 3)).seconds for _ in range(rounds))
        yield Row(f"main.py {command.format('DIR')}", taken, "s", "python -c pass", bare)


def _idle(made: Server, env: dict[str, str], watched: float) -> Row:
    """CPU of a scheduler that has made its first runs."""
    words = [sys.executable, str(ROOT / "scheduler.py")]
    with subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as scheduler:  # noqa: S603
        try:
            made_before = -1
            while (now := made.run("SELECT count(*) FROM pulls")[0][0]) != made_before:  # no run has begun meanwhile
                made_before = now
                time.sleep(10)
            before = _cpu(scheduler.pid)
            time.sleep(watched)
            used = _cpu(scheduler.pid) - before
        finally:
            scheduler.terminate()
    return Row("an idle scheduler", used / watched * 3600, "s of CPU an hour")


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process so far; Linux only."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _disk() -> Iterator[Row]:
    """Bytes a point of each table and index, after loads of whole series, and after a load for each day."""
    points = make_points(POINTS)
    for title, batches in (
        ("backfilled", [points]),
        ("pulled day by day", [points[day::DAYS] for day in range(DAYS)]),
    ):
        with server() as made:
            _store(made, batches)
            made.run(VACUUM)
            sizes = dict(made.run(SIZES))
        own = {name: size for name, size in sizes.items() if name.startswith(("metrics", "idx_metrics"))}
        for name, size in sorted(own.items(), key=lambda item: -item[1]):
            yield Row(f"on disk, {title}: {name}", size / POINTS, "bytes a point")
        yield Row(
            f"on disk, {title}: everything else", (sum(sizes.values()) - sum(own.values())) / POINTS, "bytes a point"
        )
        yield Row(f"on disk, {title}: in all", sum(sizes.values()) / POINTS, "bytes a point", "time and value", 16)


def _store(made: Server, batches: list[list[DataPoint]]) -> None:
    with closing(Store(made.database, "defillama", Verb.BACKFILL)) as store:
        for batch in batches:
            store.load(batch)
