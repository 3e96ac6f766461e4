"""The change of a series: the differences of its own stored values, and a change as text."""

from collections.abc import Sequence
from math import isfinite

from model.amount_text import short_amount
from query.flag_rules import Day

DAYS_BEFORE = (1, 7, 30)
LEAST = 0.0001  # percent, or percentage points: what is written of a smaller change is only that it is smaller


def values_before(days: Sequence[Day]) -> dict[int, float | None]:
    """The values 1, 7 and 30 days before the last of these days; None for a day that is not stored."""
    values = {day.date.toordinal(): day.value for day in days}
    last = days[-1].date.toordinal()
    return {number: values.get(last - number) for number in DAYS_BEFORE}


def change_text(new: float, old: float | None, unit: str = "") -> str:
    """A change with its sign, in percent of the old value; of percentages, in percentage points ("pp")."""
    if old is None:
        return "\u2013"
    if new == old:
        return "unchanged"
    if unit == "%":
        return _signed(new - old, " pp")
    if old == 0:
        return "from zero"
    percent = (new / abs(old) - old / abs(old)) * 100  # the difference of the values may overflow
    return _signed(percent, "%") if isfinite(percent) else "from nearly zero"


def _signed(change: float, unit: str) -> str:
    sign = "+" if change > 0 else "\N{MINUS SIGN}"
    size = f"<{LEAST:.4f}" if abs(change) < LEAST else short_amount(abs(change))
    return f"{sign}{size}{unit}"
