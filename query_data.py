"""Stored values in a notebook, as pandas DataFrames: `import query_data as q; q.series("sol", "PRICE", "artemis")`."""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from db import revisions as known
from db.setup import Database, has_schema
from pipeline.errors import ConfigurationError
from pipeline.process import has_database
from pipeline.settings import DATABASE_URL, EMBEDDED_DIRECTORY, Settings
from sources.base import EARLIEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd
    from psycopg2.extensions import cursor as Cursor  # noqa: N812 (a class, under the name of a function)

    When = date | datetime | np.datetime64 | str | None  # a pandas Timestamp is a datetime

LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def series(
    asset: str, metric: str, source: str, start: When = None, end: When = None, as_of: When = None
) -> pd.DataFrame:
    """The points of one series in [start, end): a column `value`, under a sorted UTC DatetimeIndex `pulled_at`.

    With `as_of`, as they were known at that instant: restated values as they were then, and no point that had not
    been stored, or whose day was still open. Dates are midnights, times without a zone are UTC. Raises ValueError for
    what is no instant, ConfigurationError where the database can't be reached or nothing is stored yet.
    """
    import pandas as pd

    span = _instant(start) or EARLIEST, _instant(end) or LATEST
    with _cursor() as cursor:
        rows = known.values(cursor, source, asset, metric, *span, _instant(as_of))
    frame = pd.DataFrame(rows, columns=["pulled_at", "value"]).astype({"value": float})
    frame["pulled_at"] = pd.to_datetime(frame["pulled_at"], utc=True)
    frame = frame.set_index("pulled_at")
    frame.attrs = {"source": source, "asset": asset, "metric": metric, "as_of": as_of}
    return frame


def revisions(source: str, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The values of closed days that were replaced: asset, metric, at, old, new, replaced_at, pull_id; times in UTC."""
    import pandas as pd

    only = [asset] if asset else None, [metric] if metric else None
    with _cursor() as cursor:
        rows = known.revisions(cursor, source, *only)
    return pd.DataFrame(rows, columns=list(known.Revision._fields))


@contextmanager
def _cursor() -> Iterator[Cursor]:
    """A cursor on the database of the settings; none is made for a look."""
    settings, fill = Settings.read(), "python main.py backfill all"
    if not has_database(settings):
        raise ConfigurationError(f"nothing is stored yet: {fill}")
    with closing(Database(settings.get(DATABASE_URL), EMBEDDED_DIRECTORY)) as database:
        if not has_schema(database):
            raise ConfigurationError(f"nothing is stored yet, or by another version: {fill}")
        with closing(database.connect("query")) as session, session.cursor() as cursor:
            yield cursor


def _instant(when: When) -> datetime | None:
    """The aware UTC time that is meant; raises ValueError, saying what would be right, where it is none."""
    try:
        return None if when is None else _utc(when)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{when!r} is no instant: give a date, a datetime, a pandas Timestamp, a np.datetime64, or ISO 8601 text "
            "such as '2026-11-17T09:00'"
        ) from error


def _utc(at: object) -> datetime:
    """A date, a time or ISO 8601 text of one as an aware UTC time; raises ValueError for anything else."""
    import numpy as np
    import pandas as pd

    if isinstance(at, str):
        at = datetime.fromisoformat(at)
    if isinstance(at, np.datetime64):
        at = pd.Timestamp(at)
    if at is pd.NaT or not isinstance(at, date):  # NaT is a datetime, but no time
        raise ValueError(at)
    if isinstance(at, pd.Timestamp):
        at = at.to_pydatetime(warn=False)  # the database has no nanoseconds
    if not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day, tzinfo=UTC)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
