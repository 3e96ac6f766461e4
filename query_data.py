"""Stored values in a notebook, as pandas DataFrames: `import query_data as q; q.series("sol", "PRICE", "artemis")`."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from db import revisions as known
from db.setup import Database
from pipeline.settings import DATABASE_URL, EMBEDDED_DIRECTORY, Settings
from sources.base import EARLIEST

if TYPE_CHECKING:
    import pandas as pd

When = date | datetime | str | None
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


def series(
    asset: str, metric: str, source: str, start: When = None, end: When = None, as_of: When = None
) -> pd.DataFrame:
    """The points of one series in [start, end): a column `value`, under a sorted UTC DatetimeIndex `pulled_at`.

    With `as_of`, as they were known at that instant: restated values as they were then, and no point that had not
    been stored, or whose day was still open. Dates are midnights, times without a zone are UTC. Raises ValueError for
    what is no date, ConfigurationError where the database can't be reached.
    """
    import pandas as pd

    span = _instant(start) or EARLIEST, _instant(end) or LATEST
    with closing(_database()) as database, closing(database.connect("query")) as session, session.cursor() as cursor:
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
    with closing(_database()) as database, closing(database.connect("query")) as session, session.cursor() as cursor:
        rows = known.revisions(cursor, source, *only)
    return pd.DataFrame(rows, columns=list(known.Revision._fields))


def _database() -> Database:
    return Database(Settings.read().get(DATABASE_URL), EMBEDDED_DIRECTORY)


def _instant(when: When) -> datetime | None:
    """A date, a time or ISO 8601 text of one as an aware UTC time."""
    if when is None:
        return None
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    if not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day, tzinfo=UTC)
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
