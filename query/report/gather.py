"""The facts of the report, out of the database."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from db.coverage import Name, StoredSeries, series_maps
from db.lock import is_held, place_of_run
from db.points import ages
from db.pulls import recent_runs, under_way
from db.reader import Reader
from db.revisions import largest_revisions
from db.session import clock
from model.values import Series, Target, Verb, midnight
from pipeline.freshness import Freshness, SeriesState, Stale
from pipeline.gaps import in_rhythm
from query.report.charts import draw
from query.report.facts import Cover, Fresh, Report, SourceFacts
from query.report.months import Judged, judged, line
from sources import SOURCES

SERIES_SHOWN = 10  # of each metric, by month
REVISIONS_SHOWN = 20  # of each source
DAYS = 7  # that failures are looked for
NEEDS_A_LOOK = (SeriesState.STALE, SeriesState.NEVER_SEEN, SeriesState.QUIET, SeriesState.AWAITED)

Targets = Mapping[Name, Target]


class Asked(NamedTuple):
    """What a source's config asks for, and how old that is."""

    targets: Targets
    freshness: Freshness


def gather(
    reader: Reader,
    stored: Sequence[StoredSeries],
    asked: Mapping[str, Asked],
    charted: tuple[Sequence[Series], str],
) -> Report:
    """All facts about the sources that `asked` names.

    `stored` is what there is of all sources that are wanted, `charted` what is to be drawn and how that was chosen.
    """
    now = reader.do(clock)
    names, since = list(asked), now - timedelta(days=DAYS)
    running = reader.do(lambda cursor: under_way(cursor, _held(cursor, names)))
    sources = tuple(
        _source(reader, name, [each for each in stored if each.series.source == name], of, now)
        for name, of in asked.items()
    )
    series, chosen = charted
    return Report(
        at=now,
        database=str(reader),
        sources=sources,
        foreign=tuple(sorted({each.series.source for each in stored} - SOURCES.keys())),
        chosen=chosen,
        charts=draw(reader, series, midnight(now)),
        days=DAYS,
        lately=reader.do(lambda cursor: recent_runs(cursor, names, since, running)),
    )


def _held(cursor: Any, names: Sequence[str]) -> list[tuple[str, str]]:
    """Of which sources and kinds a run is being made."""
    return [(name, verb.value) for name in names for verb in Verb if is_held(cursor, place_of_run(name, verb))]


def _source(reader: Reader, name: str, stored: Sequence[StoredSeries], asked: Asked, now: datetime) -> SourceFacts:
    fresh, stale = _freshness(reader, name, stored, asked.freshness.states)
    revisions, revised = reader.do(lambda cursor: largest_revisions(cursor, name, REVISIONS_SHOWN))
    return SourceFacts(
        name=name,
        series=sum(each.points > 0 for each in stored),
        points=sum(each.points for each in stored),
        fresh=fresh,
        stale=stale,
        covers=_coverage(reader, name, asked.targets, now),
        revisions=tuple(revisions),
        revised=revised,
    )


def _freshness(
    reader: Reader, name: str, stored: Sequence[StoredSeries], known: Mapping[Name, SeriesState]
) -> tuple[tuple[Fresh, ...], tuple[Stale, ...]]:
    """By metric, how old the series are; and those that are stale."""
    asked = list(dict.fromkeys([*known, *((each.series.asset, each.series.metric) for each in stored)]))
    states: dict[str, Counter[SeriesState]] = defaultdict(Counter)
    left, newest, stale = Counter[str](), dict[str, datetime](), []
    for age in reader.do(lambda cursor: ages(cursor, name, asked)):
        if age.newest:
            newest[age.metric] = max(age.newest, newest.get(age.metric, age.newest))
        state = known.get((age.asset, age.metric))
        if state is None:
            left[age.metric] += 1
            continue
        states[age.metric][state] += 1
        if state is SeriesState.STALE and age.newest:
            stale.append(Stale(age.asset, age.metric, age.newest))
    metrics = sorted({*states, *left}, key=lambda metric: ([-states[metric][state] for state in NEEDS_A_LOOK], metric))
    fresh = (Fresh(metric, dict(states[metric]), left[metric], newest.get(metric)) for metric in metrics)
    return tuple(fresh), tuple(sorted(stale, key=lambda each: (each.newest, each.asset, each.metric)))


def _coverage(reader: Reader, name: str, targets: Targets, now: datetime) -> tuple[Cover, ...]:
    source, today = SOURCES[name], midnight(now)
    raw = reader.do(lambda cursor: series_maps(cursor, name, today, source.own_times()))
    by_metric: dict[str, list[Judged]] = defaultdict(list)
    for each, without_pauses in zip(raw, in_rhythm(source, raw, targets), strict=True):
        by_metric[each.metric].append(judged(each, without_pauses, today))
    return tuple(_cover(metric, series) for metric, series in sorted(by_metric.items()))


def _cover(metric: str, series: Sequence[Judged]) -> Cover:
    seen = [each for each in series if each.days.there or each.days.lost]
    counted = sorted(((each.days, each) for each in seen), key=lambda pair: (-pair[0].lost, -pair[0].missing))
    return Cover(
        all=line(metric, seen),
        series=len(seen),
        unseen=tuple(each.asset for each in series if each not in seen),
        whole=sum(not days.missing for days, _ in counted),
        shown=tuple(line(each.asset, [each]) for _, each in counted[:SERIES_SHOWN]),
    )
