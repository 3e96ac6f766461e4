"""What each area of `check` gets (the context) and returns (what was checked, and the findings)."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

from cli.process import read_database
from db.coverage import Name, stored_series
from db.database import Database
from db.identities import Identity
from db.points import Age, ages
from db.quarantine import Rejected, Waiting, rejected, waiting
from model.errors import PipelineError
from model.settings import ROOT, Settings
from model.text import first_of
from model.values import Target
from pipeline.identities import changed_rows
from sources import SOURCES
from sources.base import BaseSource
from sources.config import Asset, valid_rows
from sources.http import Client

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
    remedy: str = ""  # empty if there is nothing to do, or if `what` says it; several lines stay as they are


class Area(NamedTuple):
    """The result of one area."""

    text: str  # what was checked, or why nothing was
    findings: Sequence[Finding] | None  # None if nothing was checked


class SourceRecords(NamedTuple):
    """What the database records of a source."""

    targets: Sequence[Target]  # the configured series; without a key only those that need none
    ages: Sequence[Age]  # of these series
    requested: Collection[Name]  # all series for which the API has ever answered
    changed: Sequence[Identity] = ()  # configured rows whose identifier now means another asset at the API
    waiting: Sequence[Waiting] = ()  # restatements that wait for a person
    rejected: Sequence[Rejected] = ()  # series of which stored values are kept against the API


@dataclass
class CheckContext:
    """What the areas share, and what one area leaves for those after it."""

    settings: Settings
    names: Sequence[str]  # of the sources to check
    exit_stack: ExitStack  # closes the database at the end
    database: Database | None = None  # set by the area `database` if it has the tables of this version
    clients: dict[str, tuple[BaseSource, Client]] = field(default_factory=dict)  # set by `keys`: APIs that answer
    explained: dict[str, Collection[Name]] = field(default_factory=dict)  # by source: series that a finding explains

    @cached_property
    def configs(self) -> dict[str, tuple[list[Asset], list[str]]]:
        """By source, the valid rows of its config, and the errors in it."""
        return {name: valid_rows(ROOT / SOURCES[name].CONFIG, SOURCES[name]) for name in self.names}

    @cached_property
    def records(self) -> dict[str, SourceRecords]:
        """By source, what the database records of it; nothing without a usable database. Raises PipelineError."""
        return read_database(self.database, "check", self._read_records) if self.database else {}

    def with_values(self, name: str) -> set[Name]:
        """The configured series of a source that have a value; none where the database can't be read."""
        with suppress(PipelineError):  # a finding of the area `series`
            if self.database:
                return {(age.asset, age.metric) for age in self.records[name].ages if age.newest}
        return set()

    def _read_records(self, cursor: Any) -> dict[str, SourceRecords]:
        found = {}
        for name, (rows, _) in self.configs.items():
            source, with_key = SOURCES[name], bool(self.settings.get(SOURCES[name].KEY_VARIABLE))
            every = (target for row in rows for target in row.targets())
            targets = [target for target in every if source.can_request(target.metric, with_key=with_key)]
            series = [(target.asset, target.metric) for target in targets]
            requested = frozenset((each.series.asset, each.series.metric) for each in stored_series(cursor, [name]))
            changed = changed_rows(cursor, source(), targets)
            decisions = waiting(cursor, name), rejected(cursor, name)
            found[name] = SourceRecords(targets, ages(cursor, name, series), requested, changed, *decisions)
        return found


def need_attention(findings: Iterable[Finding]) -> int:
    """How many findings are more than a note."""
    return sum(each.severity is not Severity.NOTE for each in findings)


def few(names: Iterable[str]) -> str:
    """The first of the names, each once, and how many more there are."""
    return first_of(list(dict.fromkeys(names)), NAMES_SHOWN)
