"""deploy/bigint_ids.sql makes the ids BIGINT while loads go on."""

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.database import Database
from db.points import latest
from db.reader import Reader
from db.setup import ensure_schema, has_schema
from db.store import Store
from model.background import in_background
from model.values import Series
from tests.commands import environment
from tests.tables import BACKFILL, PULL, Opener, Rows, grid, now, points, read

pytestmark = [pytest.mark.every_postgres, pytest.mark.one_server]

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "bigint_ids.sql"
LAST_INTEGER = 2**31 - 1
IDS = "SELECT id, source, asset, metric_name, pulled_at FROM metrics ORDER BY id"
TYPE = "SELECT data_type FROM information_schema.columns WHERE (table_name, column_name) = ('metrics', 'id')"


def run_script(url: str, until_line: str = "") -> str:
    """What the script says; with `until_line`, only what stands before it is run."""
    text = SCRIPT.read_text(encoding="utf-8")
    done = run_psql(url, text[: text.index(until_line)] if until_line else text)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.splitlines()) == 1  # which names the database
    return done.stdout


def run_psql(url: str, text: str) -> "subprocess.CompletedProcess[str]":
    """Run the text of a script as the docs say."""
    return subprocess.run(
        [sys.executable, "main.py", "psql"],
        cwd=ROOT,
        env=environment(url),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_rows_keep_their_ids_and_loads_go_on_meanwhile_and_beyond_the_last_integer(
    database: Database, database_url: str, open_store: Opener, reader: Reader, session: Connection, rows: Rows
) -> None:
    open_store(BACKFILL).load(grid(50, 1000))
    before, then = rows(IDS), now(rows)
    begun, ended = threading.Event(), threading.Event()

    def load() -> int:
        number = 0
        with closing(Store(database, "defillama", PULL)) as store:
            while not ended.is_set():
                assert store.load(points(number, asset="new")).new == 1
                number += 1
                begun.set()
        return number

    loading = in_background(load)
    begun.wait()
    run_script(database_url)
    ended.set()
    loaded = loading.result()
    assert rows(TYPE) == [("bigint",)]
    assert rows(IDS)[: len(before)] == before
    assert rows("SELECT count(*), count(DISTINCT id) FROM metrics") == [(50_000 + loaded, 50_000 + loaded)]

    rows("SELECT setval('metrics_id_seq', %s)", LAST_INTEGER)
    assert open_store(PULL).load(points(0, asset="later")).new == 1
    assert rows("SELECT id FROM metrics WHERE asset = 'later'") == [(LAST_INTEGER + 1,)]
    assert rows("SELECT first_id FROM loads ORDER BY first_id DESC LIMIT 1") == [(LAST_INTEGER + 1,)]
    known = read(reader, *latest([Series("defillama", name, "TVL") for name in ("asset-0", "later")], then))
    assert [number for number, *_ in known] == [0]
    ensure_schema(database, always=True)
    assert rows("SELECT count(*) FROM metrics_as_of(%s)", then) == [(50_000,)]
    with session.cursor() as cursor:
        assert has_schema(cursor)


def test_a_script_that_was_stopped_goes_on_and_a_second_run_changes_nothing(
    database_url: str, open_store: Opener, rows: Rows
) -> None:
    open_store(BACKFILL).load(grid(3, 10))
    before = rows(IDS)
    stops = [
        "-- The stored rows",
        "-- What the new column",
        "ALTER TABLE metrics VALIDATE",
        "BEGIN;\nLOCK",
        "COMMIT;\nVACUUM",
    ]
    for stop in stops:
        run_script(database_url, stop)
        open_store(PULL).load(grid(4, 10))
        assert rows(TYPE) == [("integer",)]
    run_script(database_url)
    assert rows(IDS)[: len(before)] == before
    assert rows(TYPE) == [("bigint",)]
    assert run_script(database_url) == "the ids are BIGINT\n"
