"""The command `notify`, and a real scheduler whose API is taken down and brought back."""

from pathlib import Path

import pytest

from tests.commands import Rows, environment, run
from tests.schedulers import SHORT_CHECK, Home, Running, mend, wait_for_room
from tests.waiting import until
from tests.webhook_server import WebhookServer

UNUSED = "postgresql://127.0.0.1:9/none"
SHORT_RETRY = "pipeline.due.FIRST_WAIT = pipeline.due.LONGEST_WAIT = timedelta(seconds=0.3)"
SHORT_REPORTS = "cli.notify.REPORT_SECONDS = 0.1"
SECRETS = ("s3cret-t0ken", "v4lue")
PULLED = "SELECT FROM pulls WHERE kind = 'pull' AND status = %s"


def test_a_test_message_says_that_it_arrived() -> None:
    with WebhookServer() as webhook:
        done = run("main.py notify --test", env=environment(UNUSED, NOTIFY_URL=webhook.url))
    assert (done.returncode, done.stdout) == (0, "the test message was delivered, in the form json\n"), done.stderr
    (received,) = webhook.received
    assert received.json["status"] == "test"
    assert received.json["text"].startswith("python main.py notify --test was run on ")
    assert done.stderr == ""


def test_a_test_message_that_does_not_arrive_is_exit_code_1_in_one_line_without_the_url() -> None:
    with WebhookServer(403) as webhook:
        refused = run("main.py notify --test", env=environment(UNUSED, NOTIFY_URL=webhook.url))
    away = run("main.py notify --test", env=environment(UNUSED, NOTIFY_URL=webhook.url))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "error: the server of NOTIFY_URL answers HTTP 403\n"
    assert (away.returncode, away.stdout) == (1, "")
    assert away.stderr == "error: the server of NOTIFY_URL can't be reached: no connection (Connection refused)\n"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"NOTIFY_URL": ""}, "error: NOTIFY_URL is not set: write NOTIFY_URL=… into .env or the environment\n"),
        (
            {"NOTIFY_URL": "127.0.0.1/s3cret-t0ken"},
            "error: NOTIFY_URL is not the URL of a server: write http://host:port or https://host\n",
        ),
        (
            {"NOTIFY_URL": "https://h/", "HEARTBEAT_URL": "s3cret-t0ken"},
            "error: HEARTBEAT_URL is not the URL of a server: write http://host:port or https://host\n",
        ),
        (
            {"NOTIFY_URL": "https://api.telegram.org/bot1:s3cret-t0ken/sendMessage"},
            "error: NOTIFY_URL is not the URL of a Telegram chat: "
            "write https://api.telegram.org/bot…/sendMessage?chat_id=…\n",
        ),
    ],
)
def test_a_wrong_setting_is_exit_code_2_in_one_line_without_it(settings: dict[str, str], said: str) -> None:
    done = run("main.py notify --test", env=environment(UNUSED) | settings)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_a_scheduler_with_a_wrong_setting_does_not_start(home: Home) -> None:
    with Running(home, environment(UNUSED, HEARTBEAT_URL="s3cret-t0ken")) as scheduler:
        assert scheduler.process.wait(30) == 2
    assert scheduler.complained().startswith("error: HEARTBEAT_URL is not the URL of a server: ")


def test_check_says_which_webhook_is_wrong_or_open_to_the_network(database_url: str) -> None:
    settings = {"NOTIFY_URL": "http://example.com/s3cret-t0ken", "HEARTBEAT_URL": "example.com/s3cret-t0ken"}
    done = run("main.py check --offline", env=environment(database_url) | settings)
    said = " ".join(done.stdout.split())
    assert "error HEARTBEAT_URL HEARTBEAT_URL is not the URL of a server" in said
    assert (
        "warning NOTIFY_URL requests to example.com show NOTIFY_URL to the network -> write https:// in place" in said
    )
    assert "s3cret" not in said


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A copy of the repository with small configs."""
    return Home.make(tmp_path / "copy")


def test_an_api_that_is_taken_down_and_brought_back_is_two_messages_also_across_a_restart(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    options = "--source defillama", SHORT_CHECK, SHORT_RETRY, SHORT_REPORTS
    with WebhookServer() as webhook, WebhookServer() as switch, home.api(broken={"/llama": "404"}) as api:
        env = environment(database_url, api, NOTIFY_URL=webhook.url, HEARTBEAT_URL=switch.url)
        with Running(home, env, *options) as scheduler:
            until(lambda: webhook.received and len(rows(PULLED, "error")) > 1 and rows("SELECT FROM notified"))
            assert scheduler.stop() == 0
        said = scheduler.said()
        beats, failures = len(switch.received), len(rows(PULLED, "error"))
        with Running(home, env, *options) as scheduler:
            until(lambda: len(rows(PULLED, "error")) > failures + 1 and len(switch.received) > beats + 3)
            assert webhook.titles() == ["defillama needs attention"]
            mend(api)
            until(lambda: len(webhook.received) > 1)
            beats = len(switch.received)
            until(lambda: len(switch.received) > beats + 3)
            assert scheduler.stop() == 0
        assert webhook.titles() == ["defillama needs attention", "defillama is well again"]
    first = webhook.received[0].json
    assert (first["source"], first["status"]) == ("defillama", "problem")
    assert first["text"].startswith("! defillama: ")
    assert "HTTP 404" in first["text"]
    assert rows("SELECT FROM notified") == []
    told = "\n".join([*said, *scheduler.said(), scheduler.complained(), first["text"], str(rows("TABLE pulls"))])
    assert [secret for secret in SECRETS if secret in told] == []


def test_a_webhook_that_hangs_or_fails_delays_no_run_and_is_one_line_of_the_log(
    home: Home, database_url: str, rows: Rows
) -> None:
    wait_for_room()
    options = "--source defillama", SHORT_CHECK, SHORT_RETRY, SHORT_REPORTS, "pipeline.webhook.LONGEST_CALL = 3600.0"
    with WebhookServer(0) as hanging, WebhookServer(500) as failing, home.api(broken={"/llama": "404"}) as api:
        env = environment(database_url, api, NOTIFY_URL=hanging.url, HEARTBEAT_URL=failing.url)
        with Running(home, env, *options) as scheduler:
            until(lambda: hanging.hung)
            failures = len(rows(PULLED, "error"))
            until(lambda: len(rows(PULLED, "error")) > failures + 2)  # a run that began after the call did, and its end
            mend(api)
            until(lambda: rows(PULLED, "success"))
            assert hanging.hung == 1  # one call, which still hangs
            assert scheduler.stop() == 0
    assert len(scheduler.said("WARNING heartbeat: the server of HEARTBEAT_URL answers HTTP 500: trying again")) == 1
    assert [secret for secret in SECRETS if secret in "\n".join(scheduler.said())] == []
