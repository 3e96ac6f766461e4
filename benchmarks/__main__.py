"""Measure ours beside peers in one run: python -m benchmarks [PART …] [--long]."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import answers, calls, cluster, costs, first, load, parse, read
from benchmarks.peers import Peers
from benchmarks.rows import MISSED, SKIPPED, Row, Setting, table
from db.postgres_programs import program_directories, server_version
from model.files import atomic_write
from model.settings import ROOT

PARTS: dict[str, Callable[[Setting], Iterable[Row]]] = {
    "calls": calls.measure,
    "load": load.measure,
    "read": read.measure,
    "parse": parse.measure,
    "first": first.measure,
    "costs": costs.measure,
    "answers": answers.measure,
    "cluster": cluster.measure,
}
OUT = ROOT / ".data" / "benchmarks"
PEERS = Path.home() / ".cache" / "crypto-metrics-peers"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parts = "; ".join(f"{name}: {sys.modules[part.__module__].__doc__}" for name, part in PARTS.items())
    made = argparse.ArgumentParser("python -m benchmarks", description=__doc__, epilog=parts)
    made.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    made.add_argument("--long", action="store_true", help="all sizes: hours, and 60 GB of disk in place of minutes")
    made.add_argument("--out", type=Path, default=OUT, help="folder of figures.json and the pictures")
    made.add_argument("--peers", type=Path, default=PEERS, help=f"virtual environment of the peers ({PEERS})")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the parts; print each as it ends, and write the figures: a part that was not measured keeps its own."""
    made = parser()
    given = made.parse_args(argv)
    if unknown := [name for name in given.parts if name not in PARTS]:
        made.error(f"there is no part {unknown[0]!r}: name {', '.join(PARTS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    setting = Setting(given.long, Peers(given.peers), given.out)
    missed = skipped = 0
    for name in given.parts or PARTS:
        measured = machine(setting)
        rows: list[Row] = []
        try:
            for row in PARTS[name](setting):
                sys.stderr.write(f"{row.what}\n")
                rows.append(row)
        finally:  # an error in a part does not lose the rows before it
            measured["load after it"] = f"then {_load()}"
            print(f"## {name}\n\n{'; '.join(measured.values())}\n\n{table(rows)}\n", flush=True)
            save(given.out, name, {"machine": measured, "rows": [described(row) for row in rows]})
        missed += sum(row.verdict == MISSED for row in rows)
        skipped += sum(row.verdict == SKIPPED for row in rows)
    print(f"{missed} goals missed; {skipped} rows without their peer; written: {given.out}")
    if skipped:
        print(f"the missing peers: {setting.peers.install}")
    return 0


def machine(setting: Setting) -> dict[str, str]:
    """What the figures depend on, as text."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    servers = [server_version(place)[1] for place in dict.fromkeys(program_directories())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "form": "long form" if setting.long else "short form",
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit.stdout.strip() or "no commit",
        "processor": f"{os.cpu_count()} cores of {_processor()}",
        "memory": f"{memory:.0f} GB",
        "python": f"Python {platform.python_version()}",
        "postgres": f"PostgreSQL {', '.join(servers)}",
        "load before it": f"load average {_load()}",
    }


def described(row: Row) -> dict[str, Any]:
    """A row for JSON, with what follows from its figures."""
    return {**row._asdict(), "ratio": row.ratio, "verdict": row.verdict}


def save(out: Path, part: str, measured: dict[str, Any]) -> None:
    """Write the figures of a part into figures.json, and draw the ratios of all parts there."""
    file = out / "figures.json"
    figures = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    figures = {name: figures[name] for name in PARTS if name in figures} | {part: measured}
    with atomic_write(file) as made:
        made.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draw(out / "ratios.png", [row for each in figures.values() for row in each["rows"] if row["ratio"] is not None])


def draw(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    """A point for each ratio, on a log scale, and a line for each goal."""
    import matplotlib.pyplot as plt

    if not rows:
        return
    figure, axes = plt.subplots(figsize=(12, 1 + 0.2 * len(rows)), layout="constrained")
    places = range(len(rows), 0, -1)
    axes.scatter([max(row["ratio"], 0.01) for row in rows], places, s=14, zorder=3)
    for place, row in zip(places, rows, strict=True):
        for goal, mark in ((row["at_least"], ">"), (row["at_most"], "<")):
            if goal:
                axes.plot(goal, place, marker=mark, color="tab:red" if row["verdict"] == MISSED else "tab:green")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set(xscale="log", ylim=(0, len(rows) + 1), xlabel="ours ÷ theirs; triangles are goals, red ones missed")
    axes.set_yticks(list(places), [f"{row['what']} ÷ {row['peer']}" for row in rows], fontsize=6)
    figure.savefig(file, dpi=100)
    plt.close(figure)


def _load() -> str:
    """The load average of one, five and fifteen minutes, as `uptime` prints it."""
    return ", ".join(f"{each:.2f}" for each in os.getloadavg())


def _processor() -> str:
    """The name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]


if __name__ == "__main__":
    sys.exit(main())
