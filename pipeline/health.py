"""How the pipeline is as a whole: the scheduler's life, and its sources."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from db.health import Sessions
from db.heartbeat import Beat
from pipeline.duties import LOG, DutyHealth, Problem, moment
from pipeline.freshness import Freshness

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
