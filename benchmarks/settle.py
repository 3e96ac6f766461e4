"""Measures a nightly settle of 1,444 DefiLlama series, and the weekly one of Artemis, beside the time of their pace.

python -m benchmarks.settle [defillama|artemis]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg2

from db.embedded import EmbeddedServer
from model.settings import ROOT
from sources import SOURCES
from tests.fake_api import FakeApi

UNITS_IN_A_MB = 1024 if sys.platform == "linux" else 1024**2  # of ru_maxrss: KB on Linux, bytes on macOS
WRITTEN = "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = %s"
RESTATED = 1  # a fake API that restates one day in a hundred


class Case(NamedTuple):
    """The series of a source, and the options of the settle that compares all of their days."""

    assets: int
    metrics: str
    kind: str
    options: tuple[str, ...]


CASES = {
    "defillama": Case(361, "TVL FEES REVENUE DEX_VOLUME", "protocol", ()),
    "artemis": Case(466, "PRICE MC FDMC FEES REVENUE DAU TXNS TVL CHAIN_SPOT_VOLUME STABLECOIN_SUPPLY", "", ("--all",)),
}


def main() -> None:
    """Backfill; settle twice unchanged, and once after a restatement."""
    for name in sys.argv[1:] or list(CASES):
        case = CASES[name]
        with tempfile.TemporaryDirectory() as directory:
            config = Path(directory, "config.csv")
            config.write_text("\n".join(_rows(case)) + "\n", encoding="utf-8")
            server = EmbeddedServer(Path(directory, "postgres"))
            for title, verb, restated in (
                ("backfill", "backfill", 0),
                ("settle, unchanged", "settle", 0),
                ("settle, unchanged", "settle", 0),
                ("settle, restated", "settle", RESTATED),
            ):
                words = [verb, name, "--config", str(config), *(case.options if verb == "settle" else ())]
                _run(title, name, words, server.dsn, config, restated)
            server.release()


def _run(title: str, name: str, words: list[str], dsn: str, config: Path, restated: int) -> None:
    """Run a command; print its calls, seconds, memory, and the rows of metrics that it has written."""
    before, began = _written(dsn), time.monotonic()
    with FakeApi(universe=(config,), restated=restated) as api:
        environment = os.environ | api.environment() | {"DATABASE_URL": dsn, "DEFILLAMA_API_KEY": "key"}
        run = subprocess.Popen([sys.executable, "main.py", *words], cwd=ROOT, env=environment)  # noqa: S603 (our own)
        _, status, usage = os.wait4(run.pid, 0)
        seconds, calls = time.monotonic() - began, len(api.requests)
    bound = calls * SOURCES[name].REQUEST_DELAY
    print(
        f"{name} {title}: {calls:,} calls in {seconds:.0f} s, {seconds / bound:.1f} × their pace; "
        f"{usage.ru_utime + usage.ru_stime:.0f} s of CPU, {usage.ru_maxrss / UNITS_IN_A_MB:.0f} MB; "
        f"{_written(dsn) - before:,} rows of metrics written; {status=}",
        flush=True,
    )


def _written(dsn: str) -> int:
    """How many rows of metrics were written so far."""
    with closing(psycopg2.connect(dsn)) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(WRITTEN, ["metrics"])
        return sum(number for (number,) in cursor)


def _rows(case: Case) -> Iterator[str]:
    """The rows of the config."""
    yield "asset,metrics" + (",kind" if case.kind else "")
    for place in range(case.assets):
        yield f"asset-{place},{case.metrics}" + (f",{case.kind}" if case.kind else "")


if __name__ == "__main__":
    main()
