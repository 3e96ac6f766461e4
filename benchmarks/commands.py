"""Runs our commands as processes of their own against the fake APIs, and says what they took."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from model.settings import DATABASE_URL, ROOT
from tests.fake_api import FakeApi

METRICS = {  # of an asset
    "defillama": "TVL FEES FEES_24H REVENUE REVENUE_24H DEX_VOLUME DEX_VOLUME_24H",
    "artemis": (
        "PRICE MC FDMC FEES REVENUE DAU TXNS TVL CHAIN_SPOT_VOLUME STABLECOIN_SUPPLY 24H_VOLUME BURNS ACTIVE_REVENUE "
        "AGGREGATOR_VOLUME APPLICATION_FEES AUM AVG_TXN_FEE BLOB_FEES BRIDGE_VOLUME BUYBACKS CHAIN_DAU CHAIN_FEES "
        "CHAIN_TVL CHAIN_TXNS EARNINGS"
    ),
}
UNITS_IN_A_MB = 1024 if sys.platform == "linux" else 1024**2  # of ru_maxrss: KB on Linux, bytes on macOS
# Starts and measures a command. The kernel counts the memory of the process that starts another as the other's, too, so
# a large process must not start it itself.
HELPER = """
import os, sys, time
nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
began = time.perf_counter()
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=nowhere), 0)
taken = time.perf_counter() - began
print(taken, used.ru_utime + used.ru_stime, used.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


class Usage(NamedTuple):
    """What a process took."""

    seconds: float
    cpu: float  # seconds
    memory: float  # MB, at most


def environment(dsn: str, api: FakeApi | None = None) -> dict[str, str]:
    """The variables with which a command uses this database, and the fake APIs with both keys."""
    fake = api.environment() | {"DEFILLAMA_API_KEY": "key"} if api else {}
    return os.environ | fake | {DATABASE_URL: dsn}


def run(words: Sequence[str | Path], env: dict[str, str], fine: Sequence[int] = (0,)) -> Usage:
    """Run a script of ours to its end; raises RuntimeError with its messages if its exit code is none of `fine`."""
    helper = [sys.executable, "-S", "-c", HELPER, sys.executable, *map(str, words)]
    done = subprocess.run(helper, cwd=ROOT, env=env, capture_output=True, text=True, check=True)  # noqa: S603 - ours
    taken, cpu, memory, code = map(float, done.stdout.split())
    if code not in fine:
        raise RuntimeError(f"{' '.join(map(str, words))} failed:\n{done.stderr}")
    return Usage(taken, cpu, memory / UNITS_IN_A_MB)


def write_config(folder: Path, source: str, rows: Sequence[tuple[str, str, str]]) -> Path:
    """A config file with these rows of asset, kind and metrics; its name says to the fake whose it is."""
    file = folder / f"{source}_config.csv"
    lines = ["asset,kind,metrics" if source == "defillama" else "asset,metrics"]
    lines += [",".join(row if source == "defillama" else (row[0], row[2])) for row in rows]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
