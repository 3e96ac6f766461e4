"""Measures a pull of 361 DefiLlama assets from the fake API with latency, beside the time that its pace allows.

python -m benchmarks.pull [LATENCY_SECONDS]
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from db.embedded import EmbeddedServer
from model.settings import ROOT
from sources.defillama import DefiLlama
from sources.defillama_metrics import SERVED
from tests.fake_api import FakeApi

PROTOCOLS, CHAINS = 258, 103
SPECIFIED_SLACK = 2.0  # seconds; the specified bound is 1.1 × calls × delay, plus this


def main() -> None:
    """Pull twice, the second time without changed values; print seconds and their share of the specified bound."""
    latency = float(sys.argv[1]) if len(sys.argv) > 1 else 0.3
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "config.csv")
        config.write_text("\n".join(rows()) + "\n", encoding="utf-8")
        server = EmbeddedServer(Path(directory, "postgres"))
        with FakeApi(latency=latency, universe=(config,)) as api:
            environment = os.environ | api.environment() | {"DATABASE_URL": server.dsn, "DEFILLAMA_API_KEY": "key"}
            for name in ("first pull", "unchanged"):
                before, began = len(api.requests), time.monotonic()
                subprocess.run(  # noqa: S603 (our own command)
                    [sys.executable, "main.py", "pull", "defillama", "--config", config],
                    cwd=ROOT, env=environment, check=True,
                )  # fmt: skip
                seconds, calls = time.monotonic() - began, len(api.requests) - before
                bound = 1.1 * calls * DefiLlama.REQUEST_DELAY + SPECIFIED_SLACK
                print(f"{name}: {calls} calls in {seconds:.1f} s, {seconds / bound:.0%} of the bound of {bound:.1f} s")
            print(f"at most {api.max_in_any_second()} requests started in any second")
        server.release()


def rows() -> Iterator[str]:
    """The rows of a config of made-up protocols and chains, each with every live metric that bulk answers have."""
    yield "asset,kind,metrics"
    for kind, number in (("protocol", PROTOCOLS), ("chain", CHAINS)):
        metrics = " ".join(served.metric for served in SERVED.values() if served.kind == kind and served.live)
        for place in range(number):
            yield f"{kind}-{place},{kind},{metrics}"


if __name__ == "__main__":
    main()
