"""Answers of an API that are refused, broken, impossible or endless."""

import gzip
import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import repeat
from typing import Any

from tests.commands import DAY, Table, midnight, today
from tests.faults.trial import Fault, Trial
from tests.wire import sends

DAYS = 60
PAUSE = 0.05  # seconds between two pieces of a slow answer
Pieces = Iterable[bytes]


def truth() -> Table:
    """The history that the server has."""
    return {("Ethereum", "CHAIN_TVL", midnight(today() - DAY * ago)): 1e9 + ago for ago in range(1, DAYS + 1)}


def rows(change: Callable[[int, float, int], object] = lambda at, value, _: {"date": at, "tvl": value}) -> bytes:
    """The good body, with each row (seconds, value, days before today) as `change` makes it."""
    points = [(int(at.replace(tzinfo=UTC).timestamp()), value) for (_, _, at), value in sorted(truth().items())]
    return json.dumps([change(at, value, DAYS - place) for place, (at, value) in enumerate(points)]).encode()


def answer(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> Pieces:
    """A whole answer; `length` may lie, header names have _ for -."""
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {text}" for name, text in named.items())]
    lines += [f"Content-Length: {len(body) if length is None else length}", "Connection: close", "", ""]
    return ["\r\n".join(lines).encode() + body]


def bomb() -> Pieces:
    """A gigabyte of spaces in a megabyte."""
    packed = gzip.compress(b" " * 2**20) * 1024
    return answer(packed, Content_Encoding="gzip")


def flawed(change: Callable[[int, float, int], object]) -> Pieces:
    """The good answer with changed rows."""
    return answer(rows(change))


def row(at: object, value: object) -> dict[str, Any]:
    """A row of the body."""
    return {"date": at, "tvl": value}


SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=1), usegmt=True)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
OK, FAILED = frozenset({0}), frozenset({1})
BAD: dict[str, Callable[[], Pieces]] = {
    **{f"HTTP {code}": lambda code=code: answer(b'{"message": "no"}', code) for code in (  # type: ignore[misc]
        "400 Bad", "401 Unauthorized", "402 Pay", "403 Forbidden", "404 Missing", "500 Error", "502 Bad", "503 Busy",
        "504 Late", "520 Odd", "521 Down", "300 Choose",
    )},
    "429, Retry-After in seconds": lambda: answer(status="429 Slow", Retry_After="1"),
    "429, Retry-After as a date": lambda: answer(status="429 Slow", Retry_After=SOON),
    "429, Retry-After of an hour": lambda: answer(status="429 Slow", Retry_After="3600"),
    "an HTML page": lambda: answer(b"<html>", Content_Type="text/html"),
    "an HTML page, 403": lambda: answer(b"<html>", "403 No", Content_Type="text/html"),
    "no body": answer,
    "no answer": list,
    "half of the status line": lambda: [b"HTTP/1.1 2"],
    "no HTTP": lambda: [b"SSH-2.0-server\r\n"],
    "cut JSON": lambda: answer(rows()[:-100]),
    "a length that is too large": lambda: answer(rows(), length=100_000),
    "a length that is too small": lambda: answer(rows(), length=500),
    "gzip that is none": lambda: answer(rows(), Content_Encoding="gzip"),
    "gzip, cut": lambda: answer(gzip.compress(rows())[:-20], Content_Encoding="gzip"),
    "gzip, a bomb": bomb,
    "a redirect in a circle": lambda: answer(status="302 Found", Location="/again"),
    "latin-1": lambda: answer(b'[{"date": 1, "\xe9": 2}]'),
    "deep lists": lambda: answer(b"[" * 200_000),
    "many small lists": lambda: answer(b"[" + b"[]," * 10_000_000 + b"[]]"),
    "one long text": lambda: answer(b'"' + b"a" * 50_000_000 + b'"'),
    "a list in place of an object": lambda: answer(b"[[1, 2]]"),
    "an object in place of a list": lambda: answer(b'{"error": "no data"}'),
    "null": lambda: answer(b"null"),
    "a text": lambda: answer(b'"Metric not available."'),
    "every third value NaN": lambda: flawed(lambda at, value, ago: row(at, float("nan") if ago % 3 == 0 else value)),
    "an infinite value": lambda: flawed(lambda at, value, ago: row(at, float("inf") if ago == 9 else value)),
    "a value as an object": lambda: flawed(lambda at, value, ago: row(at, {} if ago == 9 else value)),
    "dates in milliseconds": lambda: flawed(lambda at, value, _: row(at * 1000, value)),
    "dates before 2000": lambda: flawed(lambda at, value, _: row(at % 86400, value)),
    "dates as words": lambda: flawed(lambda _, value, ago: row(f"{ago} days ago", value)),
    "no date": lambda: flawed(lambda _, value, __: {"tvl": value}),
    "a slow header": lambda: [HEAD, *repeat(b"X: y\r\n", 200)],
    "100 Continue for ever": lambda: repeat(b"HTTP/1.1 100 Continue\r\n\r\n", 2000),
    "a byte now and then": lambda: [HEAD + b"Content-Length: 9999\r\n\r\n", *repeat(b" ", 2000)],
}  # fmt: skip
HARMLESS: dict[str, Callable[[], Pieces]] = {
    "rows in any order": lambda: answer(json.dumps(json.loads(rows())[::-1]).encode()),
    "rows twice": lambda: answer(json.dumps(json.loads(rows()) * 2).encode()),
    "nulls among the values": lambda: answer(json.dumps([*json.loads(rows()), row(0, None)]).encode()),
    "a live row of today": lambda: flawed(lambda at, value, _: row(at, value)),
    "gzip": lambda: answer(gzip.compress(rows()), Content_Encoding="gzip"),
    "values as texts": lambda: flawed(lambda at, value, _: row(at, repr(value))),
    "dates as texts": lambda: flawed(lambda at, value, _: row(str(at), value)),
    "no value yet": lambda: answer(b"[]"),
    "an unknown content type": lambda: answer(rows(), Content_Type="text/x-odd"),
}


@dataclass(slots=True)
class Server:
    """Gives the pieces of one answer to every request, or the truth where there are none."""

    port: int = 0
    stalled_port: int = 0  # of a server that accepts, and never answers
    pieces: Callable[[], Pieces] | None = None


@contextmanager
def faulty_server() -> Iterator[Server]:
    """Both servers, on loopback."""
    server = Server()
    with (
        socket.create_server(("127.0.0.1", 0)) as stalled,
        sends(lambda: server.pieces() if server.pieces else answer(rows()), PAUSE) as server.port,
    ):
        server.stalled_port = stalled.getsockname()[1]
        yield server


def http_faults(server: Server) -> list[Fault]:
    """A fault for each answer."""

    def run(pieces: Callable[[], Pieces]) -> Callable[[Trial], int]:
        def with_answer(trial: Trial) -> int:
            server.pieces = pieces
            try:
                return trial.end(trial.start())
            finally:
                server.pieces = None

        return with_answer

    bad = [Fault("http", name, run(pieces), FAILED) for name, pieces in BAD.items()]
    return bad + [Fault("http", name, run(pieces), OK) for name, pieces in HARMLESS.items()]


def network_faults(server: Server) -> list[Fault]:
    """Servers that can't be reached, or are of another kind."""

    def at(url: str) -> Callable[[Trial], int]:
        return lambda trial: trial.end(trial.start(DEFILLAMA_BASE_URL=url))

    urls = {
        "connection refused": "http://127.0.0.1:9",
        "unknown host": "http://nowhere.invalid",
        "TLS to a server without it": f"https://127.0.0.1:{server.port}",
        "a server that never answers": f"http://127.0.0.1:{server.stalled_port}",
    }
    return [Fault("network", name, at(url), FAILED) for name, url in urls.items()]
