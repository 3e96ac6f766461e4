"""A server whose answers a test writes itself, a plain source that asks it, and a clock that tests move."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, ClassVar, Self, cast
from urllib.parse import quote

from model.values import Metric, Target, Verb, Window
from sources.base import BaseSource, Call, Observation, Request
from sources.http import Client
from sources.pace import Pace

NOW = datetime(2025, 12, 19, 10, tzinfo=UTC)
WINDOW = Window(datetime(2025, 12, 1, tzinfo=UTC), datetime(2025, 12, 20, tzinfo=UTC))
TARGET = Target("btc", "PRICE", "btc")
DAY = "2025-12-18"
HEAD_END = b"\r\n\r\n"  # of an HTTP request or answer
PATIENCE = 10.0  # seconds; what has not come by then counts as missing


class Clock:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Let the time pass."""
        with self._lock:
            self.seconds += seconds


class RecordedPace(Pace):
    """Keeps the starts that it gives, since a server sees requests only when they arrive."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay)
        self.starts: list[float] = []

    def wait(self, *given: Any) -> float:
        """As its base class."""
        start = super().wait(*given)
        self.starts.append(start)
        return start


class Plain(BaseSource):
    """A source whose answers are lists of [date, value], and whose key stands wherever a key may stand."""

    name = "plain"
    REQUEST_DELAY = 0.0
    MAX_IN_FLIGHT = 8
    KEY_VARIABLE = "PLAIN_API_KEY"
    KEY_REQUIRED = False
    BASE_URL_VARIABLE = "PLAIN_BASE_URL"
    CONFIG = "plain_config.csv"
    METRICS: ClassVar[Mapping[str, Metric]] = {"PRICE": Metric("", frozenset(Verb))}

    @classmethod
    def history_start(cls, today: datetime) -> datetime:
        """Today."""
        return today

    def calls(self, verb: Verb, targets: Sequence[Target], window: Window) -> Iterator[Call]:
        """None: the tests make their own."""
        del verb, targets, window
        return iter(())

    def request(self, call: Call) -> Request:
        """The key in path, parameter and header."""
        key = f"/{quote(self.key, safe='')}" if self.key else ""
        return Request(f"{self.base_url}{key}/{call.path}", {"APIKey": self.key}, {"X-API-Key": self.key})

    def read(self, call: Call, payload: Any) -> Iterator[Observation]:
        """The rows for the first target."""
        for date, value in payload["rows"] if call.extract else payload:
            yield Observation(call.targets[0], date, value)


@dataclass(frozen=True)
class Reply:
    """All the bytes of an answer; no bytes are a dropped connection.

    `{path}` is replaced by the path of the request, which some servers repeat; Content-Length is then left out.
    """

    raw: bytes
    close: bool = False  # close the connection afterwards


def reply(body: bytes = b"[]", status: int = 200, length: int | None = None, **headers: str) -> Reply:
    """An answer; `length` may lie, header names have _ for -."""
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    lines = [f"HTTP/1.1 {status} Words", *(f"{name}: {text}" for name, text in named.items())]
    repeats = b"{path}" in body and length is None
    lines.append("Connection: close" if repeats else f"Content-Length: {len(body) if length is None else length}")
    raw = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    return Reply(raw, close=repeats or length is not None)


def rows(*values: object) -> Reply:
    """The good answer with these values."""
    return reply(json.dumps([[DAY, value] for value in values]).encode())


DROP = Reply(b"", close=True)
HTML: dict[str, Any] = {"Content_Type": "text/html; charset=utf-8"}
GOOD = rows(1.5)


class Wire:
    """Gives the replies one after the other, and then the last one again and again, to requests of any path."""

    def __init__(self, *replies: Reply, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.replies, self.clock = replies, clock
        self.starts: list[float] = []  # on the clock
        self.headers: list[Mapping[str, str]] = []
        self.connections = 0
        self.gate = threading.Event()  # requests after the first `free` wait for it
        self.free = 1_000_000
        self.arrived = threading.Condition()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.wire = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()

    def await_requests(self, number: int, patience: float = PATIENCE) -> bool:
        """Whether so many requests come in time."""
        with self.arrived:
            return self.arrived.wait_for(lambda: len(self.starts) >= number, patience)


@contextmanager
def sends(pieces: Callable[[], Iterable[bytes]], pause: float, *, greets: bool = False) -> Iterator[int]:
    """The port of a server that answers each request with these pieces, a pause between them, and then hangs up.

    With `greets` it waits for no request.
    """
    ended = threading.Event()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            request = HEAD_END if greets else b""
            while HEAD_END not in request and (more := self.request.recv(65536)):
                request += more
            with suppress(OSError):  # the client has hung up
                for number, piece in enumerate(pieces()):
                    if number and ended.wait(pause):
                        return
                    self.request.sendall(piece)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True).start()
        yield server.server_address[1]
        ended.set()
        server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    wire: Wire

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that closes its connection is not an error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = PATIENCE

    def setup(self) -> None:
        super().setup()
        cast("_Server", self.server).wire.connections += 1

    def do_GET(self) -> None:
        wire = cast("_Server", self.server).wire
        with wire.arrived:
            number = len(wire.starts)
            wire.starts.append(wire.clock())
            wire.headers.append(dict(self.headers.items()))
            wire.arrived.notify_all()
        if number >= wire.free:
            wire.gate.wait()
        answer = wire.replies[min(number, len(wire.replies) - 1)]
        self.wfile.write(answer.raw.replace(b"{path}", self.path.encode()))
        self.close_connection = answer.close

    def log_message(self, *_: object) -> None:
        """Nothing: `starts` and `headers` are the log."""


def call(path: str = "path", *extract: str) -> Call:
    """A call of the plain source."""
    return Call(path, (TARGET,), WINDOW, extract=extract)


def client(
    url: str,
    key: str = "",
    clock: Clock | None = None,
    source: type[BaseSource] = Plain,
    now: Callable[[], datetime] = lambda: NOW,
) -> Client:
    """A client on a clock of the tests."""
    clock = clock or Clock()
    return Client(source(key, url), threading.Event(), clock=clock, sleep=clock.sleep, now=now)


def real_time() -> datetime:
    """The time by which a server dates its answers."""
    return datetime.now(UTC)
