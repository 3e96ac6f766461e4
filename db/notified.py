"""The table notified: the problems of each source of which the webhook was told and that have not ended since."""

from collections import defaultdict
from collections.abc import Set as AbstractSet
from typing import Any

from db.statements import arrays, fetch

Told = tuple[str, str]  # the kind of a problem, and which one of its kind it is


def notified(cursor: Any) -> dict[str, frozenset[Told]]:
    """The problems that were told, by source."""
    found = defaultdict(set)
    for source, kind, about in fetch(cursor, "SELECT source, kind, about FROM notified"):
        found[source].add((kind, about))
    return {source: frozenset(told) for source, told in found.items()}


def set_notified(cursor: Any, source: str, told: AbstractSet[Told]) -> None:
    """Replace what was told of a source; what was told before keeps its time."""
    values = {"source": source} | arrays("kinds abouts", told)
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
        SELECT %(source)s, kind, about, now() FROM unnest(%(kinds)s::text[], %(abouts)s::text[]) AS told (kind, about)
        ON CONFLICT DO NOTHING
        """,
        values,
    )
