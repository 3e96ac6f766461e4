"""Errors for names that are not found: they name the nearest ones, what there is instead, or how to fetch it."""

from collections.abc import Iterable, Mapping, Sequence

from db.coverage import StoredSeries
from model.errors import BadQuestion
from model.text import close_names, first_of, nearest
from model.values import Series, Verb
from sources import SOURCES
from sources.config import Asset

SHOWN = 8  # names in a message
NEAREST = 3


def unknown_asset(
    asset: str,
    metric: str | None,
    source: str | None,
    having: Mapping[str, Sequence[Series]],
    asked: Mapping[str, Sequence[Series]],
    every: Sequence[StoredSeries],
    configs: Mapping[str, Sequence[Asset]],
) -> BadQuestion:
    """Why there is no such asset, or no such metric of it.

    By source, `having` are its series that have points, `asked` those that the API was asked for.
    """
    where = f"{source} has" if source else "there is"
    for name, series in asked.items():
        if any(each.metric == metric for each in series):
            return BadQuestion(f"{name} was asked for {metric} of {asset!r}, but has returned no point so far")
    if row := _configured(asset, metric, source, configs):
        return BadQuestion(
            f"nothing is stored yet of {' '.join(filter(None, (row[1].asset, metric)))}: {_fetch(*row, metric)}"
        )
    if having and metric:
        has = "; ".join(f"{name} has {some((each.metric for each in found), metric)}" for name, found in having.items())
        return BadQuestion(f"{where} no {metric} of {asset!r}: {has}")
    known = {each.series.asset for each in every if each.points}
    known |= {
        name for of, rows in configs.items() for row in rows if source in (None, of) for name in (row.asset, row.entity)
    }
    return BadQuestion(
        f"{where} no asset {asset!r}: {nearest(asset, filter(None, known), 'query_data.assets()', NEAREST)}"
    )


def unknown_metric(
    metric: str, source: str | None, every: Sequence[StoredSeries], configs: Mapping[str, Sequence[Asset]]
) -> BadQuestion:
    """Why there is no such metric."""
    for name, rows in configs.items():
        if source in (None, name) and any(metric in row.metrics for row in rows):
            return BadQuestion(f"nothing is stored yet of {metric}: {_fetch(name, None, metric)}")
    known = {each.series.metric for each in every if each.points}
    where = f"{source} has" if source else "there is"
    return BadQuestion(f"{where} no metric {metric!r}: {nearest(metric, known, 'query_data.metrics()', NEAREST)}")


def some(names: Iterable[str], near: str = "") -> str:
    """A few of these names, those most like `near` first."""
    known = sorted(set(names))
    ordered = dict.fromkeys([*close_names(near, known, SHOWN), *known])
    return first_of(list(ordered), SHOWN)


def _configured(
    asset: str, metric: str | None, source: str | None, configs: Mapping[str, Sequence[Asset]]
) -> tuple[str, Asset] | None:
    """The first row of a config that has this asset and metric, with its source."""
    for name, rows in configs.items():
        for row in rows if source in (None, name) else ():
            called = asset.casefold() in (row.asset.casefold(), row.entity.casefold())
            if called and (metric is None or metric in row.metrics):
                return name, row
    return None


def _fetch(source: str, row: Asset | None, metric: str | None) -> str:
    """The command that fetches it."""
    metrics = [metric] if metric else list(row.metrics if row else ())
    live = all(SOURCES[source].METRICS[each].live_only for each in metrics)
    only = [f"--asset {row.asset}"] if row else []
    only += [f"--metric {metric}"] if metric else []
    return " ".join([f"python main.py {Verb.PULL if live else Verb.BACKFILL} {source}", *only])
