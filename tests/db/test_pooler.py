"""A connection pooler between the pipeline and PostgreSQL: refused unless it keeps sessions. Needs PgBouncer."""

from contextlib import closing

import psycopg2
import pytest

from tests.commands import environment, run
from tests.fake_api import FakeApi
from tests.pgbouncer import PGBOUNCER, pooled
from tests.tables import Rows

BTC = "main.py backfill artemis --asset btc --metric PRICE --start 2026-01-01"

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


def settings(url: str) -> list[tuple[str, str]]:
    """All settings of the session that a program gets that uses the pool after us."""
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT name, setting FROM pg_settings WHERE name NOT LIKE 'application_name' ORDER BY name")
            return cursor.fetchall()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_does_not_keep_sessions_is_refused_and_left_as_it_was(
    mode: str, database_url: str, rows: Rows
) -> None:
    with pooled(database_url, mode) as url, FakeApi() as api:
        before = settings(url)
        done = run(BTC, env=environment(url, api))
        assert (done.returncode, len(api.requests)) == (2, 0)
        assert settings(url) == before
    assert "connect to PostgreSQL directly, or to a pool in session mode" in done.stderr
    assert "Traceback" not in done.stderr
    assert rows("SELECT FROM pulls") == []
    assert rows("SELECT FROM pg_locks WHERE locktype = 'advisory'") == []


def test_a_pooler_that_keeps_sessions_serves(database_url: str, rows: Rows) -> None:
    with pooled(database_url, "session") as url, FakeApi() as api:
        done = run(BTC, env=environment(url, api))
    assert done.returncode == 0, done.stderr
    assert rows("SELECT count(*) > 100 FROM metrics") == [(True,)]
