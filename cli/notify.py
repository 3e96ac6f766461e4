"""The command `notify`, and what a scheduler reports to the webhooks of NOTIFY_URL and HEARTBEAT_URL."""

import argparse
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from cli.jobs import warn_of_exposed_secrets
from db.database import Database
from model.background import Repeated
from model.errors import ConfigurationError
from model.settings import DOTENV, HEARTBEAT_URL, MAIN, NOTIFY_URL, WEBHOOKS, Settings
from pipeline.notifications import Notifier
from pipeline.webhook import Message, Status, beat, webhook_of

REPORT_SECONDS = 60.0  # between two checks for changes, and between two heartbeats
LAST_REPORT_SECONDS = 0.3  # that a report may take after a stop, so that it is recorded what a webhook has just taken


def notify(_arguments: argparse.Namespace, settings: Settings, _scrub: Callable[[str], str]) -> int:
    """Send a test message; returns 0. Raises NotDelivered, and ConfigurationError if NOTIFY_URL is wrong or not set."""
    check_webhooks(settings)
    warn_of_exposed_secrets((), settings, WEBHOOKS)
    webhook = webhook_of(settings)
    if webhook is None:
        raise ConfigurationError(f"{NOTIFY_URL} is not set: write {NOTIFY_URL}=… into {DOTENV} or the environment")
    text = f"{MAIN} notify --test was run on {socket.gethostname()}: messages arrive here"
    webhook.send(Message("a test of crypto-metrics", text, Status.TEST))
    print(f"the test message was delivered, in the form {webhook.form}")
    return 0


def check_webhooks(settings: Settings) -> None:
    """Raise ConfigurationError where a variable of a webhook is wrong; the message does not show it."""
    webhook_of(settings)
    settings.url(HEARTBEAT_URL)


@contextmanager
def reports(settings: Settings, database: Database, scrub: Callable[[str], str]) -> Iterator[Callable[[], None]]:
    """A function that reports to the webhooks that are set, in the background and at most once a minute."""
    with ExitStack() as closed_at_the_end:
        tasks = []
        if url := settings.url(HEARTBEAT_URL):
            tasks.append(Repeated("heartbeat", partial(beat, url), REPORT_SECONDS))
        if webhook := webhook_of(settings):
            notifier = closed_at_the_end.enter_context(closing(Notifier(database, settings, webhook, scrub)))
            tasks.append(Repeated("notify", notifier.check, REPORT_SECONDS))
        for task in tasks:
            closed_at_the_end.callback(task.wait, LAST_REPORT_SECONDS)

        def report() -> None:
            for task in tasks:
                task()

        yield report
