"""The messages about a source of a modelled scheduler; and how they are sent, by a real database and webhook."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SessionLock
from db.notified import Reported, notified, set_notified
from db.quarantine import Waiting
from model.errors import DatabaseLost, NotDelivered
from model.settings import Settings
from model.values import DAY, Verb
from pipeline.health import SourceHealth
from pipeline.notifications import Notifier, changes_of, message_of
from pipeline.webhook import Form, Message, Status, Webhook
from sources.artemis import Artemis
from tests.modelled_night import CALM, HOUR, LONG_AGO, MINUTE, WEDNESDAY, Model
from tests.tables import Rows, end
from tests.webhook_server import WebhookServer

WORKING = WEDNESDAY - 3 * DAY  # the modelled scheduler works from here on
DOWN = WEDNESDAY + 2 * HOUR  # before the night's settle and backfill
NEEDS, WELL = "artemis needs attention", "artemis is well again"
SLOT = Artemis.SCHEDULES[Verb.PULL].slot(datetime.now(UTC))
RAN = """
INSERT INTO pulls (source_name, kind, slot, pulled_at, finished_at, status, calls, failed_calls, failure)
SELECT 'artemis', 'pull', %s, at, at, %s, 3, 2, %s FROM (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS at) AS x
"""


class Listener:
    """Who is told of each health in turn, and takes every message."""

    def __init__(self) -> None:
        self.told: frozenset[Reported] = frozenset()
        self.messages: list[tuple[datetime, Message]] = []

    def hear(self, now: datetime, health: SourceHealth) -> None:
        """One check."""
        found = changes_of(health, self.told)
        if message := message_of(health.source, found, str):
            self.messages.append((now, message))
        self.told = found.reported

    @property
    def titles(self) -> list[str]:
        """Of the messages."""
        return [message.title for _, message in self.messages]


def working(source: str = "artemis") -> Model:
    """A modelled scheduler that has worked for some days."""
    made = Model(source, WORKING, {**CALM}, config_changed=LONG_AGO)
    made.sleep(DOWN)
    return made


def listen(made: Model, end: datetime, told: Listener) -> None:
    """Check every five minutes until the end."""
    while made.now < end:
        made.sleep(made.now + 5 * MINUTE)
        told.hear(made.now, made.health())


def test_an_outage_is_two_messages_whatever_fails_in_it_and_however_often() -> None:
    made, told = working("defillama"), Listener()
    made.down = lambda model, _: DOWN <= model.now < DOWN + 4 * HOUR
    listen(made, DOWN + 6 * HOUR, told)
    assert told.titles == ["defillama needs attention", "defillama is well again"]
    (began, first), (ended, last) = told.messages
    assert began == DOWN + 10 * MINUTE
    assert first.text.splitlines() == [
        "! defillama: pull has failed 2 times since 2026-11-25 02:05Z (next retry 2026-11-25 02:10Z):",
        "HTTP 500 (5 tries)",
        "run it manually: python main.py pull defillama; log: journalctl -u crypto-metrics",
    ]
    assert DOWN + 4 * HOUR < ended < DOWN + 5 * HOUR
    assert (last.text, last.status) == ("defillama: no run is failing or late any more", Status.WELL)


def test_an_outage_that_lasts_is_told_once_more_when_series_go_stale() -> None:
    made, told = working("defillama"), Listener()
    made.down = lambda model, _: DOWN <= model.now < DOWN + 12 * HOUR
    listen(made, DOWN + 14 * HOUR, told)
    assert told.titles == ["defillama needs attention", "defillama needs attention", "defillama is well again"]
    assert "series are stale" in told.messages[1][1].text
    assert "has failed" not in told.messages[1][1].text


@pytest.mark.parametrize("outage", [4 * HOUR, 12 * HOUR])
def test_a_restart_in_an_outage_tells_nothing(outage: timedelta) -> None:
    calm, restarted = Listener(), Listener()
    for told in (calm, restarted):
        made = working("defillama")
        made.down = lambda model, _: DOWN <= model.now < DOWN + outage
        listen(made, DOWN + outage - HOUR, told)
        if told is restarted:
            made.restart()
        listen(made, DOWN + outage + 2 * HOUR, told)
    assert calm.titles[-1] == "defillama is well again"
    assert restarted.titles == calm.titles


def test_a_run_that_is_late_and_then_runs_has_not_ended_well_before_its_end() -> None:
    made, told = working("defillama"), Listener()
    made.idle = True
    listen(made, DOWN + 2 * HOUR, told)
    made.idle, made.down = False, lambda model, _: model.now < DOWN + 3 * HOUR
    made.lengths = {**CALM}
    listen(made, DOWN + 5 * HOUR, told)
    assert told.titles == ["defillama needs attention", "defillama is well again"]
    assert "pull is overdue" in told.messages[0][1].text
    assert told.messages[1][0] > DOWN + 3 * HOUR


def waits(*assets: str) -> tuple[Waiting, ...]:
    """Restatements of these assets that wait."""
    return tuple(Waiting(each, "PRICE", 1, 0, 0, 9, WEDNESDAY, WEDNESDAY, 2.0, 1.0, 2.0, WEDNESDAY) for each in assets)


def texts(healths: Sequence[SourceHealth]) -> list[str]:
    """The messages of checks of these."""
    told = Listener()
    for health in healths:
        told.hear(WEDNESDAY, health)
    return [message.text for _, message in told.messages]


def test_each_series_that_begins_to_wait_is_told_once_and_the_end_when_none_is_left() -> None:
    well = working().health()
    first, second, third = (replace(well, waiting=waits(*names)) for names in (["sol"], ["eth", "sol"], ["eth"]))
    begun, more, none = texts([well, first, first, second, third, well, well])
    assert begun.startswith("! artemis: sol PRICE: the API now gives other values for 1 of 9 stored days")
    assert begun.splitlines()[2] == "python main.py settle artemis --accept sol PRICE"
    assert more.startswith("! artemis: eth PRICE: ")
    assert "sol" not in more
    assert none == "artemis: nothing waits for a decision any more"


def test_what_ends_while_something_else_goes_on_is_told_as_a_part() -> None:
    made = working()
    well = made.health()
    made.down = lambda *_: True
    made.sleep(DOWN + 4 * HOUR)
    told = Listener()
    for health in (replace(made.health(), waiting=waits("sol")), replace(well, waiting=waits("sol")), well):
        told.hear(WEDNESDAY, health)
    assert told.titles == [NEEDS, "artemis is well again in part", WELL]
    assert told.messages[1][1].text == (
        "artemis: no run is failing or late any more\nwhat still needs attention: python main.py status"
    )


def test_a_failing_source_whose_key_is_then_missing_is_not_well_again() -> None:
    made = working()
    made.down = lambda *_: True
    made.sleep(DOWN + 4 * HOUR)
    failing = made.health()
    keyless = replace(working().health(), runs=(), missing_key="ARTEMIS_API_KEY")
    first, second = texts([failing, keyless, keyless, failing])[:2]
    assert "has failed" in first
    assert second.startswith("! artemis: it needs a key\nwrite ARTEMIS_API_KEY=")
    assert texts([failing, keyless, failing])[2:] == [
        "artemis: its key and its config can be used again\nwhat still needs attention: python main.py status"
    ]


def test_many_that_begin_to_wait_at_once_are_one_message_that_names_a_few() -> None:
    well = working().health()
    (text,) = texts([replace(well, waiting=waits(*(f"a{number}" for number in range(40))))])
    assert text.count("! artemis: ") == 4
    assert text.endswith("\n! artemis: and 37 more series wait for a person\npython main.py check artemis")


def test_a_long_reason_is_cut_after_its_secrets_are_hidden_and_leaves_the_remedy() -> None:
    made = working()
    made.down = lambda *_: True
    made.sleep(DOWN + DAY)
    health = made.health()
    reason = "s3cret" * 60
    runs = tuple(replace(each, last=each.last._replace(failure=reason)) for each in health.runs)
    found = changes_of(replace(health, runs=runs), frozenset())
    message = message_of("artemis", found, lambda text: text.replace("s3cret", "*"))
    assert message is not None
    assert "s3cret" not in message.text
    assert f"):\n{'*' * 60}\nrun it manually" in message.text


@pytest.fixture
def webhook() -> Iterator[WebhookServer]:
    """A webhook that takes everything."""
    with WebhookServer() as made:
        yield made


@pytest.fixture
def notifier(database: Database, webhook: WebhookServer) -> Iterator[Callable[[], None]]:
    """The check of a notifier of artemis; each call is one by a process of its own, so it remembers nothing."""

    def check() -> None:
        settings = Settings({"ARTEMIS_API_KEY": "key"})
        with closing(Notifier(database, settings, Webhook(webhook.url, Form.JSON), str)) as made:
            made.check()

    with (
        closing(SessionLock(database, SCHEDULER)),
        closing(Heartbeat(database, ["artemis"], fresh=False)) as heartbeat,
    ):
        heartbeat.beat("idle")
        yield check


def test_nothing_is_told_twice_also_by_another_process(
    notifier: Callable[[], None], webhook: WebhookServer, rows: Rows
) -> None:
    notifier()
    assert webhook.received == []
    rows(RAN, SLOT, "error", "HTTP 500")
    for _ in range(3):
        notifier()
    assert webhook.titles() == [NEEDS]
    assert rows("SELECT source, kind, about FROM notified") == [("artemis", "runs", "pull")]
    rows(RAN, SLOT, "success", None)
    for _ in range(3):
        notifier()
    assert webhook.titles() == [NEEDS, WELL]
    assert rows("SELECT FROM notified") == []


def test_what_was_not_taken_is_sent_again_until_it_is(
    notifier: Callable[[], None], webhook: WebhookServer, rows: Rows
) -> None:
    rows(RAN, SLOT, "error", "HTTP 500")
    webhook.status = 500
    for _ in range(2):
        with pytest.raises(NotDelivered):
            notifier()
    assert rows("SELECT FROM notified") == []
    webhook.status = 200
    notifier()
    notifier()
    assert webhook.titles() == [NEEDS]


def test_a_refused_message_of_one_source_holds_back_no_other_source(
    database: Database, webhook: WebhookServer, rows: Rows
) -> None:
    webhook.refused = b"artemis needs"
    with closing(Heartbeat(database, ["artemis", "defillama"], fresh=False)) as heartbeat:
        heartbeat.beat("idle")
        with closing(Notifier(database, Settings({}), Webhook(webhook.url, Form.JSON), str)) as made:
            rows(RAN.replace("'artemis'", "'defillama'"), SLOT, "error", "HTTP 500")
            with pytest.raises(NotDelivered, match=r"^artemis: the server of NOTIFY_URL answers HTTP 400$"):
                made.check()
            assert webhook.titles() == ["defillama needs attention"]
            assert {source for (source,) in rows("SELECT source FROM notified")} == {"defillama"}


def test_what_changed_before_it_was_taken_is_replaced_by_the_newer_state(
    notifier: Callable[[], None], webhook: WebhookServer, rows: Rows
) -> None:
    rows(RAN, SLOT, "error", "HTTP 500")
    webhook.status = 500
    with pytest.raises(NotDelivered):
        notifier()
    rows(RAN, SLOT, "error", "HTTP 404")
    webhook.status = 200
    notifier()
    (received,) = webhook.received
    assert "pull has failed 2 times" in received.json["text"]
    assert "HTTP 404" in received.json["text"]
    webhook.status = 500
    rows(RAN, SLOT, "success", None)
    with pytest.raises(NotDelivered):
        notifier()
    rows("UPDATE pulls SET status = 'error'")
    webhook.status = 200
    notifier()
    assert webhook.titles() == [NEEDS]  # it was told that it fails, and so it does


def test_a_notifier_whose_session_is_lost_opens_another(database: Database, webhook: WebhookServer, rows: Rows) -> None:
    with closing(Notifier(database, Settings({}), Webhook(webhook.url, Form.JSON), str)) as made:
        made.check()
        end(rows, "crypto-metrics notify")
        with pytest.raises(DatabaseLost):
            made.check()
        made.check()


def test_what_was_told_keeps_its_time_and_each_source_is_by_itself(database: Database, rows: Rows) -> None:
    with closing(database.connect("test")) as session, session, session.cursor() as cursor:
        set_notified(cursor, "artemis", {("runs", "pull"), ("waiting", "sol PRICE")})
        set_notified(cursor, "defillama", {("runs", "pull")})
    rows("UPDATE notified SET notified_at = '2026-01-01'")
    with closing(database.connect("test")) as session, session, session.cursor() as cursor:
        set_notified(cursor, "artemis", {("runs", "pull"), ("freshness", "")})
        assert notified(cursor) == {
            "artemis": {("runs", "pull"), ("freshness", "")},
            "defillama": {("runs", "pull")},
        }
        set_notified(cursor, "defillama", set())
    assert rows("SELECT kind, notified_at = '2026-01-01' FROM notified ORDER BY kind") == [
        ("freshness", False), ("runs", True),
    ]  # fmt: skip
