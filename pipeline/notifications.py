"""The messages to the webhook: one when a source begins to need attention, and one when it is well again.

The table notified remembers what was reported, so nothing is reported twice. If a message is not delivered, the next
check sends the state of that time.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from db.database import Database
from db.notified import Reported, notified, set_notified
from db.session import KeptSession
from db.statements import in_transaction
from model.errors import NotDelivered
from model.scrub import scrubbed
from model.settings import MAIN, Settings
from model.text import printable
from pipeline.freshness import SeriesState
from pipeline.health import Health, SourceHealth, diagnose
from pipeline.problems import Kind, Problem, every_problem, few_waiting
from pipeline.webhook import Message, Status, Webhook

REASON_SHOWN = 300  # characters of why a run failed
# Problems that mostly have one cause: no second one of a kind is reported, and their end only once all have ended.
WITH_ONE_CAUSE = frozenset({Kind.RUNS.value, Kind.FRESHNESS.value})
ENDED = {
    Kind.CONFIGURATION: "its key and its config can be used again",
    Kind.IDENTITY: "no row of its config means another asset any more",
    Kind.WAITING: "nothing waits for a decision any more",
    Kind.RUNS: "no run is failing or late any more",
    Kind.FRESHNESS: "no series is stale any more",
}


class Changes(NamedTuple):
    """What has changed in a source since its last message."""

    begun: list[Problem]
    ended: list[Kind]  # kinds that were reported, and of which no problem is left
    reported: frozenset[Reported]  # the open problems that a message has reported, once this one is delivered


def changes_of(health: SourceHealth, reported: AbstractSet[Reported]) -> Changes:
    """What has changed in a source of which these problems have been reported.

    A reported problem counts as ended only when no run, restart or missing key could bring it back.
    """
    problems = {(each.kind.value, each.about): each for each in every_problem(health)}
    still = reported if health.missing_key else reported & (problems.keys() | _open_questions(health))
    kinds = {kind for kind, _ in still}
    begun = [
        problem
        for (kind, about), problem in problems.items()
        if (kind, about) not in still and not (kind in WITH_ONE_CAUSE and kind in kinds)
    ]
    now = frozenset(still | problems.keys())
    left = {kind for kind, _ in now}
    ended = {kind for kind, _ in reported} - left - (WITH_ONE_CAUSE if left & WITH_ONE_CAUSE else set())
    return Changes(begun, [kind for kind in ENDED if kind in ended], now)


def message_of(source: str, changes: Changes, scrub: Callable[[str], str]) -> Message | None:
    """The message with the changes in a source; None without any. Secrets are hidden before a text is cut."""
    lines = []
    for problem in few_waiting(source, changes.begun):
        shown: Problem = scrubbed(problem, scrub)
        reason = shown.reason if len(shown.reason) <= REASON_SHOWN else f"{shown.reason[:REASON_SHOWN]}…"
        lines += [f"! {source}: {shown.what}{':' if reason else ''}", reason, *shown.remedy.splitlines()]
    lines += [f"{source}: {ENDED[kind]}" for kind in changes.ended]
    if not lines:
        return None
    if changes.begun:
        title, status = f"{source} needs attention", Status.PROBLEM
    elif changes.reported:
        title, status = f"{source} is well again in part", Status.PROBLEM
        lines.append(f"what still needs attention: {MAIN} status")
    else:
        title, status = f"{source} is well again", Status.WELL
    return Message(title, "\n".join(map(printable, filter(None, lines))), status, source)


class Notifier:
    """Sends the changes in each source to a webhook; has a session of its own."""

    def __init__(self, database: Database, settings: Settings, webhook: Webhook, scrub: Callable[[str], str]) -> None:
        self._kept = KeptSession(database, "notify")
        self._settings, self._webhook, self._scrub = settings, webhook, scrub

    def check(self) -> None:
        """Send one message for each source with changes.

        Raises NotDelivered after the last source, or as KeptSession.do_once does; the next check sends what is missing.
        """
        health, reported = self._do(self._read)
        failures = []
        for each in health.sources:
            before = reported.get(each.source, frozenset())
            changes = changes_of(each, before)
            if message := message_of(each.source, changes, self._scrub):
                try:
                    self._webhook.send(message)
                except NotDelivered as error:
                    failures.append(f"{each.source}: {error}")
                    continue
            if changes.reported != before:
                self._do(lambda cursor: set_notified(cursor, each.source, changes.reported))  # noqa: B023 - done at once
        if failures:
            raise NotDelivered("; ".join(failures))

    def close(self) -> None:
        """End the session."""
        self._kept.close()

    def _read(self, cursor: Any) -> tuple[Health, dict[str, frozenset[Reported]]]:
        return diagnose(cursor, self._settings), notified(cursor)

    def _do(self, work: Callable[[Any], Any]) -> Any:
        return self._kept.do_once(lambda session: in_transaction(session, work))


def _open_questions(health: SourceHealth) -> set[Reported]:
    """The problems of which it is not known yet whether they have ended."""
    open_questions = {(Kind.RUNS.value, each.scheduled.verb.value) for each in health.runs if each.unfinished}
    if health.freshness.count(SeriesState.AWAITED):
        open_questions.add((Kind.FRESHNESS.value, ""))
    return open_questions
