"""What needs attention, as `status` and messages say it: each problem with its reason and its remedy."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

from model.settings import DOTENV, MAIN, SCHEDULER_COMMAND
from model.text import counted, moment
from pipeline.freshness import SeriesState
from pipeline.health import Health, SchedulerState, SourceHealth
from pipeline.identities import changed_text, remedy_text
from pipeline.run_health import RunState
from pipeline.waiting_restatements import waiting_remedy, waiting_text

WAITING_NAMED = 3  # restatements of a source
SEE_LOG = "log: journalctl -u crypto-metrics"
START_IT = f"start it: systemctl start crypto-metrics, or {SCHEDULER_COMMAND}"
RESTART_IT = "restart the scheduler: systemctl restart crypto-metrics"
LEAVE_IT_OUT = "start the scheduler without this source: scheduler.py --source …"


class Kind(StrEnum):
    """The kind of a problem; the text is the one of the table notified."""

    SCHEDULER = "scheduler"
    CONFIGURATION = "configuration"  # the key and the config of a source
    IDENTITY = "identity"  # the API means another asset by a row of the config
    WAITING = "waiting"  # a restatement waits for a person
    RUNS = "runs"
    FRESHNESS = "freshness"


class Problem(NamedTuple):
    """Something that needs attention."""

    kind: Kind
    what: str
    reason: str  # empty if it is not known
    remedy: str  # if it has several lines, each stays on a line of its own
    about: str = ""  # which of several problems of its kind this is: a variable, a file, an asset, a series or a verb

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.what, self.reason))) + f"; {self.remedy}"


def scheduler_problem(health: Health) -> Problem | None:
    """Why no scheduler is alive; None if one is."""
    match health.scheduler:
        case SchedulerState.NONE:
            return Problem(Kind.SCHEDULER, "no scheduler has ever run here", "", START_IT)
        case SchedulerState.DEAD:
            return Problem(Kind.SCHEDULER, "no scheduler is alive", "", f"{START_IT}; {SEE_LOG}")
        case SchedulerState.HUNG if health.beat:
            last = moment(health.beat.beaten_at)
            what = f"pid {health.beat.pid} is hung: its last heartbeat was at {last}"
            return Problem(Kind.SCHEDULER, what, "", f"{RESTART_IT}; {SEE_LOG}")
    return None


def source_problems(health: SourceHealth) -> Iterator[Problem]:
    """What is wrong with a source; of the restatements that wait, the first few are named."""
    return few_waiting(health.source, every_problem(health))


def few_waiting(source: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """The same problems of a source, with one problem in place of all but the first few restatements that wait."""
    kept = list(problems)
    unnamed = [each for each in kept if each.kind is Kind.WAITING][WAITING_NAMED:]
    for each in kept:
        if unnamed and each is unnamed[0]:
            what = f"and {counted(len(unnamed), 'more series waits', 'more series wait')} for a person"
            yield Problem(Kind.WAITING, what, "", f"{MAIN} check {source}")
        elif each not in unnamed:
            yield each


def every_problem(health: SourceHealth) -> Iterator[Problem]:
    """All that is wrong with the key, the config, the runs and the series of a source."""
    if key := health.missing_key:
        remedy = f"write {key}=… into {DOTENV} and {RESTART_IT}; or {LEAVE_IT_OUT}"
        yield Problem(Kind.CONFIGURATION, "it needs a key", "", remedy, key)
    if errors := health.config_errors:
        what = f"{counted(len(errors), 'line')} of its config can't be used"
        remedy = f"correct the config; {MAIN} check shows all that is wrong with it"
        yield Problem(Kind.CONFIGURATION, what, errors[0], remedy, "config")
    for each in health.changed:
        what = f"{each.asset}: {changed_text(each)}"
        yield Problem(Kind.IDENTITY, what, "", remedy_text(health.source, each), each.asset)
    for waits in health.waiting:
        what, remedy = waiting_text(health.source, waits), waiting_remedy(health.source, waits)
        yield Problem(Kind.WAITING, what, "", remedy, f"{waits.asset} {waits.metric}")
    yield from _run_problems(health)
    yield from _freshness_problems(health)


def _run_problems(health: SourceHealth) -> Iterator[Problem]:
    for run in health.runs:
        verb, last = run.scheduled.verb, run.last
        manual_run = f"run it manually: {MAIN} {verb} {health.source}; {SEE_LOG}"
        match run.state:
            case RunState.FAILING:
                retry = "retrying now" if run.running else f"next retry {moment(run.next)}" if run.next else "no retry"
                times = counted(last.failures, "time")
                what = f"{verb} has failed {times} since {moment(last.failing_since)} ({retry})"
                yield Problem(Kind.RUNS, what, last.failure or "the log says why", manual_run, verb.value)
            case RunState.OVERDUE:
                what = f"{verb} is overdue: the run of {moment(run.slot)} has not started"
                yield Problem(Kind.RUNS, what, "", manual_run, verb.value)
            case RunState.SLOW:
                what = f"{verb} has been running since {moment(last.running_since)}"
                yield Problem(Kind.RUNS, what, "", f"if its log has stopped, {RESTART_IT}; {SEE_LOG}", verb.value)


def _freshness_problems(health: SourceHealth) -> Iterator[Problem]:
    found = health.freshness
    if stale := found.count(SeriesState.STALE):
        named = ", ".join(f"{each.asset} {each.metric} ({each.newest:%Y-%m-%d})" for each in found.stalest)
        what = counted(stale, "series is stale", "series are stale")
        remedy = f"see what is missing: {MAIN} gaps {health.source}; {SEE_LOG}"
        yield Problem(Kind.FRESHNESS, f"{what}, newest point of the oldest", named, remedy)
    if found.stalled:
        what = f"no series has had a new point since {found.stalled}"
        remedy = f"see the site of the API; {SEE_LOG}"
        yield Problem(Kind.FRESHNESS, what, "the API answers, but has nothing newer", remedy)
