"""A role that may only read, for people and tools: created, updated, and checked in one transaction."""

import re
import secrets
from contextlib import closing
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import encrypt_password, quote_ident

from db.database import Database, alive, reason
from db.session import session_for
from db.setup import TABLES
from db.statements import Connection, Cursor, fetch, fetch_one, filled_in, read_statements
from db.views import READABLE
from model.errors import ConfigurationError, DatabaseLost

SQL = read_statements("roles.sql")
TABLES_AND_VIEWS = [*TABLES, *READABLE]
NAME = r"[a-z_][a-z0-9_]{0,62}"  # a name that nobody has to quote, and that PostgreSQL does not cut


class ReaderRole(NamedTuple):
    """What has been done for a reader."""

    password: str | None  # made now; None if the role keeps the one that it has, or if the caller has given one
    may_write: list[str]  # the rights to write that everybody has here, or that others have granted


def ensure_reader(database: Database, name: str, password: str = "") -> ReaderRole:
    """Create the role, or update its rights; with a `password`, or its SCRAM verifier, this replaces the one it has.

    A new role without a given password gets a random one. Raises ConfigurationError, with nothing done, if the name is
    no good, another role has it, or our own role may not create roles or give the rights away.
    """
    check_name(name)
    with closing(database.connect("setup")) as session:
        try:
            with session, session.cursor() as cursor:
                return _ensure(session, cursor, database, name, password)
        except psycopg2.Error as error:
            if alive(session):
                raise ConfigurationError(f"{database}: the role {name} can't be set up: {reason(error)}") from None
            raise DatabaseLost(f"{database} went away: {reason(error)}") from None


def readers(database: Database) -> dict[str, str]:
    """The roles that ensure_reader has created, and the verifiers of their passwords; it needs a superuser."""
    with session_for(database, "readers", "read") as session, session, session.cursor() as cursor:
        return dict(fetch(cursor, SQL["readers"]))


def check_name(name: str) -> None:
    """Raise ConfigurationError if no reader can have this name."""
    if not re.fullmatch(NAME, name) or name.startswith("pg_") or name in ("public", "none"):
        raise ConfigurationError(
            f"{name!r} can't be the name of a reader: write small letters, digits and _, such as metrics_reader"
        )


def _ensure(session: Connection, cursor: Cursor, database: Database, name: str, given: str) -> ReaderRole:
    who = {"reader": name, "tables": TABLES_AND_VIEWS}
    known = fetch(cursor, SQL["known"], who)
    if known == [(False,)]:
        raise ConfigurationError(
            f"{database}: the role {name} exists already, and setup --reader has not created it: choose another name"
        )
    names = zip(("database", "schema"), fetch_one(cursor, SQL["place"]), strict=True)
    quoted = {part: quote_ident(text, session) for part, text in (*names, ("reader", name))}
    quoted["tables"] = ", ".join(TABLES_AND_VIEWS)
    made = None if given or known else secrets.token_urlsafe(24)
    if not known:
        cursor.execute(filled_in(SQL["create"], **quoted))
    if password := given or made:
        known_hash = password.startswith("SCRAM-SHA-256$")  # the server takes it as it is
        verifier = password if known_hash else encrypt_password(password, name, session, "scram-sha-256")
        cursor.execute(filled_in(SQL["set_password"], **quoted), {"verifier": verifier})
    cursor.execute(filled_in(SQL["grant"], **quoted))
    if lacking := [right for (right,) in fetch(cursor, SQL["lacking"], who)]:
        raise ConfigurationError(
            f"{database}: your role can't give {name} {', '.join(lacking)}: run setup as the owner of these"
        )
    return ReaderRole(made, [right for (right,) in fetch(cursor, SQL["may_write"], who)])
