"""Amounts as people read them: $1.5M, 2bn, 4.5%."""

import math

SCALES = ((1e12, "T"), (1e9, "bn"), (1e6, "M"), (1e3, "K"))
UNIT_MARKS = {"USD": ("$", ""), "%": ("", "%"), "": ("", "")}  # by unit: the text before and after a number
MOST_WRITTEN_OUT = 1e18  # from this size on, values are written with an exponent
MOST_DIGITS = 12  # after the decimal point
NEAR = 0.005  # the share of a value by which its short text may differ from it
ROUNDING = 1e-12  # the largest rounding error of arithmetic, as a share of the value


def amount(value: float, unit: str = "", within: float = 0.0) -> str:
    """A value as text with as few digits as possible, off by `within` at most; with its mark if it is in USD or %."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    scale, letter = next((each for each in SCALES if size * (1 + ROUNDING) >= each[0]), (1.0, ""))
    scaled, near = size / scale, max(within, size * ROUNDING) / scale
    few = (digits for digits in range(MOST_DIGITS) if abs(round(scaled, digits) - scaled) <= near)
    digits = next(few, None)
    text = f"{scaled:g}" if digits is None else f"{scaled:,.{digits}f}"
    if size >= MOST_WRITTEN_OUT:
        text, letter = f"{size:.3g}", ""
    before, after = UNIT_MARKS.get(unit, ("", ""))
    sign = "\N{MINUS SIGN}" if value < 0 and text != "0" else ""
    return f"{sign}{before}{text}{letter}{after}"


def short_amount(value: float, unit: str = "", near: float = NEAR) -> str:
    """A value as text, with as few digits as keep it within this share of the value."""
    return amount(value, unit, near * abs(value))


def old_and_new(old: float | None, new: float, unit: str = "") -> list[str]:
    """Two values, with enough digits to see that they differ; the old one may be missing, or no finite number."""
    if old is None:
        return ["no value", short_amount(new, unit)]
    differs = math.isfinite(old) and old != new
    near = min(NEAR, abs(new - old) / max(abs(new), abs(old)) / 10) if differs else NEAR
    return [short_amount(value, unit, near) for value in (old, new)]
