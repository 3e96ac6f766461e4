"""A real PostgreSQL for every test that asks for one: made once a run, cloned for each test."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.embedded import EmbeddedServer
from db.setup import Database, ensure_schema

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A server for the whole run, whose database `metrics` has the schema and is the template of the tests' own."""
    server = EmbeddedServer.acquire(tmp_path_factory.mktemp("postgres"))
    database = Database(server.dsn, server.directory)
    ensure_schema(database)
    yield server
    server.release()


@pytest.fixture
def database_url(server: EmbeddedServer) -> Iterator[str]:
    """A DATABASE_URL of a fresh database with the schema and no rows."""
    name = f"test_{next(NUMBERS)}"
    _command(server, f"CREATE DATABASE {name} TEMPLATE metrics")
    yield server.dsn.replace("dbname=metrics", f"dbname={name}")
    _command(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def session(database_url: str) -> Iterator[Connection]:
    """A session of the test's own on its database, each statement in its own transaction."""
    with closing(psycopg2.connect(database_url)) as session:
        session.autocommit = True
        yield session


@pytest.fixture
def rows(session: Connection) -> Callable[..., list[tuple[object, ...]]]:
    """A function that runs a query on the test's database and gives all its rows."""

    def fetch(query: str, *values: object) -> list[tuple[object, ...]]:
        with session.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    return fetch


def _command(server: EmbeddedServer, command: str) -> None:
    with closing(psycopg2.connect(server.dsn.replace("dbname=metrics", "dbname=postgres"))) as session:
        session.autocommit = True
        session.cursor().execute(command)
