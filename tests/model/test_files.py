"""Files that are written completely or not at all are for their owner alone."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.files import atomic_write


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
