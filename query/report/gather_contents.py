"""Gathers the contents of the report from the database."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from db.coverage import Name, StoredSeries, series_maps
from db.lock import is_held, place_of_run
from db.points import ages
from db.pulls import recent_runs, under_way
from db.reader import Reader
from db.revisions import largest_revisions
from db.session import clock
from model.settings import Settings
from model.values import Verb, midnight
from pipeline.freshness import SeriesState, Stale
from pipeline.gaps import in_rhythm
from pipeline.health import configured_targets, diagnose
from query.report.charted_series import Charted, charts
from query.report.contents import LEFT, Cover, Fresh, Report, SourceContents
from query.report.coverage_by_month import Judged, days_by_month, judged
from sources import SOURCES

SERIES_SHOWN = 10  # of each metric, by month
REVISIONS_SHOWN = 20  # of each source
DAYS = 7  # for which failures are shown
NEED_ATTENTION = (SeriesState.STALE, SeriesState.NEVER_SEEN, SeriesState.QUIET, SeriesState.AWAITED)

States = Mapping[Name, SeriesState]


def gather_contents(
    reader: Reader, settings: Settings, names: Sequence[str], stored: Sequence[StoredSeries], charted: Charted
) -> Report:
    """The contents for the sources of these names; `stored` has the series of all sources that are wanted."""
    now = reader.do(clock)
    diagnosis = reader.do(lambda cursor: diagnose(cursor, settings, names))
    states = {each.source: each.freshness.states for each in diagnosis.sources}
    running = reader.do(lambda cursor: under_way(cursor, _running(cursor, names)))
    return Report(
        at=now,
        database=str(reader),
        sources=tuple(_source(reader, settings, name, stored, states[name], now) for name in names),
        foreign=tuple(sorted({each.series.source for each in stored} - SOURCES.keys())),
        chosen=charted.how,
        charts=charts(reader, charted.series, midnight(now)),
        days=DAYS,
        lately=reader.do(lambda cursor: recent_runs(cursor, names, now - timedelta(days=DAYS), running)),
    )


def _running(cursor: Any, names: Sequence[str]) -> list[tuple[str, str]]:
    """The sources and kinds of the runs that hold their locks now."""
    return [(name, verb.value) for name in names for verb in Verb if is_held(cursor, place_of_run(name, verb))]


def _source(
    reader: Reader, settings: Settings, name: str, every: Sequence[StoredSeries], states: States, now: datetime
) -> SourceContents:
    stored = [each for each in every if each.series.source == name]
    fresh, stale = _freshness(reader, name, stored, states)
    revisions, revised = reader.do(lambda cursor: largest_revisions(cursor, name, REVISIONS_SHOWN))
    return SourceContents(
        name=name,
        series=sum(each.points > 0 for each in stored),
        points=sum(each.points for each in stored),
        fresh=fresh,
        stale=stale,
        covers=_coverage(reader, name, settings, now),
        revisions=tuple(revisions),
        revised=revised,
    )


def _freshness(
    reader: Reader, name: str, stored: Sequence[StoredSeries], states: States
) -> tuple[tuple[Fresh, ...], tuple[Stale, ...]]:
    """By metric, how many series are in which state; and the series that are stale."""
    series = list(dict.fromkeys([*states, *((each.series.asset, each.series.metric) for each in stored)]))
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    newest, stale = dict[str, datetime](), []
    for age in reader.do(lambda cursor: ages(cursor, name, series)):
        if age.newest:
            newest[age.metric] = max(age.newest, newest.get(age.metric, age.newest))
        state = states.get((age.asset, age.metric))
        counts[age.metric][state or LEFT] += 1
        if state is SeriesState.STALE and age.newest:
            stale.append(Stale(age.asset, age.metric, age.newest))
    metrics = sorted(counts, key=lambda metric: ([-counts[metric][state] for state in NEED_ATTENTION], metric))
    columns = {metric: {state: counts[metric][state] for state in (*SeriesState, LEFT)} for metric in metrics}
    fresh = [Fresh(metric, columns[metric], newest.get(metric)) for metric in metrics]
    return tuple(fresh), tuple(sorted(stale, key=lambda each: (each.newest, each.asset, each.metric)))


def _coverage(reader: Reader, name: str, settings: Settings, now: datetime) -> tuple[Cover, ...]:
    source, today = SOURCES[name], midnight(now)
    targets = {(each.asset, each.metric): each for each in configured_targets(name, settings)}
    maps = reader.do(lambda cursor: series_maps(cursor, name, today, source.own_times()))
    by_metric: dict[str, list[Judged]] = defaultdict(list)
    for each, without_pauses in zip(maps, in_rhythm(source, maps, targets), strict=True):
        by_metric[each.metric].append(judged(each, without_pauses, today))
    return tuple(_cover(metric, series) for metric, series in sorted(by_metric.items()))


def _cover(metric: str, series: Sequence[Judged]) -> Cover:
    seen = [each for each in series if each.days.there or each.days.lost]
    ordered = sorted(seen, key=lambda each: (-each.days.lost, -each.days.missing))
    return Cover(
        all=days_by_month(metric, seen),
        series=len(seen),
        unseen=tuple(each.asset for each in series if each not in seen),
        whole=sum(not each.days.missing for each in seen),
        shown=tuple(days_by_month(each.asset, [each]) for each in ordered[:SERIES_SHOWN]),
    )
