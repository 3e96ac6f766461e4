"""Finds the series that a person names: it never guesses, and never mixes sources."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from shlex import quote

from db.coverage import StoredSeries
from model.errors import BadQuestion
from model.settings import MAIN
from model.text import counted, nearest
from model.values import Series, Verb
from query.series_by_name import SeriesByName, metrics_of, one_asset, some, with_all
from sources import SOURCES
from sources.config import Asset

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
        return self.grid(assets, [metric], source)

    def of_asset(self, asset: str, metrics: Sequence[str] | None = None, source: str | None = None) -> list[Series]:
        """The series of one asset in one source: of these metrics in their order, or of all its metrics, sorted."""
        return self.grid([asset], metrics, source)

    def grid(
        self,
        assets: Sequence[str] | None,
        metrics: Sequence[str] | None,
        source: str | None = None,
        *,
        by_metric: bool = False,
    ) -> list[Series]:
        """The series that these assets have of these metrics in one source; all assets or all metrics for None.

        Each name has at least one series, but not every asset needs to have every metric. The series are sorted by
        asset and then by metric, both in their order here; with `by_metric`, by metric and then by asset.
        """
        source, named = self.source(source), _texts(assets, "asset")
        wanted = metrics if metrics is None else [each.upper() for each in _texts(metrics, "metric") or ()]
        having = self._having(source, named and self._like(named), wanted)
        fitting = {}
        for name in {each.source for each in having}:
            of_source = [each for each in having if each.source == name]
            by_name = SeriesByName(of_source, self._entities)
            groups = [of_source] if named is None else [by_name.find(asset).get(name, []) for asset in named]
            if all(groups) and metrics_of(chain(*groups)).issuperset(wanted or ()):
                fitting[name] = groups
        if not fitting:
            raise self._none_fits(named, wanted, source, having)
        if len(fitting) > 1:
            raise _several(named, wanted, {name: groups[0] for name, groups in fitting.items()})
        (found,) = fitting.values()
        if named is not None:
            found = [one_asset(with_all(each, wanted or ()), asset) for each, asset in zip(found, named, strict=True)]
        return _in_order(list(chain(*found)), wanted, by_metric=by_metric)

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

    def _none_fits(
        self, assets: Sequence[str] | None, metrics: Sequence[str] | None, source: str | None, having: Sequence[Series]
    ) -> BadQuestion:
        """The error that says why no source has these assets and metrics; `having` are all that there are."""
        by_name = SeriesByName(having, self._entities)
        found = {asset: by_name.find(asset) for asset in assets or ()}
        known, all_metrics = metrics_of(having), ", ".join(metrics or ())
        for asset, by_source in found.items():
            if not by_source:
                return self._unknown(asset, metrics[0] if metrics else None, source)
        for metric in metrics or ():
            if metric not in known:
                return self._unknown_metric(metric, source, list(found))
        if len(found) < 2 or set.intersection(*map(set, found.values())):
            of = " of these assets" if len(found) > 1 else "".join(f" of {asset!r}" for asset in found)
            return BadQuestion(f"no source has all of {all_metrics}{of}: name fewer metrics")
        where = some(f"{asset} in {' and '.join(has)}" for asset, has in found.items())
        what = f"{all_metrics} of all these assets" if metrics else "all these assets"
        return BadQuestion(f"no source has {what} ({where}): name only assets of one source")

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

    def _unknown_metric(self, metric: str, source: str | None, assets: Sequence[str]) -> BadQuestion:
        """The error that says why this metric is unknown, or unknown of these assets if there are any."""
        if len(assets) == 1:
            return self._unknown(assets[0], metric, source)
        wanted: Sequence[str | None] = assets or [None]
        for asset in wanted:
            if error := self._not_fetched_yet(source, asset, metric):
                return error
        known = metrics_of(self._having(source, None))
        if assets and metric in known.union(*(row.metrics for _, row in self._rows(source))):
            return BadQuestion(f"{_where(source)} no {metric} of any of these assets: {some(assets)}")
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
                command = [f"nothing is stored yet of {what}: {MAIN} {verb} {name}"]
                command += [f"--asset {quote(row.asset)}"] if asset else []
                command += [f"--metric {metric}"] if metric else []
                command += [f"(it needs {kind.KEY_VARIABLE})"] if needs_key else []
                found.append((needs_key, " ".join(command)))
        return BadQuestion(min(found, key=itemgetter(0))[1]) if found else None


def _text(name: object, what: str) -> str:
    text = name.strip() if isinstance(name, str) else ""
    if not text or not text.isprintable():  # for example half a surrogate pair, which the table can't store
        raise BadQuestion(f"{name!r} is not a valid {what}: give a name")
    return text


def _texts(names: Sequence[str] | None, what: str) -> list[str] | None:
    """These names without repetition; None for None."""
    if names is None:
        return None
    if not names:
        raise BadQuestion(f"no {what} is named: leave {what}s out for all of them")
    return list(dict.fromkeys(_text(name, what) for name in names))


def _in_order(series: Sequence[Series], metrics: Sequence[str] | None, *, by_metric: bool) -> list[Series]:
    """The series by asset in their order, and by metric in the order of `metrics`, or sorted; without repetition."""
    assets = {asset: place for place, asset in enumerate(dict.fromkeys(each.asset for each in series))}
    places = {metric: place for place, metric in enumerate(metrics or sorted(metrics_of(series)))}
    keys = {each: (assets[each.asset], places[each.metric]) for each in series}  # two names may mean the same asset
    return sorted(keys, key=lambda each: keys[each][::-1] if by_metric else keys[each])


def _several(
    assets: Sequence[str] | None, metrics: Sequence[str] | None, by_source: Mapping[str, Sequence[Series]]
) -> BadQuestion:
    """The error for what several sources have; `by_source` has the series of the first asset, or of all assets."""
    what, have = ", ".join(metrics or ()), []
    if assets:
        what = f"{what} of {assets[0]!r}" if what else repr(assets[0])
    for source, found in sorted(by_source.items()):
        names = {each.asset for each in found}
        have.append(f"{source} ({some(names) if assets else counted(len(names), 'asset')})")
    return BadQuestion(f"several sources have {what}: {', '.join(have)}: {NAME_THE_SOURCE}")


def _where(source: str | None) -> str:
    return f"{source} has" if source else "there is"
