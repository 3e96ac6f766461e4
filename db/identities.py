"""The table identities: which asset an API means by the identifier of each config row."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from db.statements import arrays, fetch, read_statements

SQL = read_statements("identities.sql")


class Identity(NamedTuple):
    """What the API means by the identifier of a row, and the other asset that it means now, if it does."""

    kind: str  # of the row, "" where the source has no kinds
    asset: str
    api_id: str  # the identifier in the request, in lower case
    identity: str  # what the API calls the asset for good
    title: str
    other_identity: str | None = None
    other_title: str | None = None


def identities(cursor: Any, source: str) -> list[Identity]:
    """The known identities of a source."""
    return list(map(Identity._make, fetch(cursor, SQL["identities"], {"source": source})))


def set_identities(cursor: Any, source: str, rows: Iterable[Identity]) -> None:
    """Enter these identities in place of what was known of their rows."""
    names = "kinds assets api_ids identities titles other_identities other_titles"
    cursor.execute(SQL["set_identities"], {"source": source, **arrays(names, rows)})


def confirm(cursor: Any, source: str, asset: str) -> list[Identity]:
    """Take the other asset that the API means now as the right one; returns the rows that had one."""
    return list(map(Identity._make, fetch(cursor, SQL["confirm"], {"source": source, "asset": asset})))
