"""Draws frames of query_data: a line for each column over its dates. Loads pandas and matplotlib."""

import sys
import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from model.errors import BadQuestion, ConfigurationError
from model.values import DAY, Series
from query.joined_points import LONGEST_STEP
from sources import unit_of

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from query.plot_axes import amounts_of, scale_axes
except ImportError as absent:
    raise ConfigurationError(
        f"plots need matplotlib ({absent}): {sys.executable} -m pip install 'matplotlib>=3.9,<4'"
    ) from absent

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # of Okabe and Ito
STYLES = ("-", "--", ":")  # with the colours, 21 lines that one can tell apart
GREY = "#C8C8C8"
MOST_NAMED = 20  # entries of the legend
MOST_LINES = 500
SIZE = (10.0, 4.5)  # inches
NOW = "as known now"
NO_POINTS = "no points in this window"
GIVE = "give a frame of series(), panel(), frame() or compare(), or numbers with a DatetimeIndex"

Times = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]


class Drawn(NamedTuple):
    """A line, and what it shows."""

    line: Line2D
    column: str
    subject: tuple[str, str, str]  # of its frame: asset and metric, source, "as known …"
    unit: str
    last: float  # the last value, NaN if there is none
    named: bool  # the legend may name it; other lines are grey

    def values(self) -> Floats:
        """The values that the line was given, NaN in gaps."""
        return np.asarray(self.line.get_ydata(orig=True), dtype=float)


def plot(
    data: "pd.DataFrame | pd.Series[Any]",
    *,
    log: bool = False,
    title: str | None = None,
    unit: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a frame as query_data.plot describes it; returns the axes."""
    frame = _checked(data)
    if ax is not None and not isinstance(ax, Axes):
        raise BadQuestion(f"ax is not an Axes of matplotlib, but {type(ax).__name__}: give an Axes, such as plt.gca()")
    log = log or (ax is not None and ax.get_yscale() == "log")
    values = frame.to_numpy()
    if log and not (ax and ax.lines) and np.isfinite(values).any() and not (values > 0).any():
        raise BadQuestion("no value is above 0, so a log scale shows nothing: leave out log=True")
    axes = ax or _new_axes()
    amounts = amounts_of(axes)
    drawn: list[Drawn] = amounts.drawn
    _draw(axes, drawn, frame, unit)
    scale_axes(axes, amounts, _only({each.unit for each in drawn}), log=log)
    _dot(drawn, log=log)
    _span(axes, drawn)
    shared = [_only(set(parts)) for parts in zip(*(each.subject for each in drawn), strict=True)]
    amounts.write(axes.title, ", ".join(part for part in shared if part not in ("", NOW)))
    amounts.write(axes.xaxis.label, _left_out(drawn, log=log))
    if title is not None:
        axes.set_title(title)
    amounts.show_message(axes, "" if any(np.isfinite(each.last) for each in drawn) else NO_POINTS)
    if len(drawn) > 1:
        _legend(axes, drawn, shared, units=not amounts.unit)
    return axes


def _checked(data: Any) -> pd.DataFrame:
    """The columns as floats under sorted naive UTC times; raises BadQuestion if they can't be drawn."""
    frame = data.to_frame("value" if data.name is None else data.name) if isinstance(data, pd.Series) else data
    if not isinstance(frame, pd.DataFrame):
        raise BadQuestion(f"{type(data).__name__} can't be drawn: {GIVE}")
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


def _new_axes() -> Axes:
    if threading.current_thread() is threading.main_thread():
        from matplotlib import pyplot

        return pyplot.figure(figsize=SIZE, layout="constrained").subplots()
    return Figure(figsize=SIZE, layout="constrained").subplots()


def _draw(axes: Axes, drawn: list[Drawn], frame: pd.DataFrame, unit: str | None) -> None:
    """Draw a line for each column, in their order; colours follow the order of the last values."""
    by_column, values = _series_by_column(frame.attrs), frame.to_numpy()
    subject = _subject(frame, by_column)
    last = [_last(column) for column in values.T]
    ranks = np.argsort(np.argsort([-each for each in last], kind="stable"))  # NaN is sorted to the end
    taken = sum(each.named for each in drawn)
    times = pd.DatetimeIndex(frame.index)
    own_times = bool((times != times.normalize()).any())  # each column has its own times, and a NaN is no gap
    for position, column in enumerate(map(str, frame.columns)):
        there = np.isfinite(values[:, position]) | (not own_times)
        at, shown = _broken(times.to_numpy()[there], values[there, position])
        (line,) = axes.plot(at, shown, label=column)
        named = ranks[position] < MOST_NAMED
        if named:
            step, number = divmod(taken + ranks[position], len(COLOURS))
            line.set(color=COLOURS[number], linestyle=STYLES[step % len(STYLES)])
        else:
            line.set(color=GREY, linewidth=0.8, zorder=1.5)
        series = [by_column[column]] if column in by_column else []
        own_unit = frame.attrs.get("unit") or unit_of(series) if unit is None else unit
        drawn.append(Drawn(line, column, subject, own_unit, last[position], named))


def _broken(times: Times, values: Floats) -> tuple[Times, Floats]:
    """The same points, with a NaN between two points that are too far apart to be joined."""
    there = np.flatnonzero(np.isfinite(values))
    if there.size < 2:
        return times, values
    steps = np.diff(times[there].astype("M8[us]").astype(np.int64))
    far = (steps > LONGEST_STEP * np.median(steps)) & (np.diff(there) == 1)
    after = there[:-1][far] + 1
    return np.insert(times, after, times[after - 1]), np.insert(values, after, np.nan)


def _dot(drawn: Iterable[Drawn], *, log: bool) -> None:
    """Show points without neighbours as dots."""
    for each in drawn:
        values = each.values()
        shown = np.isfinite(values) & ((values > 0) | (not log))
        padded = np.concatenate([[False], shown, [False]])
        alone = np.flatnonzero(shown & ~padded[:-2] & ~padded[2:])
        each.line.set(marker="o" if alone.size else "", markersize=3.5, markevery=alone.tolist())


def _span(axes: Axes, drawn: Iterable[Drawn]) -> None:
    """Show a day on both sides of a single time; otherwise leave the limits to matplotlib."""
    times = {at for each in drawn for at in np.unique(np.asarray(each.line.get_xdata(orig=True)))[:2]}
    axes.autoscale(axis="x")
    if len(times) == 1:
        (at,) = times
        axes.set_xlim(at - np.timedelta64(DAY), at + np.timedelta64(DAY), auto=True)


def _left_out(drawn: Iterable[Drawn], *, log: bool) -> str:
    """A text that says how many values are not shown, and why; empty if all are."""
    values = np.concatenate([[], *(each.values() for each in drawn)])
    infinite = np.isinf(values).sum()
    hidden = (np.isfinite(values) & (values <= 0)).sum() if log else 0
    texts = [f"not shown on a log scale: {hidden:,} of 0 or less"] if hidden else []
    texts += [f"not shown: {infinite:,} infinite"] if infinite else []
    return "; ".join(texts)


def _legend(axes: Axes, drawn: Sequence[Drawn], shared: Sequence[str], *, units: bool) -> None:
    """The names of the lines, the largest last value first."""
    named = [each for each in drawn if each.named]
    chosen = sorted(named, key=lambda each: (np.isnan(each.last), -each.last))[:MOST_NAMED]
    entries = [(each.line, _entry(each, shared, unit=units)) for each in chosen]
    if more := len(drawn) - len(chosen):
        entries.append((Line2D([], [], color=GREY), f"and {more:,} more"))
    # Only a layout engine leaves space for a legend beside the axes.
    place = (1.0, 1.0) if axes.figure.get_figure(root=True).get_layout_engine() else None
    lines, names = zip(*entries, strict=True)
    legend = axes.legend(lines, names, loc="upper left", bbox_to_anchor=place, fontsize="small", frameon=place is None)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _entry(drawn: Drawn, shared: Sequence[str], *, unit: bool) -> str:
    """The name of a line in the legend: its column, and the parts of its subject and its unit in which lines differ."""
    parts = [part for part, common in zip(drawn.subject, shared, strict=True) if part and not common]
    if not parts or (drawn.column != "value" and drawn.column not in drawn.subject[0].split(" ")):
        parts.insert(0, drawn.column)
    name = ", ".join(parts)
    if not np.isfinite(drawn.last):
        return f"{name} (no points)"
    return f"{name} ({drawn.unit})" if unit and drawn.unit else name


def _only(texts: set[str]) -> str:
    """The text, if there is only one; otherwise empty."""
    return texts.pop() if len(texts) == 1 else ""


def _last(values: Floats) -> float:
    there = values[np.isfinite(values)]
    return float(there[-1]) if there.size else np.nan


def _subject(frame: pd.DataFrame, by_column: Mapping[str, Series]) -> tuple[str, str, str]:
    """What all columns of a frame have in common: the asset and metric, the source, and the instant of as_of."""
    attrs = frame.attrs
    only = by_column.get(str(frame.columns[0])) if frame.shape[1] == 1 else None
    source, asset, metric = (attrs.get(name) or (only and getattr(only, name)) for name in Series._fields)
    names = attrs.get("asked", {}).get("entity") or asset, metric
    as_of = attrs.get("as_of")
    return (
        " ".join(str(name) for name in names if name),
        str(source or ""),
        f"as known at {datetime.fromisoformat(as_of):%Y-%m-%d %H:%M} UTC" if as_of else NOW,
    )


def _series_by_column(attrs: Mapping[Hashable, Any]) -> dict[str, Series]:
    """The series of a frame of query_data, by the names that its columns may have: asset, metric, or all three."""
    found: dict[str, Series] = {}
    for text in filter(None, attrs.get("series", "").split("; ")):
        source, _, rest = text.partition(" ")
        series = Series(source, *rest.rsplit(" ", 1))
        found |= dict.fromkeys((series.metric, series.asset, text), series)
    return found
