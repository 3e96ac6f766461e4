"""What a check finds."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from model.text import first_of

NAMES_SHOWN = 5  # names in one line


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"  # a run fails, or leaves something out
    WARNING = "warning"  # runs go on, but something is wrong
    NOTE = "note"  # good to know; needs no attention


class Finding(NamedTuple):
    """One thing that was found: where it is, what it is, and what to do."""

    severity: Severity
    where: str
    what: str
    remedy: str = ""  # empty if there is nothing to do, or if `what` says it


class Area(NamedTuple):
    """The result of one area."""

    text: str  # what was checked, or why nothing was
    findings: Sequence[Finding] | None  # None if nothing was checked


def need_attention(findings: Iterable[Finding]) -> int:
    """How many findings are more than a note."""
    return sum(each.severity is not Severity.NOTE for each in findings)


def few(names: Iterable[str]) -> str:
    """The first of the names, each once, and how many more there are."""
    return first_of(list(dict.fromkeys(names)), NAMES_SHOWN)
