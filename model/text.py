"""Small pieces of text for people: counted things, the first of many names, the names nearest to a wrong one."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

ALIKE = 0.6  # of 1: how like two names are, as difflib counts, for one to be suggested in place of the other
FEW = 12  # known names, all of which a hint lists where none is near


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 series", "2,000 runs"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def first_of(names: Sequence[str], most: int) -> str:
    """The first so many names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def printable(text: str) -> str:
    """A text with a space for each character that is not printable, such as one that moves the cursor."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def close_names(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names most like this one, whatever the case; after them the shortest ones that contain it."""
    wanted, folded = name.casefold(), {each.casefold(): each for each in sorted(known)}
    close = get_close_matches(wanted, folded, n=most, cutoff=ALIKE)
    close += [each for each in sorted(folded, key=len) if wanted and wanted in each and each not in close]
    return [folded[each] for each in close[:most]]


def nearest(name: str, known: Iterable[str], listed: str = "python main.py sources", most: int = 1) -> str:
    """A hint for a wrong name: the known ones like it, or all of them where they are few, or where they are listed."""
    names = sorted(set(known))
    if close := close_names(name, names, most):
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(names)}" if len(names) <= FEW else f"see {listed}"
