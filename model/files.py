"""Files and folders that are written completely or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import ConfigurationError


@contextmanager
def atomic_write(file: Path, mode: int = 0o600) -> Iterator[Path]:
    """Yield a path beside the file to write to; at the end of the block that new file replaces the old one.

    If the block fails, the old file stays and the new one is removed. The target of a link is replaced, and keeps its
    mode; a new file has this mode, by default that of a file for its owner alone. Raises ConfigurationError if the file
    can't be written or is read-only.
    """
    place = Path(os.path.realpath(file))
    part = place.with_name(f".{os.urandom(8).hex()}.part")
    try:
        if place.exists():
            mode = stat.S_IMODE(place.stat().st_mode)
            if not place.is_file():
                raise ConfigurationError(f"{file}: can't be written: it is not a regular file")
            if not (mode & 0o222 and os.access(place, os.W_OK)):  # root could write it anyway
                raise ConfigurationError(f"{file}: can't be written: it is read-only")
        try:
            part.touch(0o600, exist_ok=False)
            part.chmod(mode)
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())  # so that a crash leaves the old or the new file
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    except BrokenPipeError:  # of standard output, to which the block writes as well
        raise
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error.strerror or error}") from error


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the wanted one to write to; at the end of the block it gets the wanted name.

    If the block fails, it is removed with all that it holds. It is for its owner alone, unless an empty folder of the
    wanted name gives its mode. Raises ConfigurationError if something else has the name, or if it can't be written.
    """
    place = Path(os.path.realpath(folder))
    part = place.with_name(f".{os.urandom(8).hex()}.part")
    try:
        mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else 0o700
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise ConfigurationError(f"{folder} exists and is not an empty folder: name a new one, or remove it first")
        try:
            part.mkdir(0o700)
            part.chmod(mode)
            yield part
            part.rename(place)
        finally:
            if part.exists():
                shutil.rmtree(part)
    except OSError as error:
        raise ConfigurationError(f"{folder}: can't be written: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, so that they survive a power cut, where its file system can do that.

    Raises ConfigurationError if it fails.
    """
    try:
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise ConfigurationError(f"{folder}: can't be written: {error.strerror or error}") from error
