"""The health of the whole pipeline, read from the database: the scheduler, and each source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from db.api_limits import KnownLimit, Limit, api_limits
from db.heartbeat import Beat, last_beat
from db.identities import Identity
from db.lock import SCHEDULER, Sessions, is_held, place_of_run, sessions
from db.points import ages
from db.pulls import calls_of_last_day, last_runs
from db.quarantine import Rejected, Waiting, rejected, waiting
from model.settings import ROOT, Settings
from model.values import Target
from pipeline.confirmation import Confirmation, confirmation
from pipeline.due import ScheduledRun, read_history
from pipeline.freshness import Freshness, freshness
from pipeline.identities import changed_rows
from pipeline.run_health import RunHealth, health_of_runs
from pipeline.usage import calls_a_month
from sources import SOURCES
from sources.base import BaseSource
from sources.config import read_targets, valid_targets

BEAT_ALLOWED = timedelta(minutes=2)  # between two heartbeats of a scheduler, which come twice a minute
FRESH_START_ALLOWED = timedelta(minutes=15)  # from the first heartbeat to the second, with a fresh start between them


class SchedulerState(StrEnum):
    """The state of the scheduler."""

    NONE = "none"  # none has ever run
    DEAD = "dead"
    HUNG = "hung"
    STARTING = "starting"
    ALIVE = "alive"

    @property
    def alive(self) -> bool:
        """Whether a scheduler starts the runs that are due, now or in a moment."""
        return self in (SchedulerState.ALIVE, SchedulerState.STARTING)


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """The health of a source."""

    source: str
    runs: tuple[RunHealth, ...]
    freshness: Freshness
    calls: int  # in the last 24 hours
    failed_calls: int  # of these
    calls_left: KnownLimit | None = None  # of the key in this month, if the API has said it
    calls_a_month: int = 0  # that the config needs, if it has
    changed: tuple[Identity, ...] = ()  # rows by which the API now means another asset
    config_errors: tuple[str, ...] = ()  # what is wrong with lines of its config, which are left out here
    missing_key: str = ""  # the variable of the key that it needs, and that is not set
    confirmation: Confirmation = field(default_factory=Confirmation)
    waiting: tuple[Waiting, ...] = ()  # restatements that wait for a person
    rejected: tuple[Rejected, ...] = ()  # series of which stored values are kept against the API

    @property
    def needs_attention(self) -> bool:
        """Whether it needs attention."""
        wrong = bool(self.config_errors or self.missing_key or self.changed or self.waiting)
        return wrong or self.freshness.needs_attention or any(each.needs_attention for each in self.runs)


@dataclass(frozen=True, slots=True)
class Health:
    """The health of the whole pipeline."""

    at: datetime | None  # by the database's clock; None while there is no database
    scheduler: SchedulerState
    beat: Beat | None
    sources: tuple[SourceHealth, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 if all is well, 1 if a source needs attention, 3 if no scheduler is alive."""
        return 3 if not self.scheduler.alive else int(any(each.needs_attention for each in self.sources))


def scheduler_state(beat: Beat | None, now: datetime, *, held: bool, sessions: Sessions) -> SchedulerState:
    """The state of the scheduler with this last heartbeat; `held` says whether a process holds the scheduler's lock."""
    age = now - beat.beaten_at if beat else timedelta.max
    if not held:
        # a restart of the database server frees the lock; the scheduler takes it again before its next heartbeat
        restarted = beat is not None and sessions.server_started > beat.beaten_at
        if restarted and age < BEAT_ALLOWED:
            return SchedulerState.ALIVE
        return SchedulerState.DEAD if beat else SchedulerState.NONE
    if beat is None or sessions.another:  # a scheduler takes the lock before its first heartbeat
        return SchedulerState.STARTING
    if beat.doing == "starting":
        return SchedulerState.STARTING if age < FRESH_START_ALLOWED else SchedulerState.HUNG
    return SchedulerState.ALIVE if age < BEAT_ALLOWED else SchedulerState.HUNG


def diagnose(cursor: Any, settings: Settings, names: Sequence[str] | None = None) -> Health:
    """The health of these sources, or of those that the scheduler serves."""
    now, beat = last_beat(cursor)
    state = scheduler_state(beat, now, held=is_held(cursor, SCHEDULER), sessions=sessions(cursor, SCHEDULER, beat))
    served = [name for name in (beat.sources if beat else SOURCES) if name in SOURCES]
    sources = [
        _source_health(cursor, name, settings, now, beat, alive=state.alive and name in served)
        for name in (served if names is None else names)
    ]
    return Health(now, state, beat, tuple(sources))


def configured_targets(name: str, settings: Settings) -> list[Target]:
    """The series of a source's config, without those that need a key which is not set.

    Raises ConfigurationError for a wrong config.
    """
    source = SOURCES[name]
    return _requestable(read_targets(ROOT / source.CONFIG, source), settings, source)


def _source_health(
    cursor: Any, name: str, settings: Settings, now: datetime, beat: Beat | None, *, alive: bool
) -> SourceHealth:
    source, file = SOURCES[name], ROOT / SOURCES[name].CONFIG
    missing_key = source.missing_key(settings.key(source.KEY_VARIABLE))
    schedule = [ScheduledRun(name, verb, times) for verb, times in source.SCHEDULES.items() if not missing_key]
    started, first_pull_id = (beat.started_at, beat.first_pull_id) if beat else (now, 0)
    history = read_history(cursor, schedule, now, started, first_pull_id)
    last = last_runs(cursor, [(name, each.verb.value) for each in schedule])
    running = [each for each in schedule if is_held(cursor, place_of_run(name, each.verb))]
    runs = health_of_runs(schedule, now, history, last, running, alive=alive)
    targets, errors = valid_targets(file, source)
    targets = _requestable(targets, settings, source)
    changed = datetime.fromtimestamp(file.stat().st_mtime, UTC) if file.exists() else started
    since = max(started, changed) if changed < now else started
    series = ages(cursor, name, [(each.asset, each.metric) for each in targets])
    fresh = freshness(source, targets, series, now, runs, since)
    calls = calls_of_last_day(cursor, name)
    api = source(settings.key(source.KEY_VARIABLE), settings.url(source.BASE_URL_VARIABLE))
    left = api_limits(cursor, api.account).get(Limit.CALLS_LEFT)
    left = left if left and f"{left.at:%Y-%m}" == f"{now:%Y-%m}" else None
    needed = calls_a_month(api, targets, now) if left else 0
    return SourceHealth(
        name,
        tuple(runs),
        fresh,
        *calls,
        left,
        needed,
        changed=tuple(changed_rows(cursor, api, targets)),
        config_errors=tuple(errors),
        missing_key=missing_key,
        confirmation=confirmation(source, series, now),
        waiting=tuple(waiting(cursor, name)),
        rejected=tuple(rejected(cursor, name)),
    )


def _requestable(targets: Iterable[Target], settings: Settings, source: type[BaseSource]) -> list[Target]:
    with_key = bool(settings.key(source.KEY_VARIABLE))
    return [target for target in targets if source.can_request(target.metric, with_key=with_key)]
