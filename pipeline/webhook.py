"""Calls to the webhooks of NOTIFY_URL and HEARTBEAT_URL: bounded in time, and their URLs are in no text."""

import json
import re
from collections.abc import Mapping
from contextlib import closing
from enum import StrEnum
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

import requests
from urllib3.exceptions import HTTPError

from model.errors import ConfigurationError, NotDelivered
from model.settings import HEARTBEAT_URL, NOTIFY_FORM, NOTIFY_URL, VERSION, Settings
from model.text import nearest
from sources.http_session import HttpSession, failure_text

LONGEST_CALL = 10.0  # seconds, from the connection to the first line of the answer; see `call`
MOST_BYTES = 4000  # of a text in UTF-8: Telegram takes 4096 characters, ntfy 4096 bytes
MOST_BYTES_OF_DISCORD = 2000  # it takes 2000 characters
SLACK_HOSTS = r"hooks\.slack(-gov)?\.com"
DISCORD_HOSTS = r"(\w+\.)?discord(app)?\.com"
NTFY_HOSTS = r"ntfy\..+"
TELEGRAM_PATH = r"/bot[^/]+/sendMessage"
RIGHT_TELEGRAM = "https://api.telegram.org/bot…/sendMessage?chat_id=…"


class Form(StrEnum):
    """What a webhook takes; the text is the one of NOTIFY_FORM."""

    JSON = "json"  # of our own: the fields of Message
    SLACK = "slack"  # https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks; Mattermost has it, too
    DISCORD = "discord"  # https://discord.com/developers/docs/resources/webhook#execute-webhook
    TELEGRAM = "telegram"  # https://core.telegram.org/bots/api#sendmessage, with the chat_id in the query of the URL
    NTFY = "ntfy"  # https://docs.ntfy.sh/publish


class Status(StrEnum):
    """What a message is about."""

    PROBLEM = "problem"
    WELL = "well"  # nothing that was reported before is wrong any more
    TEST = "test"


class Message(NamedTuple):
    """A message for a person."""

    title: str  # ASCII
    text: str
    status: Status
    source: str | None = None


class Webhook(NamedTuple):
    """Where messages go, and in which form. It must not be printed: its URL is a secret."""

    url: str
    form: Form

    def send(self, message: Message) -> None:
        """Deliver a message; takes as long as `call`. Raises NotDelivered."""
        body, headers = body_of(self.form, message)
        call("POST", self.url, NOTIFY_URL, body, headers)


def webhook_of(settings: Settings) -> Webhook | None:
    """The webhook of NOTIFY_URL and NOTIFY_FORM; None if it is not set. Raises ConfigurationError without the URL."""
    url, chosen = settings.url(NOTIFY_URL), settings.get(NOTIFY_FORM).lower()
    if chosen and chosen not in list(Form):
        raise ConfigurationError(f"{NOTIFY_FORM} is no form of a message: {nearest(chosen, Form)}")
    if not url:
        return None
    form = Form(chosen) if chosen else form_of(url)
    parts = urlsplit(url)
    if form is Form.TELEGRAM and not (re.fullmatch(TELEGRAM_PATH, parts.path) and "chat_id" in parse_qs(parts.query)):
        raise ConfigurationError(f"{NOTIFY_URL} is not the URL of a Telegram chat: write {RIGHT_TELEGRAM}")
    if form is Form.NTFY and not re.fullmatch(r"/[^/]+", parts.path):
        raise ConfigurationError(f"{NOTIFY_URL} is not the URL of an ntfy topic: write https://ntfy.sh/TOPIC")
    return Webhook(url, form)


def form_of(url: str) -> Form:
    """The form that the host or the path of a URL stands for; JSON if none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if re.fullmatch(SLACK_HOSTS, host):
        return Form.SLACK
    if re.fullmatch(DISCORD_HOSTS, host):
        return Form.DISCORD
    if host == "api.telegram.org" or re.fullmatch(TELEGRAM_PATH, parts.path):
        return Form.TELEGRAM
    return Form.NTFY if re.fullmatch(NTFY_HOSTS, host) else Form.JSON


def body_of(form: Form, message: Message) -> tuple[bytes, dict[str, str]]:
    """The body and the headers that carry a message; a text that is too long is cut."""
    if form is Form.NTFY:
        return _cut(message.text, MOST_BYTES).encode(), {"Title": message.title}
    text = _cut(f"{message.title}\n{message.text}", MOST_BYTES_OF_DISCORD if form is Form.DISCORD else MOST_BYTES)
    match form:
        case Form.SLACK:  # these three characters begin links and mentions
            body: dict[str, object] = {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
        case Form.DISCORD:
            body = {"content": text, "allowed_mentions": {"parse": []}}
        case Form.TELEGRAM:
            body = {"text": text}
        case _:
            body = message._asdict()
    return json.dumps(body).encode(), {"Content-Type": "application/json"}


def call(method: str, url: str, variable: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
    """Send a request to the URL of a variable and read nothing but its status; follows no redirect.

    Takes LONGEST_CALL at most once a name server has answered. But each address of the server that does not answer may
    take that long until the next one is tried. Raises NotDelivered.
    """
    sent = {"User-Agent": f"crypto-metrics/{VERSION}", **(headers or {})}
    with closing(HttpSession()) as session:
        try:
            with (
                session.deadline(LONGEST_CALL),
                session.request(method, url, data=body, headers=sent, timeout=LONGEST_CALL, stream=True) as response,
            ):
                status = response.status_code
        except (requests.RequestException, HTTPError, UnicodeError) as error:  # requests lets the latter two through
            too_long = session.broken_off or isinstance(error, requests.ReadTimeout)
            why = f"no answer after {LONGEST_CALL:.0f} s" if too_long else failure_text(error)
            raise NotDelivered(f"the server of {variable} can't be reached: {why}") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        remedy = ", which is a redirect: write the URL to which it leads" if status < HTTPStatus.BAD_REQUEST else ""
        raise NotDelivered(f"the server of {variable} answers HTTP {status}{remedy}")


def beat(url: str) -> None:
    """Tell a dead man's switch, such as healthchecks.io, that all goes on. Raises NotDelivered."""
    call("GET", url, HEARTBEAT_URL)


def _cut(text: str, most: int) -> str:
    """The text, cut to this number of bytes in UTF-8."""
    raw = text.encode("utf-8", "replace")
    return raw.decode() if len(raw) <= most else f"{raw[: most - 3].decode('utf-8', 'ignore')}…"
