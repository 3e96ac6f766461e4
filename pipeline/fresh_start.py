"""A fresh start that loses nothing: all is checked and kept before anything is cleared."""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

from db.archive import clear, save
from db.lock import SessionLock, place_of_run
from db.setup import Database
from model.errors import CallFailed, SourceStopped
from model.values import Verb
from pipeline.plan import Job, make_plan
from sources.http import Client, Stopped
from sources.pace import Pace


def fresh(
    jobs: Sequence[Job],
    database: Database,
    stop: threading.Event,
    *,
    folder: Path,
    now: datetime,
    keep_all: bool,
    confirm: Callable[[], bool],
    pace: Callable[[Job], Pace],
    tell: Callable[[str], None],
    refill: Callable[[Job], int],
) -> int:
    """Clear what is stored of each job's source and refill it by the job, a backfill; the highest exit code of these.

    Before that the API of every source must have answered, and what the refills do not bring back (live values,
    other series, days out of their windows, what the API has no more or has not answered for of late, revisions),
    with `keep_all` everything, must be in a file in `folder`.
    Raises ConfigurationError, SourceStopped or RunRefused with nothing cleared of that source.
    """
    if not jobs:
        return 0
    for job in jobs:
        _probe(job, stop, pace(job))
    kept = {job: folder / f"{job.source.name}-{now:%Y%m%dT%H%M%SZ}.csv.gz" for job in jobs}
    for job, file in kept.items():
        rows = save(database, job.source.name, () if keep_all else job.targets, job.window, file)
        tell(f"{job.source.name}: {rows:,} rows {_what(keep_all)} are kept in {file}")
    if not confirm():
        tell("nothing was cleared")
        return 1
    codes = [0]
    for job, file in kept.items():
        if stop.is_set():
            tell(f"{job.source.name}: not cleared")
            return 1
        with ExitStack() as places:  # no run comes between what is kept and what is cleared
            for verb in Verb:
                places.enter_context(closing(SessionLock(database, place_of_run(job.source.name, verb), stop)))
            rows = save(database, job.source.name, () if keep_all else job.targets, job.window, file)
            cleared = clear(database, job.source.name)
        tell(f"{job.source.name}: {cleared:,} points cleared; {rows:,} rows kept: python main.py restore {file}")
        codes.append(refill(job))
    return max(codes)


def _what(keep_all: bool) -> str:
    return "of all kinds" if keep_all else "that can't be fetched again"


def _probe(job: Job, stop: threading.Event, pace: Pace) -> None:
    """See that the API answers and takes the key: the first call of the job does, one in its middle, or the last."""
    client, calls = Client(job.source, stop, pace), make_plan(job).calls
    failed: CallFailed | None = None
    try:
        for call in (calls[0], calls[len(calls) // 2], calls[-1]):
            try:
                client.answer(call)
            except CallFailed as error:
                failed = error
            else:
                return
    except SourceStopped as error:
        raise SourceStopped(f"nothing was cleared: {error}") from error
    except Stopped:
        raise SourceStopped("nothing was cleared: stopped") from None
    finally:
        client.close()
        client.hang_up()
    raise SourceStopped(f"nothing was cleared: {failed}")
