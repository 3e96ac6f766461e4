"""What a plot shows, read back from its axes, and frames to draw."""

from io import BytesIO

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAN = float("nan")


def frame(unit: str = "USD", /, **columns: list[float]) -> pd.DataFrame:
    """A frame of TVL as query_data gives it, a column for each asset, a row for each day."""
    made = pd.DataFrame(columns, dtype=float)
    made.index = pd.date_range("2026-01-01", periods=len(made), tz="UTC", name="pulled_at", unit="us")
    said = {"source": "artemis", "asset": "", "metric": "TVL", "as_of": None, "asked": {"metric": "TVL"}}
    made.attrs.update(said, unit=unit, series="; ".join(f"artemis {column} TVL" for column in columns))
    return made


def days(count: int) -> list[str]:
    return [f"2026-01-{day:02}" for day in range(1, count + 1)]


def shown(axes: Axes) -> Axes:
    """The axes after they have been drawn, so that their ticks are there."""
    assert isinstance(axes.figure, Figure)
    axes.figure.savefig(BytesIO(), format="png", dpi=50)
    return axes


def ticks(axes: Axes) -> list[str]:
    """The amounts beside the axis, within what is shown."""
    low, high = shown(axes).get_ylim()
    pairs = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    return [label.get_text() for at, label in pairs if low <= at <= high]


def dates(axes: Axes) -> list[str]:
    return [label.get_text() for label in shown(axes).get_xticklabels()]


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    return [text.get_text() for text in found.get_texts()] if found else []


def dots(axes: Axes, line: int = 0) -> list[int]:
    """The positions of a line's points that are shown as dots."""
    drawn = axes.lines[line]
    every = drawn.get_markevery()
    assert isinstance(every, list)
    assert bool(every) == (drawn.get_marker() == "o")
    return [int(position) for position in every]


def values(axes: Axes, line: int = 0) -> list[float]:
    return [float(value) for value in np.asarray(axes.lines[line].get_ydata())]
