"""What the areas share: settings, configs, clients, and what the database records of each source."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any, NamedTuple

from cli.process import ask_database
from db.coverage import Name, known_series
from db.points import Age, ages
from db.pulls import LastRuns, last_runs
from db.setup import Database
from model.settings import ROOT, Settings
from model.values import Target, Verb
from sources import SOURCES
from sources.base import BaseSource
from sources.config import Asset, valid_rows
from sources.http import Client

OFFLINE = "--offline"  # why an area is not checked


class SourceRecords(NamedTuple):
    """What the database records of a source."""

    targets: Sequence[Target]  # the configured series
    ages: Sequence[Age]  # of the configured series
    requested: Collection[Name]  # all series for which the API has ever answered
    unconfigured: Sequence[Age]  # of those that the config does not have
    runs: Mapping[Verb, LastRuns]

    @property
    def with_values(self) -> set[Name]:
        """The configured series that have values."""
        return {(age.asset, age.metric) for age in self.ages if age.newest}


class CheckContext:
    """What the areas share, and what one area leaves for those after it."""

    def __init__(self, settings: Settings, names: Sequence[str], leaving: ExitStack, *, offline: bool) -> None:
        self.settings, self.names, self.leaving, self.offline = settings, names, leaving, offline
        self.database: Database | None = None  # set by the area `database` if it has the tables of this version
        self.clients: dict[str, tuple[BaseSource, Client]] = {}  # set by the area `keys` for each API that answers
        self.explained: dict[str, Collection[Name]] = {}  # by source: series whose missing values a finding explains

    @cached_property
    def configs(self) -> dict[str, tuple[list[Asset], list[str]]]:
        """By source, the valid rows of its config, and the errors in it."""
        return {name: valid_rows(ROOT / SOURCES[name].CONFIG, SOURCES[name]) for name in self.names}

    @cached_property
    def records(self) -> dict[str, SourceRecords]:
        """By source, what the database records of it; nothing without a usable database. Raises PipelineError."""
        if self.database is None:
            return {}
        found = {}
        for name, (rows, _) in self.configs.items():
            with_key = bool(self.settings.get(SOURCES[name].KEY_VARIABLE))
            read = partial(_read_records, source=SOURCES[name], rows=rows, with_key=with_key)
            found[name] = ask_database(self.database, "check", read)
        return found


def _read_records(cursor: Any, source: type[BaseSource], rows: Sequence[Asset], *, with_key: bool) -> SourceRecords:
    """What the database records of a source; without a key only for the series that need none."""
    every = [target for row in rows for target in row.targets()]
    targets = [target for target in every if source.can_ask(target.metric, with_key=with_key)]
    requested = frozenset(known_series(cursor, source.name))
    unconfigured = sorted(requested - {(target.asset, target.metric) for target in every})
    runs = last_runs(cursor, [(source.name, verb.value) for verb in source.SCHEDULES])
    return SourceRecords(
        targets,
        ages(cursor, source.name, [(target.asset, target.metric) for target in targets]),
        requested,
        ages(cursor, source.name, unconfigured),
        {verb: runs[source.name, verb.value] for verb in source.SCHEDULES},
    )
