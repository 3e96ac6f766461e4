"""The one client of the APIs: many requests in flight, one pace, bounded retries. Nothing else calls an API."""

import logging
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import requests

from model.errors import CallFailed, SourceStopped, TryFailed
from model.scrub import Secrets
from model.settings import VERSION
from model.text import printable
from sources.base import Answer, BaseSource, Call, Request
from sources.http_session import UNKNOWN_NAME, HttpSession, failure_text
from sources.json_body import PIECE, JsonBody, TooLarge
from sources.pace import Pace
from sources.retry import (
    LONGEST_PAUSE,
    MAX_THROTTLED,
    MAX_TRIES,
    THROTTLED,
    Verdict,
    backoff,
    http_date,
    retry_after,
    verdict,
)

log = logging.getLogger(__name__)
T = TypeVar("T")
Read = Callable[[Call, Any, datetime], T]  # takes a call, the JSON of its answer, and when the answer was received

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds; the SDK of Artemis allows 60 as well
LONGEST_ANSWER = 300.0  # seconds of one try, from the connection to the last byte; each byte restarts READ_TIMEOUT
LONGEST_THROTTLED = 1800.0  # seconds of nothing but 429, after which this run gives the source up
ALL_DOWN = 20  # calls that failed in a row, without an answer between them, after which the API counts as down
STOP_CHECK = 0.5  # seconds, during a wait, between two checks whether the run was stopped
MOST_CLOCK_ERROR = timedelta(hours=1)  # both APIs let a cache keep an answer for half an hour
SNIPPET = 120  # characters of an error body that a message shows
HEADERS = {"Accept": "application/json", "User-Agent": f"crypto-metrics/{VERSION}"}


class Stopped(Exception):
    """The run was stopped."""


class Client:
    """Gets the answers of one source. Thread-safe; each thread keeps its own connections alive.

    `stop` and `close` end every wait. Clients that share one rate limit share `pace`. `session`, `clock` (monotonic
    seconds), `sleep` and `now` (aware UTC) are for tests.
    """

    def __init__(
        self,
        source: BaseSource,
        stop: threading.Event,
        pace: Pace | None = None,
        *,
        session: Callable[[], HttpSession] = HttpSession,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.source, self.stop = source, stop
        self._session, self._clock, self._now = session, clock, now
        self._sleep_for = sleep or stop.wait
        self._pace = pace or Pace(source.delay(with_key=bool(source.key)), clock=clock)
        self._secrets = Secrets([source.key])
        self._local = threading.local()
        self._reading = threading.Lock()  # one answer at a time: the GIL allows no more anyway
        self._counting = threading.Lock()
        self._failed_in_a_row = 0
        self._throttled_since: float | None = None  # on the clock; None after any other answer than a 429
        self._end_reason: SourceStopped | Stopped | None = None  # why no further request is sent

    def answer(self, call: Call) -> Answer:
        """The checked points of one call; paced, retried, and raising as `get` does."""
        return self.get(call, self.source.answer)

    def get(self, call: Call, read: Read[T]) -> T:
        """What `read` returns for the answer to a call; paced and retried.

        Only one answer is read at a time, so `read` may block to keep memory flat. Raises CallFailed if this call gets
        no answer, SourceStopped if no call of the source will get one, Stopped, and what `read` raises.
        """
        request = self.source.request(call)
        faults = throttled = 0
        while True:
            started = self._pace.wait(self._sleep)
            self._check()
            try:
                return self._try(call, request, started, read)
            except TryFailed as error:
                fault = error
            except TooLarge as error:
                raise CallFailed(f"{call}: {error}", status=200) from error
            except MemoryError as error:
                raise CallFailed(f"{call}: there is too little memory for the answer", status=200) from error
            if fault.status == THROTTLED:
                throttled += 1
                if throttled >= MAX_THROTTLED:
                    raise CallFailed(f"{call}: HTTP 429, {throttled} times", status=THROTTLED)
                continue  # the pace makes the next try wait
            faults += 1
            if faults >= MAX_TRIES:
                failed = CallFailed(f"{call}: {fault} ({faults} tries)", status=fault.status)
                if not self.pieces(call, failed):  # else the smaller calls will show whether the API is down
                    self._count_failed(fault)
                raise failed
            log.debug("%s: %s: retrying", call, fault)
            self._sleep(backoff(faults))

    def pieces(self, call: Call, error: CallFailed) -> list[Call]:
        """The smaller calls that replace a call to which the server keeps answering an error of its own (HTTP 5xx)."""
        return self.source.split(call) if error.status is not None and error.status >= 500 else []

    def close(self) -> None:
        """Let no further request start; calls under way end as Stopped, or with the answer that they are reading."""
        self._end_reason = self._end_reason or Stopped()

    def close_connections(self) -> None:
        """Close the connections of this thread."""
        session: HttpSession | None = self._local.__dict__.pop("session", None)
        if session is not None:
            session.close()

    def _try(self, call: Call, request: Request, started: float, read: Read[T]) -> T:
        """One try. Raises TryFailed for an answer worth a retry, TooLarge, else CallFailed or SourceStopped."""
        with JsonBody() as body:
            found, response, what = self._exchange(request, body, started)
            if found is Verdict.GOOD:
                received = self._now()
                with self._reading:
                    payload = body.read(call.extract)
                    self._failed_in_a_row = 0
                    return read(call, payload, received)
        if found is Verdict.THROTTLED:
            self._slow_down(response, started)
        if found in (Verdict.THROTTLED, Verdict.FAULT):
            raise TryFailed(what, status=response.status_code)
        if found is Verdict.KEY_REFUSED:
            remedy = f"check {self.source.KEY_VARIABLE} in the environment or .env"
            raise self._stop_source(f"{self.source.name} refuses the key ({what}): {remedy}")
        self._failed_in_a_row = 0
        raise CallFailed(f"{call}: {what}", status=response.status_code)

    def _exchange(self, request: Request, body: JsonBody, started: float) -> tuple[Verdict, requests.Response, str]:
        """Send a request and load the body of a good answer; of any other answer the text is returned as well.

        Takes LONGEST_ANSWER at most. Raises TryFailed if no complete answer comes, and TooLarge.
        """
        if not hasattr(self._local, "session"):
            self._local.session = self._session()
        session: HttpSession = self._local.session
        send = partial(session.get, headers={**HEADERS, **request.headers}, timeout=(CONNECT_TIMEOUT, READ_TIMEOUT))
        sent = self._now()
        try:
            with session.deadline(LONGEST_ANSWER), send(request.url, params=request.params, stream=True) as response:
                found = verdict(response.status_code, html=_is_html(response))
                if found in (Verdict.GOOD, Verdict.WRONG):
                    self._pace.accepted(started)
                    self._throttled_since = None
                if found is not Verdict.GOOD:
                    return found, response, f"HTTP {response.status_code}: {self._snippet(response)}"
                self._check_clock(response, sent)
                for piece in response.iter_content(PIECE):
                    body.write(piece)
        except requests.RequestException as error:
            if not session.broken_off:
                raise TryFailed(failure_text(error)) from None
        finally:
            if session.broken_off:
                self.close_connections()
        if session.broken_off:
            raise TryFailed(f"no complete answer after {LONGEST_ANSWER:.0f} s")
        return found, response, ""

    def _check_clock(self, response: requests.Response, sent: datetime) -> None:
        """Stop the source where the clock of this machine is wrong, since it decides which days are over."""
        date = http_date(response.headers.get("Date", "")) or sent
        age = re.fullmatch(r"\d{1,9}", response.headers.get("Age", ""), re.ASCII)  # in seconds, of a cache's copy
        copied = timedelta(seconds=int(age[0]) if age else 0)
        for error, where in ((sent - date - copied, "ahead of"), (date - self._now(), "behind")):
            if error > MOST_CLOCK_ERROR:
                hours = f"{error / timedelta(hours=1):.1f} hours"
                raise self._stop_source(
                    f"the clock of this machine is {hours} {where} that of {self.source.name}: correct it"
                )

    def _count_failed(self, fault: TryFailed) -> None:
        """Stop the source once too many calls in a row have failed."""
        with self._counting:
            self._failed_in_a_row += 1
        if self._failed_in_a_row >= ALL_DOWN:
            why = f"looks down: {ALL_DOWN} calls in a row failed: try again later"
            if UNKNOWN_NAME in str(fault):
                why = "can't be found by its name: check the network and the DNS of this machine"
            self._stop_source(f"{self.source.name} {why}")

    def _slow_down(self, response: requests.Response, started: float) -> None:
        pause = retry_after(response.headers, self._now())
        if pause is not None and pause > LONGEST_PAUSE:
            raise self._stop_source(f"{self.source.name} asks to wait {pause / 60:.0f} minutes: try again later")
        now = self._clock()
        self._throttled_since = now if self._throttled_since is None else self._throttled_since
        if now - self._throttled_since > LONGEST_THROTTLED:
            raise self._stop_source(
                f"{self.source.name} has answered only 429 for {LONGEST_THROTTLED / 60:.0f} minutes: try again later"
            )
        self._pace.refused(started, pause)

    def _stop_source(self, message: str) -> SourceStopped:
        """Send no further request; returns the error with which this call, every waiting and every later one ends."""
        self._end_reason = self._end_reason or SourceStopped(message)
        return SourceStopped(message)

    def _sleep(self, seconds: float) -> None:
        while seconds > 0:
            self._check()
            self._sleep_for(min(seconds, STOP_CHECK))
            seconds -= STOP_CHECK
        self._check()

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped
        if self._end_reason is not None:
            raise type(self._end_reason)(*self._end_reason.args)  # a new instance: each thread adds its traceback

    def _snippet(self, response: requests.Response) -> str:
        """The beginning of an error body, in one line, without the key, which some servers repeat."""
        if _is_html(response):
            return "an HTML page from the proxy in front of the API"
        try:
            text = next(response.iter_content(400), b"").decode("utf-8", "replace")
        except requests.RequestException as error:
            return failure_text(error)
        return " ".join(printable(self._secrets.hide(text)).split())[:SNIPPET] or "no text"


def _is_html(response: requests.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower()
