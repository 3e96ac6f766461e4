"""The columns of a frame as a plot needs them: their series, their units and their panels. Loads pandas."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from db.reader import EXTRAS
from model.errors import BadQuestion
from model.values import Series
from sources import unit_of

MOST_APART = 50  # the factor by which the largest values of two lines in one panel may differ
MOST_NAMED = 20  # entries of the legend
MOST_LINES = 500
NOW = "as known now"
GIVE = "give a frame of series(), panel(), frame() or compare(), or numbers with a DatetimeIndex"

Times = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]


class Origin(NamedTuple):
    """The series of a column, with its smallest, its largest and its last value if they are known."""

    series: Series
    limits: str  # as frames.py writes them into the attrs of a frame; empty if they are not known

    def may_have(self, at: Times, values: Floats) -> bool:
        """Whether these values may all be stored ones; False if some must have been computed."""
        if not self.limits or not values.size:
            return True
        smallest, largest, last_at, last = map(float, self.limits.split(" "))
        ends_there = at[-1] == np.datetime64(int(last_at), "us")
        return bool(smallest <= values.min() and values.max() <= largest and (not ends_there or values[-1] == last))


class Column(NamedTuple):
    """A column to draw: its values under their times."""

    name: str
    unit: str
    at: Times
    values: Floats  # NaN where there is none
    computed: bool  # they are not the stored values of its series

    def last(self) -> float:
        """The last value that can be shown, NaN if there is none."""
        there = self.values[np.isfinite(self.values)]
        return float(there[-1]) if there.size else np.nan

    def size(self) -> float:
        """The largest distance from 0; 0 without a value."""
        return float(np.abs(self.values[np.isfinite(self.values)]).max(initial=0))


def checked(data: Any) -> pd.DataFrame:
    """The columns as floats under sorted naive UTC times; raises BadQuestion if they can't be drawn."""
    frame = data.to_frame("value" if data.name is None else data.name) if isinstance(data, pd.Series) else data
    if not isinstance(frame, pd.DataFrame):
        raise BadQuestion(f"{type(data).__name__} can't be drawn: {GIVE}")
    frame = _without_extras(frame)
    times = frame.index
    if not isinstance(times, pd.DatetimeIndex):
        raise BadQuestion(f"the index of the frame holds {times.name or 'numbers'} instead of times: {GIVE}")
    if times.hasnans:
        raise BadQuestion("a row has no time: drop it by frame[frame.index.notna()]")
    if not times.is_unique:
        raise BadQuestion(
            "a time appears more than once: keep one row of each by frame[~frame.index.duplicated(keep='last')], or "
            "give a frame with a column for each series, as panel() does"
        )
    for column, kind in zip(frame.columns, frame.dtypes, strict=True):
        if kind.kind not in "iufb":
            raise BadQuestion(f"the column {column!r} holds no numbers: {GIVE}")
    if frame.shape[1] > MOST_LINES:
        raise BadQuestion(
            f"{frame.shape[1]:,} lines can't be told apart: draw at most {MOST_LINES} at once, such as those with the "
            "largest values by frame[frame.max().nlargest(20).index]"
        )
    utc = times if times.tz is None else times.tz_convert(UTC).tz_localize(None)
    made = pd.DataFrame(frame.to_numpy(dtype=float, na_value=np.nan), index=utc, columns=frame.columns)
    made.attrs = frame.attrs
    return made if utc.is_monotonic_increasing else made.sort_index(kind="stable")


def _without_extras(frame: pd.DataFrame) -> pd.DataFrame:
    """The values of a frame of query_data, without the columns that say more about them, on one level of columns."""
    if frame.columns.nlevels > 1 and "value" in frame.columns:
        frame = frame[["value"]].droplevel(0, axis=1)
    if set(frame.columns.names) == {"asset", "metric"}:
        names = zip(*(frame.columns.get_level_values(level) for level in ("asset", "metric")), strict=True)
        return frame.set_axis([" ".join(each) for each in names], axis=1)
    return frame.drop(columns=list(EXTRAS), errors="ignore")


def columns_of(frame: pd.DataFrame, unit: str | None) -> Iterator[Column]:
    """The columns of a frame in their order; computed values have no unit, unless the caller names one."""
    origins, names = _origins(frame.attrs), list(map(str, frame.columns))
    times, values = pd.DatetimeIndex(frame.index), frame.to_numpy()
    own_times = bool((times != times.normalize()).any())  # each column has its own times, and a NaN is no gap
    finite = np.isfinite(values)

    def is_stored(position: int, possible: Iterable[Origin]) -> bool:
        there = finite[:, position]
        return any(origin.may_have(times.to_numpy()[there], values[there, position]) for origin in possible)

    known = {position: origins[name] for position, name in enumerate(names) if name in origins}
    kept = all(is_stored(position, [origin]) for position, origin in known.items())  # arithmetic changes all of them
    for position, name in enumerate(names):
        stored = kept if position in known else not origins or is_stored(position, origins.values())
        own_unit = frame.attrs.get("unit") or unit_of([known[position].series] if position in known else [])
        there = finite[:, position] | (not own_times)
        shown_unit = unit if unit is not None else own_unit if stored else ""
        yield Column(name, shown_unit, times.to_numpy()[there], values[there, position], computed=not stored)


def panels_of(columns: Sequence[Column], *, log: bool) -> list[list[Column]]:
    """The columns of each panel: of one unit, and of like size where there are few enough to be told apart."""
    sizes = [each.size() for each in columns]
    panels: list[list[int]] = []  # positions of the columns
    for unit in dict.fromkeys(each.unit for each in columns):
        of_unit = [position for position, each in enumerate(columns) if each.unit == unit]
        panels.append([])
        for position in sorted(of_unit, key=lambda position: -sizes[position]):
            largest = max((sizes[each] for each in panels[-1]), default=0.0)
            if 0 < sizes[position] * MOST_APART < largest and not log and len(columns) <= MOST_NAMED:
                panels.append([])
            panels[-1].append(position)
    return [[columns[position] for position in sorted(panel)] for panel in panels] or [[]]


def subject_of(frame: pd.DataFrame, *, computed: bool) -> tuple[str, str, str]:
    """What all columns of a frame have in common: the asset and metric, the source, and the instant of as_of."""
    attrs, origins = frame.attrs, _origins(frame.attrs)
    origin = origins.get(str(frame.columns[0])) if frame.shape[1] == 1 else None
    source, asset, metric = (attrs.get(name) or (origin and getattr(origin.series, name)) for name in Series._fields)
    names = " ".join(str(name) for name in (attrs.get("asked", {}).get("entity") or asset, metric) if name)
    as_of, lag = attrs.get("as_of"), attrs.get("lag")
    known = f"as known at {datetime.fromisoformat(as_of):%Y-%m-%d %H:%M} UTC" if as_of else NOW
    return (
        f"computed from {names}" if names and computed else names,
        str(source or ""),
        f"each day as known {lag} after its end" if lag else known,
    )


def _origins(attrs: Mapping[Hashable, Any]) -> dict[str, Origin]:
    """The origins of the columns of a frame of query_data, by the names that these may have: asset, metric, or more.

    A name that several series share has no origin.
    """
    found: dict[str, list[Origin]] = defaultdict(list)
    texts = list(filter(None, attrs.get("series", "").split("; ")))
    limits = chain(attrs.get("limits", "").split("; "), repeat(""))
    for text, limit in zip(texts, limits, strict=False):
        source, _, rest = text.partition(" ")
        origin = Origin(Series(source, *rest.rsplit(" ", 1)), limit)
        for name in {origin.series.metric, origin.series.asset, rest, text}:
            found[name].append(origin)
    return {name: origins[0] for name, origins in found.items() if len(origins) == 1}
