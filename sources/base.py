"""What every source is: which calls to make, and how to read an answer."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from model.errors import BadPoint, CallFailed
from model.schedule import Schedule
from model.values import DAY, DataPoint, Rhythm, Target, Verb, Window, day_of, midnight

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)  # no value of either API is older; an older date is an error
NO_DAYS = Window(EARLIEST, EARLIEST)  # of a call whose answer gives no points


@dataclass(frozen=True, slots=True)
class Call:
    """One request that a source wants made, and what its answer is for."""

    path: str  # without host and key: what messages show
    targets: tuple[Target, ...]
    window: Window  # the days whose points its answer may give
    params: tuple[tuple[str, str], ...] = ()
    endpoint: Any = None  # of the source's own making: how it is asked and read
    extract: str = ""  # the one key of a large JSON object that is wanted; the rest is skipped as it streams by
    dated: bool = True  # whether the answer speaks of each day of the window, and not of now alone

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.params)
        text = f"{self.path}?{query}" if query else self.path
        return text if len(text) <= 200 else text[:197] + "..."


class Request(NamedTuple):
    """What goes over the wire for a call; holds the key, so it is never printed."""

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]


UNDATED = object()  # the time of a value that carries none: it is dated when it is received


class Observation(NamedTuple):
    """What an answer says of one series: time and value as they stand in the JSON, unchecked."""

    target: Target
    at: object  # Unix seconds (number or text), ISO 8601 text, or UNDATED
    value: object


@dataclass(slots=True)
class Answer:
    """What one call gave: checked points, and how many were null or refused and why."""

    call: Call
    received: datetime
    points: list[DataPoint] = field(default_factory=list)
    nulls: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class Metric(NamedTuple):
    """One metric name of a source: for which kind of asset, in which runs, and whether it needs a paid key."""

    kinds: frozenset[str]  # of assets; {""} where the source has no kinds
    verbs: frozenset[Verb]
    needs_key: bool = False
    whole: bool = False  # its history comes whole, whatever the window
    own_times: timedelta | None = (
        None  # None where a history is dated at midnights; else what makes a time's date its day
    )
    unit: str = ""  # as it stands on an axis; empty where the API does not say, or it is a plain number

    @property
    def shift(self) -> timedelta:
        """What is added to the time of a point of its history before the date is taken as its day."""
        return self.own_times or timedelta()

    def day_of(self, at: datetime) -> date:
        """The UTC day that a point of its history belongs to."""
        return day_of(at, self.shift)

    @property
    def live_only(self) -> bool:
        """Whether its values are of the day they are asked on, and can't be fetched again."""
        return Verb.BACKFILL not in self.verbs


class ListedAsset(NamedTuple):
    """One asset that an API lists, as a config would name it."""

    id: str  # the API's own identifier
    asset: str  # what a row of the config is called unless the user names it
    kind: str  # "" where the source has no kinds
    name: str
    symbol: str
    metrics: frozenset[str] | None  # of the source's METRICS; None where the API tells them for one asset at a time
    dead: str = ""  # what the API says of one that has ended, or that it no longer keeps up


class BaseSource(ABC):
    """One API. Facts are class attributes; a subclass adds its calls and how their answers are read."""

    name: ClassVar[str]
    REQUEST_DELAY: ClassVar[float]  # seconds between the starts of two requests
    MAX_IN_FLIGHT: ClassVar[int]  # requests under way at once; times the delay, the latency that costs no speed
    KEY_VARIABLE: ClassVar[str]
    KEY_REQUIRED: ClassVar[bool]
    BASE_URL_VARIABLE: ClassVar[str]
    CONFIG: ClassVar[str]  # file name of its CSV
    KINDS: ClassVar[tuple[str, ...]] = ()  # of assets; where there are any, the CSV has a column for them
    METRICS: ClassVar[Mapping[str, Metric]]
    PULL_DAYS: ClassVar[int] = 7  # trailing days that a pull asks of dated answers, today's included
    SETTLE_DAYS: ClassVar[int] = 10  # closed days that a settle asks for again unless it is told
    SCHEDULES: ClassVar[Mapping[Verb, Schedule]]  # when the scheduler makes which run; of two due at once the first

    def __init__(self, key: str = "", base_url: str = "") -> None:
        self.key, self.base_url = key, base_url.rstrip("/")

    @classmethod
    @abstractmethod
    def history_start(cls, today: datetime) -> datetime:
        """Where a backfill starts that is not told: a midnight before all that the API has, or as asked by default."""

    @classmethod
    def own_times(cls) -> dict[str, timedelta]:
        """The metrics whose histories have times of their own, each with what is added before the date is taken."""
        return {name: metric.own_times for name, metric in cls.METRICS.items() if metric.own_times is not None}

    @classmethod
    def rhythm(cls, target: Target) -> Rhythm:
        """Which days of a series can have a point; every day unless the source says otherwise."""
        del target
        return Rhythm.DAILY

    @classmethod
    def can_ask(cls, metric: str, *, with_key: bool) -> bool:
        """Whether a metric can be asked for; a source that needs a key for all makes no run without one."""
        return with_key or cls.KEY_REQUIRED or not cls.METRICS[metric].needs_key

    @abstractmethod
    def calls(self, verb: Verb, targets: Sequence[Target], window: Window) -> Iterator[Call]:
        """The fewest calls that answer for these targets, each of which the verb can ask for."""

    @abstractmethod
    def request(self, call: Call) -> Request:
        """The call as it goes over the wire, with host and key."""

    @abstractmethod
    def read(self, call: Call, payload: Any) -> Iterator[Observation]:
        """What the JSON of an answer says of the call's targets; pure, and loud where its shape is wrong."""

    def listing_calls(self) -> Iterator[Call]:
        """The calls whose answers together list all assets that the API has; less those that need a key not given."""
        return iter(())

    def read_listing(self, call: Call, payload: Any) -> Iterator[ListedAsset]:
        """What a listing offers; pure, and loud where its shape is wrong. Another listing may have more of an asset."""
        del call, payload
        return iter(())

    def listed_kinds(self, call: Call) -> frozenset[str]:
        """The kinds whose assets stand in the answer of a listing."""
        del call
        return frozenset(self.KINDS or ("",))

    def probe(self) -> Call | None:
        """A cheap call that is answered where the API is up and takes the key; None where the source has none."""
        return next(self.listing_calls(), None)

    @classmethod
    def canonical_id(cls, kind: str, identifier: str) -> str:
        """What all spellings of an identifier have in common that mean the same to the API."""
        del kind
        return identifier.casefold()

    def metrics_call(self, offer: ListedAsset) -> Call | None:
        """The call that tells the metrics of one asset; None where the listings tell them."""
        del offer
        return None

    def read_metrics(self, call: Call, payload: Any) -> frozenset[str]:
        """The metrics that such an answer names, as far as the source can ask for them; loud as `read_listing`."""
        del call, payload
        return frozenset()

    def split(self, call: Call) -> list[Call]:
        """Smaller calls for the same targets, for one that the API keeps failing; none where it is the smallest."""
        del call
        return []

    def remedy(self) -> str:
        """What the user does when the API refuses the key."""
        return f"check {self.KEY_VARIABLE} in the environment or .env"

    def answer(self, call: Call, payload: Any, received: datetime) -> Answer:
        """The checked points of an answer that was received at an aware UTC time; undated values get that time.

        Raises CallFailed where the answer has another shape than the API promises.
        """
        answer = Answer(call, received)
        latest = midnight(received) + 2 * DAY
        with wrong_shape_fails(call):
            for target, at, value in self.read(call, payload):
                try:
                    point = _point(target, received if at is UNDATED else _time(at), value)
                    if point is None:
                        answer.nulls += 1
                    elif EARLIEST <= point.at < latest:
                        answer.points.append(point)
                    else:
                        answer.rejected[f"date {point.at:%Y-%m-%d}"] += 1
                except BadPoint as error:
                    answer.rejected[str(error)] += 1
        return answer


@contextmanager
def wrong_shape_fails(call: Call) -> Iterator[None]:
    """Within it, an answer of a shape that the API does not promise is a CallFailed."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise CallFailed(f"{call}: the answer has another shape than expected: {error!r}") from error


def halves(targets: Sequence[Target]) -> list[tuple[Target, ...]]:
    """The targets in two parts, by the API's identifier; none where there is only one."""
    ids = list(dict.fromkeys(target.id for target in targets))
    first = set(ids[: len(ids) // 2])
    if not first:
        return []
    return [tuple(target for target in targets if (target.id in first) is part) for part in (True, False)]


def as_list(value: Any) -> list[Any]:
    """The value, which an answer must have as a list; raises TypeError, so that an empty text or object is loud."""
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value


def _point(target: Target, at: datetime, value: object) -> DataPoint | None:
    """The checked point, None for a null; raises BadPoint."""
    return None if value is None else DataPoint(target.asset, target.metric, at, _number(value))


def _number(value: object) -> float:
    """The number, also where it comes as text as some prices do ("1.24470998"); raises BadPoint."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadPoint(f"{type(value).__name__} in place of a number")
    try:
        if isinstance(value, str) and "_" in value:
            raise ValueError
        return float(value)
    except (ValueError, OverflowError) as error:
        raise BadPoint(f"{str(value)[:40]!r} in place of a number") from error


def _time(value: object) -> datetime:
    """The aware UTC time of Unix seconds or of ISO 8601 text, a plain date being its midnight; raises BadPoint."""
    try:
        if isinstance(value, str) and not value.isdecimal():
            at = datetime.fromisoformat(value)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadPoint(f"{str(value)[:40]!r} in place of a time") from error
    raise BadPoint(f"{type(value).__name__} in place of a time")
