"""Distributes the tables to the servers of a Citus cluster, by asset."""

from contextlib import closing

import psycopg2

from db.cluster import has_citus, is_distributed
from db.database import Database, alive, reason
from db.load import hold_loads
from db.setup import SCHEMA_LOCK
from db.statements import Cursor, fetch, fetch_one, read_statements
from db.views import create_views
from model.errors import ConfigurationError, DatabaseLost

SQL = read_statements("distribution.sql")


def distribute(database: Database) -> int:
    """Distribute the tables with their rows, unless they are distributed already; returns the number of servers.

    Loads wait meanwhile. One transaction distributes all tables, and the next one removes the rows that the coordinator
    has kept; a second call removes them if the first was stopped in between. Raises ConfigurationError if the database
    has no Citus or no server for the rows, DatabaseLost if it goes away.
    """
    with closing(database.connect("setup")) as session:
        try:
            with session, session.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
                hold_loads(cursor)  # a load finds out in its turn whether the tables are distributed
                _distribute(cursor, str(database))
            with session, session.cursor() as cursor:
                cursor.execute(SQL["truncate_local"])
            with session, session.cursor() as cursor:
                return int(fetch_one(cursor, SQL["spread"])[0])
        except psycopg2.Error as error:
            if alive(session):
                raise ConfigurationError(f"{database}: the tables can't be distributed: {reason(error)}") from None
            raise DatabaseLost(f"{database} went away: {reason(error)}") from None


def _distribute(cursor: Cursor, where: str) -> None:
    if not has_citus(cursor):
        raise ConfigurationError(
            f"{where} has no Citus: the section 'More than one server' of docs/operating.md says how to set it up"
        )
    if is_distributed(cursor):
        return
    if fetch(cursor, SQL["workers"]) == [(0,)]:
        raise ConfigurationError(f"{where}: Citus has no other server yet: SELECT citus_add_node(host, port) adds one")
    cursor.execute(SQL["distribute"])
    if problems := create_views(cursor):
        raise ConfigurationError(f"{where}: {'; '.join(problems)}: nothing was distributed")
