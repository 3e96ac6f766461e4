"""What the report says, gathered from the database as plain values; times are aware UTC."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db.coverage import Name, StoredSeries, series_maps
from db.points import Age, ages
from db.pulls import RecentRuns, recent_runs, under_way
from db.reader import Reader
from db.revisions import LargeRevision, largest_revisions
from db.session import clock
from model.settings import Settings
from model.values import Series, midnight
from pipeline.freshness import SeriesState
from pipeline.gaps import in_rhythm
from pipeline.health import configured_targets, diagnose
from query.report.charted_series import Chart, charts
from query.report.coverage_by_month import DaysByMonth, days_of_series, together
from sources import SOURCES

SERIES_SHOWN = 10  # of each metric, by month
REVISIONS_SHOWN = 20  # of each source
DAYS = 7  # for which failures are shown
LEFT = "left"  # the state of stored series that no config asks for
STATES = (*SeriesState, LEFT)
NEED_ATTENTION = (SeriesState.STALE, SeriesState.NEVER_SEEN, SeriesState.QUIET, SeriesState.AWAITED)


class Fresh(NamedTuple):
    """How many series of a metric are in each state, and the newest point of all of them."""

    metric: str
    counts: dict[str, int]  # by STATES
    newest: datetime | None


class Cover(NamedTuple):
    """The coverage of all series of a metric that ever had a point, and of those with the most gaps."""

    all: DaysByMonth  # named after the metric
    series: int
    whole: int  # series without a gap
    unseen: list[str]  # assets that never had a point
    shown: list[DaysByMonth]


class SourceContents(NamedTuple):
    """What the report says about a source."""

    name: str
    series: int  # that have points
    points: int
    counts: dict[str, int]  # of series, by STATES
    fresh: list[Fresh]  # by metric, those first that need attention
    stale: list[Age]  # the oldest first
    covers: list[Cover]  # by metric
    lost: int  # days of all series that the API had and the table does not have
    revisions: list[LargeRevision]  # the largest
    revised: int  # how many there are in all


class Report(NamedTuple):
    """All of the page."""

    at: datetime  # by the database's clock
    database: str
    sources: list[SourceContents]
    foreign: list[str]  # sources that have stored series, but no module any more
    chosen: str  # how the charts were
    charts: list[Chart]
    days: int  # how far back `lately` goes
    lately: RecentRuns


def gather_contents(
    reader: Reader,
    settings: Settings,
    names: Sequence[str],
    stored: Sequence[StoredSeries],
    charted: tuple[Sequence[Series], str],
) -> Report:
    """The contents for the sources of these names; `stored` has the series of all sources that are wanted.

    `charted` are the series to draw, and how they were chosen.
    """
    series, chosen = charted
    now = reader.do(clock)
    drawn = charts(reader, series, midnight(now))

    def gather(cursor: Any) -> Report:
        health = diagnose(cursor, settings, names)
        states = {each.source: each.freshness.states for each in health.sources}
        held = [run.duty for source in health.sources for run in source.runs if run.running]
        running = under_way(cursor, [(duty.source, duty.verb.value) for duty in held])
        return Report(
            at=now,
            database=str(reader),
            sources=[_source(cursor, settings, name, stored, states[name], now) for name in names],
            foreign=sorted({each.series.source for each in stored} - SOURCES.keys()),
            chosen=chosen,
            charts=drawn,
            days=DAYS,
            lately=recent_runs(cursor, names, now - timedelta(days=DAYS), running),
        )

    return reader.do(gather)


def _source(
    cursor: Any,
    settings: Settings,
    name: str,
    every: Sequence[StoredSeries],
    states: Mapping[Name, SeriesState],
    now: datetime,
) -> SourceContents:
    stored = [each for each in every if each.series.source == name]
    series = list(dict.fromkeys([*states, *((each.series.asset, each.series.metric) for each in stored)]))
    found = ages(cursor, name, series)
    state_of = {(age.asset, age.metric): states.get((age.asset, age.metric), LEFT) for age in found}
    stale = [age for age in found if state_of[age.asset, age.metric] is SeriesState.STALE]
    covers = _coverage(cursor, name, settings, now)
    revisions, revised = largest_revisions(cursor, name, REVISIONS_SHOWN)
    return SourceContents(
        name=name,
        series=sum(each.points > 0 for each in stored),
        points=sum(each.points for each in stored),
        counts=_by_state(state_of.values()),
        fresh=_by_metric(found, state_of),
        stale=sorted(stale, key=lambda age: (age.newest or now, age.asset, age.metric)),
        covers=covers,
        lost=sum(cover.all.days.lost for cover in covers),
        revisions=revisions,
        revised=revised,
    )


def _by_metric(found: Sequence[Age], states: Mapping[Name, str]) -> list[Fresh]:
    """How old the series of each metric are."""
    by_metric: dict[str, list[Age]] = defaultdict(list)
    for age in found:
        by_metric[age.metric].append(age)
    fresh = []
    for metric, of_metric in by_metric.items():
        counts = _by_state(states[age.asset, metric] for age in of_metric)
        fresh.append(Fresh(metric, counts, max((age.newest for age in of_metric if age.newest), default=None)))
    return sorted(fresh, key=lambda each: ([-each.counts[state] for state in NEED_ATTENTION], each.metric))


def _by_state(states: Iterable[str]) -> dict[str, int]:
    """How many series are in each state."""
    return dict.fromkeys(STATES, 0) | Counter(states)


def _coverage(cursor: Any, name: str, settings: Settings, now: datetime) -> list[Cover]:
    source, today = SOURCES[name], midnight(now)
    targets = {(each.asset, each.metric): each for each in configured_targets(name, settings)}
    maps = series_maps(cursor, name, today, source.own_times())
    by_metric: dict[str, list[DaysByMonth]] = defaultdict(list)
    for raw, without_pauses in zip(maps, in_rhythm(source, maps, targets), strict=True):
        by_metric[raw.metric].append(days_of_series(raw, without_pauses, today))
    return [_cover(metric, series) for metric, series in sorted(by_metric.items())]


def _cover(metric: str, series: Sequence[DaysByMonth]) -> Cover:
    seen = [each for each in series if each.days.there or each.days.lost]
    ordered = sorted(seen, key=lambda each: (-each.days.lost, each.days.there - each.days.expected))
    return Cover(
        all=together(metric, seen),
        series=len(seen),
        whole=sum(each.days.there == each.days.expected for each in seen),
        unseen=[each.name for each in series if each not in seen],
        shown=ordered[:SERIES_SHOWN],
    )
