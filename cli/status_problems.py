"""What needs attention, as `status` says it: each problem with its reason and its remedy."""

from collections.abc import Iterator
from typing import NamedTuple

from model.text import counted, moment
from pipeline.freshness import SeriesState
from pipeline.health import Health, SchedulerState, SourceHealth
from pipeline.identities import changed_text, remedy_text
from pipeline.run_health import RunState
from pipeline.waiting_restatements import waiting_remedy, waiting_text

WAITING_NAMED = 3  # restatements of a source
SEE_LOG = "log: journalctl -u crypto-metrics"
START_IT = "start it: systemctl start crypto-metrics, or python scheduler.py"
RESTART_IT = "restart the scheduler: systemctl restart crypto-metrics"
LEAVE_IT_OUT = "start the scheduler without this source: scheduler.py --source …"


class Problem(NamedTuple):
    """Something that needs attention."""

    what: str
    reason: str  # empty if it is not known
    remedy: str  # if it has several lines, each stays on a line of its own

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.what, self.reason))) + f"; {self.remedy}"


def scheduler_problem(health: Health) -> Problem | None:
    """Why no scheduler is alive; None if one is."""
    match health.scheduler:
        case SchedulerState.NONE:
            return Problem("no scheduler has ever run here", "", START_IT)
        case SchedulerState.DEAD:
            return Problem("no scheduler is alive", "", f"{START_IT}; {SEE_LOG}")
        case SchedulerState.HUNG if health.beat:
            last = moment(health.beat.beaten_at)
            what = f"pid {health.beat.pid} is hung: its last heartbeat was at {last}"
            return Problem(what, "", f"{RESTART_IT}; {SEE_LOG}")
    return None


def source_problems(health: SourceHealth) -> Iterator[Problem]:
    """What is wrong with the key, the config, the runs and the series of a source."""
    if key := health.missing_key:
        yield Problem("it needs a key", "", f"write {key}=… into .env and {RESTART_IT}; or {LEAVE_IT_OUT}")
    if errors := health.config_errors:
        what = f"{counted(len(errors), 'line')} of its config can't be used"
        yield Problem(what, errors[0], "correct the config; python main.py check shows all that is wrong with it")
    for each in health.changed:
        yield Problem(f"{each.asset}: {changed_text(each)}", "", remedy_text(health.source, each))
    yield from _waiting_problems(health)
    for run in health.runs:
        verb, last = run.scheduled.verb, run.last
        manual_run = f"run it manually: python main.py {verb} {health.source}; {SEE_LOG}"
        match run.state:
            case RunState.FAILING:
                retry = "retrying now" if run.running else f"next retry {moment(run.next)}" if run.next else "no retry"
                times = counted(last.failures, "time")
                what = f"{verb} has failed {times} since {moment(last.failing_since)} ({retry})"
                yield Problem(what, last.failure or "the log says why", manual_run)
            case RunState.OVERDUE:
                yield Problem(f"{verb} is overdue: the run of {moment(run.slot)} has not started", "", manual_run)
            case RunState.SLOW:
                what = f"{verb} has been running since {moment(last.running_since)}"
                yield Problem(what, "", f"if its log has stopped, {RESTART_IT}; {SEE_LOG}")
    found = health.freshness
    if stale := found.count(SeriesState.STALE):
        named = ", ".join(f"{each.asset} {each.metric} ({each.newest:%Y-%m-%d})" for each in found.stalest)
        what = counted(stale, "series is stale", "series are stale")
        remedy = f"see what is missing: python main.py gaps {health.source}; {SEE_LOG}"
        yield Problem(f"{what}, newest point of the oldest", named, remedy)
    if found.stalled:
        what = f"no series has had a new point since {found.stalled}"
        yield Problem(what, "the API answers, but has nothing newer", f"see the site of the API; {SEE_LOG}")


def _waiting_problems(health: SourceHealth) -> Iterator[Problem]:
    """The restatements that wait for a person."""
    for each in health.waiting[:WAITING_NAMED]:
        yield Problem(waiting_text(health.source, each), "", waiting_remedy(health.source, each))
    if (more := len(health.waiting) - WAITING_NAMED) > 0:
        what = f"and {counted(more, 'more series waits', 'more series wait')} for a person"
        yield Problem(what, "", f"python main.py check {health.source}")
