"""Holes in what is stored: whose they are, and which of them a backfill asks for."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from db.coverage import Name, SeriesMap
from db.store import Store
from model.values import DAY, Rhythm, Target, Window
from pipeline.plan import Job, Scope, days
from sources.base import BaseSource

NAMES_SHOWN = 5  # in a command that repairs them; where they are more, it repairs all
HOLES_SHOWN = 6  # of one series and kind
SATURDAY = 5  # as date.weekday() counts
KINDS = {
    "never": "never asked for",
    "empty": "the API had nothing",
    "lost": "LOST, though the API had them",
}


class Look(NamedTuple):
    """What is there of the series of a source, and which series its config has."""

    source: type[BaseSource]
    config: Path | None  # None for the source's own
    targets: Mapping[Name, Target]
    maps: Sequence[SeriesMap]

    @property
    def config_name(self) -> str:
        """What the config file is called."""
        return self.config.name if self.config else self.source.CONFIG

    def has(self, series: SeriesMap) -> bool:
        """Whether a row of the config has a series."""
        return (series.asset, series.metric) in self.targets

    def asks_for(self, series: SeriesMap) -> bool:
        """Whether a backfill by the config asks for a series."""
        return self.has(series) and not _live_only(self.source, series)


def to_ask(job: Job, store: Store) -> dict[Name, list[Window]]:
    """The holes in a job's window that it is to ask for, of each series that has any."""
    targets = {(target.asset, target.metric): target for target in job.targets}
    holes = {name: [job.window] for name in targets}  # unless it was asked for before
    for series in store.maps(job.window.end, job.source.own_times()):
        if (name := (series.asset, series.metric)) in targets and (series.answered or series.days):
            known = without_pauses(series, job.source.rhythm(targets[name]))
            holes[name] = known.never + (known.empty if job.scope is Scope.EMPTY_GAPS else [])
    return {name: inside for name, windows in holes.items() if (inside := _clip(windows, job.window))}


def without_pauses(series: SeriesMap, rhythm: Rhythm) -> SeriesMap:
    """The map without the holes of days on which such a series has no point: they are none."""
    if rhythm is Rhythm.QUARTERLY:
        return series._replace(empty=[] if series.days else series.empty)
    if rhythm is Rhythm.WEEKDAYS:
        return series._replace(never=[*_weekdays(series.never)], empty=[*_weekdays(series.empty)])
    return series


def report_lines(look: Look, today: datetime) -> Iterator[str]:
    """The maps of a source for a person, and what to do about the holes."""
    yield f"{look.source.name}: {len(look.maps):,} series{_totals(look)}"
    for series in look.maps:
        answered = f"asked for {_span(series.answered)}" if series.answered else "no history asked for"
        live = ", exists only live" if _live_only(look.source, series) else ""
        left = "" if look.has(series) else f", not in {look.config_name}"
        yield f"  {series.asset} {series.metric}: {series.days:,} days; {answered}{live}{left}"
        for kind, words in KINDS.items():
            holes: list[Window] = getattr(series, kind)
            if holes:
                more = f" and {len(holes) - HOLES_SHOWN:,} more" if len(holes) > HOLES_SHOWN else ""
                shown = ", ".join(days(hole) for hole in holes[:HOLES_SHOWN])
                yield f"      {words}, {_count(holes):,} days: {shown}{more}"
    yield from _remedies(look, today)


def _remedies(look: Look, today: datetime) -> Iterator[str]:
    """The commands for each kind of hole."""
    name, reach = look.source.name, look.source.history_start(today)
    config = f" --config {shlex.quote(str(look.config))}" if look.config else ""
    backfill = f"python main.py backfill {name}{config}"
    fetched = [series for series in look.maps if look.asks_for(series)]
    if never := [window.start for series in fetched for window in series.never]:
        yield f"  to ask for what never was: {backfill} --gaps{_from(min(never), reach)}"
    if empty := [window.start for series in fetched for window in series.empty]:
        yield f"  to ask again where the API had nothing: {backfill} --gaps --retry-empty{_from(min(empty), reach)}"
    if gone := lost_for_good(look):
        whose = ["of live values"] if any(_live_only(look.source, series) for series in gone) else []
        whose += [f"of series that {look.config_name} does not have"] if not all(map(look.has, gone)) else []
        yield (
            f"  no backfill asks for what was lost {' and '.join(whose)}: python main.py restore FILE brings back what "
            f"was kept, python main.py gaps {name}{config} --forget-lost ends the claim"
        )
    if lost := [series for series in fetched if series.lost]:
        names = [("asset", dict.fromkeys(series.asset for series in lost))]
        names += [("metric", dict.fromkeys(series.metric for series in lost))]
        only = [f"--{kind} {shlex.quote(name)}" for kind, found in names if len(found) <= NAMES_SHOWN for name in found]
        start = _from(min(series.lost[0].start for series in lost), reach)
        yield f"  to repair what was lost: {' '.join([f'{backfill} --full{start}', *only])}"


def as_json(look: Look) -> list[dict[str, Any]]:
    """The maps of a source as plain values; each hole as its first and last day."""
    return [
        {
            "source": look.source.name,
            "asset": series.asset,
            "metric": series.metric,
            "live_only": _live_only(look.source, series),
            "days": series.days,
            **{
                name: [[f"{window.start.date()}", f"{(window.end - DAY).date()}"] for window in windows]
                for name, windows in (
                    ("answered", series.answered),
                    ("never_asked", series.never),
                    ("empty", series.empty),
                    ("lost", series.lost),
                )
            },
        }
        for series in look.maps
    ]


def unconfigured(asset: str, metric: str) -> Target:
    """The series of an asset that no config has: the API calls it what we do, for all we know."""
    return Target(asset, metric, asset)


def lost_for_good(look: Look) -> list[SeriesMap]:
    """Those of which days were lost that no backfill asks for."""
    return [series for series in look.maps if series.lost and not look.asks_for(series)]


def in_rhythm(source: type[BaseSource], maps: Sequence[SeriesMap], targets: Mapping[Name, Target]) -> list[SeriesMap]:
    """The maps, each without the days on which its series has no point."""
    return [
        without_pauses(series, source.rhythm(targets.get((series.asset, series.metric), unconfigured(*series[:2]))))
        for series in maps
    ]


def _from(first: datetime, reach: datetime) -> str:
    """The option that makes a backfill reach a day which it leaves out by default."""
    return f" --start {first.date()}" if first < reach else ""


def _totals(look: Look) -> str:
    found = []
    for kind, words in KINDS.items():
        # what no backfill asks for is no work to do
        of = [series for series in look.maps if kind != "never" or look.asks_for(series)]
        having = [series for series in of if getattr(series, kind)]
        if having:
            number = sum(_count(getattr(series, kind)) for series in having)
            found.append(f"{number:,} days of {len(having):,} series {words}")
    return "; ".join(["", *found]) if found else "; no holes"


def _live_only(source: type[BaseSource], series: SeriesMap) -> bool:
    known = source.METRICS.get(series.metric)
    return known is not None and known.live_only


def _span(windows: Sequence[Window]) -> str:
    return days(Window(windows[0].start, windows[-1].end))


def _count(windows: Sequence[Window]) -> int:
    return sum((window.end - window.start) // DAY for window in windows)


def _clip(windows: Sequence[Window], to: Window) -> list[Window]:
    clipped = [Window(max(window.start, to.start), min(window.end, to.end)) for window in windows]
    return [window for window in clipped if window.start < window.end]


def _weekdays(windows: Sequence[Window]) -> Iterator[Window]:
    """The same spans of days without their Saturdays and Sundays."""
    for window in windows:
        start = _next_weekday(window.start)
        while start < window.end:
            end = min(start + (SATURDAY - start.weekday()) * DAY, window.end)
            yield Window(start, end)
            start = _next_weekday(end)


def _next_weekday(day: datetime) -> datetime:
    return day + (7 - day.weekday()) * DAY if day.weekday() >= SATURDAY else day
