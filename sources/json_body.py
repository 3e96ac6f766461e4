"""The body of one answer, and the JSON in it, within a bound of memory whatever the other side sends."""

import json
import tempfile
import threading
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Self

import ijson

from model.errors import TryFailed

LARGEST = 120 * 2**20  # bytes after decompression; the largest real answer has 70 MB (protocol curve-dex)
LARGEST_TOGETHER = 2**30  # bytes of all bodies of this process at a time
IN_MEMORY = 4 * 2**20  # bytes before a body goes to a temporary file
LONGEST_TEXT = 2**20  # bytes
PIECE = 2**16  # bytes

MOST_MEMORY = 450 * 2**20  # bytes that the values of one body may take
SMALL = 14 * 2**20  # bytes of a body whose values can't take more; no JSON takes more than 32 times its size
DEEPEST = 100  # lists and objects within each other; real answers have 7
COSTS = {b"{": 250, b"[": 90, b",": 85, b":": 110}  # bytes of memory for each of these, at most
COST_OF_A_BYTE = 9  # the body itself, its text of up to 4 bytes a character, and its strings once more
COST_OF_AN_EVENT = 250  # bytes of memory for a value, a key, or the begin or end of a list, at most


class TooLarge(Exception):
    """The answer is larger than any that the API is known to send."""


class JsonBody:
    """A body that is written in pieces, and then read once."""

    _all_sizes = 0
    _counting: ClassVar = threading.Lock()

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - closed by __exit__
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._count(-self._size)

    def write(self, piece: bytes) -> None:
        """Add a piece; raises TooLarge."""
        self._size += len(piece)
        self._count(len(piece))
        if self._size > LARGEST:
            raise TooLarge(f"the body is larger than {LARGEST >> 20} MB")
        if JsonBody._all_sizes > LARGEST_TOGETHER:
            raise TooLarge(f"the bodies that arrive at once are larger than {LARGEST_TOGETHER >> 20} MB")
        self._file.write(piece)

    def read(self, paths: Sequence[str] = ()) -> Any:
        """The whole JSON. With `paths`, an object with only the values at these paths; the rest is skipped.

        A path is the keys from the outermost object on, with dots between them. Raises TooLarge; TryFailed for a body
        that is cut off or is not JSON.
        """
        if not self._size:
            raise TryFailed("HTTP 200 with an empty body")
        try:
            if paths:
                try:
                    return self._values_at(paths)
                except ijson.JSONError:  # also raised for NaN, which only Python reads, and for long integers
                    if not self._fits():
                        return self._values_at(paths, long_integers=True)
            elif not self._fits():
                raise TooLarge(f"the values of the body may take more than {MOST_MEMORY >> 20} MB of memory")
            self._file.seek(0)
            return json.load(self._file)
        except (ijson.JSONError, ValueError, RecursionError) as error:
            raise TryFailed(f"HTTP 200, but the body is cut off or is not JSON: {error}") from error

    def _count(self, size: int) -> None:
        with self._counting:
            JsonBody._all_sizes += size

    def _pieces(self) -> Iterator[bytes]:
        self._file.seek(0)
        return iter(partial(self._file.read, PIECE), b"")

    def _fits(self) -> bool:
        """Whether all values together take MOST_MEMORY at most."""
        if self._size <= SMALL:
            return True
        marks = sum(cost * piece.count(mark) for piece in self._pieces() for mark, cost in COSTS.items())
        return COST_OF_A_BYTE * self._size + marks <= MOST_MEMORY

    def _events(self, *, long_integers: bool) -> Iterator[tuple[str, Any]]:
        """The events of ijson; raises TooLarge for a long text, with which its memory and time grow by the square.

        With `long_integers` it also reads those past 64 bits, and gives a Decimal in place of a float, which is slower.
        """
        found = ijson.sendable_list()
        parser = ijson.basic_parse_coro(found, use_float=not long_integers)
        unread = 0  # bytes since the last event
        for piece in self._pieces():
            parser.send(piece)
            unread = 0 if found else unread + len(piece)
            if unread > LONGEST_TEXT:
                raise TooLarge(f"the body has a text of more than {LONGEST_TEXT >> 20} MB")
            yield from found
            found.clear()
        parser.close()

    def _values_at(self, paths: Sequence[str], *, long_integers: bool = False) -> dict[str, Any]:
        """The values at the paths; of these alone the memory is counted. It stops once each outermost key was seen."""
        wanted = {tuple(path.split(".")) for path in paths}
        longest = max(map(len, wanted))
        unseen = {path[0] for path in wanted}
        found: dict[str, Any] = {}
        keys: list[str] = []  # of the objects that are open
        builder: Any = None
        depth = memory = 0
        for event, value in self._events(long_integers=long_integers):
            depth += (event in {"start_map", "start_array"}) - (event in {"end_map", "end_array"})
            if depth > DEEPEST:
                raise TooLarge("the lists and objects of the body lie too deep within each other")
            if builder is not None:
                builder.event(event, float(value) if isinstance(value, Decimal) else value)
                memory += COST_OF_AN_EVENT
                if memory > MOST_MEMORY:
                    raise TooLarge(
                        f"the values of {', '.join(paths)} may take more than {MOST_MEMORY >> 20} MB of memory"
                    )
                if depth == len(keys):
                    _put(found, keys, builder.value)
                    builder = None
            elif event == "map_key" and depth <= longest:
                if depth == 1 and not unseen:
                    break
                del keys[depth - 1 :]
                if len(keys) == depth - 1:  # else there is a list between this object and the outermost one
                    keys.append(value)
                    builder = ijson.ObjectBuilder() if tuple(keys) in wanted else None
                    unseen.discard(keys[0])
        return found


def _put(found: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    for key in keys[:-1]:
        found = found.setdefault(key, {})
    found[keys[-1]] = value
