"""Locks between processes. A place is a name that one process at a time can hold: a run's, or the scheduler's."""

import threading
import time
import zlib
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import psycopg2

from db.database import Database, alive, session_name
from db.heartbeat import Beat
from db.session import plain_errors
from db.statements import Connection, Cursor, fetch, fetch_one, read_statements
from model.errors import DatabaseLost, RunRefused, SchedulerRefused

SQL = read_statements("lock.sql")
PLACES = 0x6372_7972  # the first key of the advisory locks of places
SCHEDULER = "scheduler"  # the place that the one scheduler of a database holds
RELEASE_SECONDS = 10.0  # how long the server may take to notice that a session of ours has ended
RELEASE_PAUSE = 0.5  # seconds between two attempts


class Sessions(NamedTuple):
    """Which processes have a session for a place, and since when the server has been running."""

    another: bool  # another process than the one that wrote the beat has a session, and that one has none
    server_started: datetime


def place_of_run(source: str, verb: str) -> str:
    """The place that a run of a source and kind holds, such as "pull artemis"."""
    return f"{verb} {source}"


def is_held(cursor: Cursor, place: str) -> bool:
    """Whether any process holds a place."""
    return bool(holders_of(cursor, lock_keys(place)))


def holders_of(cursor: Cursor, keys: tuple[int, int]) -> list[tuple[int, str, str]]:
    """The sessions that hold the advisory lock with these keys: the server's process, name, and since when it is open.

    Other roles can't see since when.
    """
    return [(pid, name, since) for pid, name, since in fetch(cursor, SQL["holder"], keys)]


def lock_keys(place: str) -> tuple[int, int]:
    """The keys of the advisory lock of a place."""
    return PLACES, zlib.crc32(place.encode()) & 0x7FFF_FFFF


def sessions(cursor: Cursor, place: str, beat: Beat | None) -> Sessions:
    """Which processes have a session for a place, compared with the process that wrote the last beat."""
    whose, _, _ = session_name(place, 0, "").rpartition(" ")
    names, started = zip(*fetch(cursor, SQL["sessions"], (f"{whose} %",)), strict=True)
    own = session_name(place, beat.pid, beat.host) if beat else None
    return Sessions(any(names) and own not in names, started[0])


class SessionLock:
    """A place, held by an advisory lock on a session of its own, which ends with its process; thread-safe."""

    def __init__(self, database: Database, place: str, stop: threading.Event | None = None) -> None:
        """Take the place, named as in "another pull artemis is running"; raises as `take` does."""
        self._database, self._place = database, place
        self._stop = stop or threading.Event()
        self._turn = threading.Lock()
        self._session: Connection | None = None
        self._pid = -1  # of the server's process for the session; kept when the session was lost
        self.take()

    def take(self) -> None:
        """Take the place; if this object already holds it, check the session, and take it again if that was lost.

        Raises RunRefused, naming the holder, if another process holds it; DatabaseAway or DatabaseLost if the database
        does not answer.
        """
        with self._turn:
            if self._session:
                if alive(self._session):
                    return
                self._database.reopen()
            self._session = self._database.connect(self._place)
            self._session.autocommit = True
            with plain_errors(self._session, self._database), self._session.cursor() as cursor:
                former, self._pid = self._pid, self._session.info.backend_pid
                deadline = time.monotonic() + RELEASE_SECONDS
                while fetch_one(cursor, SQL["try_lock"], lock_keys(self._place)) != (True,):
                    holders = holders_of(cursor, lock_keys(self._place))
                    late = time.monotonic() > deadline
                    if not holders and not late:  # another process released it after our attempt
                        continue
                    pid, name, since = holders[0] if holders else (0, "another session", "just now")
                    if pid != former or late:
                        self._session.close()
                        refused = SchedulerRefused if self._place == SCHEDULER else RunRefused
                        raise refused(f"another {self._place} is running: {name}, since {since}")
                    # Our own lost session still holds it: the server has not noticed its end yet.
                    if self._stop.is_set():
                        self._session.close()
                        raise DatabaseLost(
                            f"{self._database} still holds our lost session, and the program was stopped"
                        )
                    self._stop.wait(RELEASE_PAUSE)

    def close(self) -> None:
        """Release the place at once by an unlock: the server might notice the end of the session only later."""
        if self._session:
            with suppress(psycopg2.Error):  # a session that is lost holds no place
                self._session.cursor().execute(SQL["unlock"], lock_keys(self._place))
            self._session.close()
