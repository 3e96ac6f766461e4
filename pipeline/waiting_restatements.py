"""Restatements that wait for a person, as text: what the API has changed, and the commands that decide about it."""

import shlex
from collections.abc import Sequence

from db.quarantine import Rejected, Waiting
from model.amount_text import old_and_new, short_amount
from model.settings import MAIN
from model.text import counted, moment
from sources import shift_of, unit_of

WRITTEN_OUT = (100, 1e15)  # factors of this size have no exponent and no decimals


def waiting_text(source: str, waiting: Waiting) -> str:
    """What the API has changed in a series, with the newest change as an example, and since when."""
    shift = shift_of(source, waiting.metric)
    first, last = ((at + shift).date() for at in (waiting.first, waiting.last))
    of = f"{waiting.days:,} of {waiting.stored:,} stored days"
    when = f"{first}" if first == last else f"{first} to {last}"
    if waiting.withdrawn == waiting.days:
        what = f"the API no longer has {of}, {when}"
    elif waiting.zero == waiting.days:
        what = f"the API now gives zero for {of}, {when}"
    else:
        what = f"the API now gives other values for {of}{_exceptions(waiting)}, {when}{_factor(waiting)}"
    example = f"{last} {_example(source, waiting)}"
    return f"{waiting.asset} {waiting.metric}: {what}; {example}; first seen {moment(waiting.since)}"


def waiting_choices(source: str, waiting: Waiting) -> list[tuple[str, str]]:
    """What a person can decide about it: to accept or to reject what the API has now, each with its command."""
    if waiting.withdrawn == waiting.days:
        take = "to mark these days as withdrawn (the stored values stay)"
        keep = "to leave these days unmarked (the stored values stay, too)"
    else:
        take, keep = "to take the new values", "to keep the stored ones"
    names = shlex.join([waiting.asset, waiting.metric])
    choices = (take, "--accept"), (keep, "--reject")
    return [(purpose, f"{MAIN} settle {source} {option} {names}") for purpose, option in choices]


def waiting_remedy(source: str, waiting: Waiting) -> str:
    """The choices as text, with each command on a line of its own."""
    return "\n".join(f"{purpose}:\n{command}" for purpose, command in waiting_choices(source, waiting))


def rejected_text(rejected: Sequence[Rejected]) -> str:
    """How many stored values are kept against the API."""
    values = counted(sum(each.values for each in rejected), "stored value")
    series = counted(len(rejected), "series", "series")
    return f"{values} of {series} kept against the API, since a person rejected its values"


def _exceptions(waiting: Waiting) -> str:
    """How many of the days have no other value than zero, or none at all."""
    numbers = ((waiting.zero, "zero for"), (waiting.withdrawn, "none for"))
    texts = [f"{text} {number:,}" for number, text in numbers if number]
    return f" ({' and '.join(texts)} of them)" if texts else ""


def _factor(waiting: Waiting) -> str:
    """The median of new to stored values; nothing for a single day, which is the example."""
    factor = waiting.factor
    if factor is None or waiting.days == 1:
        return ""
    least, most = WRITTEN_OUT
    text = f"{factor:,.0f}" if least <= abs(factor) < most else f"{factor:.3g}"
    return "" if text == "1" else f", typically new = {text} × old"


def _example(source: str, waiting: Waiting) -> str:
    """What would become of the newest day."""
    unit = unit_of([(source, waiting.asset, waiting.metric)])
    if waiting.new is None:
        return "is stored as " + ("no value" if waiting.old is None else short_amount(waiting.old, unit))
    old, new = old_and_new(waiting.old, waiting.new, unit)
    return f"would be {new} in place of {old}"
