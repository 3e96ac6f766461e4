"""A webhook on a real socket, which remembers what it receives and answers as a test wants."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self, cast


class Received(NamedTuple):
    """One request."""

    method: str
    path: str  # with its query
    title: str | None  # the header
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class WebhookServer:
    """Receives at `url` while the `with` block lasts; answers `status`, where `location` leads to. 0 is no answer."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.status, self.location = status, location
        self.received: list[Received] = []
        self.hung = 0  # requests without an answer
        self.refused = b""  # text of the bodies that are answered with HTTP 400
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.webhook = self
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/s3cret-t0ken?key=v4lue"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def titles(self) -> list[str]:
        """The titles of the messages that were taken, in the form json."""
        return [each.json["title"] for each in list(self.received)]


class _Server(ThreadingHTTPServer):
    webhook: WebhookServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        webhook = cast("_Server", self.server).webhook
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not webhook.status:
            webhook.hung += 1
            webhook.closing.wait()
            return
        status = 400 if webhook.refused and webhook.refused in body else webhook.status
        if status < 400:
            webhook.received.append(Received(self.command, self.path, self.headers["Title"], body))
        said = b"the path was " + self.path.encode()
        self.send_response(status)
        if webhook.location:
            self.send_header("Location", webhook.location)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing."""
