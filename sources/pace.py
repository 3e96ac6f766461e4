"""When the next request of a source may start."""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

SLOWER = 1.5  # a refusal lengthens the delay by this factor
SLOWEST = 10.0  # seconds between two starts, at the most
PROBATION = 60.0  # seconds without a refusal before the pace takes one step back; APIs count by the minute
CLOSE_ENOUGH = 1.05  # a delay this near to one that was refused is kept
FORGET = 900.0  # seconds without a refusal after which the refused delay itself is doubted


class Pace:
    """Spaces the starts of requests, of any number of threads, and finds a lower limit where there is one.

    A refusal (429) lengthens the delay and is remembered. Each minute without one halves the distance to the
    delay that was refused, so the pace settles just above an unknown limit in place of running into it again.
    """

    def __init__(self, delay: float, *, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._base = self._delay = delay  # seconds between two starts
        self._clock, self._sleep = clock, sleep
        self._turn = threading.Lock()  # held by the thread whose request is next
        self._state = threading.Lock()
        self._next = clock()
        self._refused_delay = 0.0
        self._refused_at = self._steady_since = -FORGET

    @property
    def delay(self) -> float:
        """Seconds between two starts, as of now."""
        return self._delay

    def wait(self) -> float:
        """Return, at the moment when one request may start, that moment on the clock."""
        with self._turn:
            while (remaining := self._next - self._clock()) > 0:
                self._sleep(remaining)
            with self._state:
                start = self._clock()
                self._next = max(self._next, start + self._delay)
            return start

    def pause(self, seconds: float) -> None:
        """Let no request start for so long, those already waiting included."""
        with self._state:
            resume = self._clock() + seconds
            self._next = max(self._next, resume)
            self._steady_since = max(self._steady_since, resume)

    def refused(self, started: float) -> None:
        """Slow down, once for all the requests that were under way together."""
        with self._state:
            if started < self._refused_at:
                return
            self._refused_delay = max(self._refused_delay, self._delay)
            self._delay = min(self._delay * SLOWER, SLOWEST)
            self._refused_at = self._clock()
            self._steady_since = max(self._steady_since, self._refused_at)
            log.warning("rate limit met: now one request each %.2f s", self._delay)

    def accepted(self) -> None:
        """Take one step back towards the full pace where it is due."""
        with self._state:
            now = self._clock()
            if self._delay <= self._base or now - self._steady_since < PROBATION:
                return
            self._steady_since = now
            if now - self._refused_at >= FORGET:
                self._refused_delay /= SLOWER
                self._refused_at = now
            if self._delay > self._refused_delay * CLOSE_ENOUGH:
                self._delay = max(self._base, (self._delay + self._refused_delay) / 2)
