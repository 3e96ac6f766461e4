"""What is retried, how often, and how long it waits."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from model.errors import CallFailed, SourceStopped
from sources import http
from sources.http import ALL_DOWN
from sources.retry import FIRST_BACKOFF, LONGEST_BACKOFF, MAX_THROTTLED, MAX_TRIES, backoff, retry_after
from tests.fake_api import FakeApi
from tests.wire import DROP, GOOD, HTML, Clock, Plain, Reply, Wire, call, client, real_time, reply

NOW = datetime(2025, 12, 19, 10, tzinfo=UTC)
PAGE = b"<html><title>521: Web server is down</title></html>"
PASSING = {
    "500": reply(b"Internal Server Error", 500, Content_Type="text/plain"),
    "502": reply(PAGE, 502, **HTML),
    "521 of Cloudflare": reply(PAGE, 521, **HTML),
    "403 of Cloudflare": reply(PAGE, 403, **HTML),
    "dropped": DROP,
    "no HTTP": Reply(b"SMTP ready\r\n\r\n", close=True),
    "cut off": reply(b'[["2025-12-18"', length=400),
    "cut off in the headers": Reply(b"HTTP/1.1 200 OK\r\nContent-Le", close=True),
    "cut JSON": reply(b'[["2025-12-18", 1'),
    "JSON nested without end": reply(b"[" * 200_000),
    "not UTF-8": reply(b'["\xff\xfe'),
    "page of HTML": reply(PAGE, 200, **HTML),
    "HTML that is called JSON": reply(PAGE),
    "empty": reply(b""),
    "spaces": reply(b"  \n"),
    "no gzip": reply(b"[]", Content_Encoding="gzip"),
}
LASTING = {
    "400": reply(b"Invalid protocol", 400),
    "404": reply(b"404 page not found", 404, Content_Type="text/plain"),
    "404 page": reply(PAGE, 404, **HTML),
    "422": reply(b"{}", 422),
    "204": reply(b"", 204),
    "301": reply(b"", 301, Location="/elsewhere"),
    "302 to nowhere": reply(b"", 302, Location="http://\xff\xfe"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_a_passing_fault_is_tried_again(kind: str) -> None:
    with Wire(PASSING[kind], GOOD) as wire:
        assert [point.value for point in client(wire.url).answer(call()).points] == [1.5]
        assert len(wire.starts) == 2


@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_stays_is_given_up_after_a_bounded_number_of_tries(kind: str) -> None:
    with Wire(PASSING[kind]) as wire:
        with pytest.raises(CallFailed, match=rf"^path: .* \({MAX_TRIES} tries\)$"):
            client(wire.url).answer(call())
        assert len(wire.starts) == MAX_TRIES


@pytest.mark.parametrize("kind", LASTING)
def test_a_lasting_refusal_is_never_tried_again(kind: str) -> None:
    with Wire(LASTING[kind], GOOD) as wire:
        with pytest.raises(CallFailed, match=rf"^path: HTTP {kind[:3]}: ") as failed:
            client(wire.url).answer(call())
        assert len(wire.starts) == 1
        assert failed.value.status == int(kind[:3])


def test_a_read_that_hangs_is_timed_out_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.1)
    with Wire(GOOD) as wire:
        wire.free = 0
        with pytest.raises(CallFailed, match=r"^path: no answer in time \(5 tries\)$"):
            client(wire.url).answer(call())
        assert len(wire.starts) == MAX_TRIES


def test_a_port_where_nobody_listens_is_a_fault() -> None:
    with Wire(GOOD) as wire:
        url = wire.url
    with pytest.raises(CallFailed, match=r"^path: no connection \(Connection refused\) \(5 tries\)$"):
        client(url).answer(call())


def test_an_answer_of_another_shape_is_not_tried_again() -> None:
    with Wire(reply(b'{"message": "deprecated"}')) as wire:
        with pytest.raises(CallFailed, match="another shape"):
            client(wire.url).answer(call())
        assert len(wire.starts) == 1


def test_the_faults_of_the_fake_api_are_all_survived() -> None:
    with FakeApi(faults=0.3, fault_kinds=("500", "502", "521", "403", "html", "empty", "drop", "truncate")) as api:
        one = client(f"{api.url}/llama", source=Bare, now=real_time)
        for number in range(40):
            one.answer(call(f"api/v2/historicalChainTvl?{number}"))
        assert len(api.requests) > 40


class Bare(Plain):
    """Reads nothing of what it gets."""

    def read(self, *_: object) -> object:  # type: ignore[override]
        return ()


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_stops_the_source_with_the_remedy(status: int) -> None:
    with Wire(reply(b"Invalid API key", status, Content_Type="text/plain")) as wire:
        words = rf"^plain refuses the key \(HTTP {status}: Invalid API key\): check PLAIN_API_KEY in"
        with pytest.raises(SourceStopped, match=words):
            client(wire.url).answer(call())
        assert len(wire.starts) == 1


def test_a_refused_key_stops_the_source_though_a_page_says_so() -> None:
    with Wire(reply(PAGE, 401, **HTML)) as wire, pytest.raises(SourceStopped, match="check PLAIN_API_KEY"):
        client(wire.url).answer(call())


def test_nothing_is_sent_once_the_key_was_refused() -> None:
    with Wire(reply(b"Invalid API key", 401)) as wire:
        one = client(wire.url)
        for _ in range(2):
            with pytest.raises(SourceStopped, match="Invalid API key"):
                one.answer(call())
        assert len(wire.starts) == 1


def test_an_api_that_is_down_stops_the_source() -> None:
    with Wire(reply(b"", 500)) as wire:
        one = client(wire.url)
        for _ in range(ALL_DOWN):
            with pytest.raises(CallFailed):
                one.answer(call())
        with pytest.raises(
            SourceStopped, match=f"^plain looks down: {ALL_DOWN} calls in a row failed: try again later$"
        ):
            one.answer(call())
        assert len(wire.starts) == ALL_DOWN * MAX_TRIES


@pytest.mark.parametrize("alive", [GOOD, reply(b"404 page not found", 404), reply(b'{"message": 1}')])
def test_an_api_that_answers_now_and_then_is_not_down(alive: Reply) -> None:
    failing = [DROP] * MAX_TRIES * (ALL_DOWN - 1)
    with Wire(*failing, alive, *failing, alive, GOOD) as wire:
        one = client(wire.url)
        failed = 0
        for _ in range(2 * ALL_DOWN + 1):
            try:
                one.answer(call())
            except CallFailed:
                failed += 1
        assert failed >= 2 * (ALL_DOWN - 1)


@pytest.mark.parametrize("alive", [reply(b"404 page not found", 404), reply(b'{"message": 1}'), reply(b"[1]")])
def test_calls_that_fail_with_an_answer_do_not_make_the_api_count_as_down(alive: Reply) -> None:
    with Wire(alive) as wire:
        one = client(wire.url)
        for _ in range(ALL_DOWN + 5):
            with pytest.raises(CallFailed):
                one.answer(call())


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        ({"Retry_After": "7"}, (7, 7)),
        ({"Retry_After": "2.5"}, (2.5, 2.5)),
        ({"Retry_After": "Fri, 19 Dec 2025 10:00:09 GMT"}, (9, 9)),
        ({"Retry_After": "0"}, (FIRST_BACKOFF / 2, FIRST_BACKOFF)),
        ({"Retry_After": "-5"}, (FIRST_BACKOFF / 2, FIRST_BACKOFF)),
        ({"Retry_After": "Fri, 19 Dec 2025 09:00:00 GMT"}, (FIRST_BACKOFF / 2, FIRST_BACKOFF)),
        ({"Retry_After": "soon"}, (FIRST_BACKOFF / 2, FIRST_BACKOFF)),
        ({}, (FIRST_BACKOFF / 2, FIRST_BACKOFF)),
    ],
)
def test_a_429_is_tried_again_when_the_api_says(asked: dict[str, Any], pause: tuple[float, float]) -> None:
    clock = Clock()
    with Wire(reply(b"slow down", 429, **asked), GOOD, clock=clock) as wire:
        client(wire.url, clock=clock).answer(call())
        shortest, longest = pause
        assert shortest - 1e-6 <= wire.starts[1] - wire.starts[0] <= longest + 1e-6


@pytest.mark.parametrize("asked", ["901", "9" * 400, "Fri, 19 Dec 2025 12:00:00 GMT"])
def test_a_429_that_asks_for_an_absurd_wait_stops_the_source(asked: str) -> None:
    with Wire(reply(b"", 429, Retry_After=asked)) as wire:
        with pytest.raises(SourceStopped, match=r"^plain asks to wait (15|120|inf) minutes: try again later$"):
            client(wire.url).answer(call())
        assert len(wire.starts) == 1


def test_an_api_that_answers_only_429_is_left_after_half_an_hour() -> None:
    clock = Clock()
    with Wire(reply(b"", 429, Retry_After="600"), clock=clock) as wire:
        with pytest.raises(SourceStopped, match="plain has answered only 429 for 30 minutes: try again later"):
            client(wire.url, clock=clock).answer(call())
        assert wire.starts[-1] - wire.starts[0] == pytest.approx(4 * 600)


@pytest.mark.parametrize("asked", [{}, {"Retry_After": "0"}])
def test_a_call_outlasts_a_minute_of_429s(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", lambda: 0.0)
    clock = Clock()
    with Wire(reply(b"", 429, **asked), clock=clock) as wire:
        with pytest.raises(CallFailed, match=f"HTTP 429, {MAX_THROTTLED} times"):
            client(wire.url, clock=clock).answer(call())
        assert len(wire.starts) == MAX_THROTTLED
        assert wire.starts[-1] - wire.starts[0] >= 60


def test_the_waits_between_tries_grow() -> None:
    clock = Clock()
    with Wire(PASSING["500"], clock=clock) as wire:
        with pytest.raises(CallFailed):
            client(wire.url, clock=clock).answer(call())
        waits = [later - sooner for sooner, later in zip(wire.starts, wire.starts[1:], strict=False)]
        for failures, wait in enumerate(waits, 1):
            assert FIRST_BACKOFF * 2 ** (failures - 2) <= wait <= FIRST_BACKOFF * 2 ** (failures - 1) + 1e-6


def test_backoff_is_between_half_and_all_of_an_exponential_that_ends() -> None:
    assert [backoff(failures, 0.0) for failures in (1, 2, 3, 30)] == [0.25, 0.5, 1.0, LONGEST_BACKOFF / 2]
    assert backoff(3, 0.5) == 1.5


def test_backoff_is_drawn_anew_each_time() -> None:
    assert len({backoff(5) for _ in range(20)}) > 10


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(hours=5)])
def test_a_date_in_retry_after_is_read_in_its_own_zone(offset: timedelta) -> None:
    date = format_datetime((NOW + timedelta(seconds=30)) + offset).replace("+0000", f"+{offset.seconds // 36:04d}")
    assert retry_after({"Retry-After": date}, NOW) == 30


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e3", "nan", "٣", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_none(text: str) -> None:
    assert retry_after({"Retry-After": text}, NOW) is None
