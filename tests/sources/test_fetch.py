"""Many calls at once: every call has an end, in bounded requests, memory and time."""

import dataclasses
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Semaphore
from typing import Any

import pytest

from model.background import start
from model.errors import CallFailed, SourceStopped
from model.values import Target, Verb, Window
from sources.artemis import Artemis
from sources.base import Answer, Call
from sources.fetch import Fetch, Outcome
from sources.http import ALL_DOWN, Client
from sources.http_session import HttpSession
from sources.retry import MAX_TRIES
from tests.fake_api import FakeApi
from tests.waiting import until
from tests.wire import PATIENCE, Clock, Plain, Wire, call, client, real_time, reply, rows

SYMBOLS = [f"coin-{number}" for number in range(40)]
WINDOW = Window(datetime(2025, 12, 1, tzinfo=UTC), datetime(2025, 12, 8, tzinfo=UTC))
BOUND = (ALL_DOWN + Plain.MAX_IN_FLIGHT) * MAX_TRIES  # requests to an API that is down


def calls(number: int) -> list[Call]:
    return [call(f"path/{each}") for each in range(number)]


def fetched(one: Client, wanted: list[Call]) -> list[Outcome[Answer]]:
    with Fetch(one, wanted, one.source.answer) as outcomes:
        return [outcome for outcome in outcomes if outcome]


def workers(name: str = "plain-") -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    yield
    for thread in workers() + workers("artemis-"):
        thread.join(PATIENCE)
    assert not workers() + workers("artemis-")


def test_every_call_has_one_outcome() -> None:
    wanted = calls(100)
    with Wire(rows(1)) as wire:
        outcomes = fetched(client(wire.url), wanted)
    assert Counter(outcome.call.path for outcome in outcomes) == Counter(each.path for each in wanted)
    assert all(outcome.answer and outcome.error is None for outcome in outcomes)


def test_no_calls_have_no_outcomes() -> None:
    assert fetched(client("http://127.0.0.1:9"), []) == []


def test_with_memory_for_two_threads_all_calls_are_made_two_at_a_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    more = Semaphore(2)

    def scarce(thread: threading.Thread) -> None:
        if not more.acquire(blocking=False):
            raise MemoryError("can't start new thread")
        start(thread)

    monkeypatch.setattr("sources.fetch.start", scarce)
    with Wire(rows(1)) as wire:
        assert len(fetched(client(wire.url), calls(20))) == 20
        with pytest.raises(MemoryError, match="can't start new thread"):
            fetched(client(wire.url), calls(20))
    assert caplog.messages == ["plain: only 2 requests at a time: can't start new thread"]


def test_without_memory_to_hand_over_an_outcome_the_iteration_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise RuntimeError("can't allocate lock")

    with Wire(rows(1)) as wire:
        one = client(wire.url)
        fetch = Fetch(one, calls(3), one.source.answer)
        monkeypatch.setattr(fetch, "_hand_over", full)
        with fetch as outcomes, pytest.raises(MemoryError, match="can't allocate lock"):
            list(outcomes)


def test_a_call_that_fails_costs_only_itself() -> None:
    with FakeApi(broken={"7": "404"}) as api:
        wanted = [call(f"api/v2/historicalChainTvl?{number}") for number in range(20)]
        outcomes = fetched(client(f"{api.url}/llama", source=Silent, now=real_time), wanted)
    failed = {outcome.call.path[-3:]: outcome.error for outcome in outcomes if outcome.error}
    assert set(failed) == {"l?7", "?17"}
    assert all(isinstance(error, CallFailed) for error in failed.values())


class Silent(Plain):
    def read(self, *_: object) -> object:  # type: ignore[override]
        return ()


def artemis(api: FakeApi) -> Client:
    clock = Clock()
    return Client(Artemis("key", f"{api.url}/artemis"), threading.Event(), clock=clock, sleep=clock.sleep)


def batch(symbols: Sequence[str] = SYMBOLS) -> list[Call]:
    targets = [Target(symbol, "PRICE", symbol) for symbol in symbols]
    return list(Artemis("key").calls(Verb.PULL, targets, WINDOW))


@pytest.mark.parametrize("bad", [("coin-7",), ("coin-0", "coin-39"), ("coin-3", "coin-4", "coin-20")])
def test_a_bad_symbol_in_a_batch_costs_only_itself(bad: tuple[str, ...]) -> None:
    with FakeApi(bad_symbols=bad, shipped=False) as api:
        outcomes = fetched(artemis(api), batch())
    answered = {target.id for outcome in outcomes if outcome.answer for target in outcome.call.targets}
    given_up = {
        target.id for outcome in outcomes if outcome.error and not outcome.pieces for target in outcome.call.targets
    }
    assert (answered, given_up) == (set(SYMBOLS) - set(bad), set(bad))


def test_a_batch_that_is_refused_for_good_is_not_halved() -> None:
    with FakeApi(broken={".": "400"}) as api:
        outcomes = fetched(artemis(api), batch())
    assert [(list(outcome.pieces), type(outcome.error)) for outcome in outcomes] == [([], CallFailed)] * len(batch())


def test_pieces_are_counted_so_that_the_caller_knows_how_many_calls_there_are() -> None:
    with FakeApi(bad_symbols=("coin-7",), shipped=False) as api:
        outcomes = fetched(artemis(api), batch())
    assert len(outcomes) == 1 + sum(len(outcome.pieces) for outcome in outcomes)


def test_many_batches_with_a_bad_symbol_each_do_not_make_the_api_look_down() -> None:
    symbols = [f"coin-{number}" for number in range(4 * 50)]
    bad = symbols[::12]
    with FakeApi(bad_symbols=tuple(bad), shipped=False) as api:
        outcomes = fetched(artemis(api), batch(symbols))
    given_up = [outcome for outcome in outcomes if outcome.error and not outcome.pieces]
    assert sorted(target.id for outcome in given_up for target in outcome.call.targets) == sorted(bad)


def test_halving_during_a_total_outage_is_bounded() -> None:
    with FakeApi(broken={".": "500"}) as api:
        outcomes = fetched(artemis(api), batch())
        assert len(api.requests) <= 2 * BOUND  # as many again for the batches that were halved
    assert {type(outcome.error) for outcome in outcomes} == {CallFailed, SourceStopped}


@pytest.mark.parametrize("kind", ["500", "521", "drop", "empty", "html"])
def test_an_api_that_is_down_is_left_after_a_bounded_number_of_requests(kind: str) -> None:
    with FakeApi(broken={".": kind}) as api:
        outcomes = fetched(client(f"{api.url}/llama"), calls(300))
        assert len(api.requests) <= BOUND
    ends = Counter(type(outcome.error) for outcome in outcomes)
    assert ends[CallFailed] + ends[SourceStopped] == 300
    assert ALL_DOWN <= ends[CallFailed] < ALL_DOWN + Plain.MAX_IN_FLIGHT


def test_an_api_whose_name_cannot_be_resolved_is_not_called_down() -> None:
    outcomes = fetched(client("http://nowhere.invalid"), calls(50))
    stopped = {str(outcome.error) for outcome in outcomes if isinstance(outcome.error, SourceStopped)}
    assert stopped == {"plain can't be found by its name: check the network and the DNS of this machine"}


def test_a_refused_key_ends_all_other_calls_with_the_same_error() -> None:
    with Wire(reply(b"Invalid API key", 401)) as wire:
        outcomes = fetched(client(wire.url), calls(100))
    assert len(outcomes) == 100
    assert {(type(outcome.error), str(outcome.error)) for outcome in outcomes} == {
        (
            SourceStopped,
            "plain refuses the key (HTTP 401: Invalid API key): check PLAIN_API_KEY in the environment or .env",
        )
    }


class Unhurried(Plain):
    REQUEST_DELAY = 1.0


def test_calls_that_wait_for_their_turn_are_not_sent_after_a_refused_key() -> None:
    with Wire(reply(b"Invalid API key", 401)) as wire:
        outcomes = fetched(Client(Unhurried(base_url=wire.url), threading.Event()), calls(20))
        assert (len(outcomes), len(wire.starts)) == (20, 1)


def test_a_stop_ends_the_iteration_with_all_that_was_fetched_though_reads_hang() -> None:
    with Wire(rows(1)) as wire:
        wire.free = 10
        one = client(wire.url)
        with Fetch(one, calls(100), one.source.answer) as fetch:
            outcomes = []
            for outcome in filter(None, fetch):
                outcomes.append(outcome)
                if len(outcomes) == 8:  # the other two that were fetched wait in the queue
                    assert wire.await_requests(10 + Plain.MAX_IN_FLIGHT)
                    one.stop.set()
        hanging = workers()
        wire.gate.set()
    assert (len(outcomes), len(hanging)) == (10, Plain.MAX_IN_FLIGHT)


def test_a_stop_before_the_start_sends_nothing() -> None:
    with Wire(rows(1)) as wire:
        one = client(wire.url)
        one.stop.set()
        assert (fetched(one, calls(10)), wire.starts) == ([], [])


class Broken(Plain):
    """Has a bug that has nothing to do with the shape of an answer."""

    def answer(self, *_: object) -> Answer:
        raise ZeroDivisionError("bug")


def test_a_bug_in_a_source_reaches_the_caller_as_itself() -> None:
    with Wire(rows(1)) as wire:
        outcomes = fetched(client(wire.url, source=Broken), calls(3))
    assert [repr(outcome.error) for outcome in outcomes] == ["ZeroDivisionError('bug')"] * 3


class Unsplittable(Plain):
    """Has a bug where it splits."""

    def split(self, call: Call) -> list[Call]:
        del call
        raise ZeroDivisionError("bug")


def test_a_bug_in_a_split_reaches_the_caller_as_itself() -> None:
    with Wire(reply(b"", 500)) as wire:
        outcomes = fetched(client(wire.url, source=Unsplittable), calls(3))
    assert [repr(outcome.error) for outcome in outcomes] == ["ZeroDivisionError('bug')"] * 3


class Counted(Answer):
    """An answer that can be watched for being freed."""

    __hash__ = object.__hash__


class Counting(Plain):
    def __init__(self, key: str = "", base_url: str = "") -> None:
        super().__init__(key, base_url)
        self.made = 0
        self.alive: weakref.WeakSet[Counted] = weakref.WeakSet()

    def answer(self, call: Call, payload: Any, received: datetime) -> Answer:
        found = super().answer(call, payload, received)
        counted = Counted(*(getattr(found, field.name) for field in dataclasses.fields(found)))
        self.made += 1
        self.alive.add(counted)
        return counted

    def __repr__(self) -> str:
        return f"{self.made} made"


def counting(wire: Wire) -> tuple[Client, Counting]:
    clock, source = Clock(), Counting(base_url=wire.url)
    return Client(source, threading.Event(), clock=clock, sleep=clock.sleep), source


def test_a_slow_caller_holds_the_workers_back() -> None:
    made = 1 + 2 + 1  # taken, in the queue, and in the one worker that reads
    sent = made + Plain.MAX_IN_FLIGHT - 1  # the other workers have a body, unread
    with Wire(rows(1)) as wire:
        one, source = counting(wire)
        with Fetch(one, calls(100), one.source.answer) as fetch:
            next(filter(None, fetch))
            assert wire.await_requests(sent)
            assert not wire.await_requests(sent + 1, 0.3)
            assert source.made == made


def test_an_answer_that_was_taken_is_not_kept() -> None:
    with Wire(rows(1)) as wire:
        wire.free = Plain.MAX_IN_FLIGHT
        one, source = counting(wire)
        with Fetch(one, calls(100), one.source.answer) as fetch:
            outcomes = filter(None, fetch)
            for _ in range(Plain.MAX_IN_FLIGHT):
                next(outcomes)
            assert wire.await_requests(2 * Plain.MAX_IN_FLIGHT)
            assert len(source.alive) <= 1  # the last one, until the next is taken
            wire.gate.set()


@pytest.mark.parametrize("waiting", ["pause", "pace", "retry", "delivery"])
def test_leaving_early_ends_the_workers_wherever_they_wait(waiting: str) -> None:
    answer = {"pause": reply(b"", 429, Retry_After="600"), "retry": reply(b"", 500)}.get(waiting, rows(1))
    source = Glacial if waiting == "pace" else Plain
    with Wire(answer) as wire:
        one = Client(source(base_url=wire.url), threading.Event())
        with Fetch(one, calls(100), one.source.answer):
            assert wire.await_requests(1)
    for thread in workers():
        thread.join(PATIENCE)
    assert not workers()


class Glacial(Plain):
    REQUEST_DELAY = 600.0


def test_workers_close_their_connections_when_they_are_done() -> None:
    closed = []

    class Session(HttpSession):
        def close(self) -> None:
            closed.append(self)
            super().close()

    with Wire(rows(1)) as wire:
        fetched(Client(Plain(base_url=wire.url), threading.Event(), session=Session), calls(50))
        until(lambda: not workers())
        assert 1 <= len(closed) <= Plain.MAX_IN_FLIGHT
