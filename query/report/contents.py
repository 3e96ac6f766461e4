"""What the report says, as plain values; times are aware UTC."""

from datetime import datetime
from typing import NamedTuple

from db.pulls import RecentRuns
from db.revisions import LargeRevision
from model.values import Series
from pipeline.freshness import SeriesState, Stale
from query.joined_points import Point
from query.report.coverage_by_month import DaysByMonth

LEFT = "left"  # the state of stored series that no config asks for
LOG_SCALE_FROM = 1000  # times the lowest value


class Fresh(NamedTuple):
    """How many series of a metric are in each state, and the newest point of all of them."""

    metric: str
    counts: dict[str, int]  # by the states of SeriesState, and LEFT
    newest: datetime | None


class Cover(NamedTuple):
    """The coverage of all series of a metric that ever had a point, and of those with the most gaps."""

    all: DaysByMonth  # named after the metric
    series: int
    unseen: tuple[str, ...]  # assets that never had a point
    whole: int  # series without a gap
    shown: tuple[DaysByMonth, ...]

    @property
    def hidden_whole(self) -> int:
        """Series without a gap that are not shown; those with gaps are shown first."""
        return min(self.series - len(self.shown), self.whole)

    @property
    def hidden_fewer(self) -> int:
        """Series with gaps that are not shown."""
        return self.series - len(self.shown) - self.hidden_whole


class SourceContents(NamedTuple):
    """What the report says about a source."""

    name: str
    series: int  # that have points
    points: int
    fresh: tuple[Fresh, ...]  # by metric, those first that need attention
    stale: tuple[Stale, ...]  # the oldest first
    covers: tuple[Cover, ...]  # by metric
    revisions: tuple[LargeRevision, ...]  # the largest
    revised: int  # how many there are in all

    def in_state(self, state: str) -> int:
        """How many series are in a state."""
        return sum(each.counts[state] for each in self.fresh)

    @property
    def newest(self) -> datetime | None:
        """The time of the newest point."""
        return max((each.newest for each in self.fresh if each.newest), default=None)

    @property
    def states_shown(self) -> list[str]:
        """The states of any series: a phone has no space for columns of zeros."""
        return [state for state in (*SeriesState, LEFT) if self.in_state(state)]

    @property
    def lost(self) -> int:
        """Days of all series that the API had and the table does not have."""
        return sum(each.all.days.lost for each in self.covers)


class Chart(NamedTuple):
    """A series to be drawn, and what stands beside its line."""

    series: Series
    unit: str
    points: int
    first: datetime
    last: datetime
    latest: float  # the value at the last time
    low: float
    high: float
    runs: tuple[tuple[Point, ...], ...]  # lines of joined points; where there are many points, only those one can see

    @property
    def log_scale(self) -> bool:
        """Whether the line is drawn on a logarithmic scale."""
        return self.low > 0 and self.high >= LOG_SCALE_FROM * self.low


class Report(NamedTuple):
    """All of the page."""

    at: datetime  # by the database's clock
    database: str
    sources: tuple[SourceContents, ...]
    foreign: tuple[str, ...]  # sources that have stored series, but no module any more
    chosen: str  # how the charts were
    charts: tuple[Chart, ...]
    days: int  # how far back `lately` goes
    lately: RecentRuns

    def total(self, state: str) -> int:
        """How many series of all sources are in a state."""
        return sum(each.in_state(state) for each in self.sources)
