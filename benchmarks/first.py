"""The first backfill of a real user and nights that confirm all of it, beside the sum of their limits.

The limits are calls × delay, and a plain COPY of all points. One more backfill is sampled for profile.png.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.commands import METRICS, Usage, environment, run, write_config
from benchmarks.load import copy, make_points
from benchmarks.rows import Row, Setting, seconds
from benchmarks.servers import Server, server
from sources import SOURCES
from tests.fake_api import FakeApi

SHORT = {"artemis": 12, "defillama": 36}  # assets
LONG = {"artemis": 287, "defillama": 361}
FLOWS = {"artemis": METRICS["artemis"], "defillama": "TVL FEES REVENUE DEX_VOLUME"}
RUNS = (  # title, verb, and the restatement of the fake, which changes one day in a hundred
    ("backfill", "backfill", 0),
    ("night that confirms all", "settle", 0),
    ("night after a restatement", "settle", 1),
)
COPIED = 200_000  # points
TOP = 14  # functions in the picture


def measure(setting: Setting) -> Iterator[Row]:
    """Each source, then the profile."""
    points = make_points(COPIED)
    with server() as made:
        rate = COPIED / seconds(lambda: copy(made.dsn, points))
    for source, assets in (LONG if setting.long else SHORT).items():
        series = assets * len(FLOWS[source].split())
        with server() as made:
            for title, verb, restated in RUNS:
                usage, calls = _run(made, source, assets, verb, restated)
                ((stored,),) = made.run("SELECT count(*) FROM metrics")
                limits = calls * SOURCES[source].REQUEST_DELAY + stored / rate
                what = f"{source} {title}: {series:,} series, {stored / 1e6:.2f} M points, {calls:,} calls"
                yield Row(what, usage.seconds, "s", "its limits", limits)
                yield Row(f"{what}: CPU", usage.cpu / stored * 1e6, "s a million points")
                yield Row(f"{what}: memory", usage.memory, "MB")
    _draw_profile(setting.out)


def _run(made: Server, source: str, assets: int, verb: str, restated: int, *sampled: str) -> tuple[Usage, int]:
    with tempfile.TemporaryDirectory() as folder:
        rows = [(f"asset-{place}", "protocol", FLOWS[source]) for place in range(assets)]
        config = write_config(Path(folder), source, rows)
        whole = ["--all"] if (source, verb) == ("artemis", "settle") else []
        with FakeApi(universe=(config,), restated=restated) as api:
            words = [*(sampled or ["main.py"]), verb, source, "--config", config, *whole]
            return run(words, environment(made.dsn, api)), len(api.requests)


def _draw_profile(out: Path) -> None:
    """Draw where the CPU of a backfill goes."""
    import matplotlib.pyplot as plt

    with server() as made, tempfile.TemporaryDirectory() as folder:
        found = Path(folder, "samples.json")
        usage, _ = _run(made, "artemis", SHORT["artemis"], "backfill", 0, "-m", "benchmarks.sampled", str(found))
        samples: dict[str, float] = json.loads(found.read_text(encoding="utf-8"))
    top = sorted(samples.items(), key=lambda item: item[1])[-TOP:]
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    axes.barh([name for name, _ in top], [amount for _, amount in top])
    axes.set_xlabel("seconds of CPU, with what the function calls outside the project")
    axes.set_title(f"Backfill of {SHORT['artemis']} Artemis assets × 25 metrics: {usage.cpu:.1f} s of CPU")
    figure.savefig(out / "profile.png", dpi=100)
    plt.close(figure)
