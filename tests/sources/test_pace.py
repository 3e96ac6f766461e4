"""Requests never start too close together, they slow down after a 429, and return step by step."""

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from model.errors import CallFailed
from sources.http import Client
from sources.pace import CLOSE_ENOUGH, FORGET, LONGEST_FORGET, PROBATION, SLOWER, SLOWEST, STRIDE, Pace
from tests.fake_api import FakeApi
from tests.paced_processes import closer_than
from tests.wire import Clock, Plain, RecordedPace, Reply, Wire, call, client, reply, rows

DELAY = 0.08


def paced(clock: Clock, delay: float = DELAY) -> Pace:
    return Pace(delay, clock=clock, sleep=clock.sleep)


def refuse(pace: Pace, asked: float | None = 1.0) -> None:
    """Let one request start and be refused."""
    pace.refused(pace.wait(), asked)


def hold(pace: Pace, clock: Clock, seconds: float = PROBATION) -> None:
    """Let requests succeed for so long, and one more."""
    pace.accepted(pace.wait())
    clock.sleep(seconds)
    pace.accepted(pace.wait())


def starts_of_threads() -> list[float]:
    pace = paced(Clock())
    with ThreadPoolExecutor(32) as pool:
        return sorted(pool.map(lambda _: pace.wait(), range(320)))


def test_starts_of_many_threads_are_never_closer_than_the_delay() -> None:
    starts = starts_of_threads()
    assert min(later - sooner for sooner, later in itertools.pairwise(starts)) >= DELAY - 1e-9


def test_no_second_sees_more_than_fourteen_starts() -> None:
    starts = starts_of_threads()
    assert max(sum(first <= start < first + 1 for start in starts) for first in starts) <= 14


def test_the_first_request_starts_at_once() -> None:
    clock = Clock()
    assert paced(clock).wait() == 1000.0


def test_idle_time_is_not_saved_up() -> None:
    clock = Clock()
    pace = paced(clock)
    pace.wait()
    clock.sleep(10)
    assert pace.wait() + DELAY == pytest.approx(pace.wait())


def test_a_refusal_stops_those_already_waiting() -> None:
    clock = Clock()
    first = threading.Event()

    def sleep(seconds: float) -> None:
        if not first.is_set():
            first.set()
            pace.refused(1000.0, 30.0)
        clock.sleep(seconds)

    pace = Pace(DELAY, clock=clock, sleep=sleep)
    pace.wait()
    assert pace.wait() == pytest.approx(1030.0)


def test_the_longest_pause_asked_of_requests_under_way_together_counts() -> None:
    clock = Clock()
    pace = paced(clock)
    for asked in (5.0, 30.0, 5.0):
        pace.refused(1000.0, asked)
    assert pace.wait() == pytest.approx(1030.0)


def test_requests_under_way_together_slow_down_once() -> None:
    clock = Clock()
    pace = paced(clock)
    starts = [pace.wait() for _ in range(5)]
    for started in starts:
        clock.sleep(0.01)
        pace.refused(started, 1.0)
    assert pace.delay == pytest.approx(DELAY * SLOWER)


def test_requests_under_way_together_lengthen_the_pause_once() -> None:
    clock = Clock()
    pace = paced(clock)
    starts = [pace.wait() for _ in range(8)]
    clock.sleep(0.01)
    for started in starts:
        pace.refused(started, None)
    refused = clock()
    assert pace.wait() - refused <= 0.5


def test_refusals_in_a_row_slow_down_once() -> None:
    clock = Clock()
    pace = paced(clock)
    for _ in range(5):
        refuse(pace, None)
    assert pace.delay == pytest.approx(DELAY * SLOWER)


def test_a_refusal_after_an_answer_slows_down_again() -> None:
    clock = Clock()
    pace = paced(clock)
    refuse(pace)
    pace.accepted(pace.wait())
    refuse(pace)
    assert pace.delay == pytest.approx(DELAY * SLOWER**2)


def test_an_answer_to_a_request_from_before_the_refusal_says_nothing() -> None:
    clock = Clock()
    pace = paced(clock)
    before = pace.wait()
    refuse(pace)
    pace.accepted(before)
    refuse(pace)
    assert pace.delay == pytest.approx(DELAY * SLOWER)


def test_the_delay_has_an_upper_bound() -> None:
    clock = Clock()
    pace = paced(clock)
    for _ in range(30):
        refuse(pace)
        pace.accepted(pace.wait())
    assert pace.delay == SLOWEST


def test_pauses_that_the_api_does_not_ask_for_grow_with_each_refusal_in_a_row() -> None:
    clock = Clock()
    pace = paced(clock)
    for full in (0.5, 1.0, 2.0, 4.0):
        started = pace.wait()
        pace.refused(started, None)
        assert full / 2 <= pace.wait() - started <= full
        clock.sleep(SLOWEST)  # so that the next start is not spaced


def test_each_probation_takes_one_step_that_halves_the_way_back() -> None:
    clock = Clock()
    pace = paced(clock)
    refuse(pace)
    refused, delay = DELAY, DELAY * SLOWER
    for _ in range(3):
        hold(pace, clock)
        delay = (delay + refused) / 2
        assert pace.delay == pytest.approx(delay)


def test_before_probation_is_over_nothing_changes() -> None:
    clock = Clock()
    pace = paced(clock)
    refuse(pace, 30.0)
    hold(pace, clock, PROBATION - 1)  # counted from the end of the pause
    assert pace.delay == pytest.approx(DELAY * SLOWER)


def test_a_step_too_far_goes_back_to_the_delay_that_held() -> None:
    clock = Clock()
    pace = paced(clock)
    refuse(pace)
    hold(pace, clock)
    refuse(pace)
    assert pace.delay == pytest.approx(DELAY * SLOWER)


def settled(clock: Clock) -> Pace:
    """A pace that has settled above a limit."""
    pace = paced(clock)
    refuse(pace)
    while pace.delay > DELAY * CLOSE_ENOUGH:
        hold(pace, clock)
    return pace


def test_a_settled_pace_is_kept_until_the_limit_is_doubted() -> None:
    clock = Clock()
    pace = settled(clock)
    before = pace.delay
    while clock() < 1000 + FORGET - PROBATION:
        hold(pace, clock)
    assert pace.delay == before


def test_a_limit_is_tried_again_after_twice_the_time_where_it_was_tried_in_vain() -> None:
    clock = Clock()
    pace = paced(clock)
    refuse(pace)
    hold(pace, clock)
    too_far, refused_at = pace.delay, clock()
    refuse(pace)  # of a step too far, which is no try of the delay that was refused at first
    while pace.delay > too_far * CLOSE_ENOUGH:
        hold(pace, clock, 10)
    for seconds in (FORGET, 2 * FORGET, LONGEST_FORGET, LONGEST_FORGET):
        held = pace.delay
        while pace.delay == held:
            hold(pace, clock, 10)
        assert seconds <= clock() - refused_at <= seconds + PROBATION + 20  # it steps once in a probation
        refused_at = clock()
        refuse(pace)


def test_a_limit_that_is_gone_is_left_behind() -> None:
    clock = Clock()
    pace = settled(clock)
    hold(pace, clock, FORGET)
    assert pace.delay == DELAY


def test_doubting_steps_grow_where_the_limit_is_gone() -> None:
    clock = Clock()
    pace = paced(clock)
    for _ in range(6):
        refuse(pace)
        pace.accepted(pace.wait())
    delays = [pace.delay]
    clock.sleep(FORGET)
    for _ in range(3):
        pace.accepted(pace.wait())
        delays.append(pace.delay)
        clock.sleep(PROBATION)
    strides = [sooner / later for sooner, later in itertools.pairwise(delays)]
    assert strides == pytest.approx([STRIDE, STRIDE**2, STRIDE**4])


def test_retries_are_paced_too() -> None:
    clock = Clock()
    with Wire(reply(b"", 500), reply(b"", 500), rows(1), clock=clock) as wire:
        client(wire.url, clock=clock, source=Slow).answer(call())
        assert [round(later - sooner) for sooner, later in itertools.pairwise(wire.starts)] == [2, 2]


@pytest.mark.parametrize("answer", [rows(1), reply(b"404 page not found", 404)])
def test_the_client_tells_its_pace_of_refusals_and_of_answers(answer: Reply) -> None:
    clock = Clock()
    refusal = reply(b"", 429, Retry_After="1")
    with Wire(refusal, answer, refusal, rows(1), clock=clock) as wire:
        one = client(wire.url, clock=clock, source=Slow)
        for _ in range(3):
            with suppress(CallFailed):
                one.answer(call())
        waits = [later - sooner for sooner, later in itertools.pairwise(wire.starts)]
    assert waits == pytest.approx([2, 2 * SLOWER, 2 * SLOWER, 2 * SLOWER**2][: len(waits)])


class Slow(Plain):
    REQUEST_DELAY = 2.0


class LikeDefiLlama(Plain):
    REQUEST_DELAY = DELAY

    def read(self, *_: object) -> object:  # type: ignore[override]
        return ()


def test_latency_does_not_set_the_speed_and_no_two_requests_start_closer_than_the_delay() -> None:
    pace = RecordedPace(DELAY)
    with FakeApi(latency=0.3, faults=0.1, fault_kinds=("500", "drop"), seed=3) as api:
        one = Client(LikeDefiLlama(base_url=f"{api.url}/llama"), threading.Event(), pace)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(one.answer, (call(f"api/v2/historicalChainTvl?{number}") for number in range(80))))
    assert len(pace.starts) == len(api.requests) > 80
    assert closer_than(DELAY, pace.starts) == []
    seconds = Counter(int(start - pace.starts[0]) for start in pace.starts)
    assert max(seconds.values()) >= 8  # one connection would start 3
