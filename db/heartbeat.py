"""What the scheduler tells of itself, and what pulls tells it: on a session of its own."""

import os
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from db.setup import Database, aware, naive, plain_errors
from pipeline.errors import ConfigurationError, DatabaseLost
from pipeline.schedule import Duty, History, Try, slot_of

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
        *beat, after = self._do(lambda cursor: _one(cursor, START, values))
        self._beat = _beat(beat)
        self.cleared = self._do(lambda cursor: frozenset(name for (name,) in _all(cursor, CLEARED, {"after": after})))

    def beat(self, doing: str) -> datetime:
        """Say that the scheduler lives, and what it is doing; the time, by the clock that dates all runs."""
        (now,) = self._do(lambda cursor: _one(cursor, BEAT, {"doing": doing}))
        return aware(now)

    def history(self, duties: Sequence[Duty], now: datetime) -> History:
        """The runs for the latest slot of each duty."""
        self._do(lambda cursor: disown(cursor, duties, now))
        return self._do(lambda cursor: history(cursor, duties, now, self._beat.started_at, self._beat.first_pull_id))

    def refuse(self, duty: Duty, slot: datetime, failure: str) -> None:
        """Record a run that could not even begin."""
        values = {"source": duty.source, "kind": duty.verb.value, "slot": naive(slot), "failure": failure}
        self._do(lambda cursor: cursor.execute(REFUSE, values))

    def close(self) -> None:
        """End the session."""
        if self._session:
            self._session.close()

    def _do(self, work: Callable[[Any], T]) -> T:
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


def disown(cursor: Any, duties: Sequence[Duty], now: datetime) -> None:
    """Take their slots from runs that are dated after now, by a clock that was ahead: the slots are still to come."""
    cursor.execute(DISOWN, {"sources": sorted({duty.source for duty in duties}), "now": naive(now)})


def history(cursor: Any, duties: Sequence[Duty], now: datetime, started: datetime, first_pull_id: int) -> History:
    """The runs for the latest slot of each duty of a scheduler that started then."""
    sources = sorted({duty.source for duty in duties})
    first_runs = {name: aware(at) for name, at in _all(cursor, FIRST_RUNS, {"sources": sources}) if at}
    slots = [(duty, slot_of(duty, now, started, first_runs.get(duty.source))) for duty in duties]
    wanted = [(duty, slot) for duty, slot in slots if slot is not None]
    values = {
        "sources": [duty.source for duty, _ in wanted],
        "kinds": [duty.verb.value for duty, _ in wanted],
        "slots": [naive(slot) for _, slot in wanted],
        "first_pull_id": first_pull_id,
    }
    tries: dict[tuple[Duty, datetime], list[Try]] = {}
    for number, ended, done, ours in _all(cursor, TRIES, values):
        tries.setdefault(wanted[number - 1], []).append(Try(aware(ended) if ended else None, done, ours))
    return History(started, first_runs, tries)


def _one(cursor: Any, statement: str, values: Any) -> tuple[Any, ...]:
    (row,) = _all(cursor, statement, values)
    return row


def _all(cursor: Any, statement: str, values: Any) -> list[tuple[Any, ...]]:
    cursor.execute(statement, values)
    return list(cursor)


def _beat(row: Iterable[Any]) -> Beat:
    host, pid, sources, started_at, beaten_at, doing, first_pull_id = row
    return Beat(host, pid, sources, aware(started_at), aware(beaten_at), doing, first_pull_id)
