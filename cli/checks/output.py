"""How the findings of a check are shown: as a table for a person, and as plain values."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from cli.checks.finding import Area, Finding, Severity, need_a_hand
from model.text import counted, printable

WIDTH = 100  # columns
WIDEST_PLACE = 30
SEVERITY = max(map(len, Severity)) + 2


def lines(areas: Sequence[Area]) -> Iterator[str]:
    """The table, and in its last line how much needs a hand. A remedy of several findings in a row stands once."""
    place = min(WIDEST_PLACE, max((len(each.where) for area in areas for each in area.findings), default=0))
    for area in areas:
        state = ("" if area.findings else "ok: ") if area.looked else "not looked at: "
        title = f"{area.name}: {state}{area.looked_at}"
        yield from _wrapped(title, WIDTH, subsequent_indent="  ")
        findings = sorted(area.findings, key=lambda each: list(Severity).index(each.severity))
        for finding, following in zip_longest(findings, findings[1:]):
            again = following is not None and following.remedy == finding.remedy
            yield from _finding_lines(finding._replace(remedy="") if again else finding, place)
    found = [finding for area in areas for finding in area.findings]
    number = need_a_hand(found)
    notes = len(found) - number
    yield f"{number:,} {'needs' if number == 1 else 'need'} a hand, {counted(notes, 'note')}"


def as_json(areas: Sequence[Area]) -> dict[str, Any]:
    """All of it as plain values."""
    found = [finding for area in areas for finding in area.findings]
    return {
        "need_a_hand": need_a_hand(found),
        "notes": len(found) - need_a_hand(found),
        "areas": [
            {
                "area": area.name,
                "looked": area.looked,
                "looked_at": area.looked_at,
                "findings": [{**finding._asdict(), "severity": finding.severity.value} for finding in area.findings],
            }
            for area in areas
        ],
    }


def _finding_lines(finding: Finding, place: int) -> Iterator[str]:
    """Severity, place, what and remedy; a longer place has a line of its own."""
    margin = 2 + SEVERITY + place + 2
    where = printable(finding.where)
    head = f"  {finding.severity:<{SEVERITY}}{where}"
    told = _wrapped(finding.what, WIDTH - margin)
    if finding.remedy:
        told += _wrapped(finding.remedy, WIDTH - margin, initial_indent="-> ", subsequent_indent="   ")
    if len(where) > place:
        yield head
    else:
        yield f"{head:<{margin}}{told.pop(0)}"
    yield from (" " * margin + line for line in told)


def _wrapped(text: str, width: int, initial_indent: str = "", subsequent_indent: str = "") -> list[str]:
    """The lines of a text; commands and names are broken at spaces alone."""
    wrapper = textwrap.TextWrapper(
        width, initial_indent=initial_indent, subsequent_indent=subsequent_indent, break_on_hyphens=False
    )
    return wrapper.wrap(printable(text))
