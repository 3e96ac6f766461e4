"""The embedded database: a PostgreSQL server in a directory of ours, shared by any number of processes.

`<directory>/data` holds the cluster, its socket and `server.log`. Beside it are two files that processes flock. Whoever
locks `gate` may start or stop the server. All users of the server hold a shared lock on `holders`; whoever gets an
exclusive lock on it is the last user, and stops the server. The kernel drops both locks even after `kill -9`. A killed
process does not stop the server: it runs until the next user leaves.
"""

import atexit
import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import time
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path

import psycopg2

from db import listening
from db.postgres_programs import REMEDY, START_SECONDS, Account, complaint, program_directories, programs_for
from model.errors import ConfigurationError
from model.files import sync_folder

log = logging.getLogger(__name__)

NAME = "metrics"  # the database, its superuser and the stem of socket directories
PORT = 5432  # part of the socket's file name; nothing listens on TCP, unless it is asked for
UPGRADED = "data.upgraded"  # complete, and only to be renamed: see db/embedded_upgrade.py
SOCKET = f".s.PGSQL.{PORT}"
ANSWER_SECONDS = 60  # how long to wait for a server that runs but does not answer
GATE_SECONDS = 10  # how long a process that leaves waits for the gate
POLL_SECONDS = 0.02
READY, REFUSING, SILENT, ABSENT = range(4)  # the server accepts sessions, refuses them, hangs, or does not run
SERVER_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_min_error_statement": "fatal",  # a failed statement may contain many rows, and its client reports it anyway
}


class EmbeddedServer:
    """A PostgreSQL server in a directory of ours, running for as long as any process holds it."""

    def __init__(self, directory: Path, port: int = 0, gate: FileIO | None = None) -> None:
        """Start the server or attach to it, until release() or the end of the process.

        With a `port`, the server also listens on it, on loopback: see db.listening. If that port is in use, or others
        have started the server without it, a warning says so. A caller that has locked the gate gives it here. Raises
        ConfigurationError if no server can run in `directory`.
        """
        self.directory = directory = directory.resolve()
        self._port = port
        self.version = self._refusal = ""
        self._data = directory / "data"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with _at_gate(directory, START_SECONDS, gate) as gate:
                finish_upgrade(directory)
                self._account = Account(self._data)
                self._sockets = _socket_directory(self._data, self._account.uid)
                self._programs = program_directories()
                self.dsn = f"host='{_text(self._sockets)}' port={PORT} user={NAME} dbname={NAME}"
                self._holder = lock(directory / "holders", fcntl.LOCK_SH, 0)
                try:
                    self._start_or_attach(gate)
                    self.listens = bool(self._port) and listening.ensure_password(self.dsn, directory, NAME, port)
                except BaseException:
                    self._leave(gate)
                    raise
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(
                f"the embedded database can't run in {directory}: {error}: make that directory usable {REMEDY}"
            ) from error
        if self._port and not self.listens:
            log.warning("the embedded database runs without EMBEDDED_PORT=%d: first end all that uses it", port)
        atexit.register(self.release)

    def release(self, gate: FileIO | None = None) -> None:
        """Leave the server; the last one to leave stops it. Further calls do nothing."""
        atexit.unregister(self.release)
        if self._holder.closed:
            return
        try:
            with _at_gate(self.directory, GATE_SECONDS, gate) as gate:
                self._leave(gate)
        except (OSError, subprocess.TimeoutExpired, ConfigurationError) as error:
            # A process that holds the gate that long is starting the server for its own use, and will stop it.
            log.warning("left the embedded database in %s running: %s", self.directory, error)
        finally:
            self._holder.close()

    def _leave(self, gate: FileIO) -> None:
        self._holder.close()  # not unlocked: a forked child shares the lock, and still needs it
        try:
            last = lock(self.directory / "holders", fcntl.LOCK_EX, 0)
        except TimeoutError:
            log.debug("others still hold the embedded database in %s", self.directory)
            return
        with last:
            # pg_ctl stops the process in the pid file; if no server answers, that pid may belong to another program.
            if self._state() not in (READY, REFUSING):
                return
            self._account.reach(self._programs[0] / "postgres", self._data)
            # pg_ctl inherits the gate: even if we are killed, no process attaches to a server that is about to stop.
            pg_ctl = (self._programs[0] / "pg_ctl", "stop", "-m", "fast", "-w", "-t", "60")
            result = self._account.run(*pg_ctl, data=self._data, gate=gate)
            if result.returncode:
                log.warning("PostgreSQL in %s did not stop: %s", self.directory, complaint(result.stdout))
            elif self._sockets != self._data:
                shutil.rmtree(self._sockets)

    def _start_or_attach(self, gate: FileIO) -> None:
        began = time.monotonic()
        while (state := self._state()) != READY:
            # The child processes of a killed server end a little later, and two servers must not share the files.
            pids = _server_processes(self._data)
            if state == ABSENT and not pids and self._start(gate):
                continue
            soon = re.search("starting up|shutting down|recovery", self._refusal)
            if time.monotonic() - began > (START_SECONDS if soon else ANSWER_SECONDS):
                remedy = f"end its processes ({', '.join(map(str, pids))})" if pids else "end its server process"
                raise ConfigurationError(
                    f"the embedded database in {self.directory} does not answer"
                    f"{self._refusal and f' ({self._refusal})'}: {remedy}, {REMEDY}"
                )
            time.sleep(POLL_SECONDS)

    def _state(self) -> int:
        if not _listens(self._sockets):
            return ABSENT
        try:
            session = psycopg2.connect(self.dsn, connect_timeout=3)
        except psycopg2.OperationalError as error:  # a message from a server begins with FATAL
            said = " ".join(str(error).split())
            self._refusal = said if "FATAL" in said else ""
            return REFUSING if self._refusal else SILENT
        self.version = str(session.get_parameter_status("server_version")).split()[0]
        session.close()
        return READY

    def _start(self, gate: FileIO) -> bool:
        """Start a server; False while another one is still stopping or starting."""
        programs = programs_for(self._data, self._programs)
        if not (self._data / "PG_VERSION").exists():
            self._create(programs, gate)
        self._account.reach(programs / "postgres", self._data)
        self._make_socket_directory()
        for stale in (self._data / "postmaster.pid", self._sockets / SOCKET, *self._sockets.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
        server_log = self._data / "server.log"
        if server_log.exists() and server_log.stat().st_size > 1_000_000:
            server_log.replace(self._data / "server.log.1")
        logged_before = server_log.stat().st_size if server_log.exists() else 0
        settings = {**SERVER_SETTINGS, "unix_socket_directories": str(self._sockets)}
        if self._port:
            settings |= listening.server_settings(self._port)
            self._account.give(listening.write_rules(self._data))
            if self._port != PORT:  # the server names its socket by its one port; others look for the usual name
                (self._sockets / SOCKET).symlink_to(f".s.PGSQL.{self._port}")
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        # pg_ctl puts paths into a shell command, in double quotes, so it gets ours as PGDATA and a relative log file.
        pg_ctl = (programs / "pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-l", "server.log")
        # If we are killed, the shell holds the gate until pg_ctl has ended. The server itself must not inherit it.
        keep = ("sh", "-c", '"$@" </dev/null; exit $?', "sh")
        result = self._account.run(*keep, *pg_ctl, "-o", options, data=self._data, gate=gate)
        if result.returncode == 0:
            return True
        logged = server_log.read_bytes()[logged_before:].decode("utf-8", "replace") if server_log.exists() else ""
        reason = complaint(logged or result.stdout)
        if "still in use" in reason or "already exists" in reason:
            return False
        if self._port and (bound := re.search("could not bind IPv4 address .*?: (.*)", logged)):
            log.warning(
                "the embedded database runs without EMBEDDED_PORT=%d: %s: choose another port", self._port, bound[1]
            )
            self._port = 0
            return False
        raise ConfigurationError(f"PostgreSQL did not start in {self.directory}: {reason}")

    def _create(self, programs: Path, gate: FileIO) -> None:
        """Create the cluster under another name, so that `data` is either complete or absent."""
        fresh = self.directory / "data.new"
        if fresh.exists():
            shutil.rmtree(fresh)
        fresh.mkdir(mode=0o700)
        self._account.give(fresh)
        self._account.reach(programs / "postgres", fresh)
        initdb = (programs / "initdb", "-U", NAME, "-A", "trust", "-E", "UTF8", "--locale=C")
        single = ("sh", "-c", f'echo CREATE DATABASE {NAME} | "$0" --single postgres', programs / "postgres")
        for command in (initdb, single):
            # Both commands inherit the gate: even if we are killed, no other process starts before they have ended.
            result = self._account.run(*command, data=fresh, gate=gate)
            if result.returncode or "ERROR:" in result.stdout:
                shutil.rmtree(fresh)
                reason = complaint(result.stdout)
                raise ConfigurationError(f"PostgreSQL could not create a database in {self.directory}: {reason}")
        fresh.rename(self._data)
        sync_folder(self.directory)

    def _make_socket_directory(self) -> None:
        if self._sockets == self._data:
            return
        with contextlib.suppress(FileExistsError):
            self._sockets.mkdir(mode=0o700)
            self._account.give(self._sockets)
        found = self._sockets.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != self._account.uid or found.st_mode & 0o077:
            raise ConfigurationError(f"{self._sockets} is not a private folder of uid {self._account.uid}: remove it")


def finish_upgrade(directory: Path) -> None:
    """Put the data of an upgrade in its place, if it was killed after it had moved the old data away."""
    upgraded = directory / UPGRADED
    if upgraded.exists() and not (directory / "data").exists():
        upgraded.rename(directory / "data")
        sync_folder(directory)


def server_runs(data: Path) -> bool:
    """Whether a server runs in a data directory, also one that no process holds."""
    return data.exists() and (_listens(_socket_directory(data, Account(data).uid)) or bool(_server_processes(data)))


def _at_gate(directory: Path, seconds: float, held: FileIO | None) -> AbstractContextManager[FileIO]:
    """The locked gate until the end of the block, or the one that the caller holds, which stays locked."""
    return contextlib.nullcontext(held) if held else lock(directory / "gate", fcntl.LOCK_EX, seconds)


def lock(path: Path, mode: int, seconds: float) -> FileIO:
    """Open a file and flock it; closing it releases the lock. Raises TimeoutError after so many seconds."""
    file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    deadline = time.monotonic() + seconds
    try:
        while True:
            try:
                fcntl.flock(file, mode | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"another process has held {path} for {seconds} seconds") from None
                time.sleep(POLL_SECONDS)
            else:
                return file
    except BaseException:
        file.close()
        raise


def _socket_directory(data: Path, uid: int) -> Path:
    # The path of a socket may have at most 103 bytes on macOS, and 107 on Linux. In a DSN and in
    # unix_socket_directories, commas, quotes and some other characters have a meaning.
    if len(os.fsencode(data / SOCKET)) <= 103 and re.fullmatch(r"[\w /.+=:~-]+", _text(data)):
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    return Path(f"/tmp/{NAME}-{uid}-{digest}")  # noqa: S108 - its owner is checked, and $TMPDIR may be long


def _listens(sockets: Path) -> bool:
    """Whether a process listens on the socket in a folder."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        # The kernel refuses the connection only if no process listens, not if a server is too busy to answer.
        return probe.connect_ex(os.fsencode(sockets / SOCKET)) not in (errno.ECONNREFUSED, errno.ENOENT)


def _text(path: Path) -> str:
    """The path as UTF-8 text, which is the same in every process, whatever its locale."""
    return os.fsencode(path).decode("utf-8", "replace")


def _server_processes(data: Path) -> list[int]:
    """The PostgreSQL processes that run in `data`; without /proc none are found, and PostgreSQL's own check decides."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            program = (process / "exe").readlink().name
            if program.startswith("postgres") and (process / "cwd").readlink() == data:
                found.append(int(process.name))
    return found
