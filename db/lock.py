"""Places that one process at a time can hold: that of the run of a source and kind, that of the scheduler."""

import threading
import time
import zlib

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from db.setup import Database, alive, reason
from model.errors import DatabaseLost, RunRefused

PLACES = 0x6372_7972  # the first key of the advisory locks of places
SCHEDULER = "scheduler"  # the place that the one scheduler of a database holds
RELEASE_SECONDS = 10.0  # how long the server may take to see that a session of ours has ended
RELEASE_PAUSE = 0.5  # seconds between two tries

TRY_LOCK = "SELECT pg_try_advisory_lock(%s, %s)"
UNLOCK = "SELECT pg_advisory_unlock(%s, %s)"
HOLDER = """
SELECT pid, application_name, coalesce(  -- no other role may see when a session began
    to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS UTC'), 'an unknown time'
)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2 AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def place_of_run(source: str, verb: str) -> str:
    """The place that a run of a source and kind holds, such as "pull artemis"."""
    return f"{verb} {source}"


def is_held(cursor: Cursor, place: str) -> bool:
    """Whether any process holds a place."""
    cursor.execute(HOLDER, _keys(place))
    return cursor.fetchone() is not None


def _keys(place: str) -> tuple[int, int]:
    return PLACES, zlib.crc32(place.encode()) & 0x7FFF_FFFF


class SessionLock:
    """A place, taken by a lock on a session of its own, which dies with its process; thread-safe."""

    def __init__(self, database: Database, place: str, stop: threading.Event | None = None) -> None:
        """Take the place, called as in "another pull artemis is running"; raises as `take` does."""
        self._database, self._what = database, place
        self._stop = stop or threading.Event()
        self._turn = threading.Lock()
        self._keys = _keys(place)
        self._session: Connection | None = None
        self._pid = -1  # of the server's process for it, known after its end
        self.take()

    def take(self) -> None:
        """Take the place, or make sure of it after the database went away.

        Raises RunRefused, naming the holder, where it is taken; DatabaseAway or DatabaseLost where none can tell.
        """
        with self._turn:
            if self._session:
                if alive(self._session):
                    return
                self._database.reopen()
            try:
                self._take()
            except psycopg2.Error as error:
                raise DatabaseLost(f"{self._database}: {reason(error)}") from error

    def _take(self) -> None:
        self._session = self._database.connect(self._what)
        self._session.autocommit = True
        former, self._pid = self._pid, self._session.info.backend_pid
        deadline = time.monotonic() + RELEASE_SECONDS
        with self._session.cursor() as cursor:
            while not self._free(cursor):
                cursor.execute(HOLDER, self._keys)
                pid, name, since = cursor.fetchone() or (0, "another session", "just now")
                if pid != former or time.monotonic() > deadline:
                    self._session.close()
                    raise RunRefused(f"another {self._what} is running: {name}, since {since}")
                if self._stop.is_set():
                    self._session.close()
                    raise DatabaseLost(f"{self._database} still holds a session that it has lost, and we are to stop")
                self._stop.wait(RELEASE_PAUSE)  # our own former session, which the server has yet to bury

    def _free(self, cursor: Cursor) -> bool:
        cursor.execute(TRY_LOCK, self._keys)
        return cursor.fetchone() == (True,)

    def close(self) -> None:
        """Give the place up; at once, where the server would take a while to see that the session has ended."""
        if self._session and alive(self._session):
            self._session.cursor().execute(UNLOCK, self._keys)
        if self._session:
            self._session.close()
