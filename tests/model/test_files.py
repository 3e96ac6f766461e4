"""Files that are written completely or not at all are for their owner alone."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from model.errors import ConfigurationError
from model.files import atomic_write, new_folder, sync_folder


@pytest.fixture
def _open_umask() -> Iterator[None]:
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.usefixtures("_open_umask")
def test_a_new_file_is_for_its_owner_alone_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    for mode in (0o600, 0o644):
        with atomic_write(tmp_path / "file") as part:
            part.write_text("text")
            assert stat.S_IMODE(part.stat().st_mode) == mode
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
        (tmp_path / "file").chmod(0o644)


@pytest.mark.usefixtures("_open_umask")
def test_a_new_folder_is_for_its_owner_alone_and_appears_when_it_is_complete(tmp_path: Path) -> None:
    with new_folder(tmp_path / "new") as part:
        (part / "file").write_text("text")
        assert not (tmp_path / "new").exists()
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["file"]


def test_a_folder_that_fails_or_whose_name_is_taken_leaves_what_was_there(tmp_path: Path) -> None:
    def fail_in(name: str, error: type[BaseException]) -> None:
        with new_folder(tmp_path / name) as part:
            (part / "deep").mkdir()
            raise error

    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigurationError, match="taken exists and is not an empty folder: name a new one"):
        fail_in("taken", ZeroDivisionError)
    with pytest.raises(KeyboardInterrupt):
        fail_in("new", KeyboardInterrupt)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
    with pytest.raises(ConfigurationError, match="can't be written: Directory not empty"), new_folder(tmp_path / "new"):
        (tmp_path / "new" / "another").mkdir(parents=True)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["another"]


@pytest.mark.parametrize(("code", "refused"), [(errno.EINVAL, 0), (errno.ENOTSUP, 0), (errno.EIO, 1)])
def test_a_file_system_that_can_not_sync_folders_is_good_enough_and_one_that_fails_is_not(
    code: int, refused: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(_handle: int) -> None:  # as on some network shares
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ConfigurationError, match="can't be written: ") if refused else nullcontext():
        sync_folder(tmp_path)
