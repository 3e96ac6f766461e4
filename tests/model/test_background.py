"""Work that is repeated in the background: when it begins, and what is said of its errors."""

import logging
import threading
from collections.abc import Callable

import pytest

from model.background import Repeated
from model.errors import NotDelivered
from tests.waiting import until


def test_the_caller_does_not_wait_and_no_second_work_begins_beside_the_first() -> None:
    began, end = [], threading.Event()

    def work() -> None:
        began.append(threading.current_thread())
        end.wait()

    repeated = Repeated("work", work, 0.0)
    repeated()
    until(lambda: began)
    repeated()
    repeated()
    repeated.wait(0.01)
    assert began[0].is_alive()
    end.set()
    repeated.wait(30)
    assert not began[0].is_alive()
    assert len(began) == 1
    repeated()
    until(lambda: len(began) == 2)


def test_the_next_work_begins_after_its_time() -> None:
    done: list[int] = []
    repeated = Repeated("work", lambda: done.append(1), 3600.0)
    repeated()
    until(lambda: done)
    repeated()
    assert len(done) == 1


def fail(error: Exception | None) -> None:
    if error:
        raise error


def said(caplog: pytest.LogCaptureFixture, *errors: Exception | None) -> list[str]:
    """What the log has after repetitions with these errors; None for one that goes well."""
    left = list(errors)
    ended: list[object] = []

    def work() -> None:
        ended.append(threading.current_thread())
        fail(left.pop(0))

    repeated = Repeated("work", work, 0.0)
    with caplog.at_level(logging.INFO, "model.background"):
        for number in range(1, len(errors) + 1):
            until(_repeats(repeated, ended, number))
    return [each.getMessage() for each in caplog.records]


def _repeats(repeated: Repeated, ended: list[object], number: int) -> Callable[[], bool]:
    """Whether the repetition of this number has ended; begins it."""

    def look() -> bool:
        if len(ended) < number:
            repeated()
        return len(ended) == number and not repeated._thread.is_alive()

    return look


def test_an_error_that_repeats_is_logged_once_and_its_end_too(caplog: pytest.LogCaptureFixture) -> None:
    away = NotDelivered("HTTP 500")
    assert said(caplog, away, away, None, None, away) == [
        "work: HTTP 500: trying again every 0 s",
        "work: works again",
        "work: HTTP 500: trying again every 0 s",
    ]


def test_without_memory_for_a_thread_the_caller_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    repeated = Repeated("work", list, 0.0)
    repeated()
    repeated()
    assert [each.getMessage() for each in caplog.records] == ["work: can't start new thread: trying again every 0 s"]


def test_a_bug_is_logged_once_and_the_work_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    bug, again = "work: this is a bug: report it with the lines below", "work: HTTP 500: trying again every 0 s"
    errors = NotDelivered("HTTP 500"), ZeroDivisionError(), ZeroDivisionError(), None
    assert said(caplog, *errors) == [again, bug, "work: works again"]
