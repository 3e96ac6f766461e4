"""The lists of query_data: what is stored and configured, how complete and how new it is, and any query in SQL.

Each function returns a DataFrame; one that takes names raises BadQuestion for a name that it does not find.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.errors import BadQuestion
from model.settings import Settings
from query import frames, overview_frames
from query.query_session import SESSION, configs
from query.search import entries, matches
from query.time_arguments import window

if TYPE_CHECKING:
    import pandas as pd

    from query.time_arguments import When


def sources() -> pd.DataFrame:
    """The sources that have points, with their numbers of assets, metrics, series and points."""
    return overview_frames.sources(SESSION.names().every())


def assets(source: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The assets that have points of this metric, or of any: names from the configs, numbers of metrics and points."""
    return overview_frames.assets(SESSION.names().every(source, metric=metric), configs())


def metrics(source: str | None = None, asset: str | None = None) -> pd.DataFrame:
    """The metrics that have points of this asset, or of any: units where known, numbers of assets and points.

    `note` says if the API has deprecated a metric or changed its definition.
    """
    return overview_frames.metrics(SESSION.names().every(source, asset))


def search(text: str) -> pd.DataFrame:
    """The assets and metrics, stored or configured, that have this text in a name or in what is said of them.

    `matched` says where the text is: the name of the asset or metric itself, the name, entity or id of the config, the
    unit, or the note; `text` is what is written there. `points` counts what is stored. The best match is the first:
    names before units and notes, equal texts before longer ones. Where none has it, the most similar names are found.
    """
    if not isinstance(text, str) or not any(map(str.isalnum, text)):
        raise BadQuestion(f"{text!r} can't be searched: write a part of a name, such as uni")
    found = matches(text, entries(SESSION.names().every(), configs()))
    rows = [(*entry[:3], matched, said, entry.points) for entry, matched, said in found]
    columns = dict.fromkeys(("kind", "source", "name", "matched", "text"), object)
    return frames.table(rows, {**columns, "points": int})


def coverage(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """How many days up to yesterday are stored and missing, for each series that was ever requested.

    `days` are stored. The missing days since the first one are counted by their reason: `never` answered, `empty` at
    the API, `lost` here, or `refused`, because the API keeps giving points that can't be true. Days on which no point
    is expected do not count, such as the weekends of equities. `withdrawn` counts the stored days that the API no
    longer has, the last of them since `withdrawn_at`. `verified_at` is when the last settle began that has compared
    all answered days with the API; it is empty for series that exist only live.
    """
    return overview_frames.coverage(SESSION.reader(), SESSION.names().every(source, asset, metric), configs())


def freshness(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The age of each series that was ever requested or that a config has.

    `newest` is the time of its newest point, `age` how long ago that was, `answered` the last day for which the API
    answered, with data or without. `state` is fresh, quiet, awaited, stale or never seen, as `main.py status` counts
    them, or "not asked for" where no config has the series or its key is missing. `verified_at` and `withdrawn` are
    those of `coverage`.
    """
    return overview_frames.freshness(SESSION.reader(), SESSION.names().every(source, asset, metric), Settings.read())


def pulls(
    source: str | None = None, kind: str | None = None, status: str | None = None, last: int = 1000
) -> pd.DataFrame:
    """The last runs, the newest first, indexed by `pull_id`: see docs/tables.md."""
    return overview_frames.pulls(SESSION.reader(), SESSION.names().source(source), kind, status, last)


def revisions(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The values of closed days that were replaced: source, asset, metric, at, old, new, replaced_at, pull_id, reason.

    The reason is "sample" where a value observed while its day was open gave way to the first value of the closed day,
    "restated" where the API changed a closed day, "accepted" where a person accepted the change, or "unknown".
    """
    return overview_frames.revisions(SESSION.reader(), SESSION.names().every(source, asset, metric))


def flags(
    source: str | None = None, asset: str | None = None, metric: str | None = None, start: When = "90d"
) -> pd.DataFrame:
    """Odd values of closed days since `start`: source, asset, metric, rule, start, end, value, text.

    The rules: `flat`, the same value for a week; `zero`, a sudden zero; `jump`, undone on the next day; `drift`, away
    from another source. docs/sources.md explains them. Values are never changed.
    """
    since = window(start, None).start
    return overview_frames.flags(SESSION.reader(), SESSION.names().every(source, asset, metric), configs(), since)


def sql(query: str, params: Any = None) -> pd.DataFrame:
    """The rows of any query, with `%s` or `%(name)s` for its parameters; timestamps are UTC.

    It runs in a read-only transaction that is rolled back, so a mistake changes nothing. Against a hostile query,
    connect as a role that may only SELECT. Raises psycopg2.Error where PostgreSQL refuses the query.
    """
    found = SESSION.reader().table(query, params)
    if not found.names:
        raise BadQuestion("the statement returns no rows: write a query, such as SELECT")
    return frames.any_table(found)
