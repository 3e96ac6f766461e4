"""The role of a session, and what it may do."""

from typing import Any, NamedTuple

from db.setup import TABLES
from db.statements import fetch, fetch_one, read_statements

SQL = read_statements("rights.sql")


class Rights(NamedTuple):
    """The role of a session, and what it may do."""

    server: str  # its version
    role: str
    read_only: bool  # the server, the database or the role allows no writes at all
    may_create: bool  # may create tables, as `setup` does
    may_stage: bool  # may create temporary tables, as each load does
    denied: list[str]  # such as "INSERT on metrics"


def rights(cursor: Any) -> Rights:
    """What the role may do."""
    denied = [privilege for (privilege,) in fetch(cursor, SQL["denied"], {"tables": TABLES})]
    return Rights._make([*fetch_one(cursor, SQL["role"]), denied])
