"""The base class of all sources: a source says which calls to make, and how to read an answer."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

from model.errors import BadPoint, CallFailed
from model.restatement_bounds import RestatementBounds
from model.schedule import Schedule
from model.values import DAY, EARLIEST, DataPoint, Metric, Rhythm, Target, Verb, Window, midnight

MOST_TEXT = 140  # of a call, so that what follows it in a message is seen, too
MOST_POINTS = 250_000  # of one answer; the largest calls of Artemis get 100,000
NO_DAYS = Window(EARLIEST, EARLIEST)  # the window of a call whose answer has no points


@dataclass(frozen=True, slots=True)
class Call:
    """One request that a source wants to make, and which series its answer is for."""

    path: str  # without host and key, so that messages can show it
    targets: tuple[Target, ...]
    window: Window  # the days whose points the answer may contain
    params: tuple[tuple[str, str], ...] = ()
    endpoint: Any = None  # the source's own description of how to request and read
    extract: tuple[str, ...] = ()  # what to read of a large JSON object, such as ("tvl", "raw.tvl"): see JsonBody.read
    dated: bool = True  # whether the answer covers each day of the window; otherwise it is about now only
    listed_kinds: frozenset[str] = frozenset({""})  # the kinds of the assets in the answer to a listing call

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.params)
        text = f"{self.path}?{query}" if query else self.path
        return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


class Request(NamedTuple):
    """A call with host and API key; never printed."""

    url: str
    params: Mapping[str, str]
    headers: Mapping[str, str]


UNDATED = object()  # for a value without a time: it is dated at the time when it was received


class Observation(NamedTuple):
    """One point of an answer: time and value as in the JSON, unchecked."""

    target: Target
    at: object  # Unix seconds (number or text), ISO 8601 text, or UNDATED
    value: object


class RefusedPoint(NamedTuple):
    """A point that can't be true, and why."""

    target: Target
    day: date | None  # None: it has no possible date
    why: str


@dataclass(slots=True)
class Answer:
    """The checked points of one answer, those that were refused, and how many values were null."""

    call: Call
    received: datetime
    points: list[DataPoint] = field(default_factory=list)
    refused: list[RefusedPoint] = field(default_factory=list)
    nulls: int = 0  # in the window of the call


class ListedAsset(NamedTuple):
    """One asset that an API lists, as a row of the config would name it."""

    id: str  # the API's own identifier
    asset: str  # its name in the config, unless the user chooses another
    kind: str  # "" where the source has no kinds
    name: str
    symbol: str
    metrics: frozenset[str] | None  # from the source's METRICS; None where one call for each asset lists them
    dead: str = ""  # why the API no longer updates it; empty if it does
    lasting_id: str = ""  # the API's lasting identifier, where it may give `id` to another asset


class BaseSource(ABC):
    """One API. Facts are class attributes; a subclass adds its calls and how to read their answers."""

    name: ClassVar[str]
    REQUEST_DELAY: ClassVar[float]  # seconds between the starts of two requests
    DELAY_WITHOUT_KEY: ClassVar[float | None] = None  # the same without a key; None if it is the same
    SERIES_A_CALL: ClassVar[int | None] = None  # the most in one call; None where other limits rule
    MAX_IN_FLIGHT: ClassVar[int]  # requests under way at once; a latency up to this number × the delay costs no speed
    KEY_VARIABLE: ClassVar[str]
    KEY_REQUIRED: ClassVar[bool]
    BASE_URL_VARIABLE: ClassVar[str]
    CONFIG: ClassVar[str]  # file name of its CSV
    KINDS: ClassVar[tuple[str, ...]] = ()  # of assets; with kinds, the CSV has a column for them
    ID_FORMS: ClassVar[Mapping[str, tuple[str, str]]] = {}  # by kind: a regular expression, and what to write
    UNLISTED_KINDS: ClassVar[tuple[str, ...]] = ()  # kinds of which an asset can have values though no list names it
    METRICS: ClassVar[Mapping[str, Metric]]
    REMOVED: ClassVar[Mapping[str, str]] = {}  # metrics of earlier versions, each with the reason
    PULL_DAYS: ClassVar[int] = 7  # trailing days that a pull requests of dated answers, today included
    SETTLE_DAYS: ClassVar[int] = 10  # closed days that a settle requests again where the API answers by window
    RESTATEMENTS: ClassVar[RestatementBounds] = RestatementBounds()  # what a run adopts without a person's consent
    SCHEDULES: ClassVar[Mapping[Verb, Schedule]]  # of two runs due at once, the scheduler starts the first named here

    def __init__(self, key: str = "", base_url: str = "") -> None:
        self.key, self.base_url = key, base_url.rstrip("/")
        self.series_a_call = self.SERIES_A_CALL or 0  # fewer where larger calls have failed

    @property
    def account(self) -> str:
        """Source, and a hash of server and key: an API counts the requests of each for itself."""
        return f"{self.name}-{hashlib.sha256(f'{self.base_url} {self.key}'.encode()).hexdigest()[:16]}"

    @classmethod
    @abstractmethod
    def history_start(cls, today: datetime) -> datetime:
        """The midnight at which a backfill starts by default."""

    @classmethod
    def own_times(cls) -> dict[str, timedelta]:
        """The metrics whose points have times of their own, each with its shift."""
        return {name: metric.shift for name, metric in cls.METRICS.items() if metric.own_times}

    @classmethod
    def rhythm(cls, target: Target) -> Rhythm:
        """On which days a series can have a point."""
        return Rhythm.DAILY

    @classmethod
    def can_request(cls, metric: str, *, with_key: bool) -> bool:
        """Whether a metric can be requested; a source that always needs a key starts no run without one."""
        return with_key or cls.KEY_REQUIRED or not cls.METRICS[metric].needs_key

    @classmethod
    def delay(cls, *, with_key: bool) -> float:
        """Seconds between the starts of two requests."""
        return cls.REQUEST_DELAY if with_key or cls.DELAY_WITHOUT_KEY is None else cls.DELAY_WITHOUT_KEY

    @classmethod
    def missing_key(cls, key: str) -> str:
        """The variable of the key without which the source can't be requested, if `key` is empty; else empty."""
        return cls.KEY_VARIABLE if cls.KEY_REQUIRED and not key else ""

    @abstractmethod
    def calls(self, verb: Verb, targets: Sequence[Target], window: Window) -> Iterator[Call]:
        """The fewest calls that answer for these targets; every target must have a metric that such a run requests."""

    @abstractmethod
    def request(self, call: Call) -> Request:
        """The call with host and key."""

    @abstractmethod
    def read(self, call: Call, payload: Any) -> Iterator[Observation]:
        """The points in the JSON of an answer; pure. A wrong shape raises a built-in error, such as KeyError."""

    def listing_calls(self) -> Iterator[Call]:
        """The calls whose answers together list all assets of the API; calls that need a missing key are left out.

        The first one is cheap, since `check` also makes it to see whether the API is up and accepts the key.
        """
        return iter(())

    def read_listing(self, call: Call, payload: Any) -> Iterator[ListedAsset]:
        """The assets in such an answer; pure, raises as `read` does. Several answers may list one asset."""
        return iter(())

    def identity_calls(self, verb: Verb, kinds: Collection[str]) -> Iterator[Call]:
        """The listing calls that show whether identifiers of these kinds still mean the same assets, for such a run."""
        return iter(())

    def usage_call(self) -> Call | None:
        """The call that says how many calls the key has left in this month; None where it has no such limit."""
        return None

    def read_usage(self, payload: Any) -> int | None:
        """The number in such an answer; raises as `read` does."""
        return None

    def metrics_call(self, asset: ListedAsset) -> Call | None:
        """The call that lists the metrics of one asset; None where the listing has them."""
        return None

    def read_metrics(self, call: Call, payload: Any) -> frozenset[str]:
        """The metrics in such an answer that the source knows; raises as `read` does."""
        return frozenset()

    @classmethod
    def canonical_id(cls, kind: str, identifier: str) -> str:
        """One text for all spellings that the API accepts for the same identifier."""
        return identifier.casefold()

    def split(self, call: Call) -> list[Call]:
        """Smaller calls that replace a call to which the API keeps answering an error; none if it can't be split."""
        return []

    def answer(self, call: Call, payload: Any, received: datetime) -> Answer:
        """The checked points of an answer; values without a time get the aware UTC time `received`.

        Raises CallFailed if the answer does not have the shape that the API promises.
        """
        answer = Answer(call, received)
        latest = midnight(received) + 2 * DAY
        with wrong_shape_fails(call):
            for number, (target, at, value) in enumerate(self.read(call, payload)):
                if number >= MOST_POINTS:
                    raise CallFailed(f"{call}: the answer has more than {MOST_POINTS:,} points")
                if value is None:
                    answer.nulls += at is UNDATED or _is_within(at, call.window)
                    continue
                time = None
                try:
                    time = received if at is UNDATED else _time(at, latest)
                    answer.points.append(DataPoint(target.asset, target.metric, time, _number(value)))
                except BadPoint as error:
                    day = self.METRICS[target.metric].day_of(time) if time else None
                    answer.refused.append(RefusedPoint(target, day, str(error)))
        return answer


@contextmanager
def wrong_shape_fails(call: Call) -> Iterator[None]:
    """Raise CallFailed instead of the built-in error that a wrong shape raises."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise CallFailed(f"{call}: the answer has another shape than expected: {error!r}") from error


def halves(targets: Sequence[Target]) -> list[tuple[Target, ...]]:
    """The targets in two parts, split by the API's identifier; none where there is only one identifier."""
    ids = list(dict.fromkeys(target.id for target in targets))
    first = set(ids[: len(ids) // 2])
    if not first:
        return []
    return [tuple(target for target in targets if (target.id in first) is part) for part in (True, False)]


def as_list(value: Any) -> list[Any]:
    """The value, which must be a list; else raises TypeError: an empty text or object would count as "no data"."""
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} in place of a list")
    return value


def _number(value: object) -> float:
    """The number; some prices come as text ("1.24470998"). Raises BadPoint."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadPoint(f"{type(value).__name__} in place of a number")
    try:
        if isinstance(value, str) and "_" in value:
            raise ValueError
        return float(value)
    except (ValueError, OverflowError) as error:
        raise BadPoint(f"{str(value)[:40]!r} in place of a number") from error


def _is_within(at: object, window: Window) -> bool:
    """Whether a time is in a window; a time that can't be true is in none."""
    try:
        return window.start <= _time(at, window.end)
    except BadPoint:
        return False


def _time(value: object, latest: datetime) -> datetime:
    """The aware UTC time of Unix seconds or of ISO 8601 text; a date means its midnight.

    Raises BadPoint, also for a time before EARLIEST, and for `latest` and later.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BadPoint(f"{type(value).__name__} in place of a time")
    try:
        if isinstance(value, str) and not value.isdecimal():
            at = datetime.fromisoformat(value)
            at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        else:
            at = datetime.fromtimestamp(float(value), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadPoint(f"{str(value)[:40]!r} in place of a time") from error
    if not EARLIEST <= at < latest:
        raise BadPoint(f"date {at:%Y-%m-%d} is before {EARLIEST.year} or after tomorrow")
    return at
