"""Processes of one host share the pace of a source: no two starts too close together, and no process waits in vain."""

import itertools
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from model.settings import PACE_DIRECTORY
from sources import host_pace
from sources.host_pace import LOCK_TIMEOUT, RECORD, NextStart
from sources.pace import Pace
from tests.commands import ROOT, SECONDS, Rows, environment, start, write
from tests.fake_api import FakeApi
from tests.paced_processes import DELAY, SLACK, SOON, closer_than, held, process, soon

STARTER = """
from sources import host_pace
host_pace.LOCK_TIMEOUT = 30.0  # so that even a process that the system pauses with the lock is waited for
pace = Pace(delay, next_start=NextStart(file))
starts = []
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + more
def work():
    while time.monotonic() < end:
        starts.append(pace.wait())
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*starts)
"""
HOLDER = """
class Stuck(NextStart):
    @contextmanager
    def locked(self, *given):
        with super().locked(*given) as now:
            print("ready", flush=True)
            sys.stdin.readline()
            yield now
Pace(delay, next_start=Stuck(file)).wait()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the moment is kept."""
    return tmp_path / "pace" / "one"


def starts_of_processes(number: int, file: Path, delay: float, seconds: float) -> list[list[float]]:
    """Run so many processes, each with four threads that never pause; the starts of each process."""
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(process(STARTER, file, delay, seconds)) for _ in range(number)]
        for each in all_of_them:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        return [[float(word) for word in each.communicate(timeout=SECONDS)[0].split()] for each in all_of_them]


def written(file: Path) -> float:
    """The moment in the file."""
    moment: float = RECORD.unpack(file.read_bytes())[1]
    return moment


@pytest.mark.parametrize(("number", "delay"), [(2, DELAY), (2, 0.005), (3, 0.02)])
def test_two_starts_of_several_processes_are_never_closer_than_the_delay(number: int, delay: float, file: Path) -> None:
    assert closer_than(delay, itertools.chain(*starts_of_processes(number, file, delay, 4))) == []


def test_two_processes_together_use_nearly_all_slots_and_none_starves(file: Path) -> None:
    each = starts_of_processes(2, file, DELAY, 5)
    starts = sorted(itertools.chain(*each))
    slots = (starts[-1] - starts[0]) / DELAY + 1
    assert 0.8 * slots <= len(starts) <= slots + SLACK
    assert min(map(len, each)) >= 0.1 * len(starts)


def test_a_start_is_never_before_the_moment_at_which_the_lock_was_had(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_pace, "LOCK_TIMEOUT", SOON)
    with ThreadPoolExecutor(1) as pool:
        with held(file):
            waiting = pool.submit(Pace(DELAY, next_start=NextStart(file)).wait)
            threading.Event().wait(0.3)  # most likely it waits for the lock by now
            assert not waiting.done()
            released = time.monotonic()
        assert waiting.result(SOON) >= released


def test_what_was_written_while_the_lock_was_waited_for_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_pace, "LOCK_TIMEOUT", SOON)
    with ThreadPoolExecutor(1) as pool:
        with held(file) as descriptor:
            waiting = pool.submit(Pace(DELAY, next_start=NextStart(file)).wait)
            threading.Event().wait(0.3)
            now = time.monotonic()
            os.pwrite(descriptor, RECORD.pack(now, now + 1), 0)
        assert waiting.result(SOON) >= now + 1


def test_a_process_killed_with_the_lock_leaves_it_to_the_next(file: Path) -> None:
    with process(HOLDER, file) as holder:
        holder.kill()
        holder.wait(SOON)
        begun = soon(Pace(DELAY, next_start=NextStart(file)))
    assert written(file) == begun + DELAY  # it writes only with the lock


def test_a_process_stopped_with_the_lock_blocks_nobody_for_longer_than_the_timeout(file: Path) -> None:
    with process(HOLDER, file) as holder:
        holder.send_signal(signal.SIGSTOP)
        pace = Pace(DELAY, next_start=NextStart(file))
        before = time.monotonic()
        starts = [soon(pace) for _ in range(4)]
        took = time.monotonic() - before
        assert min(later - sooner for sooner, later in itertools.pairwise(starts)) >= DELAY - SLACK
        assert took < 4 * (LOCK_TIMEOUT + DELAY) + 5
        assert file.read_bytes() == b""


def test_a_process_that_goes_on_after_a_stop_shares_its_starts_again(file: Path) -> None:
    pace = Pace(DELAY, next_start=NextStart(file))
    with process(HOLDER, file) as holder:
        holder.send_signal(signal.SIGSTOP)
        soon(pace)
        holder.send_signal(signal.SIGCONT)
        holder.communicate("\n", timeout=SOON)
        assert holder.returncode == 0
    begun = soon(pace)
    assert written(file) == begun + DELAY


PARENTS = "asset,kind,metrics,id\n" + "".join(f"p{number},protocol,TVL,parent#p{number}\n" for number in range(60))
RECORDED_MAIN = """
import sys, time
from pathlib import Path
from cli.run_command import main
from sources import host_pace
from sources.pace import Pace

folder, verb, wait = Path(__file__).parent, sys.argv[1], Pace.wait
host_pace.LOCK_TIMEOUT = 30.0  # so that even a process that the system pauses with the lock is waited for

def recorded(*given):
    (folder / f"{verb}.ready").touch()
    while len(list(folder.glob("*.ready"))) < 2:  # so that both runs overlap, however slowly one of them begins
        time.sleep(0.01)
    start = wait(*given)
    with (folder / f"{verb}.starts").open("a") as starts:
        starts.write(f"{start!r}\\n")
    return start

Pace.wait = recorded
sys.exit(main())
"""


def test_a_pull_and_a_backfill_of_one_source_together_never_pass_its_limit(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, PARENTS)
    (tmp_path / "recorded_main.py").write_text(RECORDED_MAIN)
    with FakeApi(universe=[config], shipped=False, latency=0.3) as api:
        env = environment(database_url, api, PYTHONPATH=str(ROOT), **{PACE_DIRECTORY: str(tmp_path / "pace")})
        lines = [f"recorded_main.py {verb} defillama --config" for verb in ("backfill", "pull")]
        with (
            start(lines[0], config, env=env, root=tmp_path) as backfill,
            start(lines[1], config, env=env, root=tmp_path) as pull,
        ):
            said = [each.communicate(timeout=SECONDS)[1] for each in (backfill, pull)]
        assert (backfill.returncode, pull.returncode) == (0, 0), said
        assert len(api.requests) == 121  # with the list of protocols, which shows what their slugs mean
    backfilled, pulled = (
        [float(line) for line in (tmp_path / f"{verb}.starts").read_text().split()] for verb in ("backfill", "pull")
    )
    assert (len(backfilled), len(pulled)) == (61, 60)
    assert max(min(backfilled), min(pulled)) < min(max(backfilled), max(pulled))
    assert closer_than(DELAY, [*backfilled, *pulled]) == []
    assert rows("SELECT kind, status FROM pulls ORDER BY kind") == [("backfill", "success"), ("pull", "success")]
