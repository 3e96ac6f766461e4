"""The command line of the fake."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

from tests.fake_api import truth

ROOT = Path(__file__).parents[2]
TODAY = date(2025, 12, 19)
CHILD = """
import os, sys, urllib.request
print(urllib.request.urlopen(os.environ["DEFILLAMA_BASE_URL"] + "/api/tvl/aave").read().decode())
sys.exit(int(sys.argv[1]))
"""


def test_the_command_line_runs_a_script_against_the_fake_and_passes_its_exit_code_on(tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    line = [sys.executable, "-m", "tests.fake_api", "--today", "2025-12-19", str(script), "7"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    assert done.returncode == 7
    assert float(done.stdout) == truth.live("defillama", "aave", "TVL", TODAY)
    assert done.stderr.startswith("fake APIs on http://127.0.0.1:")


def test_the_command_line_hands_a_signal_to_its_child() -> None:
    child = "import time; print('ready', flush=True); time.sleep(30)"
    line = [sys.executable, "-m", "tests.fake_api", sys.executable, "-c", child]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as running:  # noqa: S603 - our own words
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        os.kill(running.pid, signal.SIGTERM)
        assert running.wait(5) == 128 + signal.SIGTERM
