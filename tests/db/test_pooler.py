"""A connection pooler between the pipeline and PostgreSQL: refused unless it keeps sessions. Needs PgBouncer."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from tests.commands import environment, run
from tests.fake_api import FakeApi
from tests.tables import Rows
from tests.waiting import until

PGBOUNCER = shutil.which("pgbouncer")
BTC = "main.py backfill artemis --asset btc --metric PRICE --start 2026-01-01"
INI = """
[databases]
{dbname} = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


@pytest.fixture
def pooled(database_url: str) -> Iterator[Callable[[str], str]]:
    """A function that starts PgBouncer in this mode, and gives the URL of the test's database through it."""
    started = []

    def start(mode: str) -> str:
        parts = parse_dsn(database_url)
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        command = [PGBOUNCER or ""]
        if os.geteuid() == 0:  # PgBouncer refuses root; the owner of the server's folder may use its socket
            owner = Path(parts["host"]).stat().st_uid
            capable = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
            command = ["setpriv", f"--reuid={owner}", "--clear-groups", *capable, *command]
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
            file.write(INI.format(**parts, listen=port, mode=mode))
            file.flush()
            started.append(subprocess.Popen([*command, file.name], stderr=subprocess.DEVNULL))  # noqa: S603
            url = f"host=127.0.0.1 port={port} user={parts['user']} dbname={parts['dbname']}"
            until(lambda: _answers(url))
        return url

    yield start
    for process in started:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True


def settings(url: str) -> list[tuple[str, str]]:
    """All settings of the session that a program gets that uses the pool after us."""
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'application_name' ORDER BY name")
            return cursor.fetchall()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_does_not_keep_sessions_is_refused_and_left_as_it_was(
    mode: str, pooled: Callable[[str], str], rows: Rows
) -> None:
    url = pooled(mode)
    before = settings(url)
    with FakeApi() as api:
        done = run(BTC, env=environment(url, api))
        assert (done.returncode, len(api.requests)) == (2, 0)
    assert "connect to PostgreSQL directly, or to a pool in session mode" in done.stderr
    assert "Traceback" not in done.stderr
    assert (rows("SELECT FROM pulls"), settings(url)) == ([], before)
    assert rows("SELECT FROM pg_locks WHERE locktype = 'advisory'") == []


def test_a_pooler_that_keeps_sessions_serves(pooled: Callable[[str], str], rows: Rows) -> None:
    with FakeApi() as api:
        done = run(BTC, env=environment(pooled("session"), api))
    assert done.returncode == 0, done.stderr
    assert rows("SELECT count(*) > 100 FROM metrics") == [(True,)]
