"""What the areas of a check share: the settings, the configs, the clients, and what the database says."""

import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from typing import Any, TypeVar

from cli.checks.series import Stored, read_stored
from cli.process import open_database, until_stopped
from cli.pull_backfill_settle import pace_of
from db.coverage import Name
from db.session import session_for
from db.setup import Database
from model.errors import DatabaseLost, PipelineError
from model.settings import ROOT, Settings
from sources import SOURCES
from sources.base import BaseSource
from sources.config import Asset, valid_rows
from sources.http import Client

T = TypeVar("T")


class Look:
    """What the areas share, and what one has found out for those after it."""

    def __init__(self, settings: Settings, names: Sequence[str], leaving: ExitStack, *, offline: bool) -> None:
        self.settings, self.names, self.offline = settings, names, offline
        self.silent: set[str] = set()  # sources that can't be asked, as has been said already
        self.explained: dict[str, Collection[Name]] = {}  # by source: series of which it was said why they lack values
        self.database: Database | None = None  # with the tables of this version
        self._leaving = leaving
        self._clients: dict[str, tuple[BaseSource, Client]] = {}

    @cached_property
    def configs(self) -> dict[str, tuple[list[Asset], list[str]]]:
        """The right rows of each config, and what is wrong with it."""
        return {name: valid_rows(ROOT / SOURCES[name].CONFIG, SOURCES[name]) for name in self.names}

    @cached_property
    def stored(self) -> dict[str, Stored]:
        """What the tables say of each source; nothing where they can't be asked."""
        if self.database is None:
            return {}
        found = {}
        for name, (rows, _) in self.configs.items():
            source = SOURCES[name]
            with_key = bool(self.settings.get(source.KEY_VARIABLE))
            found[name] = self.asked(self.database, partial(read_stored, source=source, rows=rows, with_key=with_key))
        return found

    def seen(self, name: str) -> Collection[Name]:
        """The series of a source that have values, as far as the database tells."""
        try:
            return self.stored[name].seen if self.database else ()
        except PipelineError:  # which the look at the series tells
            return ()

    def open(self) -> Database:
        """The database, until the check is over; raises ConfigurationError."""
        return self._leaving.enter_context(open_database(self.settings))

    @staticmethod
    def asked(database: Database, question: Callable[[Any], T]) -> T:
        """What a question to the database gives. A signal is heard while it does not answer, too."""

        def ask() -> T:
            with session_for(database, "check", "read") as session, session, session.cursor() as cursor:
                return question(cursor)

        found = until_stopped(threading.Event(), ask)
        if found is None:
            raise DatabaseLost
        return found

    def client(self, name: str) -> tuple[BaseSource, Client]:
        """A source and its client; raises ConfigurationError where a value in the settings is none."""
        if name not in self._clients:
            source, settings = SOURCES[name], self.settings
            api = source(settings.key(source.KEY_VARIABLE), settings.url(source.BASE_URL_VARIABLE))
            self._clients[name] = api, Client(api, threading.Event(), pace_of(source, settings))
        return self._clients[name]
