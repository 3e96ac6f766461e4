"""The axes of a plot: dates in UTC, amounts with their unit, and labels that do not replace the caller's own."""

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.text import Text
from matplotlib.ticker import Formatter, LogLocator, MaxNLocator, NullFormatter

from model.amount_text import UNIT_MARKS, amount

TICKS, STEPS = 6, (1, 2, 2.5, 5, 10)


class Amounts(Formatter):
    """Writes the ticks of an axis as amounts with few digits, and remembers which lines plots.py drew on these axes."""

    def __init__(self) -> None:
        self.unit = ""
        self.drawn: list[Any] = []  # plots.Drawn
        self._within = 0.0
        self._written: dict[Text, str] = {}
        self._message: Text | None = None

    def __call__(self, x: float, pos: int | None = None) -> str:
        """A value as text, with enough digits to tell two ticks apart."""
        del pos
        return amount(x, self.unit, self._within)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """All ticks as texts."""
        steps = np.diff(np.unique(values))
        self._within = float(steps.min()) / 100 if steps.size else 0.0
        return [self(value) for value in values]

    def write(self, place: Text, text: str) -> None:
        """Write a title or a label, unless the caller has written another text there."""
        if place.get_text() in ("", self._written.get(place)):
            place.set_text(text)
            place.set_parse_math(False)  # the name of an asset may contain dollar signs
            self._written[place] = text

    def show_message(self, axes: Axes, text: str, *, dates: bool) -> None:
        """Write in the middle why nothing is drawn, in place of the ticks; an empty text removes the message.

        With `dates`, the ticks of the dates stay, since other axes share them.
        """
        if self._message is not None:
            self._message.remove()
            self._message = None
            axes.tick_params(bottom=True, labelbottom=True, left=True, labelleft=True)
        if text:
            self._message = axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center")
            axes.tick_params(which="both", left=False, labelleft=False)
            if not dates:
                axes.tick_params(which="both", bottom=False, labelbottom=False)


class LogTicks(LogLocator):
    """Ticks at decades; also at 2 and 5 if there are at most three decades; at even steps within one decade."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """The ticks between two positive values."""
        decades = np.log10(vmax / vmin)
        if decades < 1:
            return [float(tick) for tick in MaxNLocator(TICKS, steps=STEPS).tick_values(vmin, vmax) if tick > 0]
        self.set_params(subs=(1.0, 2.0, 5.0) if decades <= 3 else (1.0,))
        return super().tick_values(vmin, vmax)


def amounts_of(axes: Axes) -> Amounts:
    """The formatter of these axes, or a new one."""
    found = axes.yaxis.get_major_formatter()
    return found if isinstance(found, Amounts) else Amounts()


def scale_axes(axes: Axes, amounts: Amounts, unit: str, *, log: bool) -> None:
    """Set a few readable ticks on a linear or a log scale; a unit without a mark is written beside the axis."""
    dates = AutoDateLocator(tz=UTC, minticks=3)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates, tz=UTC))  # type: ignore[no-untyped-call]
    if log:
        axes.set_yscale("log", nonpositive="mask")
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_locator(LogTicks() if log else MaxNLocator(TICKS, steps=STEPS))
    axes.yaxis.set_major_formatter(amounts)
    amounts.unit = unit
    amounts.write(axes.yaxis.label, "" if unit in UNIT_MARKS else unit)
    axes.xaxis.label.set(fontsize="small", color="#595959")
    axes.grid(visible=True, color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
