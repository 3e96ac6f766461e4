"""The sources: one module and one config file for each API. A new source gets a line in SOURCES."""

from collections.abc import Iterable
from datetime import timedelta

from model.values import Metric, MetricFacts
from sources.artemis import Artemis
from sources.base import BaseSource
from sources.defillama import DefiLlama

SOURCES: dict[str, type[BaseSource]] = {source.name: source for source in (Artemis, DefiLlama)}


def metric_of(source: str, metric: str) -> Metric | None:
    """The facts about a metric; None for an unknown source or metric."""
    return SOURCES[source].METRICS.get(metric) if source in SOURCES else None


def metric_facts() -> list[MetricFacts]:
    """What the views in the database must know about each metric of each source."""
    return [
        MetricFacts(source, name, metric.unit, metric.shift, metric.live_only)
        for source, kind in SOURCES.items()
        for name, metric in kind.METRICS.items()
    ]


def shift_of(source: str, metric: str) -> timedelta:
    """What is added to the time of a point to find its day: see Metric.shift."""
    known = metric_of(source, metric)
    return known.shift if known else timedelta()


def note_of(source: str, metric: str) -> str:
    """What a reader of its values must know; empty for most metrics."""
    known = metric_of(source, metric)
    return known.note if known else ""


def unit_of(series: Iterable[tuple[str, str, str]]) -> str:
    """The common unit of these series (source, asset, metric); empty if their units differ or are not known."""
    units = {known.unit if (known := metric_of(source, metric)) else "" for source, _, metric in series}
    return units.pop() if len(units) == 1 else ""
