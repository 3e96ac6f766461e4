"""Webhooks: the forms of a message, what a wrong setting says, and what comes of a server that does not take it."""

from collections.abc import Iterator

import pytest

from model.errors import ConfigurationError, NotDelivered
from model.settings import HEARTBEAT_URL, NOTIFY_FORM, NOTIFY_URL, Settings
from pipeline import webhook
from pipeline.webhook import Form, Message, Status, Webhook, beat, form_of, webhook_of
from tests.webhook_server import WebhookServer

MESSAGE = Message("artemis needs attention", "! artemis: PRICE <&> é", Status.PROBLEM, "artemis")
LONG = MESSAGE._replace(text="é" * 5000)
TELEGRAM = "https://api.telegram.org/bot123456:AAtoken/sendMessage"


@pytest.fixture
def server() -> Iterator[WebhookServer]:
    """A webhook that takes everything."""
    with WebhookServer() as made:
        yield made


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("https://hooks.slack.com/services/T00/B00/xyz", Form.SLACK),
        ("https://discord.com/api/webhooks/1/token", Form.DISCORD),
        ("https://ptb.discord.com/api/webhooks/1/token", Form.DISCORD),
        ("https://discordapp.com/api/webhooks/1/token", Form.DISCORD),
        (f"{TELEGRAM}?chat_id=-100", Form.TELEGRAM),
        ("http://127.0.0.1:8081/bot1:a/sendMessage?chat_id=1", Form.TELEGRAM),  # Telegram's own server for bots
        ("https://ntfy.sh/topic", Form.NTFY),
        ("https://ntfy.example.com/topic", Form.NTFY),
        ("https://example.com/hooks.slack.com", Form.JSON),
        ("https://discord.com.example.com/api", Form.JSON),
    ],
)
def test_the_form_is_known_by_the_host_or_the_path(url: str, form: Form) -> None:
    assert form_of(url) is form
    assert webhook_of(Settings({NOTIFY_URL: url})) == Webhook(url, form)
    assert webhook_of(Settings({NOTIFY_URL: url, NOTIFY_FORM: "Json"})) == Webhook(url, Form.JSON)


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (
            Form.JSON,
            {"title": MESSAGE.title, "text": MESSAGE.text, "status": "problem", "source": "artemis"},
        ),
        (Form.SLACK, {"text": f"{MESSAGE.title}\n! artemis: PRICE &lt;&amp;&gt; é"}),
        (Form.DISCORD, {"content": f"{MESSAGE.title}\n{MESSAGE.text}", "allowed_mentions": {"parse": []}}),
        (Form.TELEGRAM, {"text": f"{MESSAGE.title}\n{MESSAGE.text}"}),
    ],
)
def test_each_form_is_posted_as_its_service_takes_it(form: Form, body: object, server: WebhookServer) -> None:
    Webhook(server.url, form).send(MESSAGE)
    (received,) = server.received
    assert (received.method, received.path) == ("POST", "/hook/s3cret-t0ken?key=v4lue")
    assert received.json == body


def test_ntfy_gets_the_text_as_it_is_and_the_title_as_a_header(server: WebhookServer) -> None:
    Webhook(server.url, Form.NTFY).send(MESSAGE)
    (received,) = server.received
    assert (received.title, received.body.decode()) == (MESSAGE.title, MESSAGE.text)


@pytest.mark.parametrize(
    ("form", "field", "most"), [(Form.DISCORD, "content", 2000), (Form.TELEGRAM, "text", 4096), (Form.NTFY, "", 4096)]
)
def test_a_text_that_is_too_long_is_cut_for_its_service(
    form: Form, field: str, most: int, server: WebhookServer
) -> None:
    Webhook(server.url, form).send(LONG)
    (received,) = server.received
    text = received.json[field] if field else received.body.decode()
    assert most - 200 < len(text.encode()) <= most
    assert text.endswith("éé…")


def test_a_heartbeat_is_a_plain_get(server: WebhookServer) -> None:
    beat(server.url)
    (received,) = server.received
    assert (received.method, received.path, received.body) == ("GET", "/hook/s3cret-t0ken?key=v4lue", b"")


@pytest.mark.parametrize("status", [301, 400, 404, 429, 500])
def test_any_other_status_than_2xx_is_not_delivered_and_neither_body_nor_url_is_said(status: int) -> None:
    with WebhookServer(status) as server, pytest.raises(NotDelivered) as caught:
        Webhook(server.url, Form.JSON).send(MESSAGE)
    redirect = ", which is a redirect: write the URL to which it leads" if status == 301 else ""
    assert str(caught.value) == f"the server of NOTIFY_URL answers HTTP {status}{redirect}"


def test_no_redirect_is_followed(server: WebhookServer) -> None:
    with WebhookServer(307, server.url) as first, pytest.raises(NotDelivered):
        Webhook(first.url, Form.JSON).send(MESSAGE)
    assert server.received == []


def test_a_server_that_refuses_or_hangs_is_given_up_in_time_without_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "LONGEST_CALL", 0.2)
    with WebhookServer(0) as server:
        with pytest.raises(NotDelivered, match=r"^the server of HEARTBEAT_URL can't be reached: no answer after 0 s$"):
            beat(server.url)
        url = server.url
    with pytest.raises(NotDelivered, match=r"can't be reached: no connection \(Connection refused\)$"):
        beat(url)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({NOTIFY_URL: "hooks.slack.com/services/T0KEN"}, "NOTIFY_URL is not the URL of a server: write http://host:port"),
        ({NOTIFY_URL: "https://host/T0KEN T0KEN"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: "https://host:T0KEN/"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: "https://[T0KEN"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: "https://?T0KEN"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: "https://a..T0KEN/"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: f"https://{'a' * 59}T0KEN/"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: "https://.T0KEN/"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: f"https://T0KENé{'a' * 70}/"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: "ftp://host/T0KEN"}, "NOTIFY_URL is not the URL of a server"),
        ({NOTIFY_URL: f"{TELEGRAM}?chat=T0KEN"}, "NOTIFY_URL is not the URL of a Telegram chat: write https://api.telegr"),
        ({NOTIFY_URL: "https://api.telegram.org/T0KEN?chat_id=1"}, "NOTIFY_URL is not the URL of a Telegram chat"),
        ({NOTIFY_URL: "https://ntfy.sh/"}, "NOTIFY_URL is not the URL of an ntfy topic: write https://ntfy.sh/TOPIC"),
        ({NOTIFY_URL: "https://ntfy.sh/T0KEN/json"}, "NOTIFY_URL is not the URL of an ntfy topic"),
        ({NOTIFY_FORM: "slck"}, "NOTIFY_FORM is no form of a message: did you mean slack?"),
        ({NOTIFY_FORM: "T0KEN"}, "NOTIFY_FORM is no form of a message: known: discord, json, ntfy, slack, telegram"),
    ],
)  # fmt: skip
def test_a_wrong_setting_says_what_would_be_right_and_not_what_it_is(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        webhook_of(Settings(settings))
    assert str(caught.value).startswith(said)
    assert "T0KEN" not in str(caught.value)


@pytest.mark.parametrize("host", ["a..b", "a" * 64, ".a", "*", "é" * 64])
def test_a_host_that_can_be_none_is_not_delivered_also_past_the_settings(host: str) -> None:
    with pytest.raises(NotDelivered, match=r"^the server of HEARTBEAT_URL can't be reached: \w+(, \w+)?$"):
        beat(f"https://{host}/")


def test_without_its_url_there_is_no_webhook() -> None:
    assert webhook_of(Settings({HEARTBEAT_URL: "https://hc-ping.com/1"})) is None
