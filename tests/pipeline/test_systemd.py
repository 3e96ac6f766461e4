"""What the service manager hears: real datagrams on a real socket, in the file system and out of it."""

import itertools
import logging
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.systemd import Notify

SOON = 20.0  # seconds, far more than a manager may be waited for
ABSTRACT = pytest.param("abstract", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them"))


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A service manager that listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        found.settimeout(SOON)
        yield found


@pytest.fixture(params=["path", ABSTRACT])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A NOTIFY_SOCKET of a kind."""
    return str(tmp_path / "notify") if request.param == "path" else f"@crypto-metrics-{uuid.uuid4()}"


def notify(address: str) -> Notify:
    return Notify({"NOTIFY_SOCKET": address})


def test_each_state_is_one_datagram_as_the_protocol_writes_it(address: str) -> None:
    with manager(address) as listening:
        told = notify(address)
        told.send("READY=1")
        told.send("STATUS=backfill defillama: 3 of 40 calls, 1,200 points · é")
        told.send("WATCHDOG=1")
        told.send("STOPPING=1")
        assert [listening.recv(4096).decode() for _ in range(4)] == [
            "READY=1",
            "STATUS=backfill defillama: 3 of 40 calls, 1,200 points · é",
            "WATCHDOG=1",
            "STOPPING=1",
        ]


def test_no_child_gets_the_address(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with manager(address) as listening:
        told = Notify()
        program = "import os; print('NOTIFY_SOCKET' in os.environ)"
        child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
        assert child.stdout == "False\n"
        told.send("READY=1")
        assert listening.recv(4096) == b"READY=1"


def test_without_a_manager_nothing_is_said_and_nothing_ends(caplog: pytest.LogCaptureFixture) -> None:
    environment: MutableMapping[str, str] = {"HOME": "/root"}
    told = Notify(environment)
    told.send("READY=1")
    told.send("STATUS=idle")
    assert (told.watchdog, environment, caplog.records) == (None, {"HOME": "/root"}, [])


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "180000000"}, 180.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": ""}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
    ],
    ids=[
        "none", "for anybody", "for us", "for another", "for no pid", "pid alone", "empty", "a word", "negative",
    ],
)  # fmt: skip
def test_the_watchdog_is_read_where_it_is_meant_for_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert Notify(environment).watchdog == seconds


def test_a_manager_that_is_gone_is_told_once_and_ends_nothing(address: str, caplog: pytest.LogCaptureFixture) -> None:
    with manager(address) as listening:
        told = notify(address)
        told.send("READY=1")
        assert listening.recv(4096) == b"READY=1"
    for _ in range(3):
        told.send("WATCHDOG=1")
    told.send("STOPPING=1")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the service manager cannot be reached: [Errno 111]")


def test_a_manager_that_comes_back_is_told_again(address: str) -> None:
    told = notify(address)
    told.send("READY=1")
    with manager(address) as listening:
        told.send("WATCHDOG=1")
        assert listening.recv(4096) == b"WATCHDOG=1"


def test_an_address_that_no_socket_can_have_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    told = notify("/" + "x" * 200)
    told.send("READY=1")
    assert [record.getMessage() for record in caplog.records] == [
        "the service manager cannot be reached: AF_UNIX path too long"
    ]


def test_a_manager_that_does_not_listen_holds_nobody_up(address: str, caplog: pytest.LogCaptureFixture) -> None:
    pool = ThreadPoolExecutor(1)
    with manager(address):
        told = notify(address)
        try:
            for sent in itertools.count():
                pool.submit(told.send, "WATCHDOG=1").result(SOON)
                if caplog.records:
                    break
                assert sent < 100_000  # far more than a socket's queue holds
        finally:
            pool.shutdown(wait=False)
    assert [record.getMessage() for record in caplog.records] == ["the service manager cannot be reached: timed out"]
