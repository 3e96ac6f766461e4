"""Measures how long files of all points take to write, how large they are, and how much memory their process takes.

python -m benchmarks.files [SERIES DAYS]
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.filled_tables import SOURCE, filled
from benchmarks.memory import UNITS_IN_A_MB
from model.settings import DATABASE_URL, ROOT

METRICS = 5  # for each asset


def main() -> None:
    """Fill a temporary database; print a line for CSV, Parquet and an export of the same points."""
    series, days = (int(word) for word in sys.argv[1:] or ("10000", "2000"))
    every = " ".join(f"METRIC_{number}" for number in range(METRICS))
    with filled(series, days, METRICS) as url, tempfile.TemporaryDirectory() as directory:
        os.environ[DATABASE_URL] = url
        folder = Path(directory)
        for command, name in (
            (f"query all {every} --source {SOURCE}", "points.csv"),
            (f"query all {every} --source {SOURCE}", "points.parquet"),
            ("export", "exported"),
        ):
            report(command, folder / name)


def report(command: str, out: Path) -> None:
    """Run a command of main.py that writes to `out`; print its seconds, memory and bytes."""
    began = time.perf_counter()
    words = [sys.executable, str(ROOT / "main.py"), *command.split(), "--out", str(out)]
    process = subprocess.Popen(words)  # noqa: S603 (our own command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    size = sum(file.stat().st_size for file in ([out] if out.is_file() else out.rglob("*.parquet")))
    memory = usage.ru_maxrss / UNITS_IN_A_MB
    print(f"{out.name:15} {seconds:6.1f} s  {memory:5.0f} MB of memory  {size / 1e6:9,.1f} MB written  {status=}")


if __name__ == "__main__":
    main()
