"""The database: whether it is there, whose tables it has, and whether a run can write them."""

from collections.abc import Iterator
from enum import Enum

from cli.checks.finding import Finding, Severity, few
from db.rights import Rights

SETUP = "python main.py setup"
LITTLE_SPACE = 2 * 2**30  # bytes: as much as the write-ahead log of the embedded server may take
DATABASE = "database"


class Tables(Enum):
    """Whose the tables are."""

    NONE = "there are no tables yet"
    OTHER = "the tables are of another version"
    OURS = "the tables are of this version"


def no_database() -> Finding:
    """That there is none yet, which is no trouble."""
    return Finding(Severity.NOTE, DATABASE, "there is none yet", f"{SETUP}, or the first run makes it")


def table_findings(tables: Tables, rights: Rights) -> Iterator[Finding]:
    """What keeps a run from reading or writing the tables."""
    if tables is Tables.NONE and rights.may_create:
        yield Finding(Severity.NOTE, "tables", tables.value, f"{SETUP}, or the first run makes them")
    if tables is Tables.OTHER:
        yield Finding(Severity.WARNING, "tables", tables.value, f"{SETUP}, or the next run upgrades them")
    if rights.read_only:
        remedy = "name a database in DATABASE_URL that takes writes: no standby, and no role that only reads"
        yield Finding(Severity.ERROR, DATABASE, "it can be read only", remedy)
    if tables is not Tables.OURS and not rights.may_create:
        yield _denied(rights, "CREATE on the schema")
    if not rights.may_stage:
        yield _denied(rights, "TEMPORARY on the database")
    if rights.denied:
        yield _denied(rights, few(rights.denied))


def space_findings(where: str, free: int) -> Iterator[Finding]:
    """Whether so many free bytes are little for the embedded database."""
    if free < LITTLE_SPACE:
        what = f"{gigabytes(free)} are free, and the embedded database may need {gigabytes(LITTLE_SPACE)} at once"
        yield Finding(Severity.WARNING, where, what, "make room on that disk, or set DATABASE_URL")


def gigabytes(size: int) -> str:
    """A number of bytes for a person."""
    return f"{size / 2**30:,.1f} GB"


def _denied(rights: Rights, what: str) -> Finding:
    return Finding(Severity.ERROR, f"role {rights.role}", f"it lacks {what}", "let the owner of the tables grant that")
