"""Measures how much memory a backfill of two million points takes, as a process of its own with the fake API.

python -m benchmarks.memory [defillama|artemis]
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from db.embedded import EmbeddedServer
from model.settings import ROOT
from tests.fake_api import FakeApi

POINTS = 2_000_000
UNITS_IN_A_MB = 1024 if sys.platform == "linux" else 1024**2  # of ru_maxrss: KB on Linux, bytes on macOS
LIMIT_MB = 200
METRICS = {
    "artemis": "PRICE MC FDMC FEES REVENUE DAU TXNS TVL CHAIN_SPOT_VOLUME STABLECOIN_SUPPLY",
    "defillama": "TVL FEES REVENUE DEX_VOLUME",
}


def main() -> None:
    """Backfill enough series; print the highest memory use of the process beside the limit."""
    for source in sys.argv[1:] or list(METRICS):
        with tempfile.TemporaryDirectory() as directory:
            config = Path(directory, "config.csv")
            config.write_text("\n".join(rows(source)) + "\n", encoding="utf-8")
            server = EmbeddedServer(Path(directory, "postgres"))
            with FakeApi(universe=(config,)) as api:
                environment = os.environ | api.environment() | {"DATABASE_URL": server.dsn}
                began = time.monotonic()
                backfill = subprocess.Popen(  # noqa: S603 (our own command)
                    [sys.executable, "main.py", "backfill", source, "--config", config], cwd=ROOT, env=environment
                )
                _, status, usage = os.wait4(backfill.pid, 0)
                seconds = time.monotonic() - began
            server.release()
        held = usage.ru_maxrss / UNITS_IN_A_MB
        print(f"{source}: {held:.0f} MB at most, {held / LIMIT_MB:.0%} of {LIMIT_MB} MB, in {seconds:.0f} s; {status=}")
    print(f"this process itself: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_IN_A_MB:.0f} MB")


def rows(source: str) -> Iterator[str]:
    """The rows of a config whose series have about POINTS points in total."""
    metrics = METRICS[source]
    days = 5 * 365 if source == "artemis" else 2_300
    kind = "" if source == "artemis" else "protocol"
    yield "asset,metrics" + (",kind" if kind else "")
    for place in range(round(POINTS / days / len(metrics.split()) * 1.06)):
        yield f"asset-{place},{metrics}" + (f",{kind}" if kind else "")


if __name__ == "__main__":
    main()
