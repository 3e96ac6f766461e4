"""Small pieces of text as people read them: numbers of things, the first of many names, what others have written."""

from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """A number of things: "1 series", "2,000 runs"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def first_of(names: Sequence[str], most: int) -> str:
    """The first so many names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


def plain(text: str) -> str:
    """A text without what could move the cursor: it may quote an answer."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
