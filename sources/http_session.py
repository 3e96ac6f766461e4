"""The connections of one thread, which another thread can break off, whatever they are waiting for."""

import ssl
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from socket import SHUT_RDWR, socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from model.background import start

UNKNOWN_NAME = "the name of the server is not known"
FAILURES: dict[type[BaseException], str] = {  # by the innermost error, the narrower ones first
    NameResolutionError: UNKNOWN_NAME,
    NewConnectionError: "no connection",
    ConnectTimeoutError: "no connection in time",
    ReadTimeoutError: "no answer in time",
    ssl.SSLError: "no encrypted connection",
    ProtocolError: "the connection broke off",
}


class HttpSession(requests.Session):
    """Sends the requests of one thread. Once `break_off` was called, its request and all later ones fail.

    Returns a redirect as the answer; to follow it, requests would read its whole body, of any size.
    """

    def __init__(self) -> None:
        super().__init__()
        self.broken_off = False
        self._connections: weakref.WeakSet[_Connection] = weakref.WeakSet()
        self._changing = threading.Lock()
        for prefix in ("http://", "https://"):
            self.mount(prefix, _Adapter(self._opened))

    def close(self) -> None:
        """Close all connections."""
        super().close()
        for connection in list(self._connections):
            connection.forget_socket()

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: no redirect is followed."""

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Break off what the block waits for once so many seconds have passed.

        While it connects, each address of the host still takes its timeout, since there is no connection to break off.
        """
        for connection in [each for each in self._connections if each.sock is None]:  # its last answer has ended, too
            connection.forget_socket()
        timer = threading.Timer(seconds, self.break_off)
        timer.daemon = True
        start(timer)
        try:
            yield
        finally:
            timer.cancel()

    def break_off(self) -> None:
        """End every wait for the other side: for its handshake, its headers, its body. Any thread may call this."""
        with self._changing:
            self.broken_off = True
            for connection in self._connections:
                connection.break_off()

    def _opened(self, connection: "_Connection") -> None:
        with self._changing:
            self._connections.add(connection)
            if self.broken_off:
                connection.break_off()


class _Connection(HTTPConnection):
    """Keeps a second handle of its socket, since during a TLS handshake only ssl has the first one."""

    def __init__(self, *given: Any, opened: Callable[["_Connection"], None], **options: Any) -> None:
        super().__init__(*given, **options)
        self._opened = opened
        self._handle: socket | None = None

    def _new_conn(self) -> socket:
        made = super()._new_conn()
        self._handle = made.dup()
        weakref.finalize(self, self._handle.close)
        self._opened(self)
        return made

    def break_off(self) -> None:
        """End what waits for the socket."""
        if self._handle is not None:
            with suppress(OSError):  # the other side has closed it
                self._handle.shutdown(SHUT_RDWR)

    def forget_socket(self) -> None:
        """Close the second handle. `close` leaves it open: an answer is read on after that, if it ends with it."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _TlsConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Adapter(HTTPAdapter):
    """Makes connections that can be broken off, also to a proxy."""

    def __init__(self, opened: Callable[[_Connection], None]) -> None:
        super().__init__()
        self._opened = opened

    def get_connection_with_tls_context(self, *given: Any, **options: Any) -> Any:
        """The pool of connections to the host of a request."""
        pool: Any = super().get_connection_with_tls_context(*given, **options)
        pool.ConnectionCls = partial(_TlsConnection if pool.scheme == "https" else _Connection, opened=self._opened)
        return pool


def failure_text(error: Exception) -> str:
    """Why a request failed, without the URL that requests writes into its messages."""
    cause: BaseException = error
    while isinstance(
        inner := getattr(cause, "reason", None) or next(iter(getattr(cause, "args", ())), None), Exception
    ):
        cause = inner
    for kind, text in FAILURES.items():
        if isinstance(cause, kind):
            near = (cause, *cause.args, cause.__cause__)
            said = next((each.strerror for each in near if isinstance(each, OSError)), None)
            return f"{text} ({said})" if said and text != UNKNOWN_NAME else text
    return type(error).__name__ if cause is error else f"{type(error).__name__}, {type(cause).__name__}"
