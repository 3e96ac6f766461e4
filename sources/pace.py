"""When the next request of a source may start."""

import logging
import threading
import time
from collections.abc import Callable

from sources.host_pace import NextStart
from sources.retry import backoff

log = logging.getLogger(__name__)

SLOWER = 1.5  # factor by which a 429 lengthens a delay that never held
SLOWEST = 10.0  # seconds; the longest delay between two starts
PROBATION = 120.0  # seconds without a 429 after which a delay counts as held; they span a whole minute, as APIs count
CLOSE_ENOUGH = 1.05  # a delay is kept if it is longer than the refused one by at most this factor
FORGET, LONGEST_FORGET = 900.0, 3600.0  # seconds without a 429 after which even the refused delay is tried again
STRIDE, LONGEST_STRIDE = 1.05, 1.5  # factor by which such a step shortens the delay; squared after each step


class Pace:
    """Spaces the starts of requests, for all threads and processes that share it, and adapts to a lower limit.

    A 429 stops all starts for a while and lengthens the delay; the delay that was refused is remembered. Each time a
    delay has held, the next step halves the distance to the refused delay. If that step is refused, the delay that held
    returns. So the delay settles just above an unknown limit instead of exceeding it again and again. After a long time
    without a 429, even the refused delay is tried again: less and less often while the limit exists, in growing steps
    once it is gone.
    """

    def __init__(
        self,
        delay: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        next_start: NextStart | None = None,
    ) -> None:
        self._base = self.delay = delay  # seconds between two starts, at best and at present
        self._clock, self._sleep = clock, sleep
        self._next_start = next_start or NextStart()
        self._queue = threading.Lock()  # held by the thread whose request is next
        self._state = threading.Lock()
        self._held = self._refused = 0.0  # the shortest delay that held, and the last that was refused
        self._refused_at = self._steady_since = clock()
        self._refusals = 0  # in a row; those of requests under way together count as one
        self._forget, self._stride = FORGET, STRIDE

    def wait(self, sleep: Callable[[float], object] | None = None) -> float:
        """Wait until one request may start; returns that moment on the clock. `sleep` may end the wait by raising."""
        with self._queue:
            while True:
                with self._state, self._next_start.locked(self._clock) as now:
                    remaining = self._next_start.moment - now
                    if remaining <= 0:
                        self._next_start.moment = now + self.delay
                        return now
                (sleep or self._sleep)(remaining)

    def resume(self, delay: float) -> None:
        """Start with the longer delay that an earlier process ended with. Does nothing after a 429 of this process."""
        with self._state:
            if not self._refused and delay > self.delay:
                self.delay, self._refused = delay, delay / SLOWER

    def refused(self, started: float, asked: float | None) -> None:
        """Handle a 429: let no request start, not even a waiting one, for as long as the API asked, and slow down.

        If the API asked for no pause, or for one that proved too short, the pause doubles with each 429 in a row.
        Requests under way together (`started` before the last 429) count once. Only the first 429 in a row lengthens
        the delay: the next ones mean that the pause was too short, not that the delay is.
        """
        with self._state, self._next_start.locked(self._clock) as now:
            together = started < self._refused_at
            if not together:
                if not self._refusals:
                    self._slow_down(now)
                self._refusals += 1
                self._refused_at = now
            pause = max(asked or 0.0, 0.0 if together else backoff(self._refusals))
            self._next_start.moment = max(self._next_start.moment, now + pause)
            self._steady_since = max(self._steady_since, now + pause)

    def accepted(self, started: float) -> None:
        """Handle an answer other than a 429: shorten the delay by one step if it has held for long enough."""
        with self._state:
            if started < self._refused_at:
                return  # the answer shows nothing about the present delay
            self._refusals = 0
            now = self._clock()
            if self.delay <= self._base or now - self._steady_since < PROBATION:
                return
            self._steady_since, self._held = now, self.delay
            if now - self._refused_at >= self._forget:
                self.delay = max(self._base, self.delay / self._stride)
                self._stride = min(self._stride**2, LONGEST_STRIDE)
            elif self.delay > self._refused * CLOSE_ENOUGH:
                self.delay = max(self._base, (self.delay + self._refused) / 2)

    def _slow_down(self, now: float) -> None:
        if self.delay < self._held:  # the last step was too long
            retried_in_vain = now - self._refused_at >= self._forget
            self._forget = min(self._forget * 2, LONGEST_FORGET) if retried_in_vain else self._forget
            delay = self._held
        else:
            self._held, self._forget = 0.0, FORGET
            delay = min(self.delay * SLOWER, SLOWEST)
        self._refused, self.delay, self._stride = self.delay, delay, STRIDE
        log.warning("rate limit reached: now one request every %.2f s", self.delay)
