"""The areas `database` (whether a run can write it) and `series` (never requested, never had a value, ended)."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from enum import Enum

from cli.checks.area import Area, CheckContext, Finding, Severity, SourceRecords, few
from cli.process import open_database, read_database
from db.coverage import Name
from db.rights import Rights, rights
from db.setup import has_schema, has_tables
from db.views import NAMES, found
from model.settings import EMBEDDED_DIRECTORY, MAIN
from model.values import Rhythm, Target, Verb
from pipeline.confirmation import withdrawal, withdrawn_text
from pipeline.freshness import QUARTER_REPORTED_AFTER
from pipeline.identities import changed_text, remedy_text
from pipeline.waiting_restatements import rejected_text, waiting_remedy, waiting_text
from sources import SOURCES
from sources.base import BaseSource

SETUP = f"{MAIN} setup"
ENDED_AFTER = timedelta(days=30)  # how long the API must have answered without a newer point
QUARTERS_ENDED_AFTER = QUARTER_REPORTED_AFTER + timedelta(days=91)  # so two quarters are missing


class Tables(Enum):
    """Which tables the database has."""

    NONE = "there are no tables yet"
    OTHER = "the tables are of another version"
    OURS = "the tables are of this version"


def check_database(context: CheckContext) -> Area:
    """What keeps a run from using the database. The context gets the database if its tables are of this version."""
    if not context.settings.has_database():  # read-only commands create none
        none_yet = Finding(Severity.NOTE, "database", "there is none yet", f"{SETUP}, or the first run, creates it")
        return Area(f"embedded PostgreSQL in {EMBEDDED_DIRECTORY}", [none_yet])
    database = context.exit_stack.enter_context(open_database(context.settings))
    there, ours, granted, views = read_database(
        database, "check", lambda cursor: (has_tables(cursor), has_schema(cursor), rights(cursor), found(cursor))
    )
    tables = Tables.NONE if not there else Tables.OURS if ours else Tables.OTHER
    if tables is Tables.OURS:
        context.database = database
    text = f"{database}, PostgreSQL {granted.server}, as {granted.role}; {tables.value}"
    findings = list(table_findings(tables, granted))
    if tables is Tables.OURS and (other := [name for name in NAMES if not views.get(name)]):
        what, remedy = "missing, or made by others", f"rename what has one of these names, and run {SETUP}"
        findings.append(Finding(Severity.WARNING, "views", f"{', '.join(other)}: {what}", remedy))
    return Area(text, findings)


def table_findings(tables: Tables, rights: Rights) -> Iterator[Finding]:
    """What keeps a run from reading or writing the tables."""
    if tables is Tables.NONE and rights.may_create:
        yield Finding(Severity.NOTE, "tables", tables.value, f"{SETUP}, or the first run, creates them")
    if tables is Tables.OTHER:
        yield Finding(Severity.WARNING, "tables", tables.value, f"{SETUP}, or the next run, upgrades them")
    if rights.read_only:
        remedy = "set DATABASE_URL to a database that accepts writes: not a standby, not a role that may only read"
        yield Finding(Severity.ERROR, "database", "it can only be read", remedy)
    missing = [] if tables is Tables.OURS or rights.may_create else ["CREATE on the schema"]
    missing += [] if rights.may_stage else ["TEMPORARY on the database"]
    missing += [few(rights.denied)] if rights.denied else []
    for each in missing:
        remedy = "ask the owner of the tables to grant it"
        yield Finding(Severity.ERROR, f"role {rights.role}", f"it lacks {each}", remedy)


def check_series(context: CheckContext) -> Area:
    """What the database records of the configured series."""
    findings: list[Finding] = []
    for name, records in context.records.items():
        findings += restatement_findings(name, records)
        findings += series_findings(SOURCES[name], records, context.explained.get(name, ()))
    checked = ", ".join(f"{len(records.targets):,} of {name}" for name, records in context.records.items())
    return Area(checked, findings) if checked else Area("there are no tables of this version", None)


def restatement_findings(name: str, records: SourceRecords) -> Iterator[Finding]:
    """Restatements that wait for a person, and days that the provider has withdrawn."""
    for each in records.waiting:
        yield Finding(Severity.ERROR, name, waiting_text(name, each), waiting_remedy(name, each))
    if records.rejected:
        named = few(f"{each.asset} {each.metric} ({each.values:,})" for each in records.rejected)
        remedy = f"{MAIN} settle {name} --accept ASSET METRIC adopts them after all"
        yield Finding(Severity.NOTE, name, f"{rejected_text(records.rejected)}: {named}", remedy)
    if (withdrawn := withdrawal(records.ages)).days:
        named = few(f"{age.asset} {age.metric} ({age.withdrawn:,})" for age in records.ages if age.withdrawn)
        what = f"{withdrawn_text(*withdrawn)}, whose values stay stored: {named}"
        yield Finding(Severity.NOTE, name, what, f"{MAIN} gaps {name} shows which days")


def series_findings(
    source: type[BaseSource], records: SourceRecords, explained: Collection[Name] = ()
) -> Iterator[Finding]:
    """Series that were never requested, never had a value, or have ended, except those in `explained`; and rows by
    whose identifiers the API now means another asset.
    """
    for each in records.changed:
        where = f"{source.name} {each.asset}"
        yield Finding(Severity.ERROR, where, changed_text(each), remedy_text(source.name, each))
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
        elif age.newest and age.answered:
            quarterly = source.rhythm(by_name[name]) is Rhythm.QUARTERLY
            without_newer = age.answered - source.METRICS[age.metric].day_of(age.newest)
            if without_newer > (QUARTERS_ENDED_AFTER if quarterly else ENDED_AFTER):
                ended.setdefault(age.asset, []).append(f"{age.metric} since {age.newest:%Y-%m-%d}")
    if never:
        named = few(f"{target.asset} {target.metric}" for target in never)
        what = f"{len(never):,} of {len(records.targets):,} series were never requested: {named}"
        # a backfill requests those with a history, a pull the others
        verbs = {Verb.PULL if source.METRICS[each.metric].live_only else Verb.BACKFILL for each in never}
        commands = " and ".join(f"{MAIN} {verb} {source.name}" for verb in sorted(verbs))
        yield Finding(Severity.NOTE, source.name, what, commands)
    remedy = f"correct its row in {source.CONFIG}, or remove the metric"
    for asset, metrics in empty.items():
        what = f"the API has never had a value of {few(metrics)}"
        yield Finding(Severity.WARNING, f"{source.name} {asset}", what, remedy)
    for asset, last in ended.items():
        what = f"the API has had no new value of {few(last)}"
        yield Finding(Severity.WARNING, f"{source.name} {asset}", what, f"{remedy}; the stored values stay")
