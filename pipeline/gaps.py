"""Gaps in what is stored: which days count as a gap, and which gaps a backfill asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from db.coverage import Name, SeriesMap
from db.store import Store
from model.values import DAY, Rhythm, Target, Window
from pipeline.plan import Job, Scope
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


def windows_to_fill(job: Job, store: Store) -> dict[Name, list[Window]]:
    """The gaps that a job has to ask for, of each series with a gap in the job's window.

    A series that was never requested is one gap. Days that were lost are not asked for: only a full backfill does that.
    """
    targets = {(target.asset, target.metric): target for target in job.targets}
    gaps = {name: [job.window] for name in targets}
    for series in store.maps(job.window.end, job.source.own_times()):
        if (name := (series.asset, series.metric)) in targets and (series.answered or series.days):
            known = without_pauses(series, job.source.rhythm(targets[name]))
            gaps[name] = known.never + (known.empty if job.scope is Scope.EMPTY_GAPS else [])
    return {name: inside for name, windows in gaps.items() if (inside := _clip(windows, job.window))}


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


def _clip(windows: Sequence[Window], to: Window) -> list[Window]:
    clipped = [Window(max(window.start, to.start), min(window.end, to.end)) for window in windows]
    return [window for window in clipped if window.start < window.end]


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
