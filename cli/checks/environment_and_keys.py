"""The areas `environment` (the settings, .env, the pace folder) and `keys` (whether each API takes its key)."""

import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from http import HTTPStatus
from pathlib import Path

from dotenv import dotenv_values

from cli.checks.area import Area, CheckContext, Finding, Severity, few
from cli.jobs import api_of
from cli.pull_backfill_settle import pace_of
from model.errors import CallFailed, ConfigurationError, SourceStopped
from model.settings import (
    DOTENV,
    HEARTBEAT_URL,
    NOTIFY_URL,
    OWN_PACE_DIRECTORY,
    PACE_DIRECTORY,
    ROOT,
    VARIABLES,
    Settings,
)
from model.values import DAY, midnight
from pipeline.usage import DAYS_A_MONTH, calls_a_month, calls_left, usage_text
from pipeline.webhook import webhook_of
from sources import SOURCES
from sources.base import BaseSource
from sources.config import Asset
from sources.http import Client

VARIABLE_ALIKE = 0.8  # of 1: how like a known variable a name must be to count as a misspelling


def check_environment(context: CheckContext) -> Area:
    """What is wrong with the settings; contacts no server."""
    file, pace = ROOT / ".env", Path(context.settings.get(PACE_DIRECTORY) or OWN_PACE_DIRECTORY)
    findings: list[Finding] = []
    for name, (rows, _) in context.configs.items():
        source = SOURCES[name]
        findings += setting_findings(context.settings, source, rows)
        exposed = context.settings.exposed(source.KEY_VARIABLE, source.BASE_URL_VARIABLE, file)
        findings += [Finding(Severity.WARNING, *each) for each in exposed]
    findings += webhook_findings(context.settings, file)
    findings += env_findings(file, os.environ)
    findings = list(dict.fromkeys(findings))  # a .env that others can read is one finding, whatever is in it
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
        what = f"{source.name} sends its requests to {server} instead of its API"
        yield Finding(Severity.NOTE, source.BASE_URL_VARIABLE, what)
    if settings.get(source.KEY_VARIABLE):
        return
    if source.KEY_REQUIRED:
        remedy = f"write {source.KEY_VARIABLE}=… into {DOTENV} or the environment"
        yield Finding(Severity.ERROR, source.KEY_VARIABLE, f"it is not set, and {source.name} needs it", remedy)
    elif skipped := [metric for row in rows for metric in row.metrics if source.METRICS[metric].needs_key]:
        what = f"it is not set, so {source.name} leaves out {len(skipped):,} series: {few(sorted(skipped))}"
        yield Finding(Severity.NOTE, source.KEY_VARIABLE, what)


def webhook_findings(settings: Settings, file: Path) -> Iterator[Finding]:
    """A NOTIFY_URL or HEARTBEAT_URL that can't be one, or that others can read."""
    for variable, read in ((NOTIFY_URL, webhook_of), (HEARTBEAT_URL, lambda found: found.url(HEARTBEAT_URL))):
        try:
            read(settings)
        except ConfigurationError as error:
            yield Finding(Severity.ERROR, variable, str(error))
        yield from (Finding(Severity.WARNING, *each) for each in settings.exposed(variable, variable, file))


def env_findings(file: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Names in .env that seem to be misspelled, and a .env that every user of this machine can read."""
    of_sources = (name for source in SOURCES.values() for name in (source.KEY_VARIABLE, source.BASE_URL_VARIABLE))
    known = {*VARIABLES, *of_sources}
    written = dotenv_values(file)
    for name in written.keys() - known:
        meant = get_close_matches(name.upper(), known, n=1, cutoff=VARIABLE_ALIKE)
        if meant and not (written.get(meant[0]) or environment.get(meant[0])):
            yield Finding(Severity.WARNING, ".env", f"nothing reads {name}", f"did you mean {meant[0]}?")
    if file.exists() and file.stat().st_mode & stat.S_IROTH:
        yield Finding(Severity.WARNING, ".env", "every user of this machine can read it", f"chmod 600 {file}")


def pace_findings(folder: Path) -> Iterator[Finding]:
    """Whether this user can write the folder in which processes share their pace, and its files."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir():
        barred, why = [there], "is not a folder"
    else:
        files = there.iterdir() if there == folder and os.access(there, os.R_OK) else ()
        barred, why = [each for each in (there, *files) if not os.access(each, os.W_OK)], "can't be written"
    if barred:
        what = f"{barred[0]} {why}: processes do not share their pace"
        remedy = f"let the user who runs the commands write it, or name another folder in {PACE_DIRECTORY}"
        yield Finding(Severity.WARNING, PACE_DIRECTORY, what, remedy)


def check_keys(context: CheckContext) -> Area:
    """One cheap call to each API; the context gets the clients of those that answer."""
    findings: list[Finding] = []
    called = []
    for name in context.names:
        try:
            api = api_of(SOURCES[name], context.settings)
        except ConfigurationError:  # the area `environment` has a finding for it
            continue
        client = Client(api, threading.Event(), pace_of(type(api), context.settings))
        called.append(f"{name} {'by its key' if api.key else 'without a key'}")
        if finding := _failed_probe(api, client):
            findings.append(finding)
        else:
            context.clients[name] = api, client
            findings += usage_findings(
                api, _calls_left(api, context.settings), context.configs[name][0], datetime.now(UTC)
            )
    return Area(", ".join(called), findings) if called else Area("no API has a usable key", None)


def usage_findings(api: BaseSource, left: int | None, rows: Iterable[Asset], now: datetime) -> Iterator[Finding]:
    """How many calls the key has left this month, and whether they are enough for the rest of it."""
    if left is not None:
        needed = calls_a_month(api, [target for row in rows for target in row.targets()], now)
        next_month = (midnight(now).replace(day=1) + 32 * DAY).replace(day=1)
        enough = left >= needed * (next_month - now) / (DAYS_A_MONTH * DAY)
        remedy = "" if enough else f"remove rows from {api.CONFIG}: the provider charges for further calls"
        yield Finding(Severity.NOTE if enough else Severity.WARNING, api.name, usage_text(left, needed), remedy)


def _calls_left(api: BaseSource, settings: Settings) -> int | None:
    """Asked with a client of its own: if it is refused, that says nothing about other calls."""
    return calls_left(api, Client(api, threading.Event(), pace_of(type(api), settings)))


def _failed_probe(api: BaseSource, client: Client) -> Finding | None:
    """Why the API does not answer; None if it does, or if the source has no cheap call."""
    try:
        if call := next(api.listing_calls(), None):
            client.get(call, lambda *_: None)
    except CallFailed as error:
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            what, remedy = f"the rate limit is reached: {error}", "try again later: another program may use the key"
            return Finding(Severity.WARNING, api.name, what, remedy)
        remedy = "try again later; if that does not help, see the site of the API"
        return Finding(Severity.ERROR, api.name, f"a call to the API failed: {error}", remedy)
    except SourceStopped as error:  # its message has the remedy
        return Finding(Severity.ERROR, api.name, str(error))
    return None
