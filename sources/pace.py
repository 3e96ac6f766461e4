"""When the next request of a source may start."""

import logging
import threading
import time
from collections.abc import Callable

from sources.host_pace import Turn
from sources.retry import backoff

log = logging.getLogger(__name__)

SLOWER = 1.5  # a refusal at a pace that never held lengthens the delay by this factor
SLOWEST = 10.0  # seconds between two starts, at the most
PROBATION = 120.0  # seconds without a refusal after which a pace holds: a whole minute lies in them, as APIs count
CLOSE_ENOUGH = 1.05  # a delay this near to one that was refused is kept
FORGET, LONGEST_FORGET = 900.0, 3600.0  # seconds without a refusal after which the refused delay itself is doubted
STRIDE, LONGEST_STRIDE = 1.05, 1.5  # factor by which a doubting step shortens the delay; squared with each success


class Pace:
    """Spaces the starts of requests, of all who share it or its turn, and finds a lower limit where there is one.

    A refusal (429) stops all starts for a while, lengthens the delay and is remembered. Whenever a pace has held, the
    next step halves the distance to the delay that was refused; a step too far goes back to the delay that held. So
    the pace settles just above an unknown limit in place of running into it again. A limit that held for long is
    tried anew, more and more rarely where it is still there, in growing steps where it is gone.
    """

    def __init__(
        self,
        delay: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        turn: Turn | None = None,
    ) -> None:
        self._base = self._delay = delay  # seconds between two starts
        self._clock, self._sleep = clock, sleep
        self._turn = turn or Turn()
        self._queue = threading.Lock()  # held by the thread whose request is next
        self._state = threading.Lock()
        self._held = self._refused = 0.0  # the shortest delay that held, and the last that was refused
        self._refused_at = self._steady_since = clock()
        self._refusals = 0  # in a row, those of requests under way together counted as one
        self._forget, self._stride = FORGET, STRIDE

    @property
    def delay(self) -> float:
        """Seconds between two starts, as of now."""
        return self._delay

    def wait(self, sleep: Callable[[float], object] | None = None) -> float:
        """Return, at the moment when one request may start, that moment on the clock; `sleep` may end by raising."""
        with self._queue:
            while True:
                with self._state, self._turn.taken(self._clock) as start:
                    remaining = self._turn.moment - start
                    if remaining <= 0:
                        self._turn.moment = start + self._delay
                        return start
                (sleep or self._sleep)(remaining)

    def refused(self, started: float, asked: float | None) -> None:
        """Let no request start for as long as the API asked, those already waiting included, and slow down.

        Where it asked for nothing, or for too little before, the pause doubles with each refusal in a row. Requests
        that were under way together (`started` before the last refusal) count once, and so do refusals in a row:
        they say that the pause was too short, and nothing of the pace.
        """
        with self._state, self._turn.taken(self._clock) as now:
            together = started < self._refused_at
            if not together:
                if not self._refusals:
                    self._slow_down(now)
                self._refusals += 1
                self._refused_at = now
            pause = max(asked or 0.0, 0.0 if together else backoff(self._refusals))
            self._turn.moment = max(self._turn.moment, now + pause)
            self._steady_since = max(self._steady_since, now + pause)

    def accepted(self, started: float) -> None:
        """Take one step back towards the full pace where it is due."""
        with self._state:
            if started < self._refused_at:
                return  # it says nothing of the pace since
            self._refusals = 0
            now = self._clock()
            if self._delay <= self._base or now - self._steady_since < PROBATION:
                return
            self._steady_since, self._held = now, self._delay
            if now - self._refused_at >= self._forget:
                self._delay = max(self._base, self._delay / self._stride)
                self._stride = min(self._stride**2, LONGEST_STRIDE)
            elif self._delay > self._refused * CLOSE_ENOUGH:
                self._delay = max(self._base, (self._delay + self._refused) / 2)

    def _slow_down(self, now: float) -> None:
        if self._delay < self._held:  # a step too far
            doubted_in_vain = now - self._refused_at >= self._forget
            self._forget = min(self._forget * 2, LONGEST_FORGET) if doubted_in_vain else self._forget
            delay = self._held
        else:
            self._held, self._forget = 0.0, FORGET
            delay = min(self._delay * SLOWER, SLOWEST)
        self._refused, self._delay, self._stride = self._delay, delay, STRIDE
        log.warning("rate limit met: now one request each %.2f s", self._delay)
