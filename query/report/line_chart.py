"""Draws the days of a series as a small SVG chart: its line, and a few ticks on both axes. Pure arithmetic."""

from collections.abc import Callable, Sequence
from datetime import date
from itertools import groupby
from math import ceil, floor, isfinite, log10, ulp
from typing import Any, NamedTuple

from model.amount_text import amount, short_amount
from query.flag_rules import Day
from query.joined_points import Point, lines_of

WIDTH, HEIGHT = 210, 112  # in units of the SVG, which are about pixels
TOP, RIGHT, BOTTOM = 8, 188, 88  # of the lines; amounts are to the left, dates below
LEAST_LEFT = 30
LETTER, SPACE = 7, 6  # the width of a letter at most, in the font of page.css; between two texts
LOG_SCALE_FROM = 1000  # the scale is logarithmic if the highest value is at least this number of times the lowest
PARTS = 3  # between the ticks of the amounts: at least so many, one or two more if the ends are no round numbers
LEAST_STEP = 1e-4  # between two ticks, as a share of the largest value: smaller differences are drawn as a flat line
MONTHS = (1, 2, 3, 6, 12, 24, 36, 60, 120)  # between two dates
DAYS_OF_MONTH = 30.4
EXPONENTS = -323, 308  # of a double


class Tick(NamedTuple):
    """A mark on an axis: its coordinate, its text, and the coordinate of that, which stays inside of the SVG."""

    at: int
    text: str
    text_at: float


class Scale(NamedTuple):
    """A scale of values: its lowest and its highest place, and the values with a tick, each with its place and text."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


def draw(days: Sequence[Day], unit: str) -> dict[str, Any]:
    """The chart of one series: the path of its line, and where that begins; the ticks; whether it has a log scale."""
    low, high = (pick(day.value for day in days) for pick in (min, max))
    log_scale = low > 0 and high / LOG_SCALE_FROM >= low
    place: Callable[[float], float] = log10 if log_scale else float
    scale = _log_scale(low, high, unit) if log_scale else _linear_scale(low, high, unit)
    left = max(round(max(_width(text) for _, text in scale.ticks)), LEAST_LEFT)
    first, last = days[0].date.toordinal(), days[-1].date.toordinal()
    dates = _dates(days[0].date, days[-1].date, (RIGHT - left) / max(last - first, 1))

    def x(day: float) -> int:
        return left + round(_share(day, first, last) * (RIGHT - left))

    def y(at: float) -> int:
        return TOP + round(_share(at, scale.high, scale.low) * (BOTTOM - TOP))

    return {
        "left": left,
        "log_scale": log_scale,
        "path": _path(lines_of([(day.date.toordinal(), place(day.value)) for day in days]), x, y),
        "amounts": [Tick(y(at), text, y(at) + 4) for at, text in scale.ticks],
        "dates": [_date_tick(x(day.toordinal()), text) for day, text in dates],
    }


def _linear_scale(low: float, high: float, unit: str) -> Scale:
    """Ticks at round numbers, from the last one at or below the lowest value to the first at or above the highest."""
    if low < high:
        step = _round_up(max(high / PARTS - low / PARTS, LEAST_STEP * max(abs(low), abs(high)), ulp(0)))
        ticks = [number * step for number in range(floor(low / step), ceil(high / step) + 1)]
        if all(map(isfinite, ticks)):
            return Scale(ticks[0], ticks[-1], [(value, amount(value, unit, step / 100)) for value in ticks])
    return Scale(low, high, [(value, short_amount(value, unit)) for value in sorted({low, high})])


def _log_scale(low: float, high: float, unit: str) -> Scale:
    """Ticks at powers of ten; the places are exponents."""
    first, last = floor(log10(low)), ceil(log10(high))
    step = ceil((last - first) / PARTS)
    within = range(max(first, EXPONENTS[0]), min(last, EXPONENTS[1]) + 1, step)
    return Scale(first, last, [(each, short_amount(float(f"1e{each}"), unit)) for each in within])


def _round_up(number: float) -> float:
    """The next number that is 1, 2 or 5 times a power of ten."""
    power = floor(log10(number))
    return next(step for digit in (1, 2, 5, 10) if (step := float(f"{digit}e{power}")) >= number)


def _dates(first: date, last: date, day_width: float) -> list[tuple[date, str]]:
    """A few dates: starts of months or years that are far enough from each other, or the first and the last day."""
    months = range(first.year * 12 + first.month - (first.day == 1), last.year * 12 + last.month)
    for step in MONTHS:
        form = "%Y" if step % 12 == 0 else "%Y-%m"
        starts = [date(month // 12, month % 12 + 1, 1) for month in months if month % step == 0]
        if len(starts) > 1 and step * DAYS_OF_MONTH * day_width >= _width(f"{first:{form}}"):
            return [(each, f"{each:{form}}") for each in starts]
    return [(each, f"{each}") for each in dict.fromkeys((first, last))]


def _date_tick(x: int, text: str) -> Tick:
    half = _width(text) / 2
    return Tick(x, text, min(max(x, half), WIDTH - half))


def _width(text: str) -> float:
    """The width of a text, and of the space beside it."""
    return len(text) * LETTER + SPACE


def _path(lines: Sequence[Sequence[Point]], x: Callable[[float], int], y: Callable[[float], int]) -> str:
    """The lines as an SVG path. Of each column it has only the lowest and the highest point: no other is visible."""
    path = ""
    for line in lines:
        path += "M"
        for column, points in groupby(line, key=lambda point: x(point[0])):
            heights = [y(value) for _, value in points]
            path += "".join(f"{column} {height} " for height in sorted({min(heights), max(heights)}))
        path += "h0"  # so that a single point is drawn, too
    return path


def _share(value: float, low: float, high: float) -> float:
    """Where a value lies between two others, from 0 to 1; computed by halves, since the difference may overflow."""
    extent = high / 2 - low / 2
    return (value / 2 - low / 2) / extent if extent else 0.5
