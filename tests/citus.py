"""A cluster with Citus on which tests run: its coordinator is at TEST_CITUS_URL."""

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from db.database import Database
from db.distribution import distribute
from pipeline.tables import ensure_tables

URL = os.environ.get("TEST_CITUS_URL", "")
CITUS = Path("citus/bin")  # stands for the cluster where tests have the folder of a server's programs
TEMPLATES = ("template1", "metrics")
TRIES, PAUSE = 100, 0.05  # until nothing of Citus uses a database


def nodes() -> list[dict[str, str]]:
    """The parts of the DSN of each server: the coordinator, then the workers."""
    found = _run(parse_dsn(URL), "SELECT nodename, nodeport FROM pg_dist_node ORDER BY groupid")
    return [parse_dsn(make_dsn(URL, host=host, port=port)) for host, port in found]


class Cluster:
    """Makes databases: each is a database on every server, with the extension."""

    def __init__(self, directory: Path, workers: int | None = None) -> None:
        """Make the templates of this process: `metrics` has the distributed tables, `template1` has no table.

        All workers of the cluster are used, or so many; with none, the tables are on the coordinator alone.
        """
        self.directory, self._own = directory, f"test_{os.getpid()}"
        found = nodes()
        self._nodes = found if workers is None else found[: 1 + workers]
        with closing(psycopg2.connect(URL)) as session:
            session.cursor().execute("SELECT pg_advisory_lock(1)")  # Citus can't add servers twice at the same time
            for template in TEMPLATES:
                self._make(self._name(template))
        made = Database(make_dsn(URL, dbname=self._name("metrics")), directory)
        ensure_tables(made)
        if len(self._nodes) > 1:
            distribute(made)

    @contextmanager
    def database(self, name: str, template: str) -> Iterator[str]:
        """The DSN of a copy of a template, which is dropped at the end."""
        name = self._name(name)
        for node in self._nodes:
            _run(node, f"ALTER DATABASE {self._name(template)} ALLOW_CONNECTIONS false")
            _alone(node, self._name(template), f"CREATE DATABASE {name} TEMPLATE {self._name(template)}")
        yield make_dsn(URL, dbname=name)
        self._drop(name)

    def on_coordinator(self, url: str, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on the coordinator, in the database of a DSN."""
        return _run(parse_dsn(url), query)

    def on_workers(self, url: str, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query on all servers but the first, in the database of a DSN."""
        name = parse_dsn(url)["dbname"]
        return [row for node in self._nodes[1:] for row in _run(node | {"dbname": name}, query)]

    def release(self) -> None:
        """Drop the templates."""
        for template in TEMPLATES:
            self._drop(self._name(template))

    def _name(self, name: str) -> str:
        return f"{self._own}_{name}"

    def _make(self, name: str) -> None:
        for node in self._nodes:
            _run(node, f"CREATE DATABASE {name}")
            _run(node | {"dbname": name}, "CREATE EXTENSION citus")
        first, *workers = self._nodes
        coordinator = first | {"dbname": name}
        _run(coordinator, "SELECT citus_set_coordinator_host(%s, %s)", first["host"], int(first["port"]))
        for each in workers:
            _run(coordinator, "SELECT citus_add_node(%s, %s)", each["host"], int(each["port"]))

    def _drop(self, name: str) -> None:
        for node in self._nodes:
            _alone(node, name, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def _alone(node: dict[str, str], name: str, command: str) -> None:
    """Run a command that needs a database for itself, though the maintenance daemon of Citus comes back to it."""
    for left in reversed(range(TRIES)):
        _run(node, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", name)
        try:
            _run(node, command)
        except psycopg2.errors.ObjectInUse:
            if not left:
                raise
            time.sleep(PAUSE)
        else:
            return


def _run(node: dict[str, str], command: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(make_dsn(**node))) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(command, values or None)
            return cursor.fetchall() if cursor.description else []
