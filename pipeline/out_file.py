"""Files that are written at once or not at all."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigurationError


@contextmanager
def in_place_of(file: Path) -> Iterator[Path]:
    """A path beside a file, to be written, which takes its place in the end; where the work fails, nothing is left.

    What a link leads to is replaced, and keeps its mode. Raises ConfigurationError where it can't be written.
    """
    place = Path(os.path.realpath(file))
    part = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        if place.exists() and not place.is_file():
            raise ConfigurationError(f"{file}: can't be written: it is no plain file")
        part.touch(exist_ok=False)
        try:
            if place.exists():
                part.chmod(stat.S_IMODE(place.stat().st_mode) | stat.S_IWUSR)
            yield part
            part.replace(place)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be written: {error.strerror or error}") from error
