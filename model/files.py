"""Files that are written at once or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.errors import ConfigurationError


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """A path beside a file, to be written, which takes its place in the end; where the work fails, nothing is left.

    What a link leads to is replaced, and keeps its mode. Raises ConfigurationError where it can't be written, or is not
    to be.
    """
    place = Path(os.path.realpath(file))
    part = place.with_name(f".{secrets.token_hex(8)}.part")
    try:
        mode = stat.S_IMODE(place.stat().st_mode) if place.exists() else None
        if mode is not None and not place.is_file():
            raise ConfigurationError(f"{file}: can't be written: it is no plain file")
        if mode is not None and not (mode & 0o222 and os.access(place, os.W_OK)):  # which root could write all the same
            raise ConfigurationError(f"{file}: can't be written: it is read-only")
        part.touch(exist_ok=False)
        try:
            if mode is not None:
                part.chmod(mode)
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())  # so that after a crash it is the old or the new one
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error.strerror or error}") from error
