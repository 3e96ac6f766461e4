"""Finds the series that a person names: it never guesses, and never mixes sources."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from shlex import quote

from db.coverage import StoredSeries
from model.errors import BadQuestion
from model.text import close_names, first_of, nearest
from model.values import Series, Verb
from sources import SOURCES
from sources.config import Asset

SHOWN = 8  # names in a message
NEAREST = 3
NAME_THE_SOURCE = "name the source (--source, in Python source=)"
NOT_ASKED_FOR = "not asked for"  # the state of a series that no run requests: no config has it, or its key is missing

Configs = Mapping[str, Sequence[Asset]]  # the rows of each source
Load = Callable[..., Sequence[StoredSeries]]


class Names:
    """The names of the series that `load` finds in the tables, and of those in the configs.

    `load` takes a source, assets in any case, and metrics; each may be left out or None, for all of them. `keyless`
    names the sources whose key is not set.

    An asset is found by its name in the table or by its `entity` in the config, in any case. An exact match is
    preferred, then a match that differs in case, then the entity. The methods raise BadQuestion for an unknown name
    (the message lists the nearest names) and for an ambiguous name (the message lists what it may mean).
    """

    def __init__(self, load: Load, configs: Configs, keyless: Collection[str] = ()) -> None:
        self._load, self._configs, self._keyless = load, configs, keyless
        self._entities = {(source, row.asset): row.entity for source, row in self._rows(None) if row.entity}

    def source(self, name: str | None) -> str | None:
        """The source of this name, in any case; None for None."""
        if name is None:
            return None
        folded, known = _text(name, "source").casefold(), {source.casefold(): source for source in SOURCES}
        if folded not in known:  # the table may have series of a source whose module no longer exists
            known |= {each.series.source.casefold(): each.series.source for each in self._load()}
        if folded not in known:
            raise BadQuestion(
                f"there is no source {name!r}: {nearest(name, known.values(), 'query_data.sources()', NEAREST)}"
            )
        return known[folded]

    def many(self, metric: str, assets: Sequence[str] | None = None, source: str | None = None) -> list[Series]:
        """The series of one metric in one source: of these assets in their order, or of all assets, sorted."""
        source, metric = self.source(source), _text(metric, "metric").upper()
        if assets is None:
            found = self._having(source, None, [metric])
            if not found:
                raise self._unknown_metric(metric, source)
            return _of_one_source(found, metric)
        named = list(dict.fromkeys(_text(asset, "asset") for asset in assets))
        if not named:
            raise BadQuestion("no asset is named: leave assets out for all of them")
        by_name = SeriesByName(self._having(source, self._like(named), [metric]), self._entities)
        each = [by_name.find(asset) for asset in named]
        for asset, by_source in zip(named, each, strict=True):
            if not by_source:
                raise self._unknown(asset, metric, source)
        common = set.intersection(*(set(by_source) for by_source in each))
        if not common:
            where = some(f"{asset} in {' and '.join(has)}" for asset, has in zip(named, each, strict=True))
            raise BadQuestion(f"no source has {metric} of all these assets ({where}): name only assets of one source")
        if len(common) > 1:
            raise _several(f"{metric} of {named[0]!r}", each[0])
        (only,) = common
        found = [_of_one_asset(by_source[only], asset)[0] for by_source, asset in zip(each, named, strict=True)]
        return list(dict.fromkeys(found))  # two names may mean the same asset

    def of_asset(self, asset: str, metrics: Sequence[str] | None = None, source: str | None = None) -> list[Series]:
        """The series of one asset in one source: of these metrics in their order, or of all its metrics, sorted."""
        source, asset = self.source(source), _text(asset, "asset")
        wanted = None if metrics is None else list(dict.fromkeys(_text(each, "metric").upper() for each in metrics))
        if wanted is not None and not wanted:
            raise BadQuestion("no metric is named: leave metrics out for all of them")
        having = SeriesByName(self._having(source, self._like([asset])), self._entities).find(asset)
        if not having:
            raise self._unknown(asset, None, source)
        fitting = {name: fit for name, found in having.items() if (fit := _with_all(found, wanted or ()))}
        if not fitting:
            for metric in wanted or ():
                if not any(each.metric == metric for found in having.values() for each in found):
                    raise self._unknown(asset, metric, source)
            raise BadQuestion(f"no source has all of {', '.join(wanted or ())} of {asset!r}: name fewer metrics")
        if len(fitting) > 1:
            raise _several(repr(asset), fitting)
        (found,) = fitting.values()
        by_metric = {each.metric: each for each in _of_one_asset(found, asset)}
        return [by_metric[metric] for metric in wanted or sorted(by_metric)]

    def of_entity(self, entity: str, metrics: Sequence[str]) -> list[Series]:
        """The series of an entity with any of these metrics, in every source; sorted by source and metric.

        An asset's name means its entity. If it has none, it means all assets of that name.
        """
        entity, wanted = _text(entity, "entity"), [_text(each, "metric").upper() for each in metrics]
        folded = entity.casefold()
        if not wanted:
            raise BadQuestion("no metric is named: name at least one")
        of_assets = [(asset, name.casefold()) for (_, asset), name in self._entities.items()]
        meant = {folded} & {name for _, name in of_assets}
        meant = meant or {name for asset, name in of_assets if asset == entity}
        meant = meant or {name for asset, name in of_assets if asset.casefold() == folded}
        if len(meant) > 1:
            raise BadQuestion(f"{entity!r} may mean several entities: name one of {some(meant)}")
        ours = {key for key, name in self._entities.items() if name.casefold() in meant}
        having = self._having(None, [asset for _, asset in ours] or [entity])
        having = [each for each in having if (each[:2] in ours if ours else each.asset.casefold() == folded)]
        if not ours and not having:
            raise self._unknown(entity, None, None)
        found = [each for each in having if each.metric in wanted]
        if not found:
            has = some(f"{each.source} {each.metric}" for each in having)
            hint = f"it has {has}" if has else "nothing is stored of it yet"
            raise BadQuestion(f"no source has {' or '.join(wanted)} of {entity!r}: {hint}")
        return sorted(found, key=lambda each: (each.source, wanted.index(each.metric), each.asset))

    def every(
        self, source: str | None = None, asset: str | None = None, metric: str | None = None
    ) -> list[StoredSeries]:
        """All series that were ever requested or that a config has, of these names if given; sorted."""
        source = self.source(source)
        stored = {each.series: each for each in self._load(source)}
        for name, row in self._rows(source):
            for series in (Series(name, row.asset, each) for each in row.metrics):
                stored.setdefault(series, StoredSeries(series, 0, answered=False))
        found = sorted(stored.values())
        if asset is not None:
            named = SeriesByName([each.series for each in found], self._entities).find(_text(asset, "asset"))
            if not named:
                raise self._unknown(asset, None, source)
            kept = set(chain(*named.values()))
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

    def _like(self, names: Sequence[str]) -> list[str]:
        """These names, and the names of the assets whose entity has one of these names."""
        folded = {name.casefold() for name in names}
        return [*names, *(asset for (_, asset), entity in self._entities.items() if entity.casefold() in folded)]

    def _having(
        self, source: str | None, assets: Sequence[str] | None, metrics: Sequence[str] | None = None
    ) -> list[Series]:
        """The series that have points, of this source, these assets and metrics if given."""
        return [each.series for each in self._load(source, assets, metrics) if each.points]

    def _rows(self, source: str | None) -> Iterator[tuple[str, Asset]]:
        """The rows of the config of this source, or of all, each with its source."""
        return ((name, row) for name, rows in self._configs.items() if source in (None, name) for row in rows)

    def _unknown(self, asset: str, metric: str | None, source: str | None) -> BadQuestion:
        """The error that says why this asset, or this metric of it, is unknown."""
        every = self._load(source)
        requested = SeriesByName([each.series for each in every if each.answered], self._entities).find(asset)
        for name, series in requested.items():
            if any(each.metric == metric for each in series):
                return BadQuestion(f"{name} has returned no point so far for {metric} of {asset!r}, though requested")
        if error := self._not_fetched_yet(source, asset, metric):
            return error
        having = SeriesByName([each.series for each in every if each.points], self._entities).find(asset)
        if having and metric:
            has = "; ".join(
                f"{name} has {some((each.metric for each in found), metric)}" for name, found in having.items()
            )
            return BadQuestion(f"{_where(source)} no {metric} of {asset!r}: {has}")
        folded = asset.casefold()
        rows = [each for each in self._rows(source) if folded in (each[1].asset.casefold(), each[1].entity.casefold())]
        if rows and metric:
            has = "; ".join(f"the config of {name} has {some(row.metrics, metric)}" for name, row in rows)
            return BadQuestion(f"{_where(source)} no {metric} of {asset!r}: {has}, and nothing is stored of these yet")
        known = {each.series.asset for each in every if each.points}
        known.update(name for _, row in self._rows(source) for name in (row.asset, row.entity) if name)
        hint = nearest(asset, known, "query_data.assets()", NEAREST)
        return BadQuestion(f"{_where(source)} no asset {asset!r}: {hint}")

    def _unknown_metric(self, metric: str, source: str | None) -> BadQuestion:
        """The error that says why this metric is unknown."""
        if error := self._not_fetched_yet(source, None, metric):
            return error
        known = {each.metric for each in self._having(source, None)}
        hint = nearest(metric, known, "query_data.metrics()", NEAREST)
        return BadQuestion(f"{_where(source)} no metric {metric!r}: {hint}")

    def _not_fetched_yet(self, source: str | None, asset: str | None, metric: str | None) -> BadQuestion | None:
        """The error that names the command for what a config has and the table has not; None if no config has it.

        A command that needs a key that is not set is named only where there is no other.
        """
        folded, found = asset and asset.casefold(), list[tuple[bool, str]]()
        for name, row in self._rows(source):
            metrics = [metric] if metric else row.metrics
            if folded in (None, row.asset.casefold(), row.entity.casefold()) and set(metrics) <= set(row.metrics):
                kind = SOURCES[name]
                verb = Verb.PULL if all(kind.METRICS[each].live_only for each in metrics) else Verb.BACKFILL
                requested = [each for each in metrics if verb in kind.METRICS[each].verbs]
                free = [each for each in requested if kind.can_request(each, with_key=False)]
                needs_key = name in self._keyless and (kind.KEY_REQUIRED or not free)
                what = " ".join(filter(None, (asset and row.asset, metric)))
                command = [f"nothing is stored yet of {what}: python main.py {verb} {name}"]
                command += [f"--asset {quote(row.asset)}"] if asset else []
                command += [f"--metric {metric}"] if metric else []
                command += [f"(it needs {kind.KEY_VARIABLE})"] if needs_key else []
                found.append((needs_key, " ".join(command)))
        return BadQuestion(min(found, key=itemgetter(0))[1]) if found else None


class SeriesByName:
    """Finds series by the name of their asset: by the exact name, by the name in any case, and by the entity."""

    def __init__(self, series: Iterable[Series], entities: Mapping[tuple[str, str], str]) -> None:
        self._ways: tuple[dict[str, dict[str, list[Series]]], ...] = {}, {}, {}
        for each in series:
            entity = entities.get((each.source, each.asset), "")
            names = each.asset, each.asset.casefold(), entity.casefold()
            for way, name in zip(self._ways, names, strict=True):
                way.setdefault(name, {}).setdefault(each.source, []).append(each)

    def find(self, name: str) -> dict[str, list[Series]]:
        """The series of this name by source; in each source, those of the first of the three ways that finds any."""
        exact, any_case, entity = self._ways
        folded = name.casefold()
        return entity.get(folded, {}) | any_case.get(folded, {}) | exact.get(name, {})


def some(names: Iterable[str], near: str = "") -> str:
    """A few of these names as text, those most similar to `near` first."""
    known = sorted(set(names))
    return first_of(list(dict.fromkeys([*close_names(near, known, SHOWN), *known])), SHOWN)


def _text(name: object, what: str) -> str:
    text = name.strip() if isinstance(name, str) else ""
    if not text or not text.isprintable():  # for example half a surrogate pair, which the table can't store
        raise BadQuestion(f"{name!r} is not a valid {what}: give a name")
    return text


def _of_one_source(found: list[Series], metric: str) -> list[Series]:
    counts = Counter(each.source for each in found)
    if len(counts) > 1:
        have = ", ".join(f"{source} ({number:,} assets)" for source, number in counts.items())
        raise BadQuestion(f"several sources have {metric}: {have}: {NAME_THE_SOURCE}")
    return found


def _of_one_asset(found: list[Series], name: str) -> list[Series]:
    assets = sorted({each.asset for each in found})
    if len(assets) > 1:
        raise BadQuestion(f"{name!r} may mean several assets of {found[0].source}: name one of {some(assets)}")
    return found


def _with_all(found: Sequence[Series], metrics: Sequence[str]) -> list[Series]:
    """The series of the assets that have all of these metrics."""
    having: dict[str, set[str]] = defaultdict(set)
    for each in found:
        having[each.asset].add(each.metric)
    return [each for each in found if having[each.asset].issuperset(metrics)]


def _several(what: str, by_source: Mapping[str, Sequence[Series]]) -> BadQuestion:
    have = ", ".join(
        f"{source} ({some({each.asset for each in found})})" for source, found in sorted(by_source.items())
    )
    return BadQuestion(f"several sources have {what}: {have}: {NAME_THE_SOURCE}")


def _where(source: str | None) -> str:
    return f"{source} has" if source else "there is"
