"""From what a person calls a series to the one that is meant: never a guess, never a mixture of sources."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from db.catalogue import Stored
from model.errors import BadQuestion
from model.text import nearest
from model.values import Series
from query.unknown_names import NEAREST, some, unknown_asset, unknown_metric
from sources import SOURCES
from sources.config import Asset

Configs = Mapping[str, Sequence[Asset]]  # the rows of each source


class Wanted(NamedTuple):
    """Which series are to be looked at: of all sources, assets or metrics where None is said."""

    source: str | None = None
    assets: tuple[str, ...] | None = None  # whatever their case
    metrics: tuple[str, ...] | None = None


class Names:
    """The names of what is stored, as `load` gives it, and of what the configs have.

    An asset is called by its name in the table, whatever the case, or by the `entity` that the config has for it; what
    is spelled exactly so comes first, then what differs in case, then the entity. The methods raise BadQuestion for a
    name that is unknown, with the nearest ones, and for one that may mean several things, with all of them.
    """

    def __init__(self, load: Callable[[Wanted], Sequence[Stored]], configs: Configs) -> None:
        self._load, self._configs = load, configs
        self._entities = {
            (source, row.asset): row.entity for source, rows in configs.items() for row in rows if row.entity
        }

    def source(self, name: str | None) -> str | None:
        """A source by its name, whatever the case; None for None."""
        if name is None:
            return None
        folded, known = _text(name, "source").casefold(), {source.casefold(): source for source in SOURCES}
        if folded not in known:  # of a source that has no module any more, the table may still have something
            known |= {each.series.source.casefold(): each.series.source for each in self._load(Wanted())}
        if folded not in known:
            raise BadQuestion(
                f"there is no source {name!r}: {nearest(name, known.values(), 'query_data.sources()', NEAREST)}"
            )
        return known[folded]

    def one(self, asset: str, metric: str, source: str | None = None) -> Series:
        """The one series that is meant."""
        return self.many(metric, [asset], source)[0]

    def many(self, metric: str, assets: Sequence[str] | None = None, source: str | None = None) -> list[Series]:
        """The series of one metric in one source: of these assets, in their order, or of all that have it, sorted."""
        source, metric = self.source(source), _text(metric, "metric").upper()
        if assets is None:
            found = self._having(Wanted(source, None, (metric,)))
            if not found:
                raise unknown_metric(metric, source, self._load(Wanted(source)), self._configs)
            return _of_one_source(found, metric)
        named = list(dict.fromkeys(_text(asset, "asset") for asset in assets))
        if not named:
            raise BadQuestion("no asset is named: leave assets out for all of them")
        book = Book(self._having(self._like(source, named, (metric,))), self._entities)
        each = [book.find(asset) for asset in named]
        for asset, by_source in zip(named, each, strict=True):
            if not by_source:
                raise self._unknown(asset, metric, source)
        common = set.intersection(*(set(by_source) for by_source in each))
        if not common:
            where = some(f"{asset} in {' and '.join(has)}" for asset, has in zip(named, each, strict=True))
            raise BadQuestion(f"no one source has {metric} of all of these: {where}: ask each source by itself")
        if len(common) > 1:
            raise _several(f"{metric} of {named[0]!r}", each[0])
        (only,) = common
        found = [_of_one_asset(by_source[only], asset)[0] for by_source, asset in zip(each, named, strict=True)]
        return list(dict.fromkeys(found))  # two names may mean the same

    def of_asset(self, asset: str, metrics: Sequence[str] | None = None, source: str | None = None) -> list[Series]:
        """The series of one asset in one source: of these metrics, in their order, or of all that it has, sorted."""
        source, asset = self.source(source), _text(asset, "asset")
        wanted = None if metrics is None else list(dict.fromkeys(_text(each, "metric").upper() for each in metrics))
        if wanted is not None and not wanted:
            raise BadQuestion("no metric is named: leave metrics out for all of them")
        having = Book(self._having(self._like(source, [asset], None)), self._entities).find(asset)
        if not having:
            raise self._unknown(asset, None, source)
        fitting = {name: fit for name, found in having.items() if (fit := _with_all(found, wanted or ()))}
        if not fitting:
            for metric in wanted or ():
                if not any(each.metric == metric for found in having.values() for each in found):
                    raise self._unknown(asset, metric, source)
            raise BadQuestion(f"no one source has all of {', '.join(wanted or ())} of {asset!r}: ask for fewer")
        if len(fitting) > 1:
            raise _several(repr(asset), fitting)
        (found,) = fitting.values()
        by_metric = {each.metric: each for each in _of_one_asset(found, asset)}
        return [by_metric[metric] for metric in wanted or sorted(by_metric)]

    def of_entity(self, entity: str, metrics: Sequence[str]) -> list[Series]:
        """The series of the same thing in every source that has any of these metrics of it, by source and metric."""
        folded, wanted = _text(entity, "entity").casefold(), [_text(each, "metric").upper() for each in metrics]
        if not wanted:
            raise BadQuestion("no metric is named")
        ours = {key for key, name in self._entities.items() if name.casefold() == folded}
        if not ours:
            known = self._entities.values()
            raise BadQuestion(
                f"no config has the entity {entity!r}: {nearest(entity, known, 'the column of the configs', NEAREST)}"
            )
        having = self._having(Wanted(None, tuple(asset for _, asset in ours)))
        having = [each for each in having if (each.source, each.asset) in ours]
        found = [each for each in having if each.metric in wanted]
        if not found:
            has = some(f"{each.source} {each.metric}" for each in having) or "nothing is stored of it yet"
            raise BadQuestion(f"no source has {' or '.join(wanted)} of {entity!r}: {has}")
        return sorted(found, key=lambda each: (each.source, wanted.index(each.metric), each.asset))

    def every(self, source: str | None = None, asset: str | None = None, metric: str | None = None) -> list[Stored]:
        """All series that were asked for or that a config has, of this source, asset and metric if told; sorted."""
        source = self.source(source)
        stored = {each.series: each for each in self._load(Wanted(source))}
        for series in _configured(self._configs):
            if source in (None, series.source):
                stored.setdefault(series, Stored(series, 0, answered=False))
        found = sorted(stored.values())
        if asset is not None:
            named = Book([each.series for each in found], self._entities).find(_text(asset, "asset"))
            if not named:
                raise self._unknown(asset, None, source)
            kept = {each for series in named.values() for each in series}
            found = [each for each in found if each.series in kept]
        if metric is not None:
            wanted, known = _text(metric, "metric").upper(), {each.series.metric for each in found}
            if wanted not in known:
                of = f" of {asset!r}" if asset else ""
                raise BadQuestion(
                    f"there is no metric {metric!r}{of}: {nearest(metric, known, 'query_data.metrics()', NEAREST)}"
                )
            found = [each for each in found if each.series.metric == wanted]
        return found

    def _like(self, source: str | None, names: Sequence[str], metrics: tuple[str, ...] | None) -> Wanted:
        """Where to look for these names: among the assets that are called so, and those of the entity."""
        folded = {name.casefold() for name in names}
        of_entity = {asset for (_, asset), entity in self._entities.items() if entity.casefold() in folded}
        return Wanted(source, tuple(of_entity.union(names)), metrics)

    def _having(self, wanted: Wanted) -> list[Series]:
        """The series that have points."""
        return [each.series for each in self._load(wanted) if each.points]

    def _unknown(self, asset: str, metric: str | None, source: str | None) -> BadQuestion:
        every = self._load(Wanted(source))
        having = Book([each.series for each in every if each.points], self._entities).find(asset)
        asked = Book([each.series for each in every if each.answered], self._entities).find(asset)
        return unknown_asset(asset, metric, source, having, asked, every, self._configs)


class Book:
    """Series by the names of their assets, and by the entities (source, asset) of the configs."""

    def __init__(self, series: Iterable[Series], entities: Mapping[tuple[str, str], str]) -> None:
        self._ways: tuple[dict[str, list[Series]], ...] = defaultdict(list), defaultdict(list), defaultdict(list)
        for each in series:
            for way, name in zip(self._ways, _names_of(each, entities), strict=True):
                way[name].append(each)

    def find(self, name: str) -> dict[str, list[Series]]:
        """What is called so, by source: of each source what comes first."""
        found: dict[str, list[Series]] = {}
        for way, called in zip(self._ways, (name, name.casefold(), name.casefold()), strict=True):
            by_source: dict[str, list[Series]] = defaultdict(list)
            for each in way.get(called, ()):
                by_source[each.source].append(each)
            found = {**by_source, **found}
        return found


def _names_of(series: Series, entities: Mapping[tuple[str, str], str]) -> tuple[str, str, str]:
    return series.asset, series.asset.casefold(), entities.get((series.source, series.asset), "").casefold()


def _text(name: object, what: str) -> str:
    text = name.strip() if isinstance(name, str) else ""
    if not text or not text.isprintable():  # nor has any text that no UTF-8 can hold a place in the table
        raise BadQuestion(f"{name!r} is no {what}: give its name")
    return text


def _of_one_source(found: list[Series], metric: str) -> list[Series]:
    counts = Counter(each.source for each in found)
    if len(counts) > 1:
        have = ", ".join(f"{source} ({number:,} assets)" for source, number in counts.items())
        raise BadQuestion(f"several sources have {metric}: {have}: name the source")
    return found


def _of_one_asset(found: list[Series], name: str) -> list[Series]:
    assets = sorted({each.asset for each in found})
    if len(assets) > 1:
        raise BadQuestion(f"{name!r} may be several assets of {found[0].source}: name one of {some(assets)}")
    return found


def _with_all(found: Sequence[Series], metrics: Sequence[str]) -> list[Series]:
    """The series of those assets that have all of these metrics."""
    having: dict[str, set[str]] = defaultdict(set)
    for each in found:
        having[each.asset].add(each.metric)
    return [each for each in found if having[each.asset].issuperset(metrics)]


def _several(what: str, by_source: Mapping[str, Sequence[Series]]) -> BadQuestion:
    have = ", ".join(
        f"{source} ({some({each.asset for each in found})})" for source, found in sorted(by_source.items())
    )
    return BadQuestion(f"several sources have {what}: {have}: name the source")


def _configured(configs: Configs) -> Iterable[Series]:
    for source, rows in configs.items():
        for row in rows:
            yield from (Series(source, row.asset, metric) for metric in row.metrics)
