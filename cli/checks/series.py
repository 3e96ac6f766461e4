"""The series of the configs in the table: never asked for, never seen, at an end; and the runs that fail."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from cli.checks.finding import Finding, Severity, few
from db.coverage import Name, known_series
from db.points import Age, ages
from db.pulls import LastRuns, last_runs
from model.values import Rhythm, Target, Verb
from pipeline.freshness import QUARTER_LATE
from pipeline.run_health import moment
from sources.base import BaseSource
from sources.config import Asset

AT_AN_END = timedelta(days=30)  # for which the API has answered that there is nothing newer
QUARTERS_AT_AN_END = QUARTER_LATE + timedelta(days=91)  # the same of fiscal quarters: two of them
FAILURE_SHOWN = 300  # characters


class Stored(NamedTuple):
    """What the tables say of a source."""

    targets: Sequence[Target]  # the series that its config asks for
    ages: Sequence[Age]  # of these
    asked: Collection[Name]  # all series for which the API has ever answered
    left: Sequence[Age]  # of those which the config has not
    runs: Mapping[Verb, LastRuns]

    @property
    def seen(self) -> set[Name]:
        """The series of the config that have values."""
        return {(age.asset, age.metric) for age in self.ages if age.newest}


def read_stored(cursor: Any, source: type[BaseSource], rows: Sequence[Asset], *, with_key: bool) -> Stored:
    """What the tables say of the rows of a config; without a key only of the series that need none."""
    every = [target for row in rows for target in row.targets()]
    targets = [target for target in every if source.can_ask(target.metric, with_key=with_key)]
    asked = known_series(cursor, source.name)
    left = sorted(set(asked) - {(target.asset, target.metric) for target in every})
    runs = last_runs(cursor, [(source.name, verb.value) for verb in source.SCHEDULES])
    return Stored(
        targets,
        ages(cursor, source.name, [(target.asset, target.metric) for target in targets]),
        frozenset(asked),
        ages(cursor, source.name, left),
        {verb: runs[source.name, verb.value] for verb in source.SCHEDULES},
    )


def series_findings(source: type[BaseSource], stored: Stored, explained: Collection[Name] = ()) -> Iterator[Finding]:
    """Series that were never asked for, those that never had a value, and those that have none any more.

    Of those that are `explained` it is known already why they have no value.
    """
    by_name = {(target.asset, target.metric): target for target in stored.targets}
    never: list[Target] = []
    silent: dict[str, list[str]] = {}
    ended: dict[str, list[str]] = {}
    for age in stored.ages:
        target = by_name[age.asset, age.metric]
        if age.newest is None and (age.asset, age.metric) not in stored.asked:
            never.append(target)
        elif age.newest is None and (age.asset, age.metric) in explained:
            continue
        elif age.newest is None:
            silent.setdefault(age.asset, []).append(age.metric)
        elif _has_ended(source, target, age):
            ended.setdefault(age.asset, []).append(f"{age.metric} since {age.newest:%Y-%m-%d}")
    if never:
        what = f"never asked for, {len(never):,} of {len(stored.targets):,} series: "
        what += few(f"{target.asset} {target.metric}" for target in never)
        yield Finding(Severity.NOTE, source.name, what, " and ".join(_commands(source, never)))
    remedy = f"correct its row in {source.CONFIG}, or take the metric out"
    for asset, metrics in silent.items():
        what = f"the API has been asked, and never had a value of {few(metrics)}"
        yield Finding(Severity.WARNING, f"{source.name} {asset}", what, remedy)
    for asset, last in ended.items():
        what = f"the API has nothing newer of {few(last)}"
        yield Finding(Severity.WARNING, f"{source.name} {asset}", what, f"{remedy}; what is stored stays")


def left_findings(source: type[BaseSource], left: Iterable[Age]) -> Iterator[Finding]:
    """Series that the table has and the config has not."""
    if named := [f"{age.asset} {age.metric}" for age in left if age.newest]:
        what = f"stored and not in {source.CONFIG}, {len(named):,} series: {few(named)}"
        yield Finding(Severity.NOTE, source.name, what)


def run_findings(source: type[BaseSource], runs: Mapping[Verb, LastRuns]) -> Iterator[Finding]:
    """Kinds of runs of which the last one failed, with what the table says of why."""
    for verb, run in runs.items():
        if run.failed and (run.began_well is None or run.began_well < run.failed):
            told = " ".join((run.failure or "the log says why").split())
            told = told if len(told) <= FAILURE_SHOWN else f"{told[: FAILURE_SHOWN - 1]}…"
            what = f"the last {verb} failed, at {moment(run.failed)}: {told}"
            yield Finding(Severity.WARNING, source.name, what, f"python main.py {verb} {source.name}")


def _has_ended(source: type[BaseSource], target: Target, age: Age) -> bool:
    """Whether the API has answered for long that a series has nothing newer."""
    if age.newest is None or age.answered is None:
        return False
    newest = source.METRICS[age.metric].day_of(age.newest)
    quarterly = source.rhythm(target) is Rhythm.QUARTERLY
    return age.answered - newest > (QUARTERS_AT_AN_END if quarterly else AT_AN_END)


def _commands(source: type[BaseSource], targets: Iterable[Target]) -> list[str]:
    """The runs that ask for the series: a backfill wherever there is a history."""
    live_only = {source.METRICS[target.metric].live_only for target in targets}
    verbs = [verb for verb, wanted in ((Verb.BACKFILL, False), (Verb.PULL, True)) if wanted in live_only]
    return [f"python main.py {verb} {source.name}" for verb in verbs]
