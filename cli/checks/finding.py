"""What a check finds, and the area in which it was looked for."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from model.text import first_of

NAMED = 5  # of many alike, in one line


class Severity(StrEnum):
    """How much a finding matters. Notes are the only ones that need no hand."""

    ERROR = "error"  # a run fails, or leaves something out
    WARNING = "warning"  # runs go on, but something is not as it should be
    NOTE = "note"


class Finding(NamedTuple):
    """One thing found: how much it matters, where, what, and what to do."""

    severity: Severity
    where: str
    what: str
    remedy: str = ""  # empty where there is nothing to do, or where `what` says it


class Area(NamedTuple):
    """What was looked at in one area, and what was found."""

    name: str
    looked_at: str  # or why nothing was
    findings: Sequence[Finding] = ()
    looked: bool = True


def need_a_hand(findings: Iterable[Finding]) -> int:
    """How many of the findings are more than a note."""
    return sum(each.severity is not Severity.NOTE for each in findings)


def few(names: Iterable[str]) -> str:
    """The first of the names, and how many more there are."""
    return first_of(list(dict.fromkeys(names)), NAMED)
