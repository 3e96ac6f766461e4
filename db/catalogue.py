"""Which series there are."""

from collections.abc import Collection
from typing import NamedTuple

from db.reader import Reader
from model.values import Series

# A row stands in coverage for every series that was ever asked for.
SERIES = """
SELECT source, asset, metric_name, row_count, NOT isempty(answered) FROM coverage
WHERE (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))
    AND (%(metrics)s::text[] IS NULL OR metric_name = ANY(%(metrics)s))
    AND (%(assets)s::text[] IS NULL OR lower(asset) = ANY(%(assets)s))
ORDER BY source, asset, metric_name
"""
MOST_NAMES = 100  # beyond which all assets are read, which costs less than to compare each with all names


class Stored(NamedTuple):
    """A series, the number of its points, and whether the API has answered for any day."""

    series: Series
    points: int
    answered: bool


def stored_series(
    reader: Reader,
    sources: Collection[str] | None = None,
    assets: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
) -> list[Stored]:
    """Every series ever asked for, sorted; of these sources, of assets like these, of these metrics, if given.

    Of assets it may give more: those whose names differ in case, and all where many are given.
    """
    few = assets is not None and len(assets) <= MOST_NAMES and all(map(str.isascii, assets))
    values = {"sources": sources and list(sources), "metrics": metrics and list(metrics)}
    values["assets"] = [asset.lower() for asset in assets] if few and assets else None
    return [
        Stored(Series(source, asset, metric), points, answered)
        for source, asset, metric, points, answered in reader.rows(SERIES, values)
    ]
