"""The rights on the tables that runs need, and those that the role of a session lacks."""

from typing import Any, NamedTuple

from db.session import fetch, fetch_one
from db.statements import read_statements

SQL = read_statements("rights.sql")


class Rights(NamedTuple):
    """The role of a session, and what it may do."""

    server: str  # its version
    role: str
    read_only: bool  # no writes at all are allowed, by the server, the database or the role
    may_create: bool  # tables, which `setup` does
    may_stage: bool  # temporary tables, which each load does
    denied: list[str]  # such as "INSERT on metrics"


def rights(cursor: Any) -> Rights:
    """What the role may do."""
    denied = [privilege for (privilege,) in fetch(cursor, SQL["denied"])]
    return Rights._make([*fetch_one(cursor, SQL["role"]), denied])
