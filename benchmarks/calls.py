"""Runs against calls × delay: what a pull and a backfill take beyond the pace of the API, and how their CPU grows."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.commands import METRICS, Usage, environment, run, write_config
from benchmarks.rows import Row, Setting
from benchmarks.servers import server
from sources import SOURCES
from sources.defillama_metrics import SERVED
from tests.fake_api import FakeApi

FEW, MANY = 500, 5_000  # protocols
PLANNED = {"artemis": 2_000, "defillama": 5_000}  # assets, whose run must be planned in PLANNING seconds
PLANNING = 2.0
PACED = 500  # calls, from which on the goal holds
PEER_ASSETS, PEER_LATENCY = 50, 0.3
SHORT = ((0.05, 50), (0.3, 50), (1.0, 50), (0.3, 361))
LONG = tuple((latency, assets) for latency in (0.05, 0.3, 1.0) for assets in (50, 361, 5_000))
Rows = Sequence[tuple[str, str, str]]  # of a config: asset, kind, metrics
LIVE = " ".join(served.metric for served in SERVED.values() if served.kind == "protocol" and served.live)
OF_CHAINS = " ".join(served.metric for served in SERVED.values() if served.kind == "chain" and served.live)


class Made(NamedTuple):
    """What a run took, how many calls it made, and the most of them in any second."""

    usage: Usage
    calls: int
    busiest: int


def measure(setting: Setting) -> Iterator[Row]:
    """Pulls and backfills of DefiLlama at several latencies, peers, and CPU at two sizes."""
    delay = SOURCES["defillama"].REQUEST_DELAY
    busiest = 0
    for latency, assets in LONG if setting.long else SHORT:
        chains = min(assets * 103 // 361, 300)
        pulled = [(f"chain-{place}", "chain", OF_CHAINS) for place in range(chains)]
        pulled += [(f"protocol-{place}", "protocol", LIVE) for place in range(assets - chains)]
        filled = protocols(assets, "TVL" if assets > 361 else "TVL FEES")
        for verb, rows in (("pull", pulled), ("backfill", filled)):
            rounds = 3 if setting.long and assets <= 361 else 1
            made = [run_once("defillama", rows, verb, latency=latency) for _ in range(rounds)]
            seconds, calls = median(each.usage.seconds for each in made), made[0].calls
            busiest = max(busiest, *(each.busiest for each in made))
            what = f"{verb} of {assets:,} assets at {latency * 1000:,.0f} ms: {calls:,} calls"
            goal = 1.03 if calls > PACED else None
            yield Row(what, seconds, "s", "calls × delay", calls * delay, at_most=goal)
    yield Row("most calls of these runs in any second", busiest, "calls", "the pace", 1 / delay)
    yield from beside_peers(setting, delay)
    yield from growth()


def beside_peers(setting: Setting, delay: float) -> Iterator[Row]:
    """One history for each of some protocols, into the same PostgreSQL."""
    rows = protocols(PEER_ASSETS, "TVL")
    what, slugs = f"TVL of {PEER_ASSETS} protocols at {PEER_LATENCY * 1000:.0f} ms", [row[0] for row in rows]
    ours = run_once("defillama", rows, "backfill", latency=PEER_LATENCY).usage.seconds
    for peer, way, more in (
        ("a loop with requests", "requests_loop", {"delay": delay}),
        ("dlt rest_api, which keeps no pace", "dlt_rest_api", {}),
    ):
        with server() as made, FakeApi(latency=PEER_LATENCY) as api:
            spec = {"url": made.url, "api": f"{api.url}/llama", "slugs": slugs, **more}
            yield Row(what, ours, "s", peer, setting.peers.seconds(way, **spec))


def growth() -> Iterator[Row]:
    """CPU of a pull at two sizes, and of the planning of large runs."""
    metrics = METRICS["defillama"]
    few, many = (run_once("defillama", protocols(count, metrics), "pull").usage.cpu / count for count in (FEW, MANY))
    what = f"pull: CPU a protocol, {MANY:,} of them with {len(metrics.split())} metrics"
    yield Row(what, many * 1000, "ms", f"{FEW} of them", few * 1000, at_most=1.0)
    for source, assets in PLANNED.items():
        rows = protocols(assets, METRICS[source])
        series = assets * len(METRICS[source].split())
        for verb in ("pull", "backfill", "settle"):
            cpu = run_once(source, rows, verb, "--dry-run").usage.cpu
            yield Row(f"{source} {verb} of {series:,} series: plan", cpu, "s of CPU", "goal", PLANNING, at_most=1.0)


def protocols(count: int, metrics: str) -> Rows:
    """The rows of a config."""
    return [(f"protocol-{place}", "protocol", metrics) for place in range(count)]


def run_once(source: str, rows: Rows, *words: str, latency: float = 0.0) -> Made:
    """Make a run with a new database."""
    with tempfile.TemporaryDirectory() as folder, server() as made:
        config = write_config(Path(folder), source, rows)
        with FakeApi(latency=latency, universe=(config,)) as api:
            verb, *options = words
            line: list[str | Path] = ["main.py", verb, source, "--config", config, *options]
            return Made(run(line, environment(made.dsn, api)), len(api.requests), api.max_in_any_second())
