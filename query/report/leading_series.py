"""Which series open the report: those that the user names; else those of a few entities and the largest of each kind.

Values of different metrics are never compared.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import count
from math import inf, isfinite
from operator import itemgetter

from db.coverage import StoredSeries
from db.reader import Reader
from model.errors import BadQuestion
from model.values import DAY, Series
from query.question import Question, newest, time_of
from query.series_names import Configs, Names
from sources import metric_of

ENTITIES = ("bitcoin", "ethereum", "solana")  # as the configs name them
SHOWN_OF_ENTITY = ("PRICE", "MC", "CHAIN_TVL")
# The metrics that say how large an asset is, each with the kinds of its assets; a source without kinds has "".
SIZES = {
    "TOTAL_TVL": ("total",),
    "CHAIN_TVL": ("chain", ""),
    "TVL": ("protocol", ""),
    "MC": ("",),
    "STABLECOIN_SUPPLY": ("stablecoin",),
    "STABLECOIN_MC": ("",),
    "POOL_TVL": ("pool",),
    "TOTAL_REVENUE": ("",),  # of equities
}
SHOWN_FOR = {"TOTAL_REVENUE": "PRICE"}  # what is shown in place of a size that has no value for each day
ENDED = 30 * DAY  # a series has ended if its newest value is so much older than that of another asset
FEW_SERIES = 8  # if none of these is stored
MOST_SERIES = 24

Newest = Mapping[Series, tuple[datetime, float]]  # the newest point of each series


def choose(
    reader: Reader,
    names: Names,
    configs: Configs,
    source: str | None,
    assets: Sequence[str],
    metrics: Sequence[str],
) -> tuple[list[Series], str]:
    """The series to show, from one source or all, in their order; and a text that says how they were chosen.

    Raises BadQuestion for a name that has no stored points.
    """
    if assets or metrics:
        return _requested(reader, names, source, assets, metrics)
    points = _newest(reader, [each.series for each in names.every(source) if each.points])
    entities = {(name, row.asset): row.entity.casefold() for name, rows in configs.items() for row in rows}
    leaders = _of_entities(points, entities)
    largest = _largest(points, [each for each in points if entities.get(each[:2]) not in ENTITIES])
    if not leaders and not largest:
        return _in_rounds(points)[:FEW_SERIES], f"the largest by each metric, at most {FEW_SERIES}"
    texts = [f"{_list(SHOWN_OF_ENTITY)} of {_list(ENTITIES)}, where stored"] if leaders else []
    texts += [f"the largest {'other ' if leaders else ''}asset by {_list(largest)}"] if largest else []
    return [*leaders, *largest.values()], "; ".join(texts)


def _requested(
    reader: Reader, names: Names, source: str | None, assets: Sequence[str], metrics: Sequence[str]
) -> tuple[list[Series], str]:
    """The stored series that have one of these assets and one of these metrics, where any are given."""
    of_assets = {name: set(names.every(source, name)) for name in assets}
    of_metrics = {name: set(names.every(source, metric=name)) for name in metrics}
    either = [set[StoredSeries]().union(*of.values()) for of in (of_assets, of_metrics) if of]
    requested = sorted(each for each in set.intersection(*either) if each.points)
    for name, series in (*of_assets.items(), *of_metrics.items()):
        if series.isdisjoint(requested):
            if name in of_assets:
                names.of_asset(name, metrics or None, source)  # raises with the reason
            else:
                names.many(name, assets or None, source)
            raise BadQuestion(f"no stored series combines {name} with the other names: name fewer")
    found = [each.series for each in requested]
    wanted = " and ".join(" or ".join(each) for each in (assets, metrics) if each)
    if len(found) <= MOST_SERIES:
        return found, f"{wanted}, as requested"
    how = f"the largest {MOST_SERIES} of {len(found):,} requested series ({wanted}), all metrics in turn"
    return _in_rounds(_newest(reader, found))[:MOST_SERIES], how


def _of_entities(points: Newest, entities: Mapping[tuple[str, str], str]) -> list[Series]:
    """The series of ENTITIES: each metric from the source that has the newest day."""
    found = dict[tuple[str, str], Series]()
    for each in points:
        name = entities.get(each[:2], ""), each.metric
        if name not in found or points[each][0].date() > points[found[name]][0].date():
            found[name] = each
    wanted = ((entity, metric) for entity in ENTITIES for metric in SHOWN_OF_ENTITY)
    return [found[name] for name in wanted if name in found]


def _largest(points: Newest, candidates: Iterable[Series]) -> dict[str, Series]:
    """The series to show of the largest of the candidates that have not ended, by the metric that says its size."""
    sized: dict[str, list[tuple[Series, float]]] = defaultdict(list)
    for each in candidates:
        known = metric_of(each.source, each.metric)
        if known and known.kind in SIZES.get(each.metric, ()):
            shown = each._replace(metric=SHOWN_FOR.get(each.metric, each.metric))
            sized[each.metric].append((shown if shown in points else each, points[each][1]))
    found = dict[str, Series]()
    for metric in filter(sized.__contains__, SIZES):
        least = max(points[shown][0] for shown, _ in sized[metric]) - ENDED
        found[metric], _ = max((each for each in sized[metric] if points[each[0]][0] >= least), key=itemgetter(1))
    return found


def _in_rounds(points: Newest) -> list[Series]:
    """The series of these points, the largest of each metric first, then the second of each, and so on."""
    rounds: dict[tuple[str, str], count[int]] = defaultdict(count)
    ranked = sorted(points, key=lambda each: points[each][1], reverse=True)
    return sorted(ranked, key=lambda each: next(rounds[each.source, each.metric]))


def _newest(reader: Reader, series: Sequence[Series]) -> dict[Series, tuple[datetime, float]]:
    """The newest point of each of these series that has any; what is no finite number counts as the smallest value."""
    rows = newest(reader, Question(series)).rows() if series else ()
    return {series[number]: (time_of(at), value if isfinite(value) else -inf) for number, at, value in rows}


def _list(names: Iterable[str]) -> str:
    """Names as a text: a, b and c."""
    *before, last = names
    return f"{', '.join(before)} and {last}" if before else last
