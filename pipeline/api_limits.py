"""The limits of an API that a run finds: later runs keep to them, and forget them slowly, since an API may grow."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta

from db.api_limits import KnownLimit, Limit
from sources.base import BaseSource, Call
from sources.pace import Pace

HALF_OF_A_DELAY = timedelta(days=1)  # in which half of it is forgotten, bit by bit
HALF_OF_A_SIZE = timedelta(days=7)  # the same at once, so that a size is kept until then
FEWEST_SERIES = 10  # a smaller call that fails says nothing about the size of calls


def keep_to(known: Mapping[Limit, KnownLimit], source: BaseSource, pace: Pace) -> None:
    """Let a run keep to the limits that are known."""
    if delay := known.get(Limit.REQUEST_DELAY):
        halvings = max(0.0, delay.age / HALF_OF_A_DELAY)
        pace.resume(remembered(delay.value, source.delay(with_key=bool(source.key)), halvings))
    if source.SERIES_A_CALL and (size := known.get(Limit.SERIES_A_CALL)):
        halvings = max(0, size.age // HALF_OF_A_SIZE)
        source.series_a_call = round(remembered(size.value, source.SERIES_A_CALL, halvings))


def remembered(found: float, usual: float, halvings: float) -> float:
    """A limit that comes halfway closer to the usual value with each halving."""
    return float(usual + (found - usual) * 0.5**halvings)


def size_limit(split: Iterable[Sequence[Call]], answered: Collection[Call]) -> int | None:
    """The most series in a call, if larger ones failed because of their size; else None.

    `split` has the smaller calls that replaced each failed one. The size was not the reason if the API did not answer
    all of these, or if it answered another call for these metrics that was as large.
    """
    sizes = []
    for pieces in split:
        whole = sum(len(call.targets) for call in pieces)
        largest = max(len(call.targets) for call in pieces)
        if all(call in answered for call in pieces) and largest >= FEWEST_SERIES:
            metrics = {target.metric for call in pieces for target in call.targets}
            alike = (call for call in answered if metrics & {target.metric for target in call.targets})
            if all(len(call.targets) < whole for call in alike):
                sizes.append(largest)
    return min(sizes, default=None)
