"""The clock of a database of the tests, which they set to any instant."""

from datetime import datetime

from tests.tables import Rows

# PostgreSQL searches its own functions first unless the search path names their schema.
MAKE = """
CREATE SCHEMA clock;
CREATE TABLE clock.hand (at TIMESTAMPTZ NOT NULL);
INSERT INTO clock.hand VALUES ('2000-01-01');
CREATE FUNCTION clock.clock_timestamp() RETURNS TIMESTAMPTZ LANGUAGE sql AS 'SELECT at FROM clock.hand';
CREATE FUNCTION clock.statement_timestamp() RETURNS TIMESTAMPTZ LANGUAGE sql AS 'SELECT at FROM clock.hand';
CREATE FUNCTION clock.now() RETURNS TIMESTAMPTZ LANGUAGE sql AS 'SELECT at FROM clock.hand';
ALTER TABLE pulls ALTER pulled_at SET DEFAULT clock.now();
"""


class DatabaseClock:
    """The clock of all sessions that begin from now on."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        rows(MAKE)
        rows(f"ALTER DATABASE {rows('SELECT current_database()')[0][0]} SET search_path = clock, pg_catalog, public")

    def set(self, at: datetime) -> None:
        """Stop the clock at an instant."""
        self._rows("UPDATE clock.hand SET at = %s", at)
