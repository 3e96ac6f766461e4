"""Runs a peer, each in a process of its own; those that need packages in a virtual environment of their own."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

WAYS = Path(__file__).with_name("peer_ways.py")
REQUIREMENTS = Path("benchmarks", "peers.txt")
WITH_OURS = ("requests_loop", "executemany", "execute_values", "read_sql")  # they need only packages that we have


class Peers:
    """The peers, whose virtual environment is in a folder outside the repository."""

    def __init__(self, folder: Path) -> None:
        self._python = folder / "bin" / "python"
        self.installed = self._python.exists()
        self.install = f"python3 -m venv {folder} && {folder}/bin/pip install -q -r {REQUIREMENTS}"

    def seconds(self, way: str, **spec: Any) -> float | None:
        """The median seconds of a function of peer_ways.py with these arguments; None if it is not installed."""
        if way not in WITH_OURS and not self.installed:
            return None
        python = sys.executable if way in WITH_OURS else self._python
        done = subprocess.run(  # noqa: S603 - our own script
            [python, "-P", WAYS], input=json.dumps({"way": way, **spec}), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"the peer {way} failed:\n{done.stderr}")
        taken: list[float] = json.loads(done.stdout.splitlines()[-1])
        return median(taken)
