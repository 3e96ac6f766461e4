"""The embedded server on a port of loopback: real servers, and logins as other tools make them."""

import logging
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pytest

from db.database import Database
from db.embedded import EmbeddedServer
from db.listening import PASSWORD_FILE, password_of
from tests.db.test_embedded import ask, home, postmaster, servers
from tests.waiting import until

__all__ = ["home"]  # a fixture


@pytest.fixture
def port() -> int:
    """A port that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    return number


@pytest.fixture
def held(home: Path) -> Iterator[ExitStack]:
    """Releases the servers of a test at its end."""
    del home  # which must outlive the servers
    with ExitStack() as stack:
        yield stack


def start(held: ExitStack, home: Path, port: int = 0) -> EmbeddedServer:
    server = EmbeddedServer(home, port)
    held.callback(server.release)
    return server


def login(port: int, password: str) -> str:
    return f"host=127.0.0.1 port={port} user=metrics dbname=metrics password='{password}'"


def test_unless_it_is_asked_for_nothing_listens_and_no_password_exists(held: ExitStack, home: Path) -> None:
    server = start(held, home)
    assert not server.listens
    assert ask(server.dsn, "SHOW listen_addresses") == [("",)]
    assert not (home / PASSWORD_FILE).exists()
    assert ask(server.dsn, "SELECT rolpassword FROM pg_authid WHERE rolname = 'metrics'") == [(None,)]


def test_it_listens_on_loopback_for_those_who_know_the_password(held: ExitStack, home: Path, port: int) -> None:
    server = start(held, home, port)
    password = password_of(home)
    assert server.listens
    assert len(password) == 32
    assert stat.S_IMODE((home / PASSWORD_FILE).stat().st_mode) == 0o600
    assert ask(login(port, password), "SELECT 1") == [(1,)]
    assert ask(server.dsn, "SELECT 1") == [(1,)]  # the socket, without a password
    assert ask(server.dsn, "SHOW listen_addresses") == [("127.0.0.1",)]
    for wrong in ("", "wrong"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            ask(login(port, wrong), "SELECT 1")


def test_processes_with_and_without_the_setting_share_the_server_and_the_last_one_stops_it(
    held: ExitStack, home: Path, port: int
) -> None:
    first = start(held, home, port)
    second = start(held, home)
    assert ask(second.dsn, "SELECT 1") == [(1,)]
    first.release()
    assert ask(login(port, password_of(home)), "SELECT 1") == [(1,)]
    second.release()
    assert servers(home) == []


def test_where_others_have_started_it_without_a_port_a_warning_says_so(
    held: ExitStack, home: Path, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = start(held, home)
    with caplog.at_level(logging.WARNING):
        assert not start(held, home, port).listens
    assert [f"runs without EMBEDDED_PORT={port}: first end all" in line for line in caplog.messages] == [True]
    assert ask(first.dsn, "SELECT 1") == [(1,)]


def test_the_password_outlives_the_server_also_one_that_was_killed(held: ExitStack, home: Path, port: int) -> None:
    start(held, home, port)
    password = password_of(home)
    os.kill(postmaster(home), signal.SIGKILL)
    until(lambda: servers(home) == [])
    again = start(held, home, port)
    assert password_of(home) == password
    assert ask(login(port, password), "SELECT 1") == ask(again.dsn, "SELECT 1") == [(1,)]


def test_without_its_file_the_next_process_makes_another_password(held: ExitStack, home: Path, port: int) -> None:
    start(held, home, port)
    (home / PASSWORD_FILE).unlink()  # as if a process had been killed before it wrote the file
    start(held, home, port)
    assert ask(login(port, password_of(home)), "SELECT 1") == [(1,)]


def test_where_other_programs_use_the_port_it_runs_without_one_and_a_warning_says_so(
    held: ExitStack, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, caplog.at_level(logging.WARNING):
        server = start(held, home, used := other.getsockname()[1])
    assert not server.listens
    assert ask(server.dsn, "SHOW listen_addresses") == [("",)]
    why = "Address already in use: choose another port"
    assert caplog.messages == [f"the embedded database runs without EMBEDDED_PORT={used}: {why}"]


def test_the_url_is_that_of_the_port_where_it_listens_and_that_of_the_socket_otherwise(
    held: ExitStack, home: Path, port: int
) -> None:
    database = Database("", home, port)
    held.callback(database.close)
    url = database.url(with_password=True)
    assert url == f"postgresql://metrics:{password_of(home)}@127.0.0.1:{port}/metrics"
    assert ask(url, "SELECT 1") == [(1,)]
    assert database.url() == f"postgresql://metrics@127.0.0.1:{port}/metrics"
    database.close()
    other = Database("", home)
    held.callback(other.close)
    assert "127.0.0.1" not in other.url()
    assert ask(other.url(), "SELECT 1") == [(1,)]
