"""What the report says, as plain values; times are aware UTC."""

from datetime import datetime
from typing import NamedTuple

from db.pulls import RecentRuns
from db.revisions import LargeRevision
from model.values import Series
from pipeline.freshness import SeriesState, Stale
from query.report.months import Line


class Fresh(NamedTuple):
    """How old the series of a metric are that the config asks for, and the newest point of all of them."""

    metric: str
    states: dict[SeriesState, int]
    left: int  # stored series that no config asks for
    newest: datetime | None


class Cover(NamedTuple):
    """The coverage of all series of a metric that ever had a point, and of some of them, the most holes first."""

    all: Line  # named after the metric
    series: int
    unseen: tuple[str, ...]  # assets that never had a point
    whole: int  # series without a hole
    shown: tuple[Line, ...]


class SourceFacts(NamedTuple):
    """What is to be said of a source."""

    name: str
    series: int  # that have points
    points: int
    fresh: tuple[Fresh, ...]  # a metric each, those first that need a look
    stale: tuple[Stale, ...]  # the oldest first
    covers: tuple[Cover, ...]  # a metric each
    revisions: tuple[LargeRevision, ...]  # the largest
    revised: int  # how many there are in all

    def state(self, state: SeriesState) -> int:
        """How many series are in a state."""
        return sum(each.states.get(state, 0) for each in self.fresh)

    @property
    def lost(self) -> int:
        """Days of all series that the API had and the table has not."""
        return sum(each.all.days.lost for each in self.covers)


class Extent(NamedTuple):
    """What a chart says in words beside its line."""

    points: int
    first: datetime
    last: datetime
    latest: float  # the value at the last time
    low: float
    high: float


class Chart(NamedTuple):
    """A series to be drawn: its points, thinned out where they are too many to be seen."""

    series: Series
    unit: str
    extent: Extent
    line: tuple[tuple[float, float], ...]  # (seconds since 1970, value), sorted by time
    step: float  # seconds between two points, as a rule


class Report(NamedTuple):
    """All of the page."""

    at: datetime  # by the database's clock
    database: str
    sources: tuple[SourceFacts, ...]
    foreign: tuple[str, ...]  # sources of which something is stored, though no module is there any more
    chosen: str  # how the charts were
    charts: tuple[Chart, ...]
    days: int  # that the following goes back
    lately: RecentRuns
