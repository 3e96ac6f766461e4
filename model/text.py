"""Small pieces of text for people: counts, times, the first of many names, the names nearest to a wrong one."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches

from model.settings import MAIN

SIMILARITY = 0.6  # difflib's ratio, from 0 to 1, from which one name is suggested for another
FEW = 12  # if no known name is similar, a hint lists all of them up to this number
FORMULA_SIGNS = ("=", "+", "-", "@")  # a spreadsheet runs a text that begins with one of these


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 series", "2,000 runs"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def first_of(names: Sequence[str], most: int) -> str:
    """The first `most` names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def moment(at: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return f"{at:%Y-%m-%d %H:%M}Z" if at else "never"


def span(length: timedelta) -> str:
    """A length of time in seconds, minutes, hours or days, whichever suits its size."""
    seconds = max(length.total_seconds(), 0.0)
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds // 86400:.0f} days"


def printable(text: str) -> str:
    """The text with a space for each character that is not printable, such as one that moves the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def close_names(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names most similar to this one, whatever the case; then the shortest names that contain it."""
    wanted, folded = name.casefold(), {each.casefold(): each for each in sorted(known)}
    close = get_close_matches(wanted, folded, n=most, cutoff=SIMILARITY)
    close += [each for each in sorted(folded, key=len) if wanted and wanted in each and each not in close]
    return [folded[each] for each in close[:most]]


def nearest(name: str, known: Iterable[str], listed: str = f"{MAIN} sources", most: int = 1) -> str:
    """A hint for a wrong name: similar known names, or all of them if they are few, or the command that lists them."""
    names = sorted(set(known))
    if close := close_names(name, names, most):
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(names)}" if len(names) <= FEW else f"see {listed}"
