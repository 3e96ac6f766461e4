"""The table notified: the open problems that a message has reported, by source."""

from collections import defaultdict
from collections.abc import Set as AbstractSet
from typing import Any

from db.statements import arrays, fetch

Reported = tuple[str, str]  # the kind of a problem, and which one of its kind it is


def notified(cursor: Any) -> dict[str, frozenset[Reported]]:
    """The open problems that were reported, by source."""
    found = defaultdict(set)
    for source, kind, about in fetch(cursor, "SELECT source, kind, about FROM notified"):
        found[source].add((kind, about))
    return {source: frozenset(reported) for source, reported in found.items()}


def set_notified(cursor: Any, source: str, reported: AbstractSet[Reported]) -> None:
    """Replace the reported problems of a source; those that it had before keep their time."""
    values = {"source": source} | arrays("kinds abouts", reported)
    cursor.execute(
        """
        DELETE FROM notified WHERE source = %(source)s
            AND (kind, about) NOT IN (SELECT * FROM unnest(%(kinds)s::text[], %(abouts)s::text[]))
        """,
        values,
    )
    cursor.execute(
        """
        INSERT INTO notified (source, kind, about, notified_at)
        SELECT %(source)s, kind, about, now() FROM unnest(%(kinds)s::text[], %(abouts)s::text[]) AS new (kind, about)
        ON CONFLICT DO NOTHING
        """,
        values,
    )
