"""The steps of a fresh start: check the API, save to a file what a backfill cannot fetch again, clear the source."""

import threading
from contextlib import ExitStack, closing
from pathlib import Path

from db.archive import clear, save
from db.database import Database
from db.lock import SessionLock, place_of_run
from model.errors import CallFailed, SourceStopped
from model.values import Verb
from pipeline.plan import Job, make_plan
from sources.base import Call
from sources.http import Client, Stopped
from sources.pace import Pace


def check_api(job: Job, stop: threading.Event, pace: Pace) -> None:
    """Raise SourceStopped unless the API answers one of three calls of the job: the first, one in its middle, the last.

    Thus a wrong key, or an API that is down, is noticed before anything is cleared.
    """
    client, calls = Client(job.source, stop, pace), make_plan(job).calls
    failed: CallFailed | None = None
    try:
        for call in (calls[0], calls[len(calls) // 2], calls[-1]):
            try:
                _answer(client, call)
            except CallFailed as error:
                failed = error
            else:
                return
    except SourceStopped as error:
        raise SourceStopped(f"nothing was cleared: {error}") from error
    except Stopped:
        raise SourceStopped("nothing was cleared: the fresh start was stopped") from None
    finally:
        client.close()
        client.close_connections()
    raise SourceStopped(f"nothing was cleared: {failed}")


def _answer(client: Client, call: Call) -> None:
    """Make a call; if the API answers an error of its own, the first of the smaller calls that replace it."""
    try:
        client.answer(call)
    except CallFailed as error:
        pieces = client.pieces(call, error)
        if not pieces:
            raise
        _answer(client, pieces[0])


def clear_source(job: Job, database: Database, file: Path, stop: threading.Event, *, keep_all: bool) -> tuple[int, int]:
    """Save rows to the file and clear the source, while no run can start; returns the numbers of points and saved rows.

    The file gets what the job, a backfill, cannot fetch again: live values, series outside the job, days outside its
    window, days that the API no longer has or has not answered for lately, and revisions. `keep_all` saves all rows.
    Raises RunRefused, with nothing cleared, where a run of the source is under way.
    """
    with ExitStack() as locks:
        for verb in Verb:
            locks.enter_context(closing(SessionLock(database, place_of_run(job.source.name, verb), stop)))
        saved = save(database, job.source.name, () if keep_all else job.targets, job.window, file)
        return clear(database, job.source.name), saved
