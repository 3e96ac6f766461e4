"""The socket: both APIs on one loopback port, with latency, limits, faults and a log of requests."""

import dataclasses
import gzip
import os
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.fake_api import artemis, defillama
from tests.fake_api.answer import Answer, error, ok, plain
from tests.fake_api.faults import ECHO, SPOILED, Options, RateLimit, fault, fault_answer
from tests.fake_api.world import SHIPPED, Universe, World

ARTEMIS_KEY = "key-9f31c7"
LOG_PATH = "/_fake/requests"
GZIP_FROM = 500  # bytes


@dataclasses.dataclass(slots=True)
class Request:
    """One request in the log; `path` and `query` are without keys, `status` is 0 where no answer was sent."""

    start: float  # time.monotonic()
    path: str
    query: str
    attempt: int  # 1 for the first request of this path and query
    status: int = 0
    fault: str | None = None


class FakeApi:
    """Both APIs on http://127.0.0.1:PORT while the `with` block lasts; keywords are the fields of Options."""

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        self.options = dataclasses.replace(options or Options(), **changes)
        shipped = [file for file in SHIPPED if file.exists()] if self.options.shipped else []
        self.world = World(self.options.now, self.options.restated, Universe([*shipped, *self.options.universe]))
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self.limit = RateLimit(self.options)
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()
        self._server = _Server(("127.0.0.1", self.options.port), _Handler)
        self._server.api = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """The variables that send a program here; a key of Artemis only if the environment has none."""
        found = {"ARTEMIS_BASE_URL": f"{self.url}/artemis", "DEFILLAMA_BASE_URL": f"{self.url}/llama"}
        return found if os.environ.get("ARTEMIS_API_KEY") else found | {"ARTEMIS_API_KEY": ARTEMIS_KEY}

    def max_in_any_second(self) -> int:
        """The largest number of requests that started within one second, wherever it begins."""
        starts = sorted(request.start for request in list(self.requests))
        most = first = 0
        for last, start in enumerate(starts):
            while start - starts[first] >= 1:
                first += 1
            most = max(most, last - first + 1)
        return most

    def register(self, path: str, query: str) -> Request:
        """Write a request into the log."""
        start = time.monotonic()
        with self._lock:
            self._attempts[f"{path}?{query}"] += 1
            request = Request(start, path, query, self._attempts[f"{path}?{query}"])
            self.requests.append(request)
        return request

    def accepts(self, api: str, key: str | None) -> bool:
        """Whether an API takes this key."""
        keys = self.options.artemis_key if api == "artemis" else self.options.defillama_key
        return keys is None or key in ((keys,) if isinstance(keys, str) else keys)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    api: FakeApi

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """End the connections that are kept alive, too."""
        super().server_close()
        for request in list(self._open):
            self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error; anything else is a bug of the fake and prints its traceback."""
        if not isinstance(sys.exception(), ConnectionError) and not self.api.closing.is_set():
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    error_content_type = "text/plain"

    def do_GET(self) -> None:
        api = cast("_Server", self.server).api
        parts = urlsplit(self.path)
        if parts.path == LOG_PATH:
            self._send(ok([dataclasses.asdict(request) for request in list(api.requests)]))
            return
        segments = [unquote(part) for part in parts.path.split("/") if part]
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        place = _place_of_llama_key(segments)
        key = segments.pop(place) if place else None
        shown = urlencode([pair for pair in pairs if pair[0].lower() != "apikey"], safe=",:")
        request = api.register("/" + "/".join(segments), shown)
        refusal = api.limit.refusal()
        if refusal is None:
            request.fault = fault(api.options, f"{request.path}?{request.query}", request.attempt)
        api.closing.wait(api.options.latency)
        if refusal is not None:
            self._finish(request, refusal)
        elif request.fault is None or request.fault in SPOILED:
            self._finish(request, self._answer(api, segments, dict(pairs), key))
        elif request.fault == ECHO:
            self._finish(request, plain(400, f"Bad request: {self.path}"))
        else:
            self._finish(request, fault_answer(request.fault))

    def _answer(self, api: FakeApi, segments: list[str], query: dict[str, str], key: str | None) -> Answer:
        """The true answer."""
        if segments[:1] == ["artemis"]:
            shown = [self.headers.get("X-API-Key")]
            if segments[1:2] == ["data"]:
                shown.append(query.get("APIKey"))
            if not all(api.accepts("artemis", key) for key in shown):
                return error(401, {"error": "Invalid API key"})
            bad = frozenset(symbol.lower() for symbol in api.options.bad_symbols)
            return artemis.answer(api.world, segments[1:], query, bad, api.options.most_series)
        if segments[:1] != ["llama"]:
            return plain(404, "404 page not found\n")
        if key is not None and not api.accepts("defillama", key):
            return plain(api.options.key_status, "Invalid API key")
        if key is not None and segments == ["llama", "usage"]:
            return ok({"creditsLeft": api.options.credits_left})
        return defillama.answer(api.world, segments[1:], query, key)

    def _finish(self, request: Request, answer: Answer) -> None:
        """Send the answer, or what a fault leaves of it."""
        if request.fault in {"drop", "hang"}:
            if request.fault == "hang":
                api = cast("_Server", self.server).api
                api.closing.wait(api.options.hang)
            self.close_connection = True
            return
        request.status = answer.status
        if request.fault == "cut-json":
            answer = dataclasses.replace(answer, body=answer.body[: len(answer.body) // 2])
        self._send(answer, truncate=request.fault == "truncate")

    def _send(self, answer: Answer, *, truncate: bool = False) -> None:
        body = answer.body
        zipped = len(body) >= GZIP_FROM and "gzip" in self.headers.get("Accept-Encoding", "")
        if zipped:
            body = gzip.compress(body, compresslevel=1)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        if zipped:
            self.send_header("Content-Encoding", "gzip")
        for name, words in answer.headers.items():
            self.send_header(name, words)
        self.end_headers()
        if truncate:
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)

    def version_string(self) -> str:
        """The Server header."""
        return "cloudflare"

    def log_message(self, *_: object) -> None:
        """The log is FakeApi.requests; stderr stays quiet."""


def _place_of_llama_key(segments: list[str]) -> int:
    """Where the key stands in /llama/KEY/family/… or /llama/usage/KEY; 0 if there is none."""
    match segments:
        case ["llama", "usage", _]:
            return 2
        case ["llama", first, *_] if first not in (*defillama.FAMILIES, "usage"):
            return 1
    return 0
