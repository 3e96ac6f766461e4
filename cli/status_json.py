"""The health as `status --json` prints it."""

from math import isfinite
from typing import Any

from db.quarantine import Waiting
from pipeline.confirmation import Confirmation
from pipeline.freshness import Freshness, SeriesState
from pipeline.health import Health
from pipeline.problems import scheduler_problem, source_problems
from pipeline.run_health import RunHealth
from pipeline.waiting_restatements import waiting_choices


def as_json(health: Health) -> dict[str, Any]:
    """The health as values for JSON: days, times in UTC, ages in seconds; every key is always there."""
    problem = scheduler_problem(health)
    of_beat = ("host", "pid", "sources", "started_at", "beaten_at", "doing")
    return {
        "at": health.at,
        "exit_code": health.exit_code,
        "scheduler": {
            "alive": health.scheduler.alive,
            "state": health.scheduler,
            "problem": str(problem) if problem else None,
            **{name: getattr(health.beat, name, None) for name in of_beat},
        },
        "sources": [
            {
                "source": each.source,
                "problems": [str(problem) for problem in source_problems(each)],
                "runs": [_run_as_json(run) for run in each.runs],
                "series": _freshness_as_json(health, each.freshness),
                "confirmation": _confirmation_as_json(each.confirmation),
                "waiting": [_waiting_as_json(each.source, waiting) for waiting in each.waiting],
                "rejected": [rejected._asdict() for rejected in each.rejected],
                "requests": each.calls,
                "failed_requests": each.failed_calls,
                "calls_left": each.calls_left and round(each.calls_left.value),
                "calls_left_at": each.calls_left and each.calls_left.at,
                "calls_needed_a_month": each.calls_a_month or None,
            }
            for each in health.sources
        ],
    }


def _run_as_json(run: RunHealth) -> dict[str, Any]:
    last = run.last
    return {
        "verb": run.scheduled.verb,
        "schedule": str(run.scheduled.schedule),
        "state": run.state,
        "last_success": last.succeeded,
        "last_failure": last.failed,
        "failure": last.failure,
        "failures_in_a_row": last.failures,
        "failing_since": last.failing_since,
        "running_since": last.running_since if run.running else None,
        "next": run.next,
    }


def _freshness_as_json(health: Health, found: Freshness) -> dict[str, Any]:
    age = health.at - found.newest if health.at and found.newest else None
    return {
        "expected": len(found.states),
        **{state.replace(" ", "_"): found.count(state) for state in SeriesState},
        "newest": found.newest,
        "age_seconds": age and round(age.total_seconds()),
        "due": found.due.closed,
        "due_live": found.due.live,
        "due_moves_at": found.due.next,
        "stalled_since": found.stalled,
        "stalest": [each._asdict() for each in found.stalest],
    }


def _confirmation_as_json(found: Confirmation) -> dict[str, Any]:
    return found._asdict() | {"withdrawn": found.withdrawn._asdict()}


def _waiting_as_json(source: str, waiting: Waiting) -> dict[str, Any]:
    """With the two commands, and without a stored value that JSON can't hold: somebody may have written a NaN."""
    finite = waiting.old is not None and isfinite(waiting.old)
    found = waiting._replace(old=waiting.old if finite else None)._asdict()
    return found | {"commands": [command for _, command in waiting_choices(source, waiting)]}
