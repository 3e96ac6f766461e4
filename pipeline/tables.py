"""The tables and views of a database, with the facts about metrics of the sources."""

from db.database import Database
from db.setup import ensure_schema
from sources import metric_facts


def ensure_tables(database: Database, *, always: bool = False) -> bool:
    """Create or upgrade the tables and views where necessary: see db.setup.ensure_schema."""
    return ensure_schema(database, metric_facts(), always=always)
