"""The table coverage: every series ever requested, and the days for which the API has answered and had data."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from db.cluster import is_distributed
from db.load import take_turn
from db.statements import arrays, fetch, filled_in, read_statements
from model.values import ENOUGH_DATES, Reason, Series, Target, Window

SQL = read_statements("coverage.sql")
MISSING = filled_in(SQL["missing"], set_aside=SQL["set_aside"])
SERIES_MAPS = filled_in(SQL["series_maps"], set_aside=SQL["set_aside"])
MOST_NAMES = 100  # if more assets are named, all are read: that costs less than comparing each with all names

Name = tuple[str, str]  # of a series: asset, metric


class SeriesMap(NamedTuple):
    """The closed days of one series: what was requested, what is stored, and why each gap exists. Lists are sorted."""

    asset: str
    metric: str
    days: int  # the number of stored days
    reason: str  # why points are refused
    answered: list[Window]  # days that were requested and answered
    never: list[Window]  # gaps since the first known day that were never answered
    empty: list[Window]  # gaps for which the API had nothing
    lost: list[Window]  # gaps for which the API had data
    refused: list[Window]  # gaps for which the API keeps giving points that can't be true
    withdrawn: Sequence[Window] = ()  # stored days that the API no longer has
    withdrawn_at: datetime | None = None  # when the last of them was withdrawn
    verified_at: datetime | None = None  # start of the last settle that has compared all answered days


class Known(NamedTuple):
    """What the tables know of a series, as it is requested now."""

    answered: Sequence[Window] = ()
    found: Sequence[Window] = ()
    rows: int = 0
    verified_at: datetime | None = None  # the start of the last settle that has compared all answered days
    refused: Mapping[str, tuple[int, date]] = {}  # by reason: on how many UTC days, and the last of them

    def dates_refused(self, reason: Reason, today: date) -> int:
        """On how many UTC days before today an answer was refused for this reason."""
        dates, last = self.refused.get(reason, (0, today))
        return dates - (last == today) if dates else 0


class StoredSeries(NamedTuple):
    """A series, the number of its points, and whether the API has answered for any day."""

    series: Series
    points: int
    answered: bool


def missing(cursor: Any, source: str, targets: Iterable[Target], window: Window) -> dict[Name, list[Window]]:
    """The days of a window for which the API has not answered yet, of each series that has such days."""
    ids = {(target.asset, target.metric): target.id for target in targets}
    values: dict[str, Any] = {"source": source, "api_ids": list(ids.values()), **arrays("assets metrics", ids)}
    values |= {"start": window.start.date(), "end": window.end.date()}
    values |= {"enough": ENOUGH_DATES, "flaws": [Reason.NOT_A_NUMBER, Reason.NOT_A_DATE], "not_begun": Reason.NOT_BEGUN}
    found: dict[Name, list[Window]] = {}
    for asset, metric, start, end in fetch(cursor, MISSING, values):
        found.setdefault((asset, metric), []).append(Window(_midnight(start), _midnight(end)))
    return found


def known_series(cursor: Any, source: str, targets: Iterable[Target]) -> dict[Name, Known]:
    """What the tables know of each series that was ever requested; of one now requested by another id, the rows."""
    values = {"source": source, **arrays("assets metrics api_ids", targets)}
    refused: dict[Name, dict[str, tuple[int, date]]] = {}
    for asset, metric, reason, dates, last in fetch(cursor, SQL["refusals"], {"source": source}):
        refused.setdefault((asset, metric), {})[reason] = dates, last
    return {
        (asset, metric): Known(_windows(answered), _windows(found), rows, verified, refused.get((asset, metric), {}))
        for asset, metric, rows, verified, answered, found in fetch(cursor, SQL["known_series"], values)
    }


def forget_future(cursor: Any, source: str, live_only: Collection[str]) -> int:
    """Drop coverage of days to come, recorded while a clock was ahead; returns the number of series that had any."""
    take_turn(cursor, source)
    cursor.execute(SQL["forget_future"], {"source": source, "live_only": list(live_only)})
    return int(cursor.rowcount)


def forget_lost(cursor: Any, source: str, maps: Iterable[SeriesMap]) -> None:
    """Stop counting the lost days of these series as lost: metrics is no longer expected to have rows for them."""
    lost = [(each.asset, each.metric, span.start.date(), span.end.date()) for each in maps for span in each.lost]
    take_turn(cursor, source)
    cursor.execute(SQL["forget_lost"], {"source": source, **arrays("assets metrics firsts lasts", lost)})


def series_maps(
    cursor: Any,
    source: str,
    today: datetime,
    own_times: Mapping[str, timedelta],
    assets: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> list[SeriesMap]:
    """A map of the days before `today` for every series ever requested, of these assets and metrics if given, sorted.

    `own_times` names the metrics whose points are not dated at midnight, each with its shift (see Metric.shift).
    """
    values = {"source": source, "today": today.date(), "assets": assets, "metrics": metrics}
    values |= {"own_times": list(own_times), "shifts": list(own_times.values())}
    values |= {"enough": ENOUGH_DATES, "flaws": [reason for reason in Reason if reason.is_flaw], "not_begun": None}
    live_days = SQL["live_days_distributed" if is_distributed(cursor) else "live_days"]
    rows = fetch(cursor, filled_in(SERIES_MAPS, live_days=live_days), values)
    return [SeriesMap._make((*row[:4], *map(_windows, row[4:10]), *row[10:])) for row in rows]


def stored_series(
    cursor: Any,
    sources: Collection[str] | None = None,
    assets: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
) -> list[StoredSeries]:
    """Every series ever requested, of these sources, assets and metrics if given; sorted.

    It may return more assets: those whose names differ only in case, or all assets if many are given.
    """
    few = assets is not None and len(assets) <= MOST_NAMES and all(map(str.isascii, assets))
    values = {"sources": sources and list(sources), "metrics": metrics and list(metrics)}
    values["assets"] = [asset.lower() for asset in assets] if few and assets else None
    return [
        StoredSeries(Series(source, asset, metric), points, answered)
        for source, asset, metric, points, answered in fetch(cursor, SQL["stored_series"], values)
    ]


def _windows(multirange: str) -> list[Window]:
    pairs = re.findall(r"([\d-]+),([\d-]+)", multirange)
    return [Window(_midnight(start), _midnight(end)) for start, end in pairs]


def _midnight(day: Any) -> datetime:
    return datetime.fromisoformat(str(day)).replace(tzinfo=UTC)
