"""The area `environment`: whether the keys are set, .env, and the folder in which processes share their pace."""

import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

from cli.checks.context import CheckContext
from cli.checks.finding import Area, Finding, Severity, few
from model.errors import ConfigurationError
from model.settings import DATABASE_URL, OWN_PACE_DIRECTORY, PACE_DIRECTORY, ROOT, Settings
from sources import SOURCES
from sources.base import BaseSource
from sources.config import Asset

VARIABLE_ALIKE = 0.8  # of 1: how like a known variable a name must be to count as a misspelling


def check_environment(context: CheckContext) -> Area:
    """What is wrong with the settings, as far as no server has to be asked."""
    file, pace = ROOT / ".env", Path(context.settings.get(PACE_DIRECTORY) or OWN_PACE_DIRECTORY)
    variables = [name for source in SOURCES.values() for name in (source.KEY_VARIABLE, source.BASE_URL_VARIABLE)]
    findings: list[Finding] = []
    for name, (rows, _) in context.configs.items():
        findings += setting_findings(context.settings, SOURCES[name], rows)
    findings += env_findings(dotenv_values(file), os.environ, [*variables, DATABASE_URL, PACE_DIRECTORY])
    findings += mode_findings(file)
    findings += pace_findings(pace)
    return Area(f"the keys, {'.env' if file.exists() else 'no .env'}, the pace folder {pace}", findings)


def setting_findings(settings: Settings, source: type[BaseSource], rows: Iterable[Asset]) -> Iterator[Finding]:
    """Values that can't be a key or a server, a server that stands in for the API, and a key that is not set."""
    for read, variable in ((settings.key, source.KEY_VARIABLE), (settings.url, source.BASE_URL_VARIABLE)):
        try:
            read(variable)
        except ConfigurationError as error:
            yield Finding(Severity.ERROR, variable, str(error))
    after_scheme = settings.get(source.BASE_URL_VARIABLE).partition("://")[2]
    if server := after_scheme.partition("/")[0].rpartition("@")[2]:  # without a password
        what = f"{source.name} asks {server} instead of its API"
        yield Finding(Severity.NOTE, source.BASE_URL_VARIABLE, what)
    if settings.get(source.KEY_VARIABLE):
        return
    if source.KEY_REQUIRED:
        remedy = f"write {source.KEY_VARIABLE}=… into .env or the environment"
        yield Finding(Severity.ERROR, source.KEY_VARIABLE, f"it is not set, and {source.name} needs it", remedy)
    elif skipped := [metric for row in rows for metric in row.metrics if source.METRICS[metric].needs_key]:
        what = f"it is not set, so {source.name} leaves out {len(skipped):,} series: {few(sorted(skipped))}"
        yield Finding(Severity.NOTE, source.KEY_VARIABLE, what)


def env_findings(
    written: Mapping[str, str | None], environment: Mapping[str, str], known: Collection[str]
) -> Iterator[Finding]:
    """Lines of .env without effect: a misspelled name, or a variable that the environment sets to another value."""
    for name, value in written.items():
        if name in known:
            if value is not None and environment.get(name, value).strip() != value.strip():
                yield Finding(Severity.NOTE, ".env", f"the environment sets {name} to another value, which is used")
            continue
        meant = get_close_matches(name.upper(), known, n=1, cutoff=VARIABLE_ALIKE)
        if meant and not (written.get(meant[0]) or environment.get(meant[0])):
            yield Finding(Severity.WARNING, ".env", f"nothing reads {name}", f"did you mean {meant[0]}?")


def mode_findings(file: Path) -> Iterator[Finding]:
    """Whether every user of this machine can read the secrets."""
    if file.exists() and file.stat().st_mode & stat.S_IROTH:
        yield Finding(Severity.WARNING, file.name, "every user of this machine can read it", f"chmod 600 {file}")


def pace_findings(folder: Path) -> Iterator[Finding]:
    """Whether this user can write the folder in which processes share their pace, and its files."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        barred, kind = [there], " as a folder"
    else:
        files = there.iterdir() if there == folder and os.access(there, os.R_OK) else ()
        barred, kind = [each for each in (there, *files) if not os.access(each, os.W_OK)], ""
    if barred:
        what = f"{barred[0]} can't be written{kind}: processes do not share their pace"
        remedy = f"let the user who runs the commands write it, or name another folder in {PACE_DIRECTORY}"
        yield Finding(Severity.WARNING, PACE_DIRECTORY, what, remedy)
