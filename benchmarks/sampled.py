"""Runs a command of main.py while a thread samples where the CPU goes: python -m benchmarks.sampled OUT.json COMMAND …

Linux only. All CPU that a thread has used since the last sample counts for the function of the project it is in.
"""

import json
import sys
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from types import FrameType

from cli.run_command import main
from model.settings import ROOT

SECONDS = 0.005  # between two samples


def function_of(frame: FrameType | None) -> str:
    """The innermost function of the project in a stack."""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT) and ".venv" not in file.parts:
            return f"{file.relative_to(ROOT)} {frame.f_code.co_name}"
        frame = frame.f_back
    return "outside the project"


def sample(found: dict[str, float], ended: threading.Event) -> None:
    """Count seconds of CPU by function until the end."""
    used: dict[threading.Thread, float] = {}
    while not ended.wait(SECONDS):
        frames = sys._current_frames()
        for thread in threading.enumerate():
            if thread.ident in frames and thread is not threading.current_thread():
                with suppress(OSError):  # it has just ended
                    now = int(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0]) / 1e9
                    found[function_of(frames[thread.ident])] += now - used.get(thread, now)
                    used[thread] = now


if __name__ == "__main__":
    samples: dict[str, float] = defaultdict(float)
    over = threading.Event()
    sampler = threading.Thread(target=sample, args=(samples, over))
    sampler.start()
    try:
        code = main(sys.argv[2:])
    finally:
        over.set()
        sampler.join()
    Path(sys.argv[1]).write_text(json.dumps(samples), encoding="utf-8")
    sys.exit(code)
