"""The sources: one module and one config file for each API; SOURCES is where a new one is entered."""

from collections.abc import Iterable

from model.values import Metric
from sources.artemis import Artemis
from sources.base import BaseSource
from sources.defillama import DefiLlama

SOURCES: dict[str, type[BaseSource]] = {source.name: source for source in (Artemis, DefiLlama)}


def metric_of(source: str, metric: str) -> Metric | None:
    """What is known of a metric; None where its source, or the metric, is not one of ours."""
    return SOURCES[source].METRICS.get(metric) if source in SOURCES else None


def unit_of(series: Iterable[tuple[str, str, str]]) -> str:
    """The unit that all of these series (source, asset, metric) have; empty where they differ or nobody says."""
    known = {metric_of(source, metric) for source, _, metric in series}
    units = {metric.unit if metric else "" for metric in known}
    return units.pop() if len(units) == 1 else ""
