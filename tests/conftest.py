"""A real PostgreSQL for every test that asks for one: made once a run, cloned for each test."""

import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.embedded import EmbeddedServer
from db.heartbeat import Heartbeat
from db.postgres_programs import program_directories
from db.reader import Reader
from db.store import Store
from model.settings import PACE_DIRECTORY
from model.values import DAY, Verb, midnight
from pipeline.tables import ensure_tables
from tests.citus import CITUS, URL, Cluster
from tests.tables import AdoptingStore, Opener, Rows, Values

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the commands that tests start must not inherit that of `nohup`
NUMBERS = itertools.count(1)
FEWEST_WORKERS, MOST_WORKERS = 5, 8
LAST_SECONDS = 60.0  # longer than any test of the suite takes
Server = EmbeddedServer | Cluster
# Linux's file system in memory: on a disk, making and dropping a database takes several times as long
MEMORY, ENOUGH_MEMORY = Path("/dev/shm"), 8 * 2**30  # noqa: S108 - pytest makes a folder of our own there
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ENOUGH_MEMORY:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers() -> int:
    """A worker for each processor, each with its own servers; five at least, since tests mostly wait for processes."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(usable, FEWEST_WORKERS), MOST_WORKERS)


def pytest_runtest_setup() -> None:
    """Begin no test in the last seconds of a UTC day: many compare a table with what the fake APIs say of today."""
    left = (midnight(now := datetime.now(UTC)) + DAY - now).total_seconds()
    if left < LAST_SECONDS:
        time.sleep(left)


@pytest.fixture(scope="session", autouse=True)
def pace_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the commands of the tests share their pace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PACE_DIRECTORY, str(tmp_path_factory.mktemp("pace")))
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is marked `every_postgres` on each PostgreSQL found here; the rest runs on the best one alone.

    Where TEST_CITUS_URL is set, what has this mark or `cluster`, and not the mark `one_server`, runs there too.
    """
    if "server" in metafunc.fixturenames:
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        found = list(dict.fromkeys(program_directories())) if "every_postgres" in marks else program_directories()[:1]
        if URL and marks & {"every_postgres", "cluster"} and "one_server" not in marks:
            found.append(CITUS)
        if len(found) > 1:
            ids = [programs.parent.name for programs in found]
            metafunc.parametrize("server", found, ids=ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Server]]:
    """A function that gives the server of a folder of programs, started when first requested, for the whole run."""
    started: dict[Path, Server] = {}

    def server_of(programs: Path) -> Server:
        if programs == CITUS and programs not in started:
            started[programs] = Cluster(Path(folder, str(len(started))))
        if programs not in started:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("db.embedded.program_directories", lambda: [programs])
                made = started[programs] = EmbeddedServer(Path(folder, str(len(started))))
            ensure_tables(Database(made.dsn, made.directory))
        return started[programs]

    with TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        yield server_of
        for each in started.values():
            each.release()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, servers: Callable[[Path], Server]) -> Server:
    """A server for the whole run, whose database `metrics` has the schema and is the template of the tests' own."""
    return servers(getattr(request, "param", program_directories()[0]))


@pytest.fixture
def database_url(server: Server) -> Iterator[str]:
    """A DATABASE_URL of a fresh database with the schema and no rows."""
    with _fresh_database(server, "metrics") as url:
        yield url


@pytest.fixture
def database(server: Server, database_url: str) -> Database:
    """A fresh database with the schema and no rows."""
    return Database(database_url, server.directory)


@pytest.fixture
def reader(database: Database) -> Iterator[Reader]:
    """A session that only reads the fresh database."""
    with closing(Reader(database)) as made:
        yield made


@pytest.fixture
def empty_url(server: Server) -> Iterator[str]:
    """A DATABASE_URL of a fresh database without any table."""
    with _fresh_database(server, "template1") as url:
        yield url


@pytest.fixture
def session(database: Database) -> Iterator[Connection]:
    """A session as the project opens it, on the test's database; each statement in its own transaction."""
    with closing(database.connect("test")) as session:
        session.autocommit = True
        yield session


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """A function that runs a query on the test's database and gives all its rows, with naive times."""
    session = psycopg2.connect(database_url)
    session.autocommit = True

    def fetch(query: str, *values: object) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(query, values or None)
            return [] if cursor.description is None else cursor.fetchall()

    yield fetch
    session.close()


@pytest.fixture
def open_store(database: Database) -> Iterator[Opener]:
    """A function that opens a store for a run of a verb, closed at the end."""
    stores = []

    def opened(verb: Verb) -> Store:
        stores.append(AdoptingStore(database, "defillama", verb))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def load_artemis(database: Database) -> Iterator[Callable[..., object]]:
    """A function that loads points of Artemis, as a backfill does."""
    with closing(Store(database, "artemis", Verb.BACKFILL)) as store:
        yield lambda *points: store.load(points)


@pytest.fixture
def values(rows: Rows) -> Values:
    """A function that gives what is stored of DefiLlama: (asset, metric, time) to value."""

    def table() -> dict[tuple[str, str, datetime], float]:
        found = rows("SELECT asset, metric_name, pulled_at, value FROM metrics WHERE source = 'defillama'")
        return {(asset, metric, at.replace(tzinfo=UTC)): value for asset, metric, at, value in found}

    return table


@pytest.fixture
def heartbeat(database: Database) -> Iterator[Heartbeat]:
    """The heartbeat of a scheduler on the test's database."""
    with closing(Heartbeat(database, ["artemis"], fresh=False)) as made:
        yield made


@contextmanager
def _fresh_database(server: Server, template: str) -> Iterator[str]:
    name = f"test_{next(NUMBERS)}"
    if isinstance(server, Cluster):
        with server.database(name, template) as url:
            yield url
        return
    _command(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.dsn.replace("dbname=metrics", f"dbname={name}")
    _command(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _command(server: EmbeddedServer, command: str) -> None:
    with closing(psycopg2.connect(server.dsn.replace("dbname=metrics", "dbname=postgres"))) as session:
        session.autocommit = True
        session.cursor().execute(command)
