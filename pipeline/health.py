"""How the pipeline is as a whole, by what the database says: the scheduler's life, and its sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from db.heartbeat import Beat, last_beat
from db.lock import SCHEDULER, Sessions, is_held, place_of_run, sessions
from db.points import ages
from db.pulls import calls_of_last_day, last_runs
from model.settings import ROOT, Settings
from model.values import Target
from pipeline.due import Duty, read_history
from pipeline.freshness import Freshness, freshness
from pipeline.run_health import LOG, DutyHealth, Problem, duties_health, moment
from sources import SOURCES
from sources.config import read_targets

ALIVE = timedelta(minutes=2)  # since the last beat of a scheduler that beats twice a minute
STARTING = timedelta(minutes=15)  # the same while it makes a fresh start, which it does before the first look


class Life(StrEnum):
    """How the scheduler is."""

    NONE = "none"  # there never was one
    DEAD = "dead"
    HUNG = "hung"
    STARTING = "starting"
    ALIVE = "alive"


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """How a source is."""

    source: str
    duties: tuple[DutyHealth, ...]
    freshness: Freshness
    calls: int  # of the last 24 hours, and how many of them failed
    failed_calls: int

    def problems(self) -> list[Problem]:
        """What needs a look."""
        return [*filter(None, (each.problem() for each in self.duties)), *self.freshness.problems(self.source)]


@dataclass(frozen=True, slots=True)
class Health:
    """How all is, at a time by the database's clock; that is None where there is no database yet."""

    at: datetime | None
    life: Life
    beat: Beat | None
    sources: tuple[SourceHealth, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether a scheduler is at work, or about to be."""
        return self.life in (Life.ALIVE, Life.STARTING)

    @property
    def exit_code(self) -> int:
        """0 where all is well, 1 where something fails or is stale, 3 where no scheduler lives."""
        return 3 if not self.alive else int(any(each.problems() for each in self.sources))

    def problem(self) -> Problem | None:
        """What is wrong with the scheduler."""
        start = "start it: systemctl start crypto-metrics, or python scheduler.py"
        if self.life is Life.NONE:
            return Problem("no scheduler has ever run here", "", start)
        if self.life is Life.DEAD:
            return Problem("no scheduler is alive", "", f"{start}; why it ended: {LOG}")
        if self.life is Life.HUNG and self.beat:
            what = f"hung: pid {self.beat.pid} holds its place, but has not told of itself since"
            what += f" {moment(self.beat.beaten_at)}"
            return Problem(what, "", f"restart it: systemctl restart crypto-metrics; log: {LOG}")
        return None


def life_of(beat: Beat | None, now: datetime, *, held: bool, sessions: Sessions) -> Life:
    """How the scheduler is that told this last, while some process holds its place, or none does."""
    silent = now - beat.beaten_at if beat else timedelta.max
    if not held:
        # after a restart of the server it has lost its place, and takes it again at its next look
        restarted = beat is not None and sessions.server_started > beat.beaten_at
        return Life.ALIVE if restarted and silent < ALIVE else Life.DEAD if beat else Life.NONE
    if beat is None or sessions.another:  # it takes its place before it says who it is
        return Life.STARTING
    if beat.doing == "starting":
        return Life.STARTING if silent < STARTING else Life.HUNG
    return Life.ALIVE if silent < ALIVE else Life.HUNG


def diagnose(cursor: Any, settings: Settings, names: Sequence[str] | None = None) -> Health:
    """How all is: of these sources, or of those that the scheduler serves; raises ConfigurationError for a config."""
    now, beat = last_beat(cursor)
    life = life_of(beat, now, held=is_held(cursor, SCHEDULER), sessions=sessions(cursor, SCHEDULER, beat))
    alive = life in (Life.ALIVE, Life.STARTING)
    served = [name for name in (beat.sources if beat else SOURCES) if name in SOURCES]
    sources = [
        _source_health(cursor, name, settings, now, beat, alive=alive and name in served)
        for name in (served if names is None else names)
    ]
    return Health(now, life, beat, tuple(sources))


def asked_for(name: str, settings: Settings) -> list[Target]:
    """The series that a source's config asks for and the keys allow; raises ConfigurationError.

    A look needs no keys: without one, those of a source that has none without are still asked for by the scheduler.
    """
    source = SOURCES[name]
    with_key = bool(settings.key(source.KEY_VARIABLE))
    targets = read_targets(ROOT / source.CONFIG, source)
    return [target for target in targets if source.can_ask(target.metric, with_key=with_key)]


def _source_health(
    cursor: Any, name: str, settings: Settings, now: datetime, beat: Beat | None, *, alive: bool
) -> SourceHealth:
    duties = [Duty(name, verb, schedule) for verb, schedule in SOURCES[name].SCHEDULES.items()]
    started, first_pull_id = (beat.started_at, beat.first_pull_id) if beat else (now, 0)
    past = read_history(cursor, duties, now, started, first_pull_id)
    runs = last_runs(cursor, [(name, duty.verb.value) for duty in duties])
    running = [duty for duty in duties if is_held(cursor, place_of_run(name, duty.verb))]
    healths = duties_health(duties, now, past, runs, running, alive=alive)
    targets = asked_for(name, settings)
    changed = datetime.fromtimestamp((ROOT / SOURCES[name].CONFIG).stat().st_mtime, UTC)
    since = max(started, changed) if changed < now else started
    series = ages(cursor, name, [(each.asset, each.metric) for each in targets])
    fresh = freshness(SOURCES[name], targets, series, now, healths, since)
    return SourceHealth(name, tuple(healths), fresh, *calls_of_last_day(cursor, name))
