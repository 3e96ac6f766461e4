"""The area `series`: configured series that were never requested, never had a value or have ended; runs that failed."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta

from cli.checks.context import CheckContext, SourceRecords
from cli.checks.finding import Area, Finding, Severity, few
from cli.time_text import moment
from db.coverage import Name
from db.points import Age
from db.pulls import LastRuns
from model.values import Rhythm, Target, Verb
from pipeline.freshness import QUARTER_REPORTED_AFTER
from sources import SOURCES
from sources.base import BaseSource

ENDED_AFTER = timedelta(days=30)  # for which the API has answered that there is nothing newer
QUARTERS_ENDED_AFTER = QUARTER_REPORTED_AFTER + timedelta(days=91)  # two missing quarters
FAILURE_SHOWN = 300  # characters


def check_series(context: CheckContext) -> Area:
    """What the database records of the configured series and their runs."""
    findings: list[Finding] = []
    for name, records in context.records.items():
        source, (_, errors) = SOURCES[name], context.configs[name]
        findings += series_findings(source, records, context.explained.get(name, ()))
        findings += run_findings(source, records.runs)
        if not errors:  # otherwise the series of a wrong row would seem to be unconfigured
            findings += unconfigured_findings(source, records.unconfigured)
    checked = ", ".join(f"{len(records.targets):,} of {name}" for name, records in context.records.items())
    return Area(checked, findings) if checked else Area("there are no tables of this version", None)


def series_findings(
    source: type[BaseSource], records: SourceRecords, explained: Collection[Name] = ()
) -> Iterator[Finding]:
    """Series that were never requested, never had a value, or have ended; not those that are explained already."""
    by_name = {(target.asset, target.metric): target for target in records.targets}
    never: list[Target] = []
    empty: dict[str, list[str]] = {}
    ended: dict[str, list[str]] = {}
    for age in records.ages:
        name = age.asset, age.metric
        if age.newest is None and name not in records.requested:
            never.append(by_name[name])
        elif age.newest is None and name not in explained:
            empty.setdefault(age.asset, []).append(age.metric)
        elif age.newest and _has_ended(source, by_name[name], age):
            ended.setdefault(age.asset, []).append(f"{age.metric} since {age.newest:%Y-%m-%d}")
    if never:
        named = few(f"{target.asset} {target.metric}" for target in never)
        what = f"{len(never):,} of {len(records.targets):,} series were never requested: {named}"
        yield Finding(Severity.NOTE, source.name, what, " and ".join(_commands(source, never)))
    remedy = f"correct its row in {source.CONFIG}, or take the metric out"
    for asset, metrics in empty.items():
        what = f"the API has never had a value of {few(metrics)}"
        yield Finding(Severity.WARNING, f"{source.name} {asset}", what, remedy)
    for asset, last in ended.items():
        what = f"the API has nothing newer of {few(last)}"
        yield Finding(Severity.WARNING, f"{source.name} {asset}", what, f"{remedy}; the stored values stay")


def unconfigured_findings(source: type[BaseSource], unconfigured: Iterable[Age]) -> Iterator[Finding]:
    """Stored series that the config does not have."""
    if named := [f"{age.asset} {age.metric}" for age in unconfigured if age.newest]:
        yield Finding(Severity.NOTE, source.name, f"stored, but not in {source.CONFIG}: {few(named)}")


def run_findings(source: type[BaseSource], runs: Mapping[Verb, LastRuns]) -> Iterator[Finding]:
    """Each kind of run whose last one failed, and why."""
    for verb, last in runs.items():
        if last.failed and (last.began_well is None or last.began_well < last.failed):
            why = " ".join((last.failure or "the log says why").split())
            why = why if len(why) <= FAILURE_SHOWN else f"{why[: FAILURE_SHOWN - 1]}…"
            what = f"the last {verb} failed, at {moment(last.failed)}: {why}"
            yield Finding(Severity.WARNING, source.name, what, f"python main.py {verb} {source.name}")


def _has_ended(source: type[BaseSource], target: Target, age: Age) -> bool:
    """Whether the API has answered for long that a series has nothing newer."""
    if age.newest is None or age.answered is None:
        return False
    quarterly = source.rhythm(target) is Rhythm.QUARTERLY
    newest = source.METRICS[age.metric].day_of(age.newest)
    return age.answered - newest > (QUARTERS_ENDED_AFTER if quarterly else ENDED_AFTER)


def _commands(source: type[BaseSource], targets: Iterable[Target]) -> list[str]:
    """The commands that request the series: a backfill for those with a history, a pull for the others."""
    live_only = {source.METRICS[target.metric].live_only for target in targets}
    verbs = [verb for verb, wanted in ((Verb.BACKFILL, False), (Verb.PULL, True)) if wanted in live_only]
    return [f"python main.py {verb} {source.name}" for verb in verbs]
