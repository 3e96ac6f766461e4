"""The area `database`: whether it is there, which tables it has, and whether a run can write them."""

from collections.abc import Iterator
from enum import Enum

from cli.checks.context import CheckContext
from cli.checks.finding import Area, Finding, Severity, few
from cli.process import ask_database, open_database
from db.rights import Rights, rights
from db.setup import has_schema, has_tables
from model.settings import EMBEDDED_DIRECTORY

SETUP = "python main.py setup"


class Tables(Enum):
    """Which tables the database has."""

    NONE = "there are no tables yet"
    OTHER = "the tables are of another version"
    OURS = "the tables are of this version"


def check_database(context: CheckContext) -> Area:
    """What keeps a run from using the database; the context gets it if its tables are of this version."""
    if not context.settings.has_database():  # read-only commands create none
        none_yet = Finding(Severity.NOTE, "database", "there is none yet", f"{SETUP}, or the first run, creates it")
        return Area(f"embedded PostgreSQL in {EMBEDDED_DIRECTORY}", [none_yet])
    database = context.leaving.enter_context(open_database(context.settings))
    there, granted = ask_database(database, "check", lambda cursor: (has_tables(cursor), rights(cursor)))
    tables = Tables.NONE if not there else Tables.OURS if has_schema(database) else Tables.OTHER
    if tables is Tables.OURS:
        context.database = database
    text = f"{database}, PostgreSQL {granted.server}, as {granted.role}; {tables.value}"
    return Area(text, list(table_findings(tables, granted)))


def table_findings(tables: Tables, rights: Rights) -> Iterator[Finding]:
    """What keeps a run from reading or writing the tables."""
    if tables is Tables.NONE and rights.may_create:
        yield Finding(Severity.NOTE, "tables", tables.value, f"{SETUP}, or the first run, creates them")
    if tables is Tables.OTHER:
        yield Finding(Severity.WARNING, "tables", tables.value, f"{SETUP}, or the next run, upgrades them")
    if rights.read_only:
        remedy = "name in DATABASE_URL a database that takes writes: no standby, and no role that may only read"
        yield Finding(Severity.ERROR, "database", "it can only be read", remedy)
    missing = [] if tables is Tables.OURS or rights.may_create else ["CREATE on the schema"]
    missing += [] if rights.may_stage else ["TEMPORARY on the database"]
    missing += [few(rights.denied)] if rights.denied else []
    for each in missing:
        remedy = "ask the owner of the tables to grant it"
        yield Finding(Severity.ERROR, f"role {rights.role}", f"it lacks {each}", remedy)
