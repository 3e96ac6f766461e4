"""The next start of a source in a file: what is read there, what is logged where it fails, what is left behind."""

import itertools
import logging
import math
import shutil
import stat
import struct
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.pull_backfill_settle import pace_of
from model.settings import PACE_DIRECTORY, Settings
from sources import SOURCES, host_pace
from sources.host_pace import RECORD, NextStart
from sources.pace import Pace
from sources.retry import LONGEST_PAUSE
from tests.paced_processes import DELAY, SOON, held, process, soon
from tests.wire import Clock

REFUSED = """
pace = Pace(delay, next_start=NextStart(file))
started = pace.wait()
print("ready", flush=True)
print(time.monotonic())
pace.refused(started, more)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the moment is kept."""
    return tmp_path / "pace" / "one"


def shared(file: Path, clock: Clock, delay: float = DELAY) -> Pace:
    """A pace as another process would have it: only the file connects the two."""
    return Pace(delay, clock=clock, sleep=clock.sleep, next_start=NextStart(file))


def stopped(_: float) -> None:
    """A sleep that ends by raising."""
    raise InterruptedError


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
    assert soon(Pace(DELAY, next_start=NextStart(file))) >= asked + 1.5


def test_a_pause_holds_for_those_of_another_process_who_wait_already(file: Path) -> None:
    clock = Clock()
    first, refused = shared(file, clock), threading.Event()

    def sleep(seconds: float) -> None:
        if not refused.is_set():
            refused.set()
            first.refused(started, 30.0)
        clock.sleep(seconds)

    started = first.wait()
    second = Pace(DELAY, clock=clock, sleep=sleep, next_start=NextStart(file))
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
def test_the_file_is_for_its_owner_alone_and_a_link_in_its_place_is_not_followed(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared(file, Clock()).wait()
    assert [stat.S_IMODE(each.stat().st_mode) & 0o077 for each in (file, file.parent)] == [0, 0]
    (tmp_path / "other").write_text("of somebody else")
    file.unlink()
    file.symlink_to(tmp_path / "other")
    shared(file, Clock()).wait()
    assert (tmp_path / "other").read_text() == "of somebody else"
    assert [record.getMessage()[:13] for record in caplog.records] == ["the pace is n"]


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
    """How many descriptors of this process are for the file; threads of other tests may have others."""
    return sum(found.is_symlink() and str(file) in str(found.readlink()) for found in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize("by", ["nobody", "another"])
def test_a_thousand_starts_leave_no_descriptor(by: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_pace, "LOCK_TIMEOUT", 0.0)
    pace = shared(file, Clock())
    with ExitStack() as stack:
        if by == "another":
            stack.enter_context(held(file))
        before = descriptors(file)
        soon(pace, 1000)
        assert (before, descriptors(file)) == (int(by == "another"), before)


def test_a_wait_that_ends_in_an_error_leaves_neither_a_lock_nor_a_descriptor(file: Path) -> None:
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
