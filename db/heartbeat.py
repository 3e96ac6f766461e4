"""What the scheduler tells of itself, and what pulls tells it: on a session of its own."""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from db.setup import Database, aware, naive, plain_errors
from model.errors import ConfigurationError, DatabaseLost

T = TypeVar("T")

# The fresh start that --fresh asks for is made once: by the first of the starts in a row that ask for it. `fresh_after`
# is the last run before that one, so that what has been cleared since then is not cleared again.
START = """
INSERT INTO scheduler AS old (host, pid, sources, started_at, beaten_at, doing, first_pull_id, fresh_after)
SELECT %(host)s, %(pid)s, %(sources)s, at, at, 'starting', last, CASE WHEN %(fresh)s THEN last END
FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at, coalesce((SELECT max(pull_id) FROM pulls), 0) AS last) AS now
ON CONFLICT (only_row) DO UPDATE SET host = excluded.host, pid = excluded.pid, sources = excluded.sources,
    started_at = excluded.started_at, beaten_at = excluded.beaten_at, doing = excluded.doing,
    first_pull_id = excluded.first_pull_id,
    fresh_after = CASE WHEN %(fresh)s THEN coalesce(old.fresh_after, excluded.fresh_after) END
RETURNING host, pid, sources, started_at, beaten_at, doing, first_pull_id, fresh_after
"""
BEAT = """
UPDATE scheduler SET beaten_at = clock_timestamp() AT TIME ZONE 'UTC', doing = %(doing)s
RETURNING clock_timestamp() AT TIME ZONE 'UTC'
"""
LAST = """
SELECT clock_timestamp() AT TIME ZONE 'UTC', host, pid, sources, started_at, beaten_at, doing, first_pull_id
FROM (VALUES (1)) AS always LEFT JOIN scheduler ON true
"""
CLEARED = "SELECT DISTINCT source_name FROM pulls WHERE kind = 'fresh' AND pull_id > %(after)s"
FIRST_RUNS = """
SELECT source, (SELECT pulled_at FROM pulls WHERE source_name = source ORDER BY pulled_at LIMIT 1)
FROM unnest(%(sources)s::text[]) AS source
"""
DISOWN = """
UPDATE pulls SET slot = NULL
WHERE source_name = ANY(%(sources)s) AND pulled_at > %(now)s::timestamp + interval '5 min' AND slot IS NOT NULL
"""
TRIES = """
SELECT number, finished_at, finished_at IS NOT NULL AND status <> 'error' AND NOT EXISTS (
    SELECT FROM pulls AS fresh
    WHERE (fresh.source_name, fresh.kind) = (run.source_name, 'fresh') AND fresh.pull_id > run.pull_id
), pull_id > %(first_pull_id)s
FROM unnest(%(sources)s::text[], %(kinds)s::text[], %(slots)s::timestamp[])
    WITH ORDINALITY AS wanted (source, kind, slot, number)
JOIN pulls AS run ON (run.source_name, run.kind, run.slot) = (wanted.source, wanted.kind, wanted.slot)
ORDER BY pull_id
"""
REFUSE = """
INSERT INTO pulls (source_name, kind, slot, status, finished_at, calls, failed_calls, failure)
VALUES (%(source)s, %(kind)s, %(slot)s, 'error', now(), 0, 0, %(failure)s)
"""


class Beat(NamedTuple):
    """What a scheduler has told of itself last."""

    host: str
    pid: int
    sources: list[str]  # that it serves
    started_at: datetime
    beaten_at: datetime
    doing: str
    first_pull_id: int  # runs with greater ones were begun since it started


class Heartbeat:
    """The scheduler's row, and its look at pulls; thread-safe. Raises as Database.connect does, and DatabaseLost."""

    def __init__(self, database: Database, sources: Sequence[str], *, fresh: bool) -> None:
        """Enter this process as the scheduler, which whoever does so must hold the place of.

        `cleared` are the sources that an earlier start in this row of starts with `fresh` has cleared already.
        """
        self._database = database
        self._session: Any = None
        self._turn = threading.Lock()
        values = {"host": socket.gethostname(), "pid": os.getpid(), "sources": list(sources), "fresh": fresh}
        *beat, after = self.do(lambda cursor: _one(cursor, START, values))
        self.started = _beat(beat)
        self.cleared = self.do(lambda cursor: frozenset(name for (name,) in _all(cursor, CLEARED, {"after": after})))

    def beat(self, doing: str) -> datetime:
        """Say that the scheduler lives, and what it is doing; the time, by the clock that dates all runs."""
        (now,) = self.do(lambda cursor: _one(cursor, BEAT, {"doing": doing}))
        return aware(now)

    def refuse(self, source: str, kind: str, slot: datetime, failure: str) -> None:
        """Record a run of a slot that could not even begin."""
        values = {"source": source, "kind": kind, "slot": naive(slot), "failure": failure}
        self.do(lambda cursor: cursor.execute(REFUSE, values))

    def close(self) -> None:
        """End the session."""
        if self._session:
            self._session.close()

    def do(self, work: Callable[[Any], T]) -> T:
        """Do some work with a cursor, in a transaction of its own, on a new session where the last one was lost."""
        with self._turn:
            try:
                if self._session is None:
                    self._session = self._database.connect("heartbeat")
                with plain_errors(self._session, self._database), self._session, self._session.cursor() as cursor:
                    return work(cursor)
            except (DatabaseLost, ConfigurationError):
                self.close()
                self._session = None
                raise


def last_beat(cursor: Any) -> tuple[datetime, Beat | None]:
    """The time, by the database's clock, and what the last scheduler has told; None where there never was one."""
    now, *beat = _one(cursor, LAST, {})
    return aware(now), _beat(beat) if beat[0] else None


def disown(cursor: Any, sources: Sequence[str], now: datetime) -> None:
    """Take their slots from runs that a clock which was ahead has dated after now: these slots are still to come."""
    cursor.execute(DISOWN, {"sources": list(sources), "now": naive(now)})


def first_runs(cursor: Any, sources: Sequence[str]) -> dict[str, datetime]:
    """When the first run of each of these sources began; nothing for a source that never had one."""
    return {name: aware(at) for name, at in _all(cursor, FIRST_RUNS, {"sources": list(sources)}) if at}


def tries(
    cursor: Any, slots: Sequence[tuple[str, str, datetime]], first_pull_id: int
) -> list[tuple[int, datetime | None, bool, bool]]:
    """The runs for these slots (source, kind, slot), in the order in which they began.

    Each row is the index of the slot, when the run ended (None while it runs, or where it was killed), whether nothing
    of it failed and nothing was cleared since, and whether its pull_id is greater than `first_pull_id`.
    """
    values = {
        "sources": [source for source, _, _ in slots],
        "kinds": [kind for _, kind, _ in slots],
        "slots": [naive(slot) for _, _, slot in slots],
        "first_pull_id": first_pull_id,
    }
    return [
        (number - 1, ended and aware(ended), done, ours) for number, ended, done, ours in _all(cursor, TRIES, values)
    ]


def _one(cursor: Any, statement: str, values: Any) -> tuple[Any, ...]:
    (row,) = _all(cursor, statement, values)
    return row


def _all(cursor: Any, statement: str, values: Any) -> list[tuple[Any, ...]]:
    cursor.execute(statement, values)
    return list(cursor)


def _beat(row: Iterable[Any]) -> Beat:
    host, pid, sources, started_at, beaten_at, doing, first_pull_id = row
    return Beat(host, pid, sources, aware(started_at), aware(beaten_at), doing, first_pull_id)
