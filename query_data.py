"""Stored values in a notebook, as pandas DataFrames: `import query_data as q; q.series("sol", "PRICE")`.

Values come under a UTC DatetimeIndex `pulled_at`, sorted and unique; nothing is filled in, summed or averaged. Dates
are midnights, times without a zone are UTC, windows are half-open: [start, end). Names are found whatever their case;
where an asset is asked for, the `entity` of the configs works too. `frame.attrs` says as text what was asked for, and
what it was found to mean. With `as_of`, values are as they were known at that instant: those restated since as they
were then, and no point that had not been stored, or whose day was still open. With `daily=True` there is one point a
day, dated at its midnight, of the days whose midnights lie in the window: where times are the API's own, the last of
the day.

What can't be answered raises BadQuestion, a ValueError, that says what would be right; a database that can't be reached
ConfigurationError. One read-only session is kept open; the functions may be called from several threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import points as ask
from model.errors import BadQuestion
from model.settings import Settings
from model.values import midnight
from query.dates import instant, window
from query.query_session import QuerySession, configs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    from matplotlib.axes import Axes

    from query.dates import When

CHUNK = 200_000  # points

_session = QuerySession()


def series(
    asset: str,
    metric: str,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
) -> pd.DataFrame:
    """The points of one series in [start, end): a column `value`."""
    from query import frames

    span, then = window(start, end), instant(as_of)
    found = [_session.names().one(asset, metric, source)]
    points = frames.points(_session.reader(), found, span, then, daily=daily)
    asked = {"asset": asset, "metric": metric, "source": source, "start": start, "end": end}
    return frames.described(frames.one(points), found, then, asked)


def panel(
    metric: str,
    assets: str | Iterable[str] | None = None,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
) -> pd.DataFrame:
    """One metric of many assets of one source, of all that have it unless told: a column for each asset."""
    from query import frames

    span, then, named = window(start, end), instant(as_of), _listed(assets)
    found = _session.names().many(metric, named, source)
    points = frames.points(_session.reader(), found, span, then, daily=daily)
    made = frames.wide(points, [each.asset for each in found], "asset")
    asked = {"metric": metric, "assets": named, "source": source, "start": start, "end": end}
    return frames.described(made, found, then, asked)


def frame(
    asset: str,
    metrics: str | Iterable[str] | None = None,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
) -> pd.DataFrame:
    """Many metrics of one asset of one source, all of them unless told: a column for each metric."""
    from query import frames

    span, then, named = window(start, end), instant(as_of), _listed(metrics)
    found = _session.names().of_asset(asset, named, source)
    points = frames.points(_session.reader(), found, span, then, daily=daily)
    made = frames.wide(points, [each.metric for each in found], "metric")
    asked = {"asset": asset, "metrics": named, "source": source, "start": start, "end": end}
    return frames.described(made, found, then, asked)


def compare(
    entity: str,
    metric: str | Iterable[str],
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
) -> pd.DataFrame:
    """The same thing in all sources that have the metric of it: a column for each source and series.

    Where sources call the metric otherwise, give all its names: `compare("solana", ["TVL", "CHAIN_TVL"])`; where they
    have other times, `daily=True` lets the days meet.
    """
    from query import frames

    span, then, named = window(start, end), instant(as_of), _listed(metric) or []
    found = _session.names().of_entity(entity, named)
    points = frames.points(_session.reader(), found, span, then, daily=daily)
    made = frames.wide(points, [str(each) for each in found], "series")
    return frames.described(made, found, then, {"entity": entity, "metric": named, "start": start, "end": end})


def latest(
    metric: str, assets: str | Iterable[str] | None = None, source: str | None = None, as_of: When = None
) -> pd.DataFrame:
    """The newest value of a metric of each asset of one source: columns `value` and `pulled_at`, by asset."""
    from query import frames

    then, named = instant(as_of), _listed(assets)
    found = _session.names().many(metric, named, source)
    rows = _session.reader().rows(*ask.latest(found, then))
    made = frames.by_asset((found[number].asset, value, at) for number, at, value in rows)
    return frames.described(made, found, then, {"metric": metric, "assets": named, "source": source})


def cross_section(metric: str, date: When, source: str | None = None, as_of: When = None) -> pd.DataFrame:
    """The values of a metric on one UTC day, of every asset of one source: columns `value` and `pulled_at`, by asset.

    Of several points of the day the last, as with daily=True.
    """
    from query import frames

    at, then = instant(date), instant(as_of)
    if at is None:
        raise BadQuestion("no date is given: say which day is meant")
    one = _session.names().many(metric, None, source)[0]._replace(asset="")
    made = frames.on_day(_session.reader(), one.source, one.metric, midnight(at), then)
    return frames.described(made, [one], then, {"metric": metric, "date": date, "source": source})


def chunks(
    metric: str,
    assets: str | Iterable[str] | None = None,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
) -> Iterator[pd.DataFrame]:
    """What a panel would hold, however much it is, as frames of some 200,000 rows: `asset`, `metric`, `value`."""
    from query import frames

    span, then, named = window(start, end), instant(as_of), _listed(assets)
    found = _session.names().many(metric, named, source)
    asked = {"metric": metric, "assets": named, "source": source, "start": start, "end": end}
    for batch in _session.batches(found, CHUNK):
        made = frames.long(frames.points(_session.reader(), batch, span, then), batch)
        yield frames.described(made, batch, then, asked)


def sources() -> pd.DataFrame:
    """The sources that have points: number of assets, metrics, series and points of each."""
    from query import overviews

    return overviews.sources(_session.names().every())


def assets(source: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The assets that have points, of this metric if told: what the configs call each, its metrics and points."""
    from query import overviews

    return overviews.assets(_session.names().every(source, metric=metric), configs())


def metrics(source: str | None = None, asset: str | None = None) -> pd.DataFrame:
    """The metrics that have points, of this asset if told: the unit of each as far as it is known, assets, points."""
    from query import overviews

    return overviews.metrics(_session.names().every(source, asset))


def coverage(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """What is there of each series that was ever asked for, in days before today.

    `days` are stored; of those since the first one, so many were `never` asked for, `empty` (the API had nothing) or
    `lost` on our side. Days on which such a series has no point, as weekends of equities, are none of them.
    """
    from query import overviews

    return overviews.coverage(_session.reader(), _session.names().every(source, asset, metric), configs())


def freshness(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """How old each series is that was ever asked for or that a config has.

    `newest` is the time of its newest point, `age` how long ago that was, `answered` the last day that the API has
    answered for, with data or without. `state` is fresh, quiet, awaited, stale or never seen, as `main.py status`
    counts; or not asked for, where no config has the series or its key is missing.
    """
    from query import overviews

    return overviews.freshness(_session.reader(), _session.names().every(source, asset, metric), Settings.read())


def pulls(
    source: str | None = None, kind: str | None = None, status: str | None = None, last: int = 1000
) -> pd.DataFrame:
    """The last so many runs, the newest first, under their `pull_id`: see the table `pulls` in README."""
    from query import overviews

    return overviews.pulls(_session.reader(), _session.names().source(source), kind, status, last)


def revisions(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The values of closed days that were replaced: source, asset, metric, at, old, new, replaced_at, pull_id."""
    from query import overviews

    return overviews.revisions(_session.reader(), _session.names().every(source, asset, metric))


def sql(query: str, params: Any = None) -> pd.DataFrame:
    """The rows of any query, with `%s` or `%(name)s` for its parameters; timestamps are UTC.

    It runs in a transaction that only reads and is rolled back: a slip changes nothing. Against intent, connect as a
    role that may only SELECT. Raises psycopg2.Error where PostgreSQL refuses it.
    """
    from query import frames

    found = _session.reader().table(query, params)
    if not found.names:
        raise BadQuestion("the statement gives no rows: write a query")
    return frames.any_table(found)


def plot(
    data: pd.DataFrame | pd.Series,
    *,
    log: bool = False,
    title: str | None = None,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a frame of this module over its dates, a line for each column; the axes, to go on with.

    Amounts are shown as 1.5M or 2bn with the unit that the metric has. pandas keeps `attrs` through arithmetic: of a
    ratio or a change, say the `unit` ("" for a plain number, "%") and the `title`.
    """
    from query import plots

    return plots.plot(data, log=log, title=title, unit=unit, ax=ax)


def _listed(names: str | Iterable[str] | None) -> list[str] | None:
    if names is None or isinstance(names, str):
        return None if names is None else [names]
    try:
        return list(names)
    except TypeError:
        raise BadQuestion(f"{names!r} is neither a name nor a list of names") from None
