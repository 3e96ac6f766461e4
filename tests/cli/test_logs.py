"""How a log looks to a machine and where it goes, and how work ends on a signal, with an error, or not at all."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from cli import process
from cli.logs import JOURNAL, PERSON, JsonLines
from cli.process import SHUTDOWN_SECONDS, until_stopped
from model.scrub import HIDDEN, SHORTEST_SECRET
from model.settings import DATABASE_URL, Settings
from tests.commands import ROOT, SECONDS

KEY = "SOME_API_KEY"
PASSWORD = 'p"ss\\wörd/'  # noqa: S105 - JSON escapes two of these characters, a URL four
SETTINGS = Settings({KEY: "a/pro+key", DATABASE_URL: "postgresql://me:p%22ss%5Cw%C3%B6rd%2F@host/db"})
SECRETS = SETTINGS.secrets([KEY])
RUN = {"source": "defillama", "slot": None, "calls": 1234, "seconds": 1.5, "failures": ["HTTP 404", "HTTP 500"]}


def record(message: str, *values: object, error: BaseException | None = None, **more: object) -> logging.LogRecord:
    """A record of one second after the epoch began."""
    raised = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("a.b", logging.WARNING, "file.py", 1, message, values, raised)
    made.created = 1.25
    made.__dict__.update(more)
    return made


def line(made: logging.LogRecord, *, dated: bool = False) -> dict[str, object]:
    """What a machine reads of a record; it has to be one line."""
    text = JsonLines(SECRETS, PERSON if dated else JOURNAL).format(made)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def raised(text: str) -> BaseException:
    """An error with a traceback and a cause, which both say the text."""
    try:
        try:
            raise KeyError(text)
        except KeyError as cause:
            raise ValueError(f"again: {text}") from cause
    except ValueError as error:
        return error


def test_a_record_is_an_object_with_its_level_and_its_message() -> None:
    assert line(record("%s of\n%d", "é", 3)) == {"level": "WARNING", "message": "é of\n3"}


def test_a_dated_record_begins_with_its_time_in_utc() -> None:
    found = line(record("done"), dated=True)
    assert next(iter(found.items())) == ("time", "1970-01-01T00:00:01.250+00:00")
    assert line(record("done")) == {name: value for name, value in found.items() if name != "time"}


@pytest.mark.parametrize("dated", [True, False])
def test_the_figures_of_a_run_stand_beside_the_message_as_they_are(dated: bool) -> None:
    found = line(record("done", run=RUN), dated=dated)
    assert {name: found[name] for name in RUN} == RUN
    assert set(found) - set(RUN) == {"level", "message", *(["time"] if dated else [])}


def test_an_error_has_its_traceback_with_its_cause() -> None:
    found = line(record("failed", error=raised("here")))
    assert set(found) == {"level", "message", "exception"}
    assert re.fullmatch(
        r"Traceback .*KeyError: 'here'\n.*Traceback .*\nValueError: again: here", str(found["exception"]), re.DOTALL
    )


@pytest.mark.parametrize("secret", [PASSWORD, "p%22ss%5Cw%C3%B6rd%2F", "a/pro+key", "a%2Fpro%2Bkey"])
@pytest.mark.parametrize("place", ["message", "value", "figure", "list", "exception"])
def test_a_secret_is_hidden_wherever_it_stands(place: str, secret: str) -> None:
    text = f"before {secret} after"
    made = {
        "message": lambda: record(text),
        "value": lambda: record("%s", text),
        "figure": lambda: record("done", run=RUN | {"source": text}),
        "list": lambda: record("done", run=RUN | {"failures": ["other", text]}),
        "exception": lambda: record("failed", error=raised(text)),
    }[place]()
    found = JsonLines(SECRETS, PERSON).format(made)
    assert f"before {HIDDEN} after" in found
    written = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    assert not [form for form in written if form in found]
    assert json.loads(found)["level"] == "WARNING"


def test_what_is_no_secret_is_left_as_it_stands() -> None:
    assert all(len(secret) >= SHORTEST_SECRET for secret in SECRETS)
    assert line(record("a pro key, p ss w rd", run=RUN))["message"] == "a pro key, p ss w rd"


PREAMBLE = """
import io, json, logging, signal, sys, threading
from contextlib import redirect_stdout
from cli.logs import JOURNAL, PERSON, JsonLines, log_to
from cli.process import stop_on_signals, until_stopped
from model.scrub import Scrubber
"""


def start(program: str, **environment: str) -> subprocess.Popen[str]:
    """A program of a few lines that logs."""
    return subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-c", PREAMBLE + program],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def said(program: str, **environment: str) -> tuple[str, str]:
    """What a program that succeeds writes to its standard output and to its standard error."""
    with start(program, **environment) as running:
        out, err = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, err
    return out, err


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_log_goes_to_the_stream_of_that_name_alone(stream: str) -> None:
    out, err = said(f"log_to({stream!r}, Scrubber([], JOURNAL)); logging.info('one'); logging.debug('none')")
    assert (out, err) == (("INFO one\n", "") if stream == "stdout" else ("", "INFO one\n"))


def test_a_second_choice_of_the_stream_replaces_the_first() -> None:
    program = "for name in ('stderr', 'stdout'): log_to(name, Scrubber([], JOURNAL))\nlogging.info('one')"
    assert said(program) == ("INFO one\n", "")


def test_lines_go_to_whatever_the_stream_is_when_they_are_logged() -> None:
    program = """
log_to("stdout", Scrubber([], JOURNAL))
with redirect_stdout(io.StringIO()) as other:
    logging.info("one")
logging.info("two")
print(repr(other.getvalue()))
"""
    assert said(program) == ("INFO two\n'INFO one\\n'\n", "")


def test_times_are_utc_whatever_the_zone_of_the_host() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    out, _ = said("log_to('stdout', Scrubber([], PERSON)); logging.info('one')", TZ="Asia/Tokyo")
    time_of_line, rest = out[:20], out[20:]
    found = datetime.strptime(time_of_line, "%Y-%m-%d %H:%M:%SZ").replace(tzinfo=UTC)
    assert before <= found <= datetime.now(UTC) + timedelta(seconds=1)
    assert rest == " INFO one\n"


def test_what_urllib3_warns_of_is_left_to_the_client_which_tells_it_without_urls() -> None:
    program = """
log_to("stdout", Scrubber([], JOURNAL))
logging.getLogger("urllib3.connectionpool").warning("GET /secret")
logging.getLogger("urllib3.connectionpool").error("one")
"""
    assert said(program) == ("ERROR one\n", "")


def test_secrets_are_hidden_in_the_text_of_a_traceback_too() -> None:
    program = """
log_to("stdout", Scrubber(["s3cret"], JOURNAL))
try:
    raise ValueError("of s3cret")
except ValueError:
    logging.exception("this is a bug")
"""
    out, err = said(program)
    assert (out.splitlines()[0], out.splitlines()[-1], err) == ("ERROR this is a bug", "ValueError: of ***", "")


def test_json_stays_json_where_the_stream_has_no_such_letters() -> None:
    program = "log_to('stdout', JsonLines([], JOURNAL)); logging.info('é … \\U0001f600')"
    out, err = said(program, PYTHONIOENCODING="ascii:backslashreplace")  # which commands.main makes of any stream
    assert (json.loads(out)["message"], err) == ("é … \U0001f600", "")


def test_work_gives_its_result_from_a_thread_of_its_own() -> None:
    assert until_stopped(threading.Event(), lambda: threading.current_thread().name) == "work"


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("stopped", [False, True])
def test_an_error_of_the_work_is_raised_as_it_is(kind: type[BaseException], stopped: bool) -> None:
    error, stop = kind("of the work"), threading.Event()

    def fail() -> None:
        if stopped:
            stop.set()
        raise error

    with pytest.raises(kind) as caught:
        until_stopped(stop, fail)
    assert caught.value is error
    assert caught.traceback[-1].name == "fail"


def test_work_that_ends_after_the_stop_gives_its_result() -> None:
    stop = threading.Event()
    stop.set()
    assert until_stopped(stop, lambda: "committed") == "committed"


def test_work_that_does_not_end_after_the_stop_is_left_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(process, "SHUTDOWN_SECONDS", 0.1)
    stop, begun, gate = threading.Event(), threading.Event(), threading.Event()

    def wait() -> str:
        begun.set()
        stop.set()
        gate.wait(SECONDS)
        return "too late"

    try:
        assert until_stopped(stop, wait) is None
        assert begun.is_set()
        assert [found.levelname for found in caplog.records] == ["WARNING"]
        assert caplog.messages[0].startswith("gave up waiting for running work after 0 s: ")
    finally:
        gate.set()


HANGING = """
log_to("stdout", Scrubber([], JOURNAL))
def work():
    logging.info("begun")
    threading.Event().wait()
with stop_on_signals() as stop:
    logging.info("%s", until_stopped(stop, work))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_process_whose_work_hangs(number: signal.Signals) -> None:
    with start(HANGING) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "INFO begun\n"
        sent = time.monotonic()
        running.send_signal(number)
        out, err = running.communicate(timeout=SECONDS)
        took = time.monotonic() - sent
    assert (running.returncode, out.splitlines()[-1]) == (0, "INFO None"), err
    assert out.startswith("WARNING gave up waiting for running work after 4 s: ")
    assert took < SHUTDOWN_SECONDS + 10
    assert f"{number.name}: storing what has been fetched" in err


def test_a_second_signal_ends_it_at_once() -> None:
    patient = "from cli import process\nprocess.SHUTDOWN_SECONDS = 60.0\n"
    with start(patient + HANGING) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "INFO begun\n"
        running.terminate()
        assert running.stderr.readline() == "\n"
        assert running.stderr.readline().startswith("SIGTERM: ")
        running.terminate()
        assert running.wait(SECONDS) == -signal.SIGTERM
        assert running.stdout.read() == ""
