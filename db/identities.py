"""The table identities: which asset an API means by the identifier of each config row."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from db.statements import arrays, fetch, read_statements

SQL = read_statements("identities.sql")


class Identity(NamedTuple):
    """What the API means by the identifier of a row, and the other asset that it means now, if it does."""

    kind: str  # of the row, "" where the source has no kinds
    asset: str
    canonical_id: str  # the identifier of the row: see BaseSource.canonical_id
    lasting_id: str  # what the API calls the asset for good
    title: str
    other_lasting_id: str | None = None
    other_title: str | None = None

    @property
    def before(self) -> str:
        """The asset that the row stands for."""
        return _named(self.title, self.lasting_id)

    @property
    def now(self) -> str:
        """The other asset that the API means now."""
        return _named(self.other_title, self.other_lasting_id)


def identities(cursor: Any, source: str) -> list[Identity]:
    """The known identities of a source."""
    return list(map(Identity._make, fetch(cursor, SQL["identities"], {"source": source})))


def set_identities(cursor: Any, source: str, rows: Iterable[Identity]) -> None:
    """Enter these identities in place of what was known of their rows."""
    names = "kinds assets canonical_ids lasting_ids titles other_lasting_ids other_titles"
    cursor.execute(SQL["set_identities"], {"source": source, **arrays(names, rows)})


def confirm(cursor: Any, source: str, asset: str) -> list[Identity]:
    """Take the other asset that the API means now as the right one; returns the rows that had one."""
    return list(map(Identity._make, fetch(cursor, SQL["confirm"], {"source": source, "asset": asset})))


def _named(title: str | None, lasting_id: str | None) -> str:
    return f"{title} ({lasting_id})" if title else str(lasting_id)
