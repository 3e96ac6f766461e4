"""The area `keys`: whether each API answers, and takes the key."""

import threading

from cli.checks.context import OFFLINE, CheckContext
from cli.checks.finding import Area, Finding, Severity
from cli.pull_backfill_settle import pace_of
from model.errors import CallFailed, ConfigurationError, SourceStopped
from sources import SOURCES
from sources.base import BaseSource
from sources.http import Client

TOO_MANY = 429


def check_keys(context: CheckContext) -> Area:
    """One cheap call to each API; the context gets the clients of those that answer."""
    if context.offline:
        return Area(OFFLINE, None)
    findings: list[Finding] = []
    asked = []
    for name in context.names:
        source, settings = SOURCES[name], context.settings
        try:
            api = source(settings.key(source.KEY_VARIABLE), settings.url(source.BASE_URL_VARIABLE))
            client = Client(api, threading.Event(), pace_of(source, settings))
        except ConfigurationError:  # a finding of the area `environment`
            continue
        if source.KEY_REQUIRED and not api.key:  # so is this
            continue
        asked.append(f"{name} {'by its key' if api.key else 'without a key'}")
        if finding := _failed_probe(api, client):
            findings.append(finding)
        else:
            context.clients[name] = api, client
    return Area(", ".join(asked), findings) if asked else Area("no API can be asked without its key", None)


def _failed_probe(api: BaseSource, client: Client) -> Finding | None:
    """Why the API does not answer; None if it does, or if the source has no cheap call."""
    call = api.probe()
    if call is None:
        return None
    try:
        client.get(call, lambda *_: None)
    except CallFailed as error:
        if error.status == TOO_MANY:
            what, remedy = f"the rate limit is reached: {error}", "try again later: another program may use the key"
            return Finding(Severity.WARNING, api.name, what, remedy)
        remedy = "try again later; if it stays, see the site of the API"
        return Finding(Severity.ERROR, api.name, f"the API gives no answer: {error}", remedy)
    except SourceStopped as error:  # its message has the remedy
        return Finding(Severity.ERROR, api.name, str(error))
    return None
