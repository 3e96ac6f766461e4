"""Gaps in what is stored: which missing days count as a gap, and which of them a backfill can fill."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from db.coverage import Name, SeriesMap
from model.values import DAY, Rhythm, Target, Window
from sources.base import BaseSource

SATURDAY = 5  # as date.weekday() counts


@dataclass(frozen=True, slots=True)
class SourceGaps:
    """The gaps of each series of a source, and the series of its config."""

    source: type[BaseSource]
    config: Path | None  # None: the source's own config file
    targets: Mapping[Name, Target]
    maps: Sequence[SeriesMap]

    @property
    def config_name(self) -> str:
        """The name of the config file."""
        return self.config.name if self.config else self.source.CONFIG

    def configures(self, series: SeriesMap) -> bool:
        """Whether the config names a series."""
        return (series.asset, series.metric) in self.targets

    def is_live_only(self, series: SeriesMap) -> bool:
        """Whether the API has no history of a series."""
        metric = self.source.METRICS.get(series.metric)
        return metric is not None and metric.live_only

    def can_backfill(self, series: SeriesMap) -> bool:
        """Whether a backfill with this config asks for a series."""
        return self.configures(series) and not self.is_live_only(series)

    def lost_for_good(self) -> list[SeriesMap]:
        """The series with lost days that no backfill asks for."""
        return [series for series in self.maps if series.lost and not self.can_backfill(series)]


def in_rhythm(source: type[BaseSource], maps: Sequence[SeriesMap], targets: Mapping[Name, Target]) -> list[SeriesMap]:
    """The maps without the days on which their series never have a point."""
    return [
        without_pauses(series, source.rhythm(targets.get((series.asset, series.metric), unconfigured(*series[:2]))))
        for series in maps
    ]


def without_pauses(series: SeriesMap, rhythm: Rhythm) -> SeriesMap:
    """The map without the days on which a series of this rhythm has no point: such a day is not a gap."""
    if rhythm is Rhythm.QUARTERLY:
        return series._replace(empty=[] if series.days else series.empty)
    if rhythm is Rhythm.WEEKDAYS:
        return series._replace(never=[*_weekdays(series.never)], empty=[*_weekdays(series.empty)])
    return series


def unconfigured(asset: str, metric: str) -> Target:
    """A series that is in no config; the asset's own name stands in for the unknown identifier at the API."""
    return Target(asset, metric, asset)


def _weekdays(windows: Sequence[Window]) -> Iterator[Window]:
    """The windows without their Saturdays and Sundays."""
    for window in windows:
        start = _next_weekday(window.start)
        while start < window.end:
            end = min(start + (SATURDAY - start.weekday()) * DAY, window.end)
            yield Window(start, end)
            start = _next_weekday(end)


def _next_weekday(day: datetime) -> datetime:
    return day + (7 - day.weekday()) * DAY if day.weekday() >= SATURDAY else day
