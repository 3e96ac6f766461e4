"""How the client reads a body and ends its connections, and that it never shows the key."""

import gzip
import json
import logging
import tempfile
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from email.utils import format_datetime
from itertools import chain, repeat
from typing import Any
from urllib.parse import quote

import pytest

from model.errors import CallFailed, SourceStopped
from sources import base, json_body
from sources.base import UNDATED, Answer
from sources.http import Client, Stopped
from sources.pace import Pace
from tests.wire import DAY, DROP, GOOD, HTML, NOW, Clock, Plain, Reply, Wire, call, client, reply, rows

KEY = "s3cr3t+key/=="
FORMS = (KEY, quote(KEY, safe=""))


def answer(*replies: Reply, extract: str = "") -> Answer:
    """The answer of one call that gets these replies."""
    with Wire(*replies) as wire:
        return client(wire.url).answer(call("path", *([extract] if extract else [])))


def values(found: Answer) -> list[float]:
    return [point.value for point in found.points]


def dated(at: datetime, **headers: Any) -> Reply:
    """The good answer with the header Date."""
    return reply(json.dumps([[DAY, 1.5]]).encode(), Date=format_datetime(at), **headers)


def zipped(body: bytes, **headers: Any) -> Reply:
    return reply(gzip.compress(body), Content_Encoding="gzip", **headers)


def test_a_zipped_body_is_asked_for_and_read() -> None:
    with Wire(zipped(GOOD.raw.split(b"\r\n\r\n")[1])) as wire:
        assert values(client(wire.url).answer(call())) == [1.5]
        assert "gzip" in wire.headers[0]["Accept-Encoding"]


def test_a_zipped_body_that_is_cut_off_is_a_fault() -> None:
    whole = gzip.compress(json.dumps([[DAY, number] for number in range(1000)]).encode())
    cut = reply(whole[: len(whole) // 2], Content_Encoding="gzip")
    with pytest.raises(CallFailed, match=r"the body is cut off or is not JSON: .* \(5 tries\)$"):
        answer(cut)


def test_a_body_in_chunks_is_read() -> None:
    head, body = GOOD.raw.split(b"\r\n\r\n")
    head = head.rsplit(b"\r\n", 1)[0] + b"\r\nTransfer-Encoding: chunked"
    assert values(answer(Reply(b"%s\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body)))) == [1.5]


@pytest.mark.parametrize("extract", ["", "rows"])
def test_numbers_that_are_none_are_refused_one_by_one(extract: str) -> None:
    text = f'[["{DAY}", NaN], ["{DAY}", Infinity], ["{DAY}", 2.5], ["{DAY}", null], ["{DAY}", "3.5"]]'
    found = answer(reply((f'{{"rows": {text}}}' if extract else text).encode()), extract=extract)
    assert (values(found), found.nulls, len(found.refused)) == ([2.5, 3.5], 1, 2)


def test_a_body_over_the_limit_fails_its_call_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "LARGEST", 2**20)
    with Wire(reply(b" " * (2**20 + 1))) as wire:
        with pytest.raises(CallFailed, match="the body is larger than 1 MB"):
            client(wire.url).answer(call())
        assert len(wire.starts) == 1


def test_a_body_that_is_too_large_is_still_an_answer_other_than_429(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "LARGEST", 2**10)
    with Wire(reply(b"", 429), reply(b" " * 2**11)) as wire:
        one = client(wire.url)
        with pytest.raises(CallFailed, match="the body is larger than"):
            one.answer(call())
        assert one._throttled_since is None


def test_a_gzip_bomb_is_left_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "LARGEST", 2**20)
    with pytest.raises(CallFailed, match="the body is larger than 1 MB"):
        answer(zipped(b" " * 100 * 2**20))


@pytest.mark.parametrize("status", [200, 302, 404, 500])
def test_an_endless_body_is_not_read_to_its_end(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_body, "LARGEST", 2**18)
    with Wire(reply(b"x" * 2**19, status, length=2**60, Location="/x")) as wire, pytest.raises(CallFailed) as failed:
        client(wire.url).answer(call())
    assert "ChunkedEncodingError" not in str(failed.value)


def test_more_points_than_any_series_has_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_POINTS", 3)
    assert values(answer(rows(1, 2, 3))) == [1, 2, 3]
    with pytest.raises(CallFailed, match="the answer has more than 3 points"):
        answer(rows(1, None, "x", 2))


def test_nothing_is_an_answer_too() -> None:
    with Wire(GOOD) as wire:
        assert client(wire.url).get(call(), lambda *_: None) is None
        assert len(wire.headers) == 1


def test_only_the_wanted_key_is_read() -> None:
    body = json.dumps({"other": [[DAY, 9]], "rows": [[DAY, 1.5]], "raw": {"rows": [[DAY, 8]]}}).encode()
    assert values(answer(reply(body), extract="rows")) == [1.5]


@pytest.mark.parametrize("body", [b'{"other": 1}', b"[]", b'"text"', b'{"rows": null}', b'{"rows": 1}', b"[NaN]"])
def test_a_missing_key_is_a_wrong_shape(body: bytes) -> None:
    with pytest.raises(CallFailed, match="another shape"):
        answer(reply(body), extract="rows")


@pytest.mark.parametrize("body", [b'{"other": [1, 2', b'{"rows": [["2025', b"<html>", b'{"rows": ["\xff"]}'])
def test_a_body_that_ends_before_the_wanted_key_does_is_tried_again(body: bytes) -> None:
    good = reply(json.dumps({"rows": [[DAY, 1.5]]}).encode())
    assert values(answer(reply(body), good, extract="rows")) == [1.5]


@pytest.mark.parametrize("number", ["100000000000000000000", "-9223372036854775809"])
def test_a_whole_number_past_64_bits_does_not_cost_the_series(number: str) -> None:
    found = answer(reply(f'{{"rows": [["{DAY}", {number}]]}}'.encode()), extract="rows")
    assert values(found) == [float(number)]


@pytest.mark.parametrize("extract", ["", "rows"])
def test_a_large_body_is_spooled_to_disk(extract: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rolled = []
    monkeypatch.setattr(json_body, "IN_MEMORY", 2**16)
    spool = tempfile.SpooledTemporaryFile

    class Watched(spool):  # type: ignore[misc, valid-type]
        def rollover(self) -> None:
            rolled.append(True)
            super().rollover()

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Watched)
    text = json.dumps([[DAY, number] for number in range(10_000)])
    found = answer(reply((f'{{"rows": {text}}}' if extract else text).encode()), extract=extract)
    assert (len(found.points), rolled) == (10_000, [True])


@pytest.mark.parametrize(
    "between",
    [reply(b"slow down", 429), reply(b"404 page not found", 404), reply(b"oops", 500, Content_Type="text/plain")],
)
def test_a_connection_is_kept_alive(between: Reply) -> None:
    with Wire(GOOD, between, GOOD) as wire:
        one = client(wire.url)
        for _ in range(5):
            try:
                one.answer(call())
            except CallFailed as error:
                assert error.status == 404  # noqa: PT017 (one of the five)
        assert (wire.connections, len(wire.starts) >= 5) == (1, True)
        one.close_connections()


def test_each_thread_has_one_connection() -> None:
    with Wire(GOOD) as wire:
        one = client(wire.url)
        together = threading.Barrier(4)

        def work(_: int) -> None:
            together.wait()
            for _ in range(10):
                one.answer(call())
            one.close_connections()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert (wire.connections, len(wire.starts)) == (4, 40)


def test_an_undated_value_is_dated_when_it_was_received() -> None:
    class Undated(Plain):
        def read(self, call: Any, payload: Any) -> Iterator[Any]:
            for target, _, value in super().read(call, payload):
                yield target, UNDATED, value

    with Wire(GOOD) as wire:
        found = client(wire.url, source=Undated).answer(call())
    assert [point.at for point in found.points] == [NOW]


@pytest.mark.parametrize(
    ("hours", "error"),
    [
        (-48, "the clock of this machine is 48.0 hours ahead of that of plain: correct it"),
        (14, "the clock of this machine is 14.0 hours behind that of plain: correct it"),
        (-1.1, "the clock of this machine is 1.1 hours ahead of that of plain: correct it"),
        (1.1, "the clock of this machine is 1.1 hours behind that of plain: correct it"),
    ],
)
def test_a_clock_that_is_wrong_stops_the_source_since_it_decides_which_days_are_over(hours: float, error: str) -> None:
    with Wire(dated(NOW + timedelta(hours=hours))) as wire:
        one = client(wire.url)
        for _ in range(2):
            with pytest.raises(SourceStopped, match=error):
                one.answer(call())
        assert len(wire.starts) == 1


@pytest.mark.parametrize(
    "good",
    [
        dated(NOW - timedelta(minutes=55)),
        dated(NOW - timedelta(hours=5), Age="18000"),
        dated(NOW, Age="9" * 30),
        reply(b"[]", Date="today"),
        reply(b"[]"),
    ],
)
def test_a_date_that_may_come_from_a_cache_or_is_none_stops_nothing(good: Reply) -> None:
    assert answer(good).refused == []


def test_a_machine_that_slept_while_it_waited_for_an_answer_has_no_wrong_clock() -> None:
    times = chain([NOW], repeat(NOW + timedelta(hours=9)))
    with Wire(dated(NOW)) as wire:
        assert values(client(wire.url, now=lambda: next(times)).answer(call())) == [1.5]


def test_good_answers_shorten_the_delay_that_a_429_has_made_longer() -> None:
    clock = Clock()
    pace = Pace(0.1, clock=clock, sleep=clock.sleep)
    with Wire(reply(b"", 429), GOOD) as wire:
        one = Client(Plain(base_url=wire.url), threading.Event(), pace, clock=clock, sleep=clock.sleep)
        one.answer(call())
        assert pace.delay > 0.1
        for _ in range(50):
            clock.sleep(600)
            one.answer(call())
    assert pace.delay == 0.1


def test_an_error_whose_text_is_cut_off_says_so() -> None:
    with pytest.raises(CallFailed, match=r"HTTP 500: the connection broke off \(5 tries\)$"):
        answer(reply(b"no", 500, length=99))


def test_a_stop_ends_a_wait_for_the_pace() -> None:
    with Wire(reply(b"", 429, Retry_After="600")) as wire:
        one = Client(Plain(base_url=wire.url), threading.Event())
        thread, ended = running(one)
        assert wire.await_requests(1)
        one.stop.set()
        thread.join(5)
        assert [type(error) for error in ended] == [Stopped]


def test_a_source_that_stops_ends_the_waits_of_other_threads() -> None:
    with Wire(reply(b"", 429, Retry_After="600")) as wire:
        one = Client(Plain(base_url=wire.url), threading.Event())
        thread, ended = running(one)
        assert wire.await_requests(1)
        one._stop_source("the key is refused")
        thread.join(5)
        assert [(type(error), str(error)) for error in ended] == [(SourceStopped, "the key is refused")]


def test_a_client_that_is_closed_ends_the_wait_before_a_retry() -> None:
    requests: list[int] = []  # how many were sent, at each of the short waits
    with Wire(reply(b"", 500)) as wire:

        def sleep(_: float) -> None:
            requests.append(len(wire.starts))
            if requests[-1] == 4:  # before the fifth try, a client waits for two seconds at least
                one.close()

        one = Client(Plain(base_url=wire.url), threading.Event(), Pace(0.0), sleep=sleep)
        with pytest.raises(Stopped):
            one.answer(call())
    assert requests.count(3) > 1
    assert requests.count(4) == 1


def running(one: Client) -> tuple[threading.Thread, list[BaseException]]:
    """A thread that makes a call, and the error that ends it."""
    ended: list[BaseException] = []

    def work() -> None:
        try:
            one.answer(call())
        except (Stopped, SourceStopped) as error:
            ended.append(error)
        finally:
            one.close_connections()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, ended


def test_nothing_is_sent_after_a_stop() -> None:
    with Wire(GOOD) as wire:
        one = client(wire.url)
        one.stop.set()
        with pytest.raises(Stopped):
            one.answer(call())
        assert not wire.starts


def test_nothing_is_sent_when_the_stop_comes_during_the_wait() -> None:
    with Wire(GOOD) as wire:
        clock, stop = Clock(), threading.Event()

        def sleep(seconds: float) -> None:
            clock.sleep(seconds)
            stop.set()

        one = Client(Slow(base_url=wire.url), stop, clock=clock, sleep=sleep)
        one.answer(call())
        with pytest.raises(Stopped):
            one.answer(call())
        assert len(wire.starts) == 1


class Slow(Plain):
    REQUEST_DELAY = 0.1


TELLTALES = {
    "page not found": reply(b"Cannot GET {path}", 404),
    "key refused": reply(b"Invalid API key: {path}", 401),
    "server error": reply(b"at {path}", 500, Content_Type="text/plain"),
    "redirect": reply(b"", 302, Location="{path}"),
    "dropped": DROP,
    "cut off": reply(b'"{path}', length=4000),
    "cut JSON": reply(b'["{path}'),
    "another shape": reply(b'{"message": "no"}'),
    "HTML": reply(b"<html>{path}", 200, **HTML),
    "429": reply(b"{path}", 429),
    "absurd 429": reply(b"{path}", 429, Retry_After="9000"),
    "no HTTP": Reply(b"{path}\r\n\r\n", close=True),
}


@pytest.mark.parametrize("kind", TELLTALES)
def test_the_key_is_never_shown(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        Wire(TELLTALES[kind]) as wire,
        closing(client(wire.url, KEY)) as one,
        pytest.raises((CallFailed, SourceStopped)) as failed,
    ):
        one.answer(call())
    error = failed.value
    texts = ["".join(traceback.format_exception(error)), repr(error), repr(one), repr(one.source), repr(call())]
    texts += [record.getMessage() for record in caplog.records if shown(record)]
    assert not [text for text in texts for form in FORMS if form in text]


def shown(record: logging.LogRecord) -> bool:
    """Whether the program shows this record; of urllib3 it shows only errors, since other lines contain URLs."""
    return not record.name.startswith("urllib3") or record.levelno >= logging.ERROR


def test_the_key_is_not_shown_when_no_server_answers(caplog: pytest.LogCaptureFixture) -> None:
    with Wire(GOOD) as wire:
        url = wire.url
    with caplog.at_level(logging.DEBUG), pytest.raises(CallFailed) as failed:
        client(url, KEY).answer(call())
    texts = "".join(traceback.format_exception(failed.value)) + caplog.text
    assert not [form for form in FORMS if form in texts]


def test_what_a_server_says_moves_no_cursor() -> None:
    with pytest.raises(CallFailed, match=r"HTTP 404: \[31mred \(not\)$"):
        answer(reply(b"\x1b[31mred\x07\x00 \xc2\x9b(not)", 404))


def test_a_good_answer_holds_no_key() -> None:
    with Wire(rows(1)) as wire:
        found = client(wire.url, KEY).answer(call())
    assert not [form for form in FORMS if form in repr(found)]
