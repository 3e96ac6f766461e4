"""How the pipeline is, by what the database says: for the screen of `status`, for the report and for notebooks."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from db.health import ages, last_day, last_runs, sessions
from db.heartbeat import Beat, history, last_beat
from db.lock import is_held
from pipeline.duties import duties_health
from pipeline.freshness import freshness
from pipeline.health import Health, Life, SourceHealth, life_of
from pipeline.schedule import SCHEDULER, Duty
from pipeline.settings import ROOT, Settings
from pipeline.values import Target
from sources import SOURCES
from sources.config import read_targets


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
    past = history(cursor, duties, now, started, first_pull_id)
    runs = last_runs(cursor, [(name, duty.verb.value) for duty in duties])
    running = [duty for duty in duties if is_held(cursor, f"{duty.verb} {name}")]
    healths = duties_health(duties, now, past, runs, running, alive=alive)
    targets = asked_for(name, settings)
    changed = datetime.fromtimestamp((ROOT / SOURCES[name].CONFIG).stat().st_mtime, UTC)
    since = max(started, changed) if changed < now else started
    series = ages(cursor, name, [(each.asset, each.metric) for each in targets])
    fresh = freshness(SOURCES[name], targets, series, now, healths, since)
    return SourceHealth(name, tuple(healths), fresh, *last_day(cursor, name))
