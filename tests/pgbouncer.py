"""PgBouncer, a connection pooler, between the tests and their PostgreSQL."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn

from tests.waiting import until

PGBOUNCER = shutil.which("pgbouncer")  # None where it is not installed
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


@contextmanager
def pooled(database_url: str, mode: str) -> Iterator[str]:
    """Run PgBouncer in this mode until the end of the block; gives the URL of the database through it."""
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
        process = subprocess.Popen([*command, file.name], stderr=subprocess.DEVNULL)  # noqa: S603 - our own file
        try:
            url = f"host=127.0.0.1 port={port} user={parts['user']} dbname={parts['dbname']}"
            until(lambda: answers(url))
            yield url
        finally:
            process.terminate()
            process.wait()


def answers(url: str) -> bool:
    """Whether a session can be opened."""
    try:
        psycopg2.connect(url).close()
    except psycopg2.OperationalError:
        return False
    return True
