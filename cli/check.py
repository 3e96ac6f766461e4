"""The command `check`: looks at everything that can be wrong, and says what needs a hand."""

import argparse
import json
import logging
import os
import platform
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dotenv import dotenv_values

from cli.checks import apis, configs, environment, series
from cli.checks import database as rules
from cli.checks import output as screen
from cli.checks.database import Tables
from cli.checks.environment import without_key
from cli.checks.finding import Area, Finding, Severity, need_a_hand
from cli.look import Look
from cli.pull_backfill_settle import names_of
from db.rights import Rights, rights
from db.setup import Database, has_schema, has_tables
from model.errors import ConfigurationError, PipelineError, SourceStopped
from model.scrub import scrubbed
from model.settings import DATABASE_URL, EMBEDDED_DIRECTORY, OWN_PACE_DIRECTORY, PACE_DIRECTORY, ROOT, Settings
from model.text import counted
from sources import SOURCES

log = logging.getLogger(__name__)

OFFLINE = "--offline"
NO_KEY = "there is no key to ask with"
SILENT = "no API can be asked"
NO_TABLES = "there are no tables of this version to look at"


def check(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Look at everything, each area for itself; 1 where anything needs a hand."""
    with ExitStack() as leaving:
        look = Look(settings, names_of(arguments.source), leaving, offline=arguments.offline)
        areas = [scrubbed(_looked_at(name, at, look), scrub) for name, at in AREAS]
    print(json.dumps(screen.as_json(areas), indent=1) if arguments.json else "\n".join(screen.lines(areas)))
    return int(any(need_a_hand(area.findings) for area in areas))


def _looked_at(name: str, at: Callable[[Look], Area], look: Look) -> Area:
    """One area; what keeps it from being looked at is a finding of its own."""
    try:
        return at(look)
    except PipelineError as error:
        return Area(name, "", [Finding(Severity.ERROR, name, str(error))])


def _environment(look: Look) -> Area:
    sources = [SOURCES[name] for name in look.names]
    known = environment.known_variables(SOURCES.values(), DATABASE_URL, PACE_DIRECTORY)
    file, pace = ROOT / ".env", Path(look.settings.get(PACE_DIRECTORY) or OWN_PACE_DIRECTORY)
    wanted = environment.requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    findings = [
        *environment.package_findings(wanted, _installed),
        *environment.key_findings(look.settings, sources),
        *environment.variable_findings(dotenv_values(file), os.environ, known),
        *environment.mode_findings(file),
        *environment.pace_findings(pace, PACE_DIRECTORY),
    ]
    env = ".env" if file.exists() else "no .env"
    looked_at = f"Python {platform.python_version()}, {len(wanted)} packages, {env}, the keys, the pace in {pace}"
    return Area("environment", looked_at, findings)


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _database(look: Look) -> Area:
    own = not look.settings.get(DATABASE_URL)
    if not look.settings.has_database():  # none is made for a look
        return Area("database", f"embedded PostgreSQL in {EMBEDDED_DIRECTORY}", [rules.no_database()])
    database = look.open()
    tables, rights = _tables(database, look)
    findings = [*rules.table_findings(tables, rights)]
    if tables is rules.Tables.OURS:
        look.database = database
    free = shutil.disk_usage(EMBEDDED_DIRECTORY).free if own else None
    if free is not None:
        findings += rules.space_findings(str(EMBEDDED_DIRECTORY), free)
    room = f"{rules.gigabytes(free)} free" if free is not None else f"PostgreSQL {rights.server}"
    return Area("database", f"{database}, {room}, as {rights.role}; {tables.value}", findings)


def _tables(database: Database, look: Look) -> tuple[Tables, Rights]:
    there, may = look.asked(database, lambda cursor: (has_tables(cursor), rights(cursor)))
    if not there:
        return Tables.NONE, may
    return (Tables.OURS if has_schema(database) else Tables.OTHER), may


def _configs(look: Look) -> Area:
    files = {SOURCES[name].CONFIG: found for name, found in look.configs.items()}
    findings: list[Finding] = []
    for file, (rows, errors) in files.items():
        findings += configs.error_findings(ROOT / file, errors)
        findings += configs.twice_findings(file, rows)
    findings += configs.entity_findings({file: rows for file, (rows, _) in files.items()})
    counts = [
        f"{file} ({counted(len(rows), 'row')}, {sum(len(row.metrics) for row in rows):,} series)"
        for file, (rows, _) in files.items()
    ]
    return Area("configs", ", ".join(counts), findings)


def _keys(look: Look) -> Area:
    if look.offline:
        return Area("keys", OFFLINE, looked=False)
    findings: list[Finding] = []
    asked = []
    for name in look.names:
        source = SOURCES[name]
        try:
            api, client = look.client(name)
        except ConfigurationError:  # which the environment has told
            look.silent.add(name)
            continue
        if source.KEY_REQUIRED and not api.key:  # as this
            look.silent.add(name)
            continue
        if not api.key:
            findings += without_key(source, look.configs[name][0])
        asked.append(f"{name} {'by its key' if api.key else 'without a key'}")
        if found := apis.probe(api, client):
            look.silent.add(name)
            findings.append(found)
    return Area("keys", ", ".join(asked) or NO_KEY, findings, looked=bool(asked))


def _identifiers(look: Look) -> Area:
    if look.offline:
        return Area("identifiers", OFFLINE, looked=False)
    findings: list[Finding] = []
    asked = []
    for name in look.names:
        rows, _ = look.configs[name]
        if name not in look.silent and rows:
            log.info("%s: asking what it lists", name)
            try:
                told = apis.identifier_findings(*look.client(name), rows, look.seen(name))
            except SourceStopped as error:
                findings.append(Finding(Severity.ERROR, name, str(error)))
                continue
            findings += told.findings
            look.explained[name] = told.explained
            asked.append(f"{len({(row.kind, row.id) for row in rows}):,} of {name}")
    return Area("identifiers", ", ".join(asked) or SILENT, findings, looked=bool(asked))


def _series(look: Look) -> Area:
    findings: list[Finding] = []
    for name, stored in look.stored.items():
        source, (_, errors) = SOURCES[name], look.configs[name]
        findings += series.series_findings(source, stored, look.explained.get(name, ()))
        findings += series.run_findings(source, stored.runs)
        if not errors:  # else what is wrong would seem to be missing
            findings += series.left_findings(source, stored.left)
    counts = ", ".join(f"{len(stored.targets):,} of {name}" for name, stored in look.stored.items())
    return Area("series", counts or NO_TABLES, findings, looked=bool(counts))


AREAS: tuple[tuple[str, Callable[[Look], Area]], ...] = (
    ("environment", _environment),
    ("database", _database),
    ("configs", _configs),
    ("keys", _keys),
    ("identifiers", _identifiers),
    ("series", _series),
)
