"""The table scheduler: its one row says which scheduler runs and what it is doing. Heartbeat keeps it up to date."""

import os
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from db import pulls
from db.database import Database
from db.session import KeptSession
from db.statements import T, fetch_one, in_transaction, read_statements

SQL = read_statements("heartbeat.sql")


class Beat(NamedTuple):
    """What a scheduler last wrote about itself."""

    host: str
    pid: int
    sources: list[str]  # those that it serves
    started_at: datetime
    beaten_at: datetime
    doing: str
    first_pull_id: int  # runs with a greater pull_id began after it started


class Heartbeat:
    """The row of this scheduler, and a session for its queries; thread-safe.

    The methods raise as Database.connect does, or DatabaseLost; after that, the next call opens a new session.
    """

    def __init__(self, database: Database, sources: Sequence[str], *, fresh: bool) -> None:
        """Enter this process as the scheduler; it must hold the place SCHEDULER of db.lock.

        `cleared` are the sources that were cleared since the first of the latest consecutive starts with `fresh`.
        """
        self._kept = KeptSession(database, "heartbeat")
        values = {"host": socket.gethostname(), "pid": os.getpid(), "sources": list(sources), "fresh": fresh}
        *beat, after = self.do(lambda cursor: fetch_one(cursor, SQL["start"], values))
        self.started = Beat._make(beat)
        self.cleared = self.do(lambda cursor: pulls.cleared(cursor, after))

    def beat(self, doing: str) -> datetime:
        """Write that the scheduler is alive and what it is doing; returns the time by the database's clock."""
        now: datetime = self.do(lambda cursor: fetch_one(cursor, SQL["beat"], {"doing": doing}))[0]
        return now

    def close(self) -> None:
        """End the session."""
        self._kept.close()

    def do(self, work: Callable[[Any], T]) -> T:
        """Do some work with a cursor, in a transaction of its own."""
        return self._kept.do_once(lambda session: in_transaction(session, work))


def last_beat(cursor: Any) -> tuple[datetime, Beat | None]:
    """The time, by the database's clock, and the row of the last scheduler; None if there never was one."""
    now, *beat = fetch_one(cursor, SQL["last"])
    return now, Beat._make(beat) if beat[0] else None
