"""Processes of one host take turns: a file under a lock holds the next start, whatever becomes of its holders."""

import fcntl
import itertools
import logging
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from pipeline.commands.runs import pace_of
from pipeline.settings import PACE_DIRECTORY, Settings
from sources import SOURCES, turn
from sources.pace import Pace
from sources.retry import LONGEST_PAUSE
from sources.turn import PATIENCE, RECORD, HostTurn
from tests.commands import ROOT, SECONDS, Rows, environment, start, until, write
from tests.fake_api import FakeApi
from tests.wire import Clock

DELAY = 0.08
SLACK = 1e-9  # seconds, of adding floats
SOON = 20.0  # seconds, far more than any wait of these tests takes, and less than for ever

PREAMBLE = """
import signal, sys, threading, time
from contextlib import contextmanager
from pathlib import Path
from sources.pace import Pace
from sources.turn import HostTurn
file, delay, more = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
"""

STARTER = """
from sources import turn
turn.PATIENCE = 30.0  # so that one which the system pauses with the lock is waited for
pace = Pace(delay, turn=HostTurn(file))
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
class Stuck(HostTurn):
    @contextmanager
    def taken(self, *given):
        with super().taken(*given) as now:
            print("ready", flush=True)
            sys.stdin.readline()
            yield now
Pace(delay, turn=Stuck(file)).wait()
"""

REFUSED = """
pace = Pace(delay, turn=HostTurn(file))
started = pace.wait()
print("ready", flush=True)
print(time.monotonic())
pace.refused(started, more)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the moment is kept."""
    return tmp_path / "pace" / "one"


@contextmanager
def process(program: str, file: Path, delay: float = DELAY, more: float = 0.0) -> Iterator[subprocess.Popen[str]]:
    """A program that shares the file, once it has said that it is ready; killed in the end where it still runs."""
    words = [sys.executable, "-c", PREAMBLE + program, str(file), str(delay), str(more)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, encoding="utf-8") as found:  # noqa: S603 - our own
        try:
            assert found.stdout is not None
            assert found.stdout.readline() == "ready\n"
            yield found
        finally:
            found.kill()


def starts_of_processes(number: int, file: Path, delay: float, seconds: float) -> list[list[float]]:
    """The starts of each of so many processes of four threads that ask for all they can get."""
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(process(STARTER, file, delay, seconds)) for _ in range(number)]
        for each in all_of_them:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        return [[float(word) for word in each.communicate(timeout=SECONDS)[0].split()] for each in all_of_them]


def shared(file: Path, clock: Clock, delay: float = DELAY) -> Pace:
    """A pace as of a process of its own: what it knows of others stands in the file."""
    return Pace(delay, clock=clock, sleep=clock.sleep, turn=HostTurn(file))


def soon(pace: Pace, number: int = 1) -> float:
    """The last of so many next starts; an error where they are waited for without end."""
    pool = ThreadPoolExecutor(1)
    try:
        return [pool.submit(pace.wait) for _ in range(number)][-1].result(SOON)
    finally:
        pool.shutdown(wait=False)


@contextmanager
def held(file: Path) -> Iterator[int]:
    """The lock is another one's, as of a process that has been stopped."""
    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def stopped(_: float) -> None:
    """A sleep that ends by raising."""
    raise InterruptedError


def written(file: Path) -> float:
    """The moment in the file."""
    moment: float = RECORD.unpack(file.read_bytes())[1]
    return moment


@pytest.mark.parametrize(("number", "delay"), [(2, DELAY), (2, 0.005), (3, 0.02)])
def test_two_starts_of_several_processes_are_never_closer_than_the_delay(number: int, delay: float, file: Path) -> None:
    starts = sorted(itertools.chain(*starts_of_processes(number, file, delay, 4)))
    close = [later - sooner for sooner, later in itertools.pairwise(starts) if later - sooner < delay - SLACK]
    assert not close, f"{len(close)} of {len(starts)}, the closest {min(close):.6f} s"


def test_two_processes_together_use_nearly_all_slots_and_none_starves(file: Path) -> None:
    each = starts_of_processes(2, file, DELAY, 5)
    starts = sorted(itertools.chain(*each))
    slots = (starts[-1] - starts[0]) / DELAY + 1
    assert 0.9 * slots <= len(starts) <= slots + SLACK
    assert min(map(len, each)) >= 0.1 * len(starts)


def test_a_start_is_never_before_the_moment_at_which_the_lock_was_had(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "PATIENCE", SOON)
    with ThreadPoolExecutor(1) as pool:
        with held(file):
            waiting = pool.submit(Pace(DELAY, turn=HostTurn(file)).wait)
            threading.Event().wait(0.3)  # it may have come to the lock by now; if not, all the better for it
            assert not waiting.done()
            released = time.monotonic()
        assert waiting.result(SOON) >= released


def test_what_was_written_while_the_lock_was_waited_for_counts(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE", SOON)
    with ThreadPoolExecutor(1) as pool:
        with held(file) as descriptor:
            waiting = pool.submit(Pace(DELAY, turn=HostTurn(file)).wait)
            threading.Event().wait(0.3)
            now = time.monotonic()
            os.pwrite(descriptor, RECORD.pack(now, now + 1), 0)
        assert waiting.result(SOON) >= now + 1


def test_a_process_killed_with_the_lock_leaves_it_to_the_next(file: Path) -> None:
    with process(HOLDER, file) as holder:
        holder.kill()
        holder.wait(SOON)
        begun = soon(Pace(DELAY, turn=HostTurn(file)))
    assert written(file) == begun + DELAY  # nobody writes without the lock


def test_a_process_stopped_with_the_lock_blocks_nobody_for_longer_than_the_patience(file: Path) -> None:
    with process(HOLDER, file) as holder:
        holder.send_signal(signal.SIGSTOP)
        pace = Pace(DELAY, turn=HostTurn(file))
        before = time.monotonic()
        starts = [soon(pace) for _ in range(4)]
        took = time.monotonic() - before
        assert min(later - sooner for sooner, later in itertools.pairwise(starts)) >= DELAY - SLACK
        assert took < 4 * (PATIENCE + DELAY) + 5
        assert file.read_bytes() == b""


def test_a_process_that_goes_on_after_a_stop_shares_its_turns_again(file: Path) -> None:
    pace = Pace(DELAY, turn=HostTurn(file))
    with process(HOLDER, file) as holder:
        holder.send_signal(signal.SIGSTOP)
        soon(pace)
        holder.send_signal(signal.SIGCONT)
        holder.communicate("\n", timeout=SOON)
        assert holder.returncode == 0
    begun = soon(pace)
    assert written(file) == begun + DELAY


def test_the_moment_that_another_process_has_written_is_waited_for(file: Path) -> None:
    clock = Clock()
    shared(file, clock, 5.0).wait()
    assert shared(file, clock).wait() == 1005.0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        RECORD.pack(999.0, 1030.0)[:-1],
        b"no record",
        b"no record, and long enough to be taken for one",
        b"\xff" * RECORD.size,
        RECORD.pack(-math.inf, 1030.0),
        RECORD.pack(999.0, math.inf),
        RECORD.pack(999.0, math.nan),
        RECORD.pack(5000.0, 5000.08),
        RECORD.pack(1e300, 1e300),
        RECORD.pack(999.0, 999.0 + LONGEST_PAUSE + 1),
    ],
    ids=[
        "empty", "short", "words", "many words", "ones", "written never", "for ever", "no number", "of another boot",
        "of no boot", "too far",
    ],
)  # fmt: skip
def test_what_is_no_record_of_this_boot_is_ignored_and_replaced(content: bytes, file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    assert shared(file, Clock()).wait(sleep=stopped) == 1000.0
    assert struct.unpack_from("dd", file.read_bytes()) == (1000.0, 1000.0 + DELAY)


def test_the_longest_pause_of_an_api_is_no_moment_of_another_boot(file: Path) -> None:
    clock = Clock()
    first = shared(file, clock)
    first.refused(first.wait(), LONGEST_PAUSE)
    assert shared(file, clock).wait() == 1000.0 + LONGEST_PAUSE


def test_a_pause_that_an_api_asked_one_process_for_holds_for_the_others(file: Path) -> None:
    with process(REFUSED, file, more=1.5) as refused:
        assert refused.stdout is not None
        asked = float(refused.stdout.readline())
        assert refused.wait(SOON) == 0
    assert soon(Pace(DELAY, turn=HostTurn(file))) >= asked + 1.5


def test_a_pause_holds_for_those_of_another_process_who_wait_already(file: Path) -> None:
    clock = Clock()
    first, told = shared(file, clock), threading.Event()

    def sleep(seconds: float) -> None:
        if not told.is_set():
            told.set()
            first.refused(started, 30.0)
        clock.sleep(seconds)

    started = first.wait()
    second = Pace(DELAY, clock=clock, sleep=sleep, turn=HostTurn(file))
    assert second.wait() == pytest.approx(1030.0)


def spacings(pace: Pace, number: int = 5) -> list[float]:
    starts = [pace.wait() for _ in range(number)]
    return [later - sooner for sooner, later in itertools.pairwise(starts)]


def test_a_place_that_cannot_be_written_is_told_once_and_the_pace_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no directory")
    assert spacings(shared(tmp_path / "file" / "pace" / "one", Clock())) == pytest.approx([DELAY] * 4)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the pace is not shared with other processes: [Errno 20]")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_full_disk_is_told_once_and_the_pace_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    assert spacings(shared(Path("/dev/full"), Clock())) == pytest.approx([DELAY] * 4)
    [record] = caplog.records
    assert record.getMessage().startswith("the pace is not shared with other processes: [Errno 28]")


def test_a_file_that_was_removed_is_made_anew_and_no_start_comes_early(file: Path) -> None:
    clock = Clock()
    first, second = shared(file, clock), shared(file, clock)
    first.wait()
    file.unlink()
    assert first.wait() == 1000.0 + DELAY
    assert second.wait() == pytest.approx(1000.0 + 2 * DELAY)


def test_a_directory_that_was_removed_costs_no_start(file: Path) -> None:
    pace = shared(file, Clock())
    pace.wait()
    shutil.rmtree(file.parent)
    assert spacings(pace) == pytest.approx([DELAY] * 4)


def descriptors(file: Path) -> int:
    """How many descriptors of this process are of the file; another test's threads may open and close others."""
    return sum(found.is_symlink() and str(file) in str(found.readlink()) for found in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize("by", ["nobody", "another"])
def test_a_thousand_turns_leave_no_descriptor(by: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE", 0.0)
    pace = shared(file, Clock())
    with ExitStack() as stack:
        if by == "another":
            stack.enter_context(held(file))
        before = descriptors(file)
        soon(pace, 1000)
        assert (before, descriptors(file)) == (int(by == "another"), before)


def test_a_turn_that_ends_in_an_error_leaves_neither_a_lock_nor_a_descriptor(file: Path) -> None:
    clock = Clock()
    pace = shared(file, clock)
    pace.wait()
    with pytest.raises(InterruptedError):
        pace.wait(stopped)
    assert descriptors(file) == 0
    assert shared(file, clock).wait() == 1000.0 + DELAY


def test_who_asks_the_same_server_by_the_same_key_shares_a_file_whose_name_hides_both(tmp_path: Path) -> None:
    source = SOURCES["defillama"]
    for key, url in [("first-key", ""), ("first-key", ""), ("other-key", ""), ("first-key", "http://127.0.0.1:9")]:
        ours = {PACE_DIRECTORY: str(tmp_path), source.KEY_VARIABLE: key, source.BASE_URL_VARIABLE: url}
        pace_of(source, Settings(ours)).wait()
    names = sorted(found.name for found in tmp_path.iterdir())
    assert len(names) == 3
    assert not [name for name in names if "key" in name or "127" in name]


PARENTS = "asset,kind,metrics,id\n" + "".join(f"p{number},protocol,TVL,parent#p{number}\n" for number in range(60))


def test_a_pull_and_a_backfill_of_one_source_together_never_pass_its_limit(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, PARENTS)
    with FakeApi(universe=[config], shipped=False, latency=0.3) as api:
        env = environment(database_url, api, **{PACE_DIRECTORY: str(tmp_path / "pace")})
        with (
            start("main.py backfill defillama --config", config, env=env) as backfill,
            start("main.py pull defillama --config", config, env=env) as pull,
        ):
            until(lambda: len({request.path.split("/p")[0] for request in list(api.requests)}) == 2)
            assert (backfill.poll(), pull.poll()) == (None, None)  # both have asked, and both go on
            said = [each.communicate(timeout=SECONDS)[1] for each in (backfill, pull)]
        assert (backfill.returncode, pull.returncode) == (0, 0), said
        assert len(api.requests) == 120
        assert api.max_in_any_second() <= 14
    assert rows("SELECT kind, status FROM pulls ORDER BY kind") == [("backfill", "success"), ("pull", "success")]
