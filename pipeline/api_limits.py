"""The limits of an API that a run finds: later runs keep to them, and forget them slowly, since an API may grow."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from db.api_limits import ApiLimit
from sources.base import BaseSource, Call
from sources.pace import Pace

REQUEST_DELAY, SERIES_A_CALL, CALLS_LEFT = "request_delay", "series_a_call", "calls_left"  # the names in the table
HALF_FORGOTTEN = timedelta(days=7)
FEWEST_SERIES = 10  # a smaller call that fails says nothing about the size of calls


def keep_to(found: Mapping[str, ApiLimit], source: BaseSource, pace: Pace, now: datetime) -> None:
    """Let a run keep to the limits that were found before `now`."""
    if REQUEST_DELAY in found:
        pace.resume(remembered(found[REQUEST_DELAY], source.delay(with_key=bool(source.key)), now))
    if SERIES_A_CALL in found:
        series = remembered(found[SERIES_A_CALL], source.SERIES_A_CALL, now)
        source.series_a_call = min(source.SERIES_A_CALL, round(series))


def remembered(limit: ApiLimit, usual: float, now: datetime) -> float:
    """The limit, halfway closer to the usual value after each HALF_FORGOTTEN."""
    times = max(0, (now - limit.found_at) // HALF_FORGOTTEN)
    return float(usual + (limit.value - usual) * 0.5**times)


def largest_answered(split: Iterable[Sequence[Call]], answered: set[Call]) -> int | None:
    """The series in the largest call that the API answers, if larger ones failed; else None.

    `split` has the smaller calls that replaced each failed one. If the API did not answer all of these, the call did
    not fail because of its size.
    """
    sizes = [max(len(call.targets) for call in pieces) for pieces in split if answered.issuperset(pieces)]
    return min((size for size in sizes if size >= FEWEST_SERIES), default=None)
