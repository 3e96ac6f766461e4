"""The one HTTP client: many requests in flight, one pace, bounded retries. Nothing else touches the network."""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any, TypeVar
from urllib.parse import quote

import ijson
import requests

from model.errors import CallFailed, SourceStopped
from sources.base import Answer, BaseSource, Call, Request
from sources.pace import Pace
from sources.retry import LONGEST_PAUSE, MAX_REFUSALS, MAX_TRIES, Verdict, backoff, retry_after, verdict

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds; the SDK of Artemis allows 60 as well
LONGEST_ANSWER = 300.0  # seconds for a whole body, as the read time-out starts anew with each byte
MAX_BODY = 256 * 2**20  # bytes after decompression; the largest real answers are some tens of MB
IN_MEMORY = 4 * 2**20  # bytes of a body before it goes to a temporary file
LONGEST_REFUSAL = 1800.0  # seconds of answers that are all 429, after which the source is left to the next run
ALL_DOWN = 20  # calls given up in a row, none answered between them, after which the API counts as down
LOOK = 0.5  # seconds of a wait between two looks at whether the source is over
HEADERS = {"Accept": "application/json", "User-Agent": "crypto-metrics/1.0"}


class Stopped(Exception):
    """The run was told to stop."""


class _Session(requests.Session):
    """Takes a redirect as an answer; requests would read its body, of any size, to see where it leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""


class _Throttled(Exception):
    """A 429, after which the pace is another."""


class _Fault(Exception):
    """A passing fault of one try."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Gets the answers of one source. Thread-safe; each thread keeps its own connections alive.

    `stop` and `close` end every wait. `pace` is shared by the clients that one limit holds for; `session`, `clock`
    (monotonic seconds), `sleep` and `now` (aware UTC) can be handed in.
    """

    def __init__(
        self,
        source: BaseSource,
        stop: threading.Event,
        pace: Pace | None = None,
        *,
        session: Callable[[], requests.Session] = _Session,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.source, self.stop = source, stop
        self._session, self._clock, self._now = session, clock, now
        self._sleep_for = sleep or stop.wait
        self._pace = pace or Pace(source.REQUEST_DELAY, clock=clock)
        self._local = threading.local()
        self._decoding = threading.Lock()  # one body at a time: the GIL allows no more anyway
        self._counting = threading.Lock()
        self._given_up = 0  # calls in a row
        self._refused_since: float | None = None  # on the clock; None once anything was answered
        self._over: SourceStopped | Stopped | None = None  # why nothing is sent any more

    def answer(self, call: Call, taker: Callable[[Answer], None] = lambda _: None) -> Answer:
        """The points of one call, asked for as of `get`.

        `taker` gets them first. While it makes the answer wait, no other body is read into memory, so what is parsed
        and not taken stays little, however many requests are under way.
        """

        def read(payload: Any, received: datetime) -> Answer:
            answer = self.source.answer(call, payload, received)
            taker(answer)
            return answer

        return self.get(call, read)

    def get(self, call: Call, read: Callable[[Any, datetime], T]) -> T:
        """What `read` makes of a call's JSON and the aware UTC time when it was received; paced and retried.

        Raises CallFailed where this call has no answer, SourceStopped where no call of the source will have one,
        Stopped, and what `read` raises.
        """
        request = self.source.request(call)
        faults = refusals = 0
        while True:
            started = self._wait_for_turn()
            try:
                response = self._send(request)
            except requests.RequestException as error:
                fault = _Fault(_reason(error))
            else:
                with response:
                    try:
                        return self._judge(call, response, started, read)
                    except _Fault as error:
                        fault = error
                    except _Throttled as error:
                        refusals += 1
                        if refusals >= MAX_REFUSALS:
                            raise CallFailed(f"{call}: HTTP 429, {refusals} times", status=429) from error
                        continue
            faults += 1
            if faults >= MAX_TRIES:
                given_up = CallFailed(f"{call}: {fault} ({faults} tries)", status=fault.status)
                if not self.pieces(call, given_up):  # smaller calls will tell whether the API is down
                    self._count_given_up()
                raise given_up
            log.debug("%s: %s, trying again", call, fault)
            self._sleep(backoff(faults))

    def pieces(self, call: Call, error: CallFailed) -> list[Call]:
        """The smaller calls in place of one that the server itself keeps failing."""
        return self.source.split(call) if error.status is not None and error.status >= 500 else []

    def close(self) -> None:
        """Let no request start any more; calls under way end as Stopped, or with the answer that they are reading."""
        self._over = self._over or Stopped()

    def hang_up(self) -> None:
        """Close the connections of this thread."""
        session: requests.Session | None = self._local.__dict__.pop("session", None)
        if session is not None:
            session.close()

    def _judge(self, call: Call, response: requests.Response, started: float, read: Callable[[Any, datetime], T]) -> T:
        """The answer. Raises _Throttled and _Fault for what may pass, CallFailed and SourceStopped for what won't."""
        status = response.status_code
        html = "html" in response.headers.get("Content-Type", "").lower()
        found = verdict(status, html=html)
        if found in (Verdict.GOOD, Verdict.WRONG):
            self._pace.accepted(started)
            self._refused_since = None
        if found is Verdict.GOOD:
            return self._decode(call, response, read)
        said = f"HTTP {status}: {self._snippet(response, html=html)}"
        if found is Verdict.THROTTLED:
            self._cool_down(response, started)
            raise _Throttled
        if found is Verdict.FAULT:
            raise _Fault(said, status)
        if found is Verdict.REFUSED:
            raise self._ended(f"{self.source.name} refuses the key ({said}): {self.source.remedy()}")
        self._given_up = 0
        raise CallFailed(f"{call}: {said}", status=status)

    def _decode(self, call: Call, response: requests.Response, read: Callable[[Any, datetime], T]) -> T:
        """Read the body and what it says; raises _Fault where it is cut off or no JSON."""
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            try:
                size, deadline = 0, self._clock() + LONGEST_ANSWER
                for chunk in response.iter_content(2**16):
                    size += len(chunk)
                    if size > MAX_BODY:
                        raise CallFailed(f"{call}: the body passes {MAX_BODY >> 20} MB", status=200)
                    body.write(chunk)
                    if self._clock() > deadline:
                        raise _Fault(f"the body has not ended after {LONGEST_ANSWER:.0f} s")
            except requests.RequestException as error:
                raise _Fault(_reason(error)) from error
            received = self._now()
            body.seek(0)
            with self._decoding:
                return read(self._parsed(body, size, call), received)

    def _parsed(self, body: IO[bytes], size: int, call: Call) -> Any:
        payload = _parse(body, size, call.extract)
        self._given_up = 0
        return payload

    def _send(self, request: Request) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = self._session()
            self._local.session.headers.update(HEADERS)
        response: requests.Response = self._local.session.get(
            request.url,
            params=request.params,
            headers=request.headers,
            timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
            stream=True,
            allow_redirects=False,
        )
        return response

    def _cool_down(self, response: requests.Response, started: float) -> None:
        asked = retry_after(response.headers, self._now())
        if asked is not None and asked > LONGEST_PAUSE:
            raise self._ended(f"{self.source.name} asks to wait {asked / 60:.0f} minutes: try again later")
        now = self._clock()
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now - self._refused_since > LONGEST_REFUSAL:
            raise self._ended(f"{self.source.name} has answered only 429 for {LONGEST_REFUSAL / 60:.0f} minutes")
        self._pace.refused(started, asked)

    def _count_given_up(self) -> None:
        with self._counting:
            self._given_up += 1
            if self._given_up >= ALL_DOWN:
                self._ended(f"{self.source.name} looks down: {ALL_DOWN} calls in a row were given up")

    def _ended(self, message: str) -> SourceStopped:
        """The error with which this call, and every one that waits or is still to come, ends."""
        self._over = self._over or SourceStopped(message)
        return SourceStopped(message)

    def _wait_for_turn(self) -> float:
        started = self._pace.wait(self._sleep)
        self._check()
        return started

    def _sleep(self, seconds: float) -> None:
        while seconds > 0:
            self._check()
            self._sleep_for(min(seconds, LOOK))
            seconds -= LOOK
        self._check()

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped
        if self._over is not None:
            raise type(self._over)(*self._over.args)  # its own instance: each thread adds its traceback

    def _snippet(self, response: requests.Response, *, html: bool) -> str:
        """The first words of an error body, in one line, without the key that some servers repeat."""
        if html:
            return "a page of HTML, as the proxy in front of the API sends it"
        try:
            text = next(response.iter_content(400), b"").decode("utf-8", "replace")
        except requests.RequestException as error:
            return _reason(error)
        for form in (self.source.key, quote(self.source.key, safe="")):
            text = text.replace(form, "***") if form else text
        return " ".join(text.split())[:120] or "no text"


def _parse(body: IO[bytes], size: int, extract: str) -> Any:
    """The JSON of a body, or the value of one key of its outermost object; raises _Fault where it is none."""
    if not size:
        raise _Fault("HTTP 200 with an empty body")
    try:
        return _extract(body, extract) if extract else json.load(body)
    except (ValueError, RecursionError) as error:
        raise _Fault(f"HTTP 200, but the body is cut off or no JSON: {error}") from error


def _extract(body: IO[bytes], key: str) -> Any:
    """The value of one key; None where it is missing, whose use then fails as a wrong shape. Raises ValueError."""
    try:
        return next(ijson.items(body, key, use_float=True), None)
    except ijson.JSONError:  # also for numbers that only Python reads: NaN, and integers past 64 bits
        body.seek(0)
        payload = json.load(body)
        return payload.get(key) if isinstance(payload, dict) else None


def _reason(error: requests.RequestException) -> str:
    """What went wrong on the way, without the URL that requests writes into its messages."""
    cause: object = error
    while isinstance(
        inner := getattr(cause, "reason", None) or next(iter(getattr(cause, "args", ())), None), Exception
    ):
        cause = inner
    return type(error).__name__ if cause is error else f"{type(error).__name__}, {type(cause).__name__}"
