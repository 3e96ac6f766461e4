"""Creates and upgrades the tables and views, and says whether they are of this version."""

import hashlib
import logging
import re
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import psycopg2

from db.database import Database, alive, reason
from db.statements import Connection, Cursor, fetch, fetch_one, read_statements
from db.views import VIEWS, VIEWS_DISTRIBUTED, create_views, store_facts
from model.errors import ConfigurationError, DatabaseAway, DatabaseLost
from model.settings import MAIN
from model.values import MetricFacts

log = logging.getLogger(__name__)
SQL = read_statements("setup.sql")
SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
SCHEMA_STATEMENTS = re.split(r"\n(?=(?:CREATE|ALTER|COMMENT|DO|INSERT) )", SCHEMA)[1:]
TABLES = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", SCHEMA)
# what the version of the tables covers; a new comment makes no new version
VERSIONED = re.sub("--.*", "", "".join([SCHEMA, *VIEWS.values(), *VIEWS_DISTRIBUTED.values()]))
DIGEST = hashlib.sha256(" ".join(VERSIONED.split()).encode()).hexdigest()[:16]
TABLES_VERSION = 1  # raise it when a table changes after a release: an older program then refuses a newer backup
MARK = f"crypto-metrics schema {TABLES_VERSION} {DIGEST}"  # a comment of the table metrics; older ones have no number
SCHEMA_LOCK = 0x6372_7970  # pg_advisory_xact_lock: one process upgrades at a time
LOCK_SECONDS = 30  # how long an upgrade waits for the transactions of others


def ensure_schema(database: Database, facts: Collection[MetricFacts] = (), *, always: bool = False) -> bool:
    """Create or upgrade the tables and views, unless they are of this version; True if that was done now.

    Safe to call from several processes at once. With `always`, it is done in any case. `facts` about metrics replace
    those in the table, if any are given. Raises ConfigurationError if the database does not allow it, DatabaseAway if
    transactions of others keep it from it, DatabaseLost if the database goes away. Views and facts that can't be stored
    are a warning, since no run needs them, and with `always` an error.
    """
    with closing(database.connect("setup")) as session:
        try:
            with session, session.cursor() as cursor:
                old, problems = _upgrade(cursor, facts, always=always)
        except psycopg2.errors.LockNotAvailable:
            raise DatabaseAway(_in_use(session, database)) from None
        except psycopg2.Error as error:
            if alive(session):
                raise ConfigurationError(f"{database}: the tables can't be created: {reason(error)}") from None
            raise DatabaseLost(f"{database} went away: {reason(error)}") from None
    if problems:
        text = f"{database}: {'; '.join(problems)}: run {MAIN} setup as the owner of the tables"
        if always:
            raise ConfigurationError(text)
        log.warning("%s", text)
    return old


def _upgrade(cursor: Cursor, facts: Collection[MetricFacts], *, always: bool) -> tuple[bool, list[str]]:
    """Whether the tables were of another version, and what keeps views or facts from being stored."""
    problems: list[str] = []
    if old := always or not has_schema(cursor):
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        old = always or not has_schema(cursor)  # another process may have upgraded them meanwhile
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{LOCK_SECONDS}s",))
    if old:
        cursor.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")  # without Citus, it means nothing
        for statement in SCHEMA_STATEMENTS:  # Citus takes them only one by one
            cursor.execute(statement)
        problems += create_views(cursor)
        cursor.execute("COMMENT ON TABLE metrics IS %s", (MARK,))
    if facts and (problem := store_facts(cursor, facts)):
        problems.append(problem)
    return old, problems


def _in_use(session: Connection, database: Database) -> str:
    """Who holds locks that the upgrade of the tables needs, and what to do."""
    with session, session.cursor() as cursor:
        holders = [f"{name} (process {pid})" for pid, name in fetch(cursor, SQL["holders"], {"tables": TABLES})]
    return (
        f"{database}: others have used the tables for {LOCK_SECONDS} seconds, which keeps them from being upgraded: "
        f"{', '.join(holders)}: end these transactions, or the sessions with SELECT pg_terminate_backend(process)"
    )


def has_tables(cursor: Cursor) -> bool:
    """Whether the database has tables of this project, of any version."""
    both = "SELECT to_regclass('pulls') IS NOT NULL AND to_regclass('metrics') IS NOT NULL"
    return fetch_one(cursor, both) == (True,)


def has_schema(cursor: Cursor) -> bool:
    """Whether the tables are those of this version."""
    mark = "SELECT obj_description(to_regclass('metrics'), 'pg_class') WHERE to_regclass('pulls') IS NOT NULL"
    return fetch(cursor, mark) == [(MARK,)]


def need_schema(cursor: Cursor) -> None:
    """Raise ConfigurationError if the tables are of another version: read-only commands do not upgrade them."""
    if not has_schema(cursor):
        raise ConfigurationError(f"the tables are of another version: {MAIN} setup")
