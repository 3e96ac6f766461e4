"""An unknown limit is found and kept: the pace against simulated servers, hours in a moment."""

import heapq
import itertools
import math
import random
from collections.abc import Callable

import pytest

from sources.pace import LONGEST_FORGET, PROBATION, Pace

DELAY = 0.08
HOUR = 3600.0


@pytest.fixture(autouse=True)
def same_jitter_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "random", random.Random(7).random)  # noqa: S311 (no secret depends on it)


class Asleep(Exception):
    """A client of the simulation waits so long."""


class Limit:
    """A fixed window, as the fake API's: it opens with a request; refused requests count, too."""

    def __init__(self, most: int, window: float = 60.0) -> None:
        self.most, self.window = most, window
        self.opened, self.used = -math.inf, 0

    def left(self, now: float) -> float:
        """Seconds until the next window for a request that is refused, 0 for one that is answered."""
        if now - self.opened >= self.window:
            self.opened, self.used = now, 0
        self.used += 1
        return self.opened + self.window - now if self.used > self.most else 0.0


class Simulation:
    """Clients that always have a next request, up to 16 under way, and a server with one limit for all of them."""

    def __init__(self, limit: Limit, arrivals: tuple[float, ...] = (0.0,), *, with_header: bool = True) -> None:
        self.limit, self.with_header = limit, with_header
        self.now = 0.0
        self.paces = [Pace(DELAY, clock=lambda: self.now, sleep=self._sleep) for _ in arrivals]
        self.flying = [0] * len(arrivals)
        self.answered: list[float] = []
        self.refused: list[float] = []
        self._random = random.Random(7)  # noqa: S311 (latencies)
        self._numbers = itertools.count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        for number, arrival in enumerate(arrivals):
            self._plan(arrival, lambda number=number: self._start(number))  # type: ignore[misc]

    def run(self, hours: float) -> None:
        """Let so many hours pass."""
        end = self.now + hours * HOUR
        while self._agenda[0][0] < end:
            self.now, _, event = heapq.heappop(self._agenda)
            event()
        self.now = end

    def last_hour(self) -> tuple[float, int]:
        """Share of the limit that was used in the last hour, and the 429s in it."""
        answered, refused = (sum(at >= self.now - HOUR for at in times) for times in (self.answered, self.refused))
        return answered / (self.limit.most * HOUR / self.limit.window), refused

    def _start(self, number: int) -> None:
        if self.flying[number] == 16:
            self._plan(self.now + 0.01, lambda: self._start(number))
            return
        try:
            started = self.paces[number].wait()
        except Asleep as asleep:
            self._plan(self.now + float(asleep.args[0]), lambda: self._start(number))
            return
        self.flying[number] += 1
        left = self.limit.left(self.now)
        (self.refused if left else self.answered).append(self.now)
        self._plan(self.now + self._random.uniform(0.2, 0.5), lambda: self._end(number, started, left))
        self._plan(self.now, lambda: self._start(number))

    def _end(self, number: int, started: float, left: float) -> None:
        self.flying[number] -= 1
        if left:
            self.paces[number].refused(started, math.ceil(left) if self.with_header else None)
        else:
            self.paces[number].accepted(started)

    def _plan(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at, next(self._numbers), event))

    def _sleep(self, seconds: float) -> None:
        raise Asleep(seconds)


@pytest.mark.parametrize("with_header", [True, False], ids=["Retry-After", "no Retry-After"])
@pytest.mark.parametrize("most", [60, 300, 500])
def test_an_unknown_limit_is_found_and_kept(most: int, with_header: bool) -> None:
    simulation = Simulation(Limit(most), with_header=with_header)
    simulation.run(2)
    used, refusals = simulation.last_hour()
    assert (used >= 0.9, refusals <= 12) == (True, True), f"{used:.0%} used, {refusals} refused"


@pytest.mark.parametrize("with_header", [True, False], ids=["Retry-After", "no Retry-After"])
def test_a_limit_by_the_second_is_found_and_kept(with_header: bool) -> None:
    simulation = Simulation(Limit(5, 1.0), with_header=with_header)
    simulation.run(2)
    used, refusals = simulation.last_hour()
    assert (used >= 0.9, refusals <= 12) == (True, True), f"{used:.0%} used, {refusals} refused"


@pytest.mark.parametrize("arrivals", [(0.0, 0.0), (0.0, 7.0), (0.0, 1000.0)])
def test_two_clients_behind_one_limit_find_it_together(arrivals: tuple[float, float]) -> None:
    simulation = Simulation(Limit(300), arrivals)
    simulation.run(2)
    used, refusals = simulation.last_hour()
    assert (used >= 0.85, refusals <= 16) == (True, True), f"{used:.0%} used, {refusals} refused"


def test_half_of_the_limit_is_used_at_least_while_it_is_being_found() -> None:
    simulation = Simulation(Limit(300))
    simulation.run(0.25)
    assert len(simulation.answered) >= 300 * 15 / 2


def test_a_client_takes_over_what_another_leaves() -> None:
    simulation = Simulation(Limit(300), (0.0, 0.0))
    simulation.run(1)
    simulation.flying[1] = 16  # it never starts a request again
    simulation.run(1.5)
    used, _ = simulation.last_hour()
    assert used >= 0.9


def test_a_limit_that_stays_is_tried_more_and_more_rarely() -> None:
    simulation = Simulation(Limit(300))
    simulation.run(6)
    late = [at for at in simulation.refused if at > 2 * HOUR]
    episodes = 1 + sum(later - sooner > PROBATION for sooner, later in itertools.pairwise(late))
    assert episodes <= 4 * HOUR / LONGEST_FORGET
