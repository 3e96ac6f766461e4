"""Tables that are distributed to a cluster. The tests marked `every_postgres` and `cluster` run there as well."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from db.backup import back_up, restore_backup
from db.cluster import is_distributed
from db.database import Database
from db.distribution import SQL, distribute
from db.embedded import EmbeddedServer
from db.setup import TABLES, ensure_schema
from db.statements import in_transaction
from db.store import Store
from model.background import in_background
from model.errors import ConfigurationError, DatabaseLost
from model.values import Verb
from pipeline.tables import ensure_tables
from tests.citus import CITUS, URL, Cluster
from tests.conftest import Server
from tests.db.test_bigint_ids import SCRIPT, run_psql
from tests.tables import BACKFILL, PULL, Rows, asked, grid, point
from tests.waiting import until

SPREAD = "SELECT logicalrelid::text FROM pg_dist_partition WHERE partmethod = 'h' ORDER BY 1"
WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
SERVERS = "SELECT DISTINCT nodeport FROM citus_shards WHERE table_name = 'metrics'::regclass AND shard_size > 0"
KEY = "SELECT contype FROM pg_constraint WHERE conrelid = 'metrics'::regclass AND contype = 'p'"


@pytest.fixture
def cluster(servers: Callable[[Path], Server]) -> Cluster:
    """The cluster at TEST_CITUS_URL."""
    if not URL:
        pytest.skip("TEST_CITUS_URL is not set")
    found = servers(CITUS)
    assert isinstance(found, Cluster)
    return found


@pytest.fixture
def filled(cluster: Cluster) -> Iterator[Database]:
    """A database of the cluster with rows in each table, which is not distributed."""
    with cluster.database("filled", "template1") as url:
        database = Database(url, cluster.directory)
        ensure_tables(database)
        with closing(Store(database, "defillama", BACKFILL)) as store:
            store.begin_run()
            store.load(grid(20, 50), [asked(0, 50, f"asset-{number}") for number in range(20)])
        with closing(Store(database, "defillama", Verb.SETTLE)) as store:
            store.begin_run()
            store.load(grid(20, 3, value=2.0))
        yield database


def contents(url: str) -> dict[str, list[str]]:
    """All rows of all tables."""
    with closing(psycopg2.connect(url)) as session, session, session.cursor() as cursor:
        found = {}
        for name in TABLES:
            cursor.execute(f"SELECT each::text FROM {name} AS each ORDER BY 1")  # noqa: S608 - a name of ours
            found[name] = [row for (row,) in cursor]
        return found


def distributed(database: Database) -> bool:
    with closing(database.connect("test")) as session:
        return in_transaction(session, is_distributed)


@pytest.mark.every_postgres
@pytest.mark.one_server
def test_one_server_is_refused_in_one_line_and_stays_as_it_is(database: Database, rows: Rows) -> None:
    with pytest.raises(ConfigurationError, match=r"has no Citus: the section .* of docs/operating.md says how"):
        distribute(database)
    assert not distributed(database)
    assert rows(KEY) == [("p",)]


def test_rows_are_kept_and_spread_and_a_second_time_changes_nothing(filled: Database, cluster: Cluster) -> None:
    url = filled.conninfo()[0]
    before = contents(url)
    assert not distributed(filled)
    for _ in range(2):
        assert distribute(filled) == len(cluster.on_workers(url, "SELECT 1"))
        assert distributed(filled)
        ensure_schema(filled, always=True)
    assert contents(url) == before
    assert len(before["metrics"]) == 1000
    assert len(before["quarantine"]) == 60
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute(SPREAD)
        assert [name for (name,) in cursor] == ["coverage", "metrics", "quarantine", "refused", "revisions"]
        cursor.execute(SERVERS)
        assert len(cursor.fetchall()) == len(cluster.on_workers(url, "SELECT 1"))


def test_loads_beside_it_wait_and_store_everything(filled: Database, cluster: Cluster) -> None:
    begun, ended = threading.Event(), threading.Event()

    def load() -> int:
        day = 100
        with closing(Store(filled, "defillama", PULL)) as store:
            while not ended.is_set():
                assert store.load(grid(20, 2, first_day=day)).new == 40
                day += 2
                begun.set()
        return (day - 100) * 20

    loading = in_background(load)
    begun.wait()
    distribute(filled)
    ended.set()
    loaded = loading.result()
    stored = "SELECT count(*) FROM metrics"
    assert cluster.on_coordinator(filled.conninfo()[0], stored) == [(1000 + loaded,)]


def test_after_a_stop_in_the_middle_a_second_call_removes_what_the_coordinator_has_kept(
    filled: Database, cluster: Cluster
) -> None:
    url = filled.conninfo()[0]
    before = contents(url)
    with closing(filled.connect("test")) as session, session, session.cursor() as cursor:
        cursor.execute(SQL["distribute"])
    kept = "SELECT pg_relation_size('metrics') > 0"
    assert cluster.on_coordinator(url, kept) == [(True,)]
    distribute(filled)
    assert cluster.on_coordinator(url, kept) == [(False,)]
    assert contents(url) == before


def test_the_script_for_bigint_ids_refuses_distributed_tables_and_changes_nothing(filled: Database) -> None:
    distribute(filled)
    url = filled.conninfo()[0]
    before = contents(url)
    done = run_psql(url, SCRIPT.read_text(encoding="utf-8"))
    assert done.returncode != 0
    assert "metrics is distributed: its ids can become BIGINT only before that" in done.stderr
    assert contents(url) == before


def test_a_load_that_loses_a_server_stores_nothing_and_its_repetition_all(filled: Database, cluster: Cluster) -> None:
    distribute(filled)
    url = filled.conninfo()[0]
    before = contents(url)
    points = [point(f"new-{number}", day) for number in range(20) for day in range(10)]
    with closing(Store(filled, "defillama", PULL)) as store, closing(psycopg2.connect(url)) as other:
        other.cursor().execute(
            "INSERT INTO coverage (source, asset, metric_name) SELECT 'defillama', 'new-' || number, 'TVL' "
            "FROM generate_series(0, 19) AS number"
        )
        loading = in_background(lambda: store.load(points))
        until(lambda: cluster.on_workers(url, WAITING))
        cluster.on_workers(url, END_OTHERS)
        with pytest.raises(DatabaseLost):
            loading.result()
    assert contents(url) == before
    with closing(Store(filled, "defillama", PULL)) as store:
        assert store.load(points).new == 200
        assert store.load(points).new == 0
    after = contents(url)
    assert len(after["metrics"]) == len(before["metrics"]) + 200
    assert len(after["coverage"]) == len(before["coverage"]) + 20


def test_a_backup_of_a_cluster_comes_back_to_one_server(
    filled: Database, server: EmbeddedServer, empty_url: str, tmp_path: Path
) -> None:
    distribute(filled)
    back_up(filled, tmp_path / "metrics.dump", only_ours=True)
    one = Database(empty_url, server.directory)
    restore_backup(one, tmp_path / "metrics.dump")
    assert contents(empty_url) == contents(filled.conninfo()[0])
    ensure_schema(one, always=True)
    with closing(one.connect("test")) as session, session.cursor() as cursor:
        cursor.execute(KEY)
        assert cursor.fetchall() == [("p",)]
    with closing(Store(one, "defillama", PULL)) as store:
        assert store.load([point("new")]).new == 1
