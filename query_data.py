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

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import pandas as pd

from model.errors import BadQuestion
from model.values import Window, midnight
from query import frames
from query.answers import described, frame_of, listed, needed, question_of
from query.csv_and_json import newest_of_each
from query.point_arrays import arrays_of, points
from query.query_session import SESSION
from query.question import MICROSECOND, portions
from query.stored_lists import assets, coverage, flags, freshness, metrics, pulls, revisions, search, sources, sql
from query.time_arguments import instant
from query.vintage_frames import finality, first_release, vintages

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes

    from query.time_arguments import Lag, When

__all__ = [
    "BadQuestion", "arrow", "assets", "chunks", "compare", "coverage", "cross_section", "finality",
    "first_release", "flags", "frame", "freshness", "latest", "metrics", "panel", "plot", "pulls", "revisions",
    "search", "series", "sources", "sql", "vintages",
]  # fmt: skip

CHUNK = 200_000  # points


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
    question = question_of(
        lambda names: names.many(metric, [asset], source), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    made = frames.one(points(SESSION.reader(), question))
    return described(made, question, asset=asset, metric=metric, source=source, start=start, end=end)


def panel(
    metric: str | Iterable[str],
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
    tidy: bool = False,
) -> pd.DataFrame:
    """One metric of one source for these assets, or for all that have it, with a column for each asset.

    A list of metrics gives columns with two levels: `panel(["PRICE", "FEES"])["FEES"]["sol"]`. An asset that lacks one
    of them has no column there. With `tidy=True`, each point is a row under its time: asset, metric, value, extras.
    """
    named, wanted = listed(assets), needed(metric, "metric")
    question = question_of(
        lambda names: names.grid(named, wanted, source, by_metric=True),
        start, end, as_of, lag, [known_at, withdrawn], daily=daily,
    )  # fmt: skip
    levels = [] if tidy else ["asset"] if isinstance(metric, str) else ["metric", "asset"]
    return frame_of(question, levels, metric=wanted, assets=named, source=source, start=start, end=end)


def frame(
    asset: str | Iterable[str],
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
    tidy: bool = False,
) -> pd.DataFrame:
    """These metrics of one asset of one source, or all of its metrics, with a column for each metric.

    A list of assets gives columns with two levels: `frame(["sol", "eth"])["sol"]["FEES"]`. An asset that lacks one of
    the metrics has no column for it. With `tidy=True`, each point is a row as in panel().
    """
    named, wanted = needed(asset, "asset"), listed(metrics)
    question = question_of(
        lambda names: names.grid(named, wanted, source), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    levels = [] if tidy else ["metric"] if isinstance(asset, str) else ["asset", "metric"]
    return frame_of(question, levels, asset=named, metrics=wanted, source=source, start=start, end=end)


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
    named = listed(metric) or []
    question = question_of(
        lambda names: names.of_entity(entity, named), start, end, as_of, lag, [known_at, withdrawn], daily=daily
    )
    return frame_of(question, ["series"], entity=entity, metric=named, start=start, end=end)


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
    named, extras = listed(assets), [known_at, withdrawn]
    question = question_of(lambda names: names.many(metric, named, source), as_of=as_of, extras=extras)
    made = frames.by_asset(newest_of_each(SESSION.reader(), question), question.extras)
    return described(made, question, metric=metric, assets=named, source=source)


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
    question = question_of(
        lambda names: [names.many(metric, None, source)[0]._replace(asset="")], as_of=as_of, extras=extras
    )
    made = frames.cross_section(SESSION.reader(), question, midnight(day))
    found = [question.series[0]._replace(asset=asset) for asset in made.index]
    of_day = question._replace(series=found, window=Window(midnight(day), midnight(day) + MICROSECOND), daily=True)
    return described(made, question, of_day, metric=metric, date=date, source=source)


def chunks(
    metric: str | Iterable[str],
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
) -> Iterator[pd.DataFrame]:
    """The points of a panel of any size, in frames of about 200,000 rows: `asset`, `metric` and `value` by time."""
    named, wanted, extras = listed(assets), needed(metric, "metric"), [known_at, withdrawn]
    question = question_of(lambda names: names.grid(named, wanted, source), start, end, as_of, lag, extras, daily=daily)
    for part, columns in portions(SESSION.reader(), question, CHUNK):
        made = frames.long(arrays_of(columns, part), part.series)
        yield described(made, part, metric=wanted, assets=named, source=source, start=start, end=end)


def arrow(
    metric: str | Iterable[str],
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
) -> pa.Table:
    """The points of a panel as a pyarrow Table, a row for each: pulled_at, asset, metric, value and the extras.

    Times are timestamps in UTC, names are dictionaries, and a missing value is NULL. `table.schema.metadata` names the
    source, the unit of each metric, the withdrawn days, as_of and lag. A million points take 24 MB. Raises
    ConfigurationError if pyarrow is missing.

    >>> polars.from_arrow(q.arrow("PRICE", ["sol", "eth"]))
    """
    from query import arrow_tables

    named, wanted, extras = listed(assets), needed(metric, "metric"), [known_at, withdrawn]
    question = question_of(lambda names: names.grid(named, wanted, source), start, end, as_of, lag, extras, daily=daily)
    return arrow_tables.table(SESSION.reader(), question)


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
