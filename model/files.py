"""Files that are written completely or not at all."""

import os
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
