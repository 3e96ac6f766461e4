"""Gathers the contents of the report from the database, in the form that page.html reads; times are aware UTC.

Rendering fails if page.html uses a name that the dicts here do not have.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from db.coverage import SeriesMap, StoredSeries, series_maps
from db.points import Age, ages
from db.pulls import recent_runs, under_way
from db.revisions import largest_revisions
from db.session import clock
from model.errors import ConfigurationError
from model.settings import Settings
from model.text import counted
from model.values import midnight, number_of_days
from pipeline.confirmation import confirmation, confirmation_text, withdrawn_text
from pipeline.freshness import SeriesState
from pipeline.gaps import in_rhythm
from pipeline.health import SourceHealth, configured_targets, diagnose
from pipeline.waiting_restatements import waiting_choices, waiting_text
from query.flags import Flag, stored_flags
from query.query_session import QuerySession, configs, fill_command
from query.report.coverage_by_month import DaysByMonth, days_of_series, together
from query.report.leading_series import choose
from query.report.series_figures import figures
from query.series_names import NOT_ASKED_FOR
from sources import SOURCES

SERIES_SHOWN = 10  # of each metric, in the coverage by month
REVISIONS_SHOWN = 20  # of each source
DAYS = 7  # for which failures are shown
FLAGS_SHOWN = 20  # of each source
FLAG_DAYS = 30
STATES = (*SeriesState, NOT_ASKED_FOR)
NEED_ATTENTION = (SeriesState.STALE, SeriesState.NEVER_SEEN, SeriesState.QUIET, SeriesState.AWAITED)

Contents = dict[str, Any]


def gather_contents(settings: Settings, source: str | None, assets: Sequence[str], metrics: Sequence[str]) -> Contents:
    """The contents for one source or all; they open with these assets and metrics, or a few series if none is named.

    Raises ConfigurationError if nothing is stored, and BadQuestion for a name that has no stored points.
    """
    session, names = QuerySession(), [name for name in SOURCES if source in (None, name)]
    stored = session.stored(source)
    if not stored:
        raise ConfigurationError(f"nothing is stored yet: {fill_command(settings, source)}")
    reader = session.reader()
    now = reader.do(clock)
    leading, chosen = choose(reader, session.names(), configs(), source, assets, metrics)
    shown = list(figures(reader, leading, midnight(now)))

    def gather(cursor: Any) -> Contents:
        health = diagnose(cursor, settings, names)
        held = [run.scheduled for each in health.sources for run in each.runs if run.running]
        running = under_way(cursor, [(each.source, each.verb.value) for each in held])
        asked = {each.series for each in stored if each.series.source in names}
        flags = stored_flags(cursor, asked, configs(), midnight(now) - timedelta(days=FLAG_DAYS), midnight(now))
        return {
            "at": now,
            "database": str(reader),
            "sources": [_source(cursor, settings, each, stored, flags, now) for each in health.sources],
            "foreign": sorted({each.series.source for each in stored} - SOURCES.keys()),  # their modules are gone
            "chosen": chosen,
            "leading": shown,
            "without_value": len(leading) - len(shown),  # of a closed day
            "days": DAYS,
            "lately": recent_runs(cursor, names, now - timedelta(days=DAYS), running),
            "flag_days": FLAG_DAYS,
        }

    return reader.do(gather)


def _source(
    cursor: Any,
    settings: Settings,
    health: SourceHealth,
    stored: Sequence[StoredSeries],
    flags: Sequence[Flag],
    now: datetime,
) -> Contents:
    name = health.source
    revisions, revised = largest_revisions(cursor, name, REVISIONS_SHOWN)
    flagged = sorted((each for each in flags if each.series.source == name), key=lambda each: each.end, reverse=True)
    return {
        "name": name,
        "waiting": [(waiting_text(name, each), waiting_choices(name, each)) for each in health.waiting],
        "confirmed": confirmation_text(health.confirmation, now),
        **_freshness(cursor, health, [each for each in stored if each.series.source == name], now),
        **_coverage(cursor, name, settings, midnight(now)),
        "revisions": revisions,
        "revised": revised,  # how many there are in all
        "flags": flagged[:FLAGS_SHOWN],
        "flagged": len(flagged),
    }


def _freshness(cursor: Any, health: SourceHealth, stored: Sequence[StoredSeries], now: datetime) -> Contents:
    """How many series have points; how many are in each state, in total and by metric; and the stale series."""
    source, configured = SOURCES[health.source], health.freshness.states
    every = dict.fromkeys([*configured, *((each.series.asset, each.series.metric) for each in stored)])
    counts, stale = dict.fromkeys(STATES, 0), []
    by_metric: dict[str, list[tuple[str, Age]]] = defaultdict(list)
    for age in ages(cursor, health.source, list(every)):
        state = configured.get((age.asset, age.metric), NOT_ASKED_FOR)
        by_metric[age.metric].append((state, age))
        counts[state] += 1
        if age.newest and state is SeriesState.STALE:
            stale.append((age.newest, age.asset, age.metric))
    metrics = []
    for metric, found in by_metric.items():
        newest = max((age.newest for _, age in found if age.newest), default=None)
        confirmed = confirmation(source, [age for state, age in found if state != NOT_ASKED_FOR], now)
        by_state = dict.fromkeys(STATES, 0) | Counter(state for state, _ in found)
        metrics.append((metric, newest, by_state, confirmation_text(confirmed, now)))
    return {
        "series": sum(each.points > 0 for each in stored),
        "points": sum(each.points for each in stored),
        "counts": counts,
        "metrics": sorted(metrics, key=lambda each: ([-each[2][state] for state in NEED_ATTENTION], each[0])),
        "stale": [_stale(*each, now) for each in sorted(stale)],
    }


def _stale(newest: datetime, asset: str, metric: str, now: datetime) -> str:
    """A stale series, with the day of its newest point."""
    ago = counted((now.date() - newest.date()).days, "day")
    return f"{asset} {metric} ({newest:%Y-%m-%d}, {ago} ago)"


def _coverage(cursor: Any, name: str, settings: Settings, today: datetime) -> Contents:
    """The coverage of closed days by metric, the number of lost days, and the series with withdrawn days."""
    source, by_metric = SOURCES[name], defaultdict[str, list[DaysByMonth]](list)
    targets = {(each.asset, each.metric): each for each in configured_targets(name, settings)}
    maps = series_maps(cursor, name, today, source.own_times())
    for raw, without_pauses in zip(maps, in_rhythm(source, maps, targets), strict=True):
        by_metric[raw.metric].append(days_of_series(raw, without_pauses, today))
    covers = [_cover(metric, series) for metric, series in sorted(by_metric.items())]
    return {
        "covers": covers,
        "lost": sum(cover["all"].days.lost for cover in covers),
        "withdrawn": [_withdrawn(each) for each in maps if each.withdrawn],
    }


def _withdrawn(series: SeriesMap) -> str:
    """A series, and how many of its days the provider has withdrawn."""
    days = withdrawn_text(number_of_days(series.withdrawn), series.withdrawn_at)
    return f"{series.asset} {series.metric} ({days})"


def _cover(metric: str, series: Sequence[DaysByMonth]) -> Contents:
    """The coverage of all series of a metric that ever had a point, and of those with the most gaps."""
    seen = [each for each in series if each.days.there or each.days.lost]
    ordered = sorted(seen, key=lambda each: (-each.days.lost, each.days.there - each.days.expected))
    return {
        "all": together(metric, seen),
        "series": len(seen),
        "whole": sum(each.days.there == each.days.expected for each in seen),
        "unseen": [each.name for each in series if each not in seen],  # assets
        "shown": ordered[:SERIES_SHOWN],
    }
