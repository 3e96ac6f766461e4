"""What is wrong with the scheduler, its runs and the series, as sentences: what, why, and what to do now."""

from collections.abc import Iterator
from typing import NamedTuple

from cli.time_text import moment
from model.text import counted
from pipeline.freshness import Freshness, SeriesState
from pipeline.health import Health, SchedulerState, SourceHealth
from pipeline.run_health import RunHealth, RunState

SEE_LOG = "log: journalctl -u crypto-metrics"
START_IT = "start it: systemctl start crypto-metrics, or python scheduler.py"
RESTART_IT = "restart the scheduler: systemctl restart crypto-metrics"


class Problem(NamedTuple):
    """Something that needs attention."""

    what: str
    reason: str  # empty if it is not known
    remedy: str

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


def source_problems(health: SourceHealth) -> list[Problem]:
    """What is wrong with the runs and the series of a source."""
    runs = (_run_problem(each) for each in health.runs)
    return [*filter(None, runs), *_freshness_problems(health.freshness, health.source)]


def _run_problem(run: RunHealth) -> Problem | None:
    verb, last = run.duty.verb, run.last
    by_hand = f"run it by hand: python main.py {verb} {run.duty.source}; {SEE_LOG}"
    match run.state:
        case RunState.FAILING:
            retry = "retrying now" if run.running else f"next try {moment(run.next)}" if run.next else "no retry"
            tries = counted(last.failures, "try", "tries")
            what = f"{verb} has been failing since {moment(last.failing_since)} ({tries}, {retry})"
            return Problem(what, last.failure or "the log says why", by_hand)
        case RunState.OVERDUE:
            return Problem(f"{verb} is overdue: the run of {moment(run.slot)} has not started", "", by_hand)
        case RunState.SLOW:
            what = f"{verb} has been running since {moment(last.running_since)}"
            return Problem(what, "", f"if its log has stopped, {RESTART_IT}; {SEE_LOG}")
    return None


def _freshness_problems(found: Freshness, source: str) -> Iterator[Problem]:
    if stale := found.count(SeriesState.STALE):
        named = ", ".join(f"{each.asset} {each.metric} ({each.newest:%Y-%m-%d})" for each in found.stalest)
        what = f"{stale:,} series are stale" if stale > 1 else "1 series is stale"
        remedy = f"see what is missing: python main.py gaps {source}; {SEE_LOG}"
        yield Problem(f"{what}, newest point of the oldest", named, remedy)
    if found.stalled:
        what = f"no series has had a new point since {found.stalled}"
        yield Problem(what, "the API answers, but has nothing newer", f"see the site of the API; {SEE_LOG}")
