"""Many calls of one source at once: worker threads over one client, answers handed over as they come."""

import queue
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from model.errors import CallFailed
from sources.base import Answer, Call
from sources.http import Client, Stopped

GRACE = 0.5  # seconds in which answers already under way still count after a stop
POLL = 0.1  # seconds between two looks at the stop


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended: with its answer, with an error, or replaced by smaller calls."""

    call: Call
    answer: Answer | None = None
    error: BaseException | None = None
    pieces: int = 0


class Flight:
    """Iterates over the outcomes of calls, in the order in which they end; ends early when the client is stopped.

    Answers that nobody has taken yet are few: workers wait with theirs, so memory stays flat when the taker is slow.
    Leaving the flight closes its client.
    """

    def __init__(self, client: Client, calls: Iterable[Call]) -> None:
        self._client = client
        self._todo = deque(calls)
        self._open = len(self._todo)  # calls without an outcome
        self._change = threading.Condition()
        self._outcomes: queue.Queue[Outcome] = queue.Queue(maxsize=2)
        self._left = threading.Event()

    def __enter__(self) -> Self:
        # daemons: a worker that sits in a read may outlive the run, but not the process
        for number in range(min(self._client.source.MAX_IN_FLIGHT, len(self._todo))):
            threading.Thread(target=self._work, name=f"{self._client.source.name}-{number}", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._client.close()
        with self._change:
            self._change.notify_all()

    def __iter__(self) -> Iterator[Outcome | None]:
        """Each outcome, and None now and then while there is none, so that the taker can do what is due."""
        stopped_for = 0.0
        while self._open:
            try:
                outcome = self._outcomes.get(timeout=POLL)
            except queue.Empty:
                if self._client.stop.is_set():
                    stopped_for += POLL
                    if stopped_for >= GRACE:
                        return
                yield None
                continue
            with self._change:
                self._open -= 1
                self._change.notify_all()
            yield outcome

    def _work(self) -> None:
        try:
            while (call := self._take()) is not None:
                if (ended := self._try(call)) is not None:
                    self._hand_over(ended)
        except Stopped:
            return
        finally:
            self._client.hang_up()

    def _take(self) -> Call | None:
        with self._change:
            while not self._todo and self._open and not self._over():
                self._change.wait(POLL)
            return None if self._over() or not self._todo else self._todo.popleft()

    def _try(self, call: Call) -> Outcome | None:
        """Make a call; the outcome, None for an answer, which has been handed over already."""
        try:
            return self._outcome(call)
        except Stopped:
            raise
        except BaseException as error:  # noqa: BLE001 (SourceStopped, or a bug: the taker decides)
            return Outcome(call, error=error)

    def _outcome(self, call: Call) -> Outcome | None:
        try:
            self._client.answer(call, lambda answer: self._hand_over(Outcome(call, answer=answer)))
        except CallFailed as error:
            pieces = self._client.pieces(call, error)
            if not pieces:
                return Outcome(call, error=error)
            with self._change:
                self._todo.extendleft(reversed(pieces))  # first, so that good halves answer between bad ones
                self._open += len(pieces)
                self._change.notify_all()
            return Outcome(call, error=error, pieces=len(pieces))
        return None

    def _hand_over(self, outcome: Outcome) -> None:
        while not self._left.is_set():
            try:
                self._outcomes.put(outcome, timeout=POLL)
            except queue.Full:
                continue
            return

    def _over(self) -> bool:
        return self._left.is_set() or self._client.stop.is_set()
