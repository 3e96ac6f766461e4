"""The schema: from nothing, from older tables, and where it can't be created."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from db.database import Database
from db.embedded import EmbeddedServer
from db.setup import SCHEMA_LOCK, VERSIONED, ensure_schema
from db.store import Store
from model.errors import DatabaseAway, DatabaseLost
from model.settings import MAIN
from model.values import Verb
from tests.tables import as_role, ask, point, refusal
from tests.waiting import until

REPOSITORY = Path(__file__).parents[2]
SPECIFIED = """
CREATE TABLE pulls (
    pull_id SERIAL PRIMARY KEY,
    source_name VARCHAR(100) NOT NULL,
    pulled_at TIMESTAMP NOT NULL DEFAULT NOW(),
    status VARCHAR(50) NOT NULL,            -- 'success', 'error', 'no_data'
    records_count INTEGER DEFAULT 0
);
CREATE TABLE metrics (
    id SERIAL PRIMARY KEY,
    pulled_at TIMESTAMP NOT NULL,           -- date of the data point
    source VARCHAR(100) NOT NULL,           -- 'artemis', 'defillama'
    asset VARCHAR(100) NOT NULL,            -- the source's own identifier: artemis 'sol', defillama 'solana'
    metric_name VARCHAR(200) NOT NULL,      -- standard upper-case name: 'PRICE', 'TVL', 'FEES'
    value DOUBLE PRECISION
);
CREATE UNIQUE INDEX idx_metrics_unique ON metrics (source, asset, metric_name, pulled_at);
"""
ROWS = """
INSERT INTO pulls (source_name, status, records_count) VALUES ('defillama', 'success', 1);
INSERT INTO metrics (pulled_at, source, asset, metric_name, value)
VALUES ('2024-01-01', 'defillama', 'solana', 'TVL', 1.0);
"""
OTHER_INDEXES = "".join(
    f"CREATE INDEX old_{number} ON metrics ({columns});"
    for number, columns in enumerate(
        ["source", "asset", "metric_name", "pulled_at", "source, asset", "asset, metric_name", "metric_name, pulled_at"]
    )
)
ADDED = ["kind", "finished_at", "calls", "failed_calls", "points_received", "failure", "points_differing", "slot"]


def columns(url: str, table: str) -> list[tuple[Any, ...]]:
    described = "column_name, data_type, character_maximum_length, is_nullable, column_default"
    place = f"information_schema.columns WHERE table_name = '{table}'"
    return ask(url, f"SELECT {described} FROM {place} ORDER BY ordinal_position")  # noqa: S608 - our own tables


def indexes(url: str) -> dict[str, str]:
    return dict(ask(url, "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('pulls', 'metrics')"))


def works(url: str) -> None:
    store = Store(Database(url, Path()), "defillama", Verb.PULL)
    store.begin_run()
    assert store.load([point("solana"), point("bitcoin")]).new > 0
    store.close()


def test_from_nothing_the_tables_are_those_of_the_specification(empty_url: str, database_url: str) -> None:
    ask(empty_url, SPECIFIED)
    assert columns(database_url, "metrics") == columns(empty_url, "metrics")
    pulls, specified = columns(database_url, "pulls"), columns(empty_url, "pulls")
    assert pulls[: len(specified)] == specified
    assert [column[0] for column in pulls[len(specified) :]] == ADDED
    assert all(nullable == "YES" and default is None for *_, nullable, default in pulls[len(specified) :])


def test_the_tables_have_three_indexes_beside_the_specified_ones(empty_url: str, database_url: str) -> None:
    ask(empty_url, SPECIFIED)
    cross_section = "public.metrics USING btree (source, metric_name, pulled_at)"
    assert indexes(database_url) == {
        **indexes(empty_url),
        "idx_metrics_cross_section": f"CREATE INDEX idx_metrics_cross_section ON {cross_section}",
        "idx_pulls_slot": "CREATE INDEX idx_pulls_slot ON public.pulls USING btree (source_name, kind, slot)",
        "idx_pulls_source": "CREATE INDEX idx_pulls_source ON public.pulls USING btree (source_name, pulled_at)",
    }


def test_the_version_of_the_tables_does_not_depend_on_how_the_program_is_installed() -> None:
    assert MAIN not in VERSIONED
    assert "main.py" not in VERSIONED


def test_setup_runs_once_unless_always_is_given(empty_url: str) -> None:
    database = Database(empty_url, Path())
    assert ensure_schema(database)
    assert not ensure_schema(database)
    assert ensure_schema(database, always=True)
    works(empty_url)


@pytest.mark.parametrize(
    "statement", ["DROP TABLE metrics CASCADE", "DROP TABLE pulls CASCADE", "COMMENT ON TABLE metrics IS 'old'"]
)
def test_what_is_missing_is_made_again(database_url: str, statement: str) -> None:
    ask(database_url, statement)
    assert ensure_schema(Database(database_url, Path()))
    works(database_url)


@pytest.mark.parametrize("more", ["", OTHER_INDEXES], ids=["as specified", "with nine indexes"])
def test_tables_of_the_specification_alone_are_upgraded_with_their_rows(
    empty_url: str, database_url: str, more: str
) -> None:
    ask(empty_url, SPECIFIED + ROWS + more)
    assert len(indexes(empty_url)) in (3, 10)  # one of them is that of pulls
    assert ensure_schema(Database(empty_url, Path()))
    for table in ("pulls", "metrics"):
        assert columns(empty_url, table) == columns(database_url, table)
    assert indexes(database_url).items() <= indexes(empty_url).items()
    assert ask(empty_url, "SELECT source_name, status, records_count, kind FROM pulls") == [
        ("defillama", "success", 1, None)
    ]
    works(empty_url)
    assert ask(empty_url, "SELECT id, asset FROM metrics ORDER BY id") == [(1, "solana"), (2, "bitcoin")]


def test_eight_processes_may_set_up_at_once(empty_url: str) -> None:
    script = (
        "import sys; from pathlib import Path; from db.database import Database; from db.setup import ensure_schema\n"
        "ensure_schema(Database(sys.argv[1], Path()))"
    )
    command = [sys.executable, "-c", script, empty_url]
    with ExitStack() as stack:
        with closing(psycopg2.connect(empty_url)) as first, first, first.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))  # all wait until all are there
            started = [stack.enter_context(subprocess.Popen(command, cwd=REPOSITORY)) for _ in range(8)]  # noqa: S603
            until(lambda: ask(empty_url, "SELECT count(*) FROM pg_locks WHERE NOT granted") == [(8,)])
        assert [process.wait(60) for process in started] == [0] * 8
    works(empty_url)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE VIEW metrics AS SELECT 1 AS id",
        "CREATE TABLE metrics (name text)",
        SPECIFIED.replace("CREATE UNIQUE INDEX", "-- ") + ROWS + ROWS,
    ],
    ids=["a view", "another table", "a key twice"],
)
def test_tables_that_cannot_be_upgraded_are_named_and_left_as_they_are(empty_url: str, statement: str) -> None:
    ask(empty_url, statement)
    assert "the tables can't be created: " in refusal(lambda: ensure_schema(Database(empty_url, Path())))
    assert ask(empty_url, "SELECT count(*) FROM information_schema.columns WHERE column_name = 'finished_at'") == [(0,)]


def test_an_upgrade_names_who_keeps_it_from_the_tables_and_does_not_wait_for_ever(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.setup.LOCK_SECONDS", 1)
    ask(database_url, "COMMENT ON TABLE metrics IS 'old'")
    database = Database(database_url, Path())
    with closing(psycopg2.connect(database_url, application_name="Grafana")) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM daily")
        with pytest.raises(DatabaseAway) as caught:
            ensure_schema(database)
        holder = f"metrics Grafana (process {other.info.backend_pid}): end these transactions"
        assert holder in str(caught.value)
    assert ensure_schema(database)


@pytest.fixture
def role(server: EmbeddedServer) -> Iterator[str]:
    """A role that may log in and nothing else."""
    ask(server.dsn, "CREATE ROLE guest LOGIN")
    yield "guest"
    ask(server.dsn, "DROP ROLE guest")


def test_a_database_that_goes_away_during_setup_is_lost_and_not_misconfigured(empty_url: str) -> None:
    ask(
        empty_url,
        "CREATE FUNCTION die() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$;"
        "CREATE EVENT TRIGGER die ON ddl_command_start EXECUTE FUNCTION die()",
    )
    with pytest.raises(DatabaseLost, match=r"^test_\d+ on .*: server closed the connection unexpectedly$"):
        ensure_schema(Database(empty_url, Path()))


def test_a_role_without_rights_gets_an_error_that_says_so(role: str, empty_url: str, database_url: str) -> None:
    message = refusal(lambda: ensure_schema(Database(as_role(empty_url, role), Path())))
    assert message.endswith("the tables can't be created: permission denied for schema public")
    store = Store(Database(as_role(database_url, role), Path()), "defillama", Verb.PULL)
    assert "can't be written: permission denied for table" in refusal(store.begin_run)
    assert "can't be written: permission denied for table" in refusal(lambda: store.load([point()]))
    store.close()


def test_a_role_that_may_write_needs_no_right_to_set_up(role: str, database_url: str) -> None:
    ask(database_url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    ask(database_url, f"GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {role}")
    assert not ensure_schema(Database(as_role(database_url, role), Path()))
    works(as_role(database_url, role))
    ask(database_url, f"DROP OWNED BY {role}")


def test_a_read_only_database_gives_an_error_that_says_so(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    message = refusal(lambda: ensure_schema(Database(empty_url, Path())))
    assert message.endswith("the tables can't be created: cannot execute CREATE TABLE in a read-only transaction")
