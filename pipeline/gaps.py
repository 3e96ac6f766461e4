"""Gaps in what is stored: which missing days count as a gap, and which of them a backfill can fill."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from db.coverage import Name, SeriesMap
from model.values import DAY, Rhythm, Target, Window
from sources.base import BaseSource


@dataclass(frozen=True, slots=True)
class SourceGaps:
    """The gaps of each series of a source, and the series of its config."""

    source: type[BaseSource]
    config: Path | None  # None: the source's own config file
    targets: Mapping[Name, Target]
    maps: Sequence[SeriesMap]
    waiting: Collection[Name] = ()  # series of which a restatement waits for a person

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
        """Whether a backfill with this config requests a series."""
        return self.configures(series) and not self.is_live_only(series)

    def lost_for_good(self) -> list[SeriesMap]:
        """The series with lost days that no backfill requests."""
        return [series for series in self.maps if series.lost and not self.can_backfill(series)]


def in_rhythm(source: type[BaseSource], maps: Sequence[SeriesMap], targets: Mapping[Name, Target]) -> list[SeriesMap]:
    """The maps without the days on which their series never have a point."""
    found = []
    for series in maps:
        # the identifier of a series that left the config is not known: its name is used instead
        target = targets.get((series.asset, series.metric), Target(series.asset, series.metric, series.asset))
        found.append(without_pauses(series, source.rhythm(target)))
    return found


def without_pauses(series: SeriesMap, rhythm: Rhythm) -> SeriesMap:
    """The map without the days on which a series of this rhythm has no point: such a day is not a gap."""
    if rhythm is Rhythm.QUARTERLY:
        return series._replace(empty=[] if series.days else series.empty)
    if rhythm is Rhythm.WEEKDAYS:
        return series._replace(never=[*_weekdays(series.never)], empty=[*_weekdays(series.empty)])
    return series


def _weekdays(windows: Sequence[Window]) -> Iterator[Window]:
    """The windows without their Saturdays and Sundays."""
    for start, end in windows:
        monday = start - start.weekday() * DAY
        while monday < end:
            week = Window(max(start, monday), min(end, monday + 5 * DAY))
            if week.start < week.end:
                yield week
            monday += 7 * DAY
