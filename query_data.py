"""Stored values in a notebook, as pandas DataFrames: `import query_data as q; q.series("sol", "PRICE")`.

Points have a sorted UTC DatetimeIndex `pulled_at`; nothing is filled in, summed or averaged. Names may be in upper or
lower case, and the `entity` of an asset in the configs is a name of it, too. `frame.attrs` has the arguments as text,
the series found, and their unit.

A time is text such as "2026-11-17", "2026-11-17T09:00", "2026-11", "2026" or "30d" (30 days ago), or a date, a
datetime, a pandas Timestamp or a np.datetime64. A date means its midnight, and a time without a zone is UTC. A window,
[start, end), does not contain its end.

With `as_of`, a frame has what was known at that instant: the old value where a value was restated later, and no point
that was stored later or whose day was still open. With `lag`, each point is as it was known so long after the end of
its day, as a backtest needs it. A point that was not known by then, or that is not yet so old, is left out.

`known_at=True` adds a column that says since when `as_of` shows the value. It is NaT if other hands have written the
value, and the coming midnight for a value of today. `withdrawn=True` marks values of days that the provider no longer
has; `frame.attrs["withdrawn"]` names these days in any case. A frame with a column for each series then has two levels
of columns: `frame["value"]` and `frame["known_at"]`.

With `daily=True`, each day whose midnight lies in the window has at
most one point, dated at that midnight; where points have their own times, it is the last point of the day.

A wrong argument raises BadQuestion, a ValueError, whose message says what to change. A database that can't be reached
raises ConfigurationError. All calls share one read-only session, and any thread may make them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import compress
from typing import TYPE_CHECKING, Any

import pandas as pd

from db.reader import EXTRAS
from model.errors import BadQuestion
from model.settings import Settings
from model.values import Series, Window, midnight
from query import frames, overview_frames, vintage_frames
from query.csv_and_json import newest_of_each
from query.query_session import QuerySession, configs
from query.question import MICROSECOND, Question, portions, withdrawn_texts
from query.series_names import Names
from query.time_arguments import instant, lag_of, past_instant, window
from query.vintages import need_vintages

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from query.time_arguments import Lag, When

__all__ = [
    "BadQuestion",
    "assets",
    "chunks",
    "compare",
    "coverage",
    "cross_section",
    "finality",
    "first_release",
    "flags",
    "frame",
    "freshness",
    "latest",
    "metrics",
    "panel",
    "plot",
    "pulls",
    "revisions",
    "series",
    "sources",
    "sql",
    "vintages",
]

CHUNK = 200_000  # points

_session = QuerySession()


def __dir__() -> list[str]:
    return __all__


def series(
    asset: str,
    metric: str,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
    lag: Lag = None,
    known_at: bool = False,
    withdrawn: bool = False,
) -> pd.DataFrame:
    """The points of one series in [start, end), in a column `value`.

    Args:
        asset: its name in a config or in the table, or its entity: "sol", "solana".
        metric: such as "PRICE"; metrics() lists them with their units. Values are in the unit of the API: dollars, a
            share in percent, or a count. `frame.attrs["unit"]` names it.
        source: "artemis" or "defillama"; needed only where both have the series.
        start, end: times, see the top of this module; None for no limit.
        as_of: a time; the values as they were known then. None for those known now.
        daily: at most one point a day, dated at midnight.
        lag: "3d", "12h" or a timedelta; each point as it was known so long after the end of its day.
        known_at, withdrawn: add these columns, see the top of this module.

    >>> q.series("sol", "PRICE", start="30d")

    To join two series, name their columns: `pd.concat({"sol": sol["value"], "eth": eth["value"]}, axis=1)`; or ask for
    both at once with panel(), frame() or compare().
    """
    question = _question(
        lambda names: names.many(metric, [asset], source), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    return _frame(question, None, asset=asset, metric=metric, source=source, start=start, end=end)


def panel(
    metric: str,
    assets: str | Iterable[str] | None = None,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
    lag: Lag = None,
    known_at: bool = False,
    withdrawn: bool = False,
) -> pd.DataFrame:
    """One metric of one source for these assets, or for all that have it, with a column for each asset."""
    named = _listed(assets)
    question = _question(
        lambda names: names.many(metric, named, source), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    return _frame(question, "asset", metric=metric, assets=named, source=source, start=start, end=end)


def frame(
    asset: str,
    metrics: str | Iterable[str] | None = None,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
    lag: Lag = None,
    known_at: bool = False,
    withdrawn: bool = False,
) -> pd.DataFrame:
    """These metrics of one asset of one source, or all of its metrics, with a column for each metric."""
    named = _listed(metrics)
    question = _question(
        lambda names: names.of_asset(asset, named, source), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    return _frame(question, "metric", asset=asset, metrics=named, source=source, start=start, end=end)


def compare(
    entity: str,
    metric: str | Iterable[str],
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    daily: bool = False,
    lag: Lag = None,
    known_at: bool = False,
    withdrawn: bool = False,
) -> pd.DataFrame:
    """A metric of an entity from every source that has it, with a column for each series.

    The name of an asset stands for its entity: `compare("sol", "PRICE")` is `compare("solana", "PRICE")`.

    Where sources have different names for the metric, give all these names: `compare("solana", ["TVL", "CHAIN_TVL"])`.
    Where their times differ, `daily=True` puts the points of one day into one row.
    """
    named = _listed(metric) or []
    question = _question(
        lambda names: names.of_entity(entity, named), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    return _frame(question, "series", entity=entity, metric=named, start=start, end=end)


def latest(
    metric: str,
    assets: str | Iterable[str] | None = None,
    source: str | None = None,
    as_of: When = None,
    *,
    known_at: bool = False,
    withdrawn: bool = False,
) -> pd.DataFrame:
    """The newest value of a metric for each asset of one source: columns `value` and `pulled_at`, indexed by asset."""
    named, extras = _listed(assets), [known_at, withdrawn]
    question = _question(lambda names: names.many(metric, named, source), as_of=as_of, extras=extras)
    made = frames.by_asset(newest_of_each(_session.reader(), question), question.extras)
    return _described(made, question, metric=metric, assets=named, source=source)


def cross_section(
    metric: str,
    date: When,
    source: str | None = None,
    as_of: When = None,
    *,
    known_at: bool = False,
    withdrawn: bool = False,
) -> pd.DataFrame:
    """A metric on one UTC day for each asset of one source: columns `value` and `pulled_at`, indexed by asset.

    Where an asset has several points on that day, the last one counts, as with daily=True.
    """
    day = instant(date)
    if day is None:
        raise BadQuestion("no date is given: write a day, such as 2026-01-31")
    extras = [known_at, withdrawn]
    question = _question(
        lambda names: [names.many(metric, None, source)[0]._replace(asset="")], as_of=as_of, extras=extras
    )
    made = frames.cross_section(_session.reader(), question, midnight(day))
    found = [question.series[0]._replace(asset=asset) for asset in made.index]
    of_day = question._replace(series=found, window=Window(midnight(day), midnight(day) + MICROSECOND), daily=True)
    return _described(made, question, of_day, metric=metric, date=date, source=source)


def chunks(
    metric: str,
    assets: str | Iterable[str] | None = None,
    source: str | None = None,
    start: When = None,
    end: When = None,
    as_of: When = None,
    *,
    lag: Lag = None,
    known_at: bool = False,
    withdrawn: bool = False,
) -> Iterator[pd.DataFrame]:
    """The points of a panel of any size, in frames of about 200,000 rows: `asset`, `metric` and `value` by time."""
    named, extras = _listed(assets), [known_at, withdrawn]
    question = _question(lambda names: names.many(metric, named, source), start, end, as_of, lag, extras)
    for part, columns in portions(_session.reader(), question, CHUNK):
        made = frames.long(frames.sorted_points(columns), part.series)
        yield _described(made, part, metric=metric, assets=named, source=source, start=start, end=end)


def vintages(asset: str, metric: str, source: str | None = None, start: When = None, end: When = None) -> pd.DataFrame:
    """Every value that each point of a series had: value, known_at, known_until, reason; by time and known_at.

    `as_of` shows a value from `known_at` up to but excluding `known_until`, which is NaT for the present value. The
    reason says why the value replaced the one before it, as in revisions(); it is "first" for the first one. Points of
    the open day are left out. A live-only metric has no vintages.
    """
    question = _question(lambda names: names.many(metric, [asset], source), start, end)
    made = vintage_frames.vintages(_session.reader(), need_vintages(question))
    return _described(made, question, asset=asset, metric=metric, source=source, start=start, end=end)


def first_release(
    asset: str, metric: str, source: str | None = None, start: When = None, end: When = None
) -> pd.DataFrame:
    """Each point of a series with its value as first known: value, known_at. See vintages()."""
    question = _question(lambda names: names.many(metric, [asset], source), start, end)
    made = vintage_frames.first_release(_session.reader(), need_vintages(question))
    return _described(made, question, asset=asset, metric=metric, source=source, start=start, end=end)


def finality(metric: str, source: str | None = None) -> pd.DataFrame:
    """How late the values of a metric change, indexed by asset; the last row, "all", is that of all assets.

    `points` counts those of closed days. `changed_after_3d` is the share of points that changed more than three days
    after the end of their day. Only points that were known at that age, and that have reached it, can tell: the share
    is of these, and NaN if there are none; a history that was fetched years later tells nothing of its first days.
    `largest_change`, relative to the old value, and `last_change_days`, the greatest age of a value that changed, are
    of all changes seen here; NaN if there were none. Samples, values observed while their day was open, do not count.
    """
    question = _question(lambda names: names.many(metric, None, source))
    return vintage_frames.finality(_session.reader(), need_vintages(question))


def sources() -> pd.DataFrame:
    """The sources that have points, with their numbers of assets, metrics, series and points."""
    return overview_frames.sources(_session.names().every())


def assets(source: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The assets that have points of this metric, or of any: names from the configs, numbers of metrics and points."""
    return overview_frames.assets(_session.names().every(source, metric=metric), configs())


def metrics(source: str | None = None, asset: str | None = None) -> pd.DataFrame:
    """The metrics that have points of this asset, or of any: units where known, numbers of assets and points.

    `note` says if the API has deprecated a metric or changed its definition.
    """
    return overview_frames.metrics(_session.names().every(source, asset))


def coverage(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """How many days up to yesterday are stored and missing, for each series that was ever requested.

    `days` are stored. The missing days since the first one are counted by their reason: `never` answered, `empty` at
    the API, `lost` here, or `refused`, because the API keeps giving points that can't be true. Days on which no point
    is expected do not count, such as the weekends of equities. `withdrawn` counts the stored days that the API no
    longer has, the last of them since `withdrawn_at`. `verified_at` is when the last settle began that has compared
    all answered days with the API; it is empty for series that exist only live.
    """
    return overview_frames.coverage(_session.reader(), _session.names().every(source, asset, metric), configs())


def freshness(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The age of each series that was ever requested or that a config has.

    `newest` is the time of its newest point, `age` how long ago that was, `answered` the last day for which the API
    answered, with data or without. `state` is fresh, quiet, awaited, stale or never seen, as `main.py status` counts
    them, or "not asked for" where no config has the series or its key is missing. `verified_at` and `withdrawn` are
    those of `coverage`.
    """
    return overview_frames.freshness(_session.reader(), _session.names().every(source, asset, metric), Settings.read())


def pulls(
    source: str | None = None, kind: str | None = None, status: str | None = None, last: int = 1000
) -> pd.DataFrame:
    """The last runs, the newest first, indexed by `pull_id`: see docs/tables.md."""
    return overview_frames.pulls(_session.reader(), _session.names().source(source), kind, status, last)


def revisions(source: str | None = None, asset: str | None = None, metric: str | None = None) -> pd.DataFrame:
    """The values of closed days that were replaced: source, asset, metric, at, old, new, replaced_at, pull_id, reason.

    The reason is "sample" where a value observed while its day was open gave way to the first value of the closed day,
    "restated" where the API changed a closed day, "accepted" where a person accepted the change, or "unknown".
    """
    return overview_frames.revisions(_session.reader(), _session.names().every(source, asset, metric))


def flags(
    source: str | None = None, asset: str | None = None, metric: str | None = None, start: When = "90d"
) -> pd.DataFrame:
    """Odd values of closed days since `start`: source, asset, metric, rule, start, end, value, text.

    The rules: `flat`, the same value for a week; `zero`, a sudden zero; `jump`, undone on the next day; `drift`, away
    from another source. docs/sources.md explains them. Values are never changed.
    """
    since = window(start, None).start
    return overview_frames.flags(_session.reader(), _session.names().every(source, asset, metric), configs(), since)


def sql(query: str, params: Any = None) -> pd.DataFrame:
    """The rows of any query, with `%s` or `%(name)s` for its parameters; timestamps are UTC.

    It runs in a read-only transaction that is rolled back, so a mistake changes nothing. Against a hostile query,
    connect as a role that may only SELECT. Raises psycopg2.Error where PostgreSQL refuses the query.
    """
    found = _session.reader().table(query, params)
    if not found.names:
        raise BadQuestion("the statement returns no rows: write a query, such as SELECT")
    return frames.any_table(found)


def plot(
    data: pd.DataFrame | pd.Series,
    *,
    log: bool = False,
    title: str | None = None,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a line for each column of a frame of this module over its UTC dates; returns the axes.

    A line is broken at a NaN if all times are midnights, and wherever two points are more than five of its usual steps
    apart. A point without neighbours is a dot. Amounts are shown as 1.5M or 2bn with the unit that `attrs` names.
    Values that were computed from stored ones, such as `pct_change()`, have no unit, and the title says that they were
    computed, as far as the range and the last value of a column show it. Give `unit` (such as "%") and `title` for it.
    On a log scale, values of 0 or less are left out and counted below the axis. The legend names the twenty lines with
    the largest last values.

    Without `ax`, a new figure is made: by pyplot in the main thread, otherwise by matplotlib alone. It has a panel for
    each unit. For up to twenty lines on a linear scale, it also has panels for lines of different size, so that in each
    panel the largest values of two lines differ at most by a factor of fifty. The axes of the first panel are returned;
    `axes.figure.axes` has all. With `ax`, all lines are drawn there, and the legend names different units. Raises
    BadQuestion for data that can't be drawn, ConfigurationError if matplotlib is missing.
    """
    from query import plots

    return plots.plot(data, log=log, title=title, unit=unit, ax=ax)


def _question(
    find: Callable[[Names], list[Series]],
    start: When = None,
    end: When = None,
    as_of: When = None,
    lag: Lag = None,
    extras: Iterable[bool] = (),
    *,
    daily: bool = False,
) -> Question:
    """The question for the series that `find` returns; wrong times are refused before `find` reads the names.

    `extras` says of each of db.reader.EXTRAS whether it is wanted.
    """
    span, known_at, known_after = window(start, end), past_instant(as_of), lag_of(lag)
    columns = list(compress(EXTRAS, extras))
    return Question(find(_session.names()), span, known_at, daily, known_after, columns)


def _frame(question: Question, label: str | None, **arguments: Any) -> pd.DataFrame:
    """A frame with a column for each series, named by its `label` (asset, metric, series); without one, `value`."""
    points = frames.points(_session.reader(), question)
    made = frames.wide(points, question.series, label) if label else frames.one(points)
    return _described(made, question, **arguments)


def _described(made: pd.DataFrame, question: Question, found: Question | None = None, **arguments: Any) -> pd.DataFrame:
    """The frame with its `attrs`; `found` has the series and the window of the points, if the question has others."""
    frames.described(made, question, arguments)
    made.attrs["withdrawn"] = withdrawn_texts(_session.reader(), found or question)
    return made


def _listed(names: str | Iterable[str] | None) -> list[str] | None:
    if names is None or isinstance(names, str):
        return None if names is None else [names]
    try:
        return list(names)
    except TypeError:
        raise BadQuestion(f"{names!r} is neither a name nor a list of names") from None
