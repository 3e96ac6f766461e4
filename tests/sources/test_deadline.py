"""Each try ends at its deadline, however slowly the other side sends and whatever it sends."""

import gc
import gzip
import itertools
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from model.errors import CallFailed, SourceStopped
from sources import http
from tests.waiting import until
from tests.wire import GOOD, Wire, call, client, sends

PAUSE = 0.02  # seconds between two pieces; each is in time for the timeout of a read
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def endless(piece: bytes) -> Iterable[bytes]:
    return itertools.repeat(piece)


def bytewise(text: bytes) -> Iterable[bytes]:
    return (bytes([each]) for each in text)


SLOW: dict[str, tuple[bytes, Iterable[bytes]]] = {
    "nothing": (b"", ()),
    "status": (b"HTTP/1.1 200 ", endless(b"O")),
    "header": (OK + b"X-Slow: ", endless(b"x")),
    "headers": (OK, endless(b"X: x\r\n")),
    "100 Continue": (b"", endless(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "body with a length": (OK + b"Content-Length: 1000000\r\n\r\n", endless(b" ")),
    "body without a length": (OK + b"Connection: close\r\n\r\n", endless(b" ")),
    "body in chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", endless(b"1\r\n \r\n")),
    "gzip": (
        OK + b"Content-Length: 100000\r\nContent-Encoding: gzip\r\n\r\n",
        bytewise(gzip.compress(os.urandom(100_000), 0)),
    ),
    "complete JSON, then spaces": (OK + b"Connection: close\r\n\r\n[]", endless(b" ")),
}


@contextmanager
def server(begin: bytes, pieces: Iterable[bytes], *, greets: bool = False) -> Iterator[str]:
    """The address of a server that sends the begin of an answer at once, then a piece now and then, and never ends."""
    with sends(lambda: itertools.chain([begin], pieces, endless(b"")), PAUSE, greets=greets) as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def _short_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_ANSWER", 0.2)


@pytest.mark.parametrize("kind", SLOW)
def test_an_answer_that_never_ends_is_given_up(kind: str) -> None:
    with server(*SLOW[kind]) as address, pytest.raises(CallFailed, match=r"no complete answer after .* \(5 tries\)$"):
        client(f"http://{address}").answer(call())


@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_a_tls_handshake_that_never_ends_is_given_up() -> None:
    """Python 3.11's ssl leaves a socket open that was broken off and reset just before its handshake."""
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # the begin of a message of 16 KB from the server
    with server(record, endless(b"\0"), greets=True) as address, pytest.raises(CallFailed, match="no complete answer"):
        client(f"https://{address}").answer(call())
    gc.collect()  # such a socket goes here, and not in the next test


def test_the_status_counts_where_only_the_words_of_an_error_do_not_end() -> None:
    refused = b"HTTP/1.1 401 No\r\nContent-Type: text/plain\r\nContent-Length: 300\r\n\r\n"
    with server(refused, endless(b"x")) as address, pytest.raises(SourceStopped, match="refuses the key"):
        client(f"http://{address}", "key").answer(call())


def test_the_next_try_has_a_connection_of_its_own_and_its_whole_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_ANSWER", 1.5)
    with Wire(GOOD) as wire:
        wire.free = 0

        def answer_the_second_try() -> None:
            wire.await_requests(2)
            wire.gate.set()

        threading.Thread(target=answer_the_second_try, daemon=True).start()
        one = client(wire.url)
        assert [point.value for point in one.answer(call()).points] == [1.5]
        assert (len(wire.starts), wire.connections) == (2, 2)
        one.close_connections()


def test_the_time_of_the_reader_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_ANSWER", 1.0)
    with Wire(GOOD) as wire:
        one = client(wire.url)
        one.get(call(), lambda *_: time.sleep(1.2))
        one.answer(call())
        assert wire.connections == 1  # a deadline that had passed would have broken off the first one
        one.close_connections()


def test_no_timer_outlives_its_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LONGEST_ANSWER", 300.0)
    with Wire(GOOD) as wire:
        client(wire.url).answer(call())
    until(lambda: not [each for each in threading.enumerate() if isinstance(each, threading.Timer)])
