"""The one HTTP client: many requests in flight, one pace, bounded retries. Nothing else touches the network."""

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any

import ijson
import requests

from pipeline.errors import CallFailed, SourceStopped
from sources.base import Answer, BaseSource, Call, Request
from sources.pace import Pace
from sources.retry import MAX_REFUSALS, MAX_TRIES, Verdict, backoff, retry_after, verdict

log = logging.getLogger(__name__)

CONNECT_TIMEOUT, READ_TIMEOUT = 10.0, 60.0  # seconds; the SDK of Artemis allows 60 as well
MAX_BODY = 256 * 2**20  # bytes after decompression; the largest real answers are some tens of MB
IN_MEMORY = 4 * 2**20  # bytes of a body before it goes to a temporary file
LONGEST_PAUSE = 900.0  # seconds; an API that asks for more is left to the next run
ALL_DOWN = 20  # calls given up in a row, none answered between them, after which the API counts as down
HEADERS = {"Accept": "application/json", "User-Agent": "crypto-metrics/1.0"}


class Stopped(Exception):
    """The run was told to stop."""


class _Fault(Exception):
    """A passing fault of one try."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Gets the answers of one source. Thread-safe; each thread keeps its own connections alive.

    `stop` ends every wait; `session`, `clock` (monotonic seconds), `sleep` and `now` (aware UTC) can be handed in.
    """

    def __init__(
        self,
        source: BaseSource,
        stop: threading.Event,
        *,
        session: Callable[[], requests.Session] = requests.Session,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.source, self.stop = source, stop
        self._session, self._now = session, now
        self._sleep_for = sleep or stop.wait
        self._pace = Pace(source.REQUEST_DELAY, clock=clock, sleep=self._sleep)
        self._local = threading.local()
        self._decoding = threading.Lock()  # one parsed answer in memory at a time: the GIL allows no more anyway
        self._given_up = 0  # calls in a row
        self.requests = 0  # sent, retries included

    def answer(self, call: Call) -> Answer:
        """The answer of one call, paced and retried.

        Raises CallFailed where this call has no answer, SourceStopped where no call of the source will have one,
        and Stopped.
        """
        if self._given_up >= ALL_DOWN:
            raise SourceStopped(f"{self.source.name} looks down: {ALL_DOWN} calls in a row were given up")
        try:
            answer = self._persist(call)
        except CallFailed as error:
            if error.status is None or error.status >= 500:
                self._given_up += 1
            raise
        self._given_up = 0
        return answer

    def _persist(self, call: Call) -> Answer:
        """Try until there is an answer or the tries are used up."""
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
                        answer = self._judge(call, response, started)
                    except _Fault as error:
                        fault = error
                    else:
                        if answer is not None:
                            return answer
                        refusals += 1
                        if refusals >= MAX_REFUSALS:
                            raise CallFailed(f"{call}: HTTP 429, {refusals} times", status=429)
                        self._cool_down(response, refusals)
                        continue
            faults += 1
            if faults >= MAX_TRIES:
                raise CallFailed(f"{call}: {fault} ({faults} tries)", status=fault.status)
            log.debug("%s: %s, trying again", call, fault)
            self._sleep(backoff(faults))

    def _judge(self, call: Call, response: requests.Response, started: float) -> Answer | None:
        """The answer; None for a 429. Raises _Fault for what may pass, CallFailed and SourceStopped for what won't."""
        status = response.status_code
        html = "html" in response.headers.get("Content-Type", "").lower()
        found = verdict(status, html=html)
        if found is Verdict.THROTTLED:
            self._pace.refused(started)
            return None
        if found is Verdict.GOOD:
            answer = self._decode(call, response)
            self._pace.accepted()
            return answer
        said = f"HTTP {status}: {_snippet(response, html=html)}"
        if found is Verdict.FAULT:
            raise _Fault(said, status)
        if found is Verdict.REFUSED:
            raise SourceStopped(f"{self.source.name} refuses the key ({said}): {self.source.remedy()}")
        raise CallFailed(f"{call}: {said}", status=status)

    def _decode(self, call: Call, response: requests.Response) -> Answer:
        """Read the body and what it says; raises _Fault where it is cut off or no JSON."""
        with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as body:
            try:
                size = 0
                for chunk in response.iter_content(2**16):
                    size += len(chunk)
                    if size > MAX_BODY:
                        raise CallFailed(f"{call}: the body passes {MAX_BODY >> 20} MB", status=200)
                    body.write(chunk)
                    self._check()
            except requests.RequestException as error:
                raise _Fault(_reason(error)) from error
            received = self._now()
            body.seek(0)
            with self._decoding:
                return self.source.answer(call, _parse(body, size, call.extract), received)

    def _send(self, request: Request) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = self._session()
            self._local.session.headers.update(HEADERS)
        self.requests += 1
        response: requests.Response = self._local.session.get(
            request.url,
            params=request.params,
            headers=request.headers,
            timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
            stream=True,
            allow_redirects=False,
        )
        return response

    def _cool_down(self, response: requests.Response, refusals: int) -> None:
        asked = retry_after(response.headers, self._now())
        pause = backoff(refusals) if asked is None else asked
        if pause > LONGEST_PAUSE:
            raise SourceStopped(f"{self.source.name} asks to wait {pause / 60:.0f} minutes: try again later")
        self._pace.pause(pause)

    def _wait_for_turn(self) -> float:
        self._check()
        return self._pace.wait()

    def _sleep(self, seconds: float) -> None:
        self._sleep_for(seconds)
        self._check()

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped


def _parse(body: IO[bytes], size: int, extract: str) -> Any:
    """The JSON of a body, or the value of one key of its outermost object; raises _Fault where it is none."""
    if not size:
        raise _Fault("HTTP 200 with an empty body")
    try:
        if not extract:
            return json.load(body)
        # a missing key gives None, whose use then fails as a wrong shape
        return next(ijson.items(body, extract, use_float=True), None)
    except (ValueError, ijson.JSONError) as error:
        raise _Fault(f"HTTP 200, but the body is cut off or no JSON: {error}") from error


def _snippet(response: requests.Response, *, html: bool) -> str:
    """The first words of an error body, in one line."""
    if html:
        return "a page of HTML, as the proxy in front of the API sends it"
    try:
        text = next(response.iter_content(400), b"").decode("utf-8", "replace")
    except requests.RequestException as error:
        return _reason(error)
    return " ".join(text.split())[:120] or "no text"


def _reason(error: requests.RequestException) -> str:
    """What went wrong on the way, without the URL that requests writes into its messages."""
    cause: object = error
    while isinstance(
        inner := getattr(cause, "reason", None) or next(iter(getattr(cause, "args", ())), None), Exception
    ):
        cause = inner
    return type(error).__name__ if cause is error else f"{type(error).__name__}, {type(cause).__name__}"
