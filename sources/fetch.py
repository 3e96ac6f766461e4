"""Makes many calls of one source at once: worker threads share one client and hand over what they read."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from model.background import start
from model.errors import CallFailed
from model.text import counted
from sources.base import Call, wrong_shape_fails
from sources.http import Client, Stopped

log = logging.getLogger(__name__)
T = TypeVar("T")

LAST_ANSWERS = 0.5  # seconds after a stop during which answers already under way are still handed over
POLL = 0.1  # seconds between two checks whether the run was stopped


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How one call ended: with what was read from its answer, or an error; smaller calls may replace a failed one."""

    call: Call
    answer: T | None = None
    error: BaseException | None = None
    pieces: Sequence[Call] = ()  # the smaller calls that replace it


class Fetch(Generic[T]):
    """Iterates over the outcomes of calls, in the order in which they end; ends early when the client is stopped.

    `read` gets each call, the JSON of its answer, and the time when the answer was received. Workers wait until their
    outcome is taken, so that memory stays flat even if the caller is slow. Leaving the `with` block early closes the
    client.
    """

    def __init__(self, client: Client, calls: Iterable[Call], read: Callable[[Call, Any, datetime], T]) -> None:
        self._client, self._read = client, read
        self._todo = deque(calls)
        self._open = len(self._todo)  # calls without an outcome
        self._change = threading.Condition()
        self._outcomes: queue.Queue[Outcome[T]] = queue.Queue(maxsize=2)
        self._left = threading.Event()
        self._broken: BaseException | None = None  # why a worker could not even hand over an outcome

    def __enter__(self) -> Self:
        source = self._client.source
        for number in range(min(source.MAX_IN_FLIGHT, len(self._todo))):
            try:  # daemon threads: the process may end while one of them still waits for an answer
                start(threading.Thread(target=self._work, name=f"{source.name}-{number}", daemon=True))
            except MemoryError as error:
                if number == 0:
                    raise
                log.warning("%s: only %s at a time: %s", source.name, counted(number, "request"), error)
                break
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        if self._open:
            self._client.close()
        with self._change:
            self._change.notify_all()

    def __iter__(self) -> Iterator[Outcome[T] | None]:
        """Each outcome; while the caller waits for one, None at intervals, so that it can do other work.

        Raises MemoryError where there is too little memory to hand over an outcome.
        """
        stopped_for = 0.0
        while self._open:
            try:
                outcome = self._outcomes.get(timeout=POLL)
            except queue.Empty:
                if self._broken is not None:
                    raise self._broken from None
                if self._client.stop.is_set():
                    stopped_for += POLL
                    if stopped_for >= LAST_ANSWERS:
                        return
                yield None
                continue
            with self._change:
                self._open -= 1
                self._change.notify_all()
            yield outcome

    def _work(self) -> None:
        try:
            while (call := self._next_call()) is not None:
                self._make(call)
        except BaseException as error:  # noqa: BLE001 (raised where the outcomes are taken)
            self._broken = (
                MemoryError(str(error)) if isinstance(error, RuntimeError) else error
            )  # "can't allocate lock"
        finally:
            self._client.close_connections()

    def _next_call(self) -> Call | None:
        """The next call; waits while calls under way may still be split into smaller ones. None when all have ended."""
        with self._change:
            while self._open and not self._left.is_set() and not self._client.stop.is_set():
                if self._todo:
                    return self._todo.popleft()
                self._change.wait(POLL)
            return None

    def _make(self, call: Call) -> None:
        """Make a call and hand over its outcome. The client holds back other answers until this one is taken."""
        try:
            self._client.get(call, lambda *given: self._hand_over(Outcome(call, self._read(*given))))
        except CallFailed as error:
            pieces = self._client.pieces(call, error)
            with self._change:
                self._todo.extendleft(reversed(pieces))  # next in line: answers of good halves show that the API is up
                self._open += len(pieces)
                self._change.notify_all()
            self._hand_over(Outcome(call, error=error, pieces=pieces))
        except Stopped:
            return
        except BaseException as error:  # noqa: BLE001 (SourceStopped or a bug: the caller decides what to do)
            self._hand_over(Outcome(call, error=error))

    def _hand_over(self, outcome: Outcome[T]) -> None:
        while not self._left.is_set():
            with suppress(queue.Full):
                self._outcomes.put(outcome, timeout=POLL)
                return


def read_all(
    client: Client, calls: Iterable[Call], read: Callable[[Call, Any], T]
) -> tuple[dict[Call, T], dict[Call, str]]:
    """What was read from each answered call, and why the others failed; raises SourceStopped."""
    answers: dict[Call, T] = {}
    failed: dict[Call, str] = {}

    def keep(call: Call, payload: Any, _: datetime) -> None:
        with wrong_shape_fails(call):
            answers[call] = read(call, payload)

    with Fetch(client, dict.fromkeys(calls), keep) as outcomes:
        for outcome in filter(None, outcomes):
            if isinstance(outcome.error, CallFailed):
                failed[outcome.call] = str(outcome.error)
            elif outcome.error:
                raise outcome.error
    return answers, failed
