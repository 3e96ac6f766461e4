"""Draws frames of query_data: a line for each column over its dates. Loads pandas and matplotlib."""

import sys
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from model.errors import BadQuestion, ConfigurationError
from model.values import DAY
from query.joined_points import LONGEST_STEP
from query.plot_columns import (
    MOST_NAMED,
    NOW,
    Column,
    Floats,
    Times,
    checked,
    columns_of,
    panels_of,
    subject_of,
)

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
SIZE = (10.0, 4.5)  # inches
PANEL_HEIGHT = 2.2  # inches, of one of several panels
NO_POINTS = "no points in this window"


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
    """Draw a frame as query_data.plot describes it; returns the axes, the first ones where there are several."""
    frame = checked(data)
    if ax is not None and not isinstance(ax, Axes):
        raise BadQuestion(f"ax is not an Axes of matplotlib, but {type(ax).__name__}: give an Axes, such as plt.gca()")
    log = log or (ax is not None and ax.get_yscale() == "log")
    values = frame.to_numpy()
    if log and not (ax and ax.lines) and np.isfinite(values).any() and not (values > 0).any():
        raise BadQuestion("no value is above 0, so a log scale shows nothing: leave out log=True")
    columns = list(columns_of(frame, unit))
    subject = subject_of(frame, computed=all(each.computed for each in columns))
    panels = [columns] if ax else panels_of(columns, log=log)
    first, *others = [ax] if ax else _new_axes(len(panels))
    every: list[Drawn] = []
    for axes, lines in zip([first, *others], panels, strict=True):
        amounts = amounts_of(axes)
        drawn: list[Drawn] = amounts.drawn
        _draw(axes, drawn, lines, subject)
        every += drawn
        in_log = log and (not others or any((each.values() > 0).any() for each in drawn))
        scale_axes(axes, amounts, _only({each.unit for each in drawn}), log=in_log)
        _dot(drawn, log=in_log)
        shared = [_only(set(parts)) for parts in zip(*(each.subject for each in drawn), strict=True)]
        if axes is first:
            amounts.write(axes.title, ", ".join(part for part in shared if part not in ("", NOW)))
        amounts.write(axes.xaxis.label, _left_out(drawn, log=in_log))
        message = "" if any(np.isfinite(each.last) for each in drawn) else NO_POINTS
        amounts.show_message(axes, message, dates=bool(others))
        if len(drawn) > 1 or others:
            _legend(axes, drawn, shared, units=not amounts.unit)
    _span(first, every)
    if title is not None:
        first.set_title(title)
    return first


def _new_axes(panels: int) -> list[Axes]:
    """The axes of a new figure, one below the other over the same dates."""
    size = SIZE[0], max(SIZE[1], PANEL_HEIGHT * panels)
    if threading.current_thread() is threading.main_thread():
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=size, layout="constrained")
    else:
        figure = Figure(figsize=size, layout="constrained")
    return list(figure.subplots(panels, sharex=True, squeeze=False)[:, 0])


def _draw(axes: Axes, drawn: list[Drawn], columns: Sequence[Column], subject: tuple[str, str, str]) -> None:
    """Draw a line for each column, in their order; colours follow the order of the last values."""
    last = [column.last() for column in columns]
    ranks = np.argsort(np.argsort([-each for each in last], kind="stable"))  # NaN is sorted to the end
    taken = sum(each.named for each in drawn)
    for column, rank, value in zip(columns, ranks, last, strict=True):
        at, shown = _broken(column.at, column.values)
        (line,) = axes.plot(at, shown, label=column.name)
        named = bool(rank < MOST_NAMED)
        if named:
            step, number = divmod(taken + rank, len(COLOURS))
            line.set(color=COLOURS[number], linestyle=STYLES[step % len(STYLES)])
        else:
            line.set(color=GREY, linewidth=0.8, zorder=1.5)
        drawn.append(Drawn(line, column.name, subject, column.unit, value, named))


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
