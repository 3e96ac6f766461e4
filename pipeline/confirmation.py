"""Since when series are known to be what the API says, and what it has withdrawn: pure functions, and their text."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from db.points import Age
from model.text import counted, span
from model.values import Verb
from pipeline.run_health import RUN_ALLOWED
from sources.base import BaseSource

DATED_FROM = timedelta(days=2)  # from this age on, a confirmation has a date in place of its age


class Withdrawal(NamedTuple):
    """Stored days that the API no longer has."""

    days: int = 0
    last: datetime | None = None  # when the last of them was withdrawn
    series: int = 0  # that have such days


class Confirmation(NamedTuple):
    """How far the configured series of a source are confirmed, and what the API has withdrawn of them.

    Only series that have a history at the API, and a point here, can be confirmed.
    """

    series: int = 0
    in_time: int = 0  # confirmed within the time that the schedule promises
    never: int = 0
    oldest: datetime | None = None  # the oldest confirmation
    withdrawn: Withdrawal = Withdrawal()


def confirmation(source: type[BaseSource], ages: Sequence[Age], now: datetime) -> Confirmation:
    """How far these series of a source are confirmed."""
    with_history = [age for age in ages if age.newest and not source.METRICS[age.metric].live_only]
    confirmed = [(age.metric, age.verified_at) for age in with_history if age.verified_at]
    return Confirmation(
        len(with_history),
        sum(now - at <= confirmed_within(source, metric) for metric, at in confirmed),
        len(with_history) - len(confirmed),
        min((at for _, at in confirmed), default=None),
        withdrawal(ages),
    )


def withdrawal(ages: Iterable[Age]) -> Withdrawal:
    """What the API has withdrawn of these series."""
    withdrawn = [age for age in ages if age.withdrawn]
    last = max((age.withdrawn_at for age in withdrawn if age.withdrawn_at), default=None)
    return Withdrawal(sum(age.withdrawn for age in withdrawn), last, len(withdrawn))


def confirmed_within(source: type[BaseSource], metric: str) -> timedelta:
    """The age that a confirmation has at most while all runs succeed.

    Where the API answers by window, a settle compares the whole history less often.
    """
    schedule = source.SCHEDULES[Verb.SETTLE]
    every = schedule.every if source.METRICS[metric].whole or not schedule.whole_every else schedule.whole_every
    return every + RUN_ALLOWED


def confirmation_text(found: Confirmation, now: datetime) -> str:
    """How far the series of a source are confirmed; empty if none of them has a history."""
    if not found.series:
        return ""
    if not found.oldest:
        return f"not confirmed yet: {counted(found.series, 'series', 'series')}"
    age = age_text(found.oldest, now)
    if found.in_time == found.series:
        return f"confirmed: all {found.series:,} series, the oldest {age}" if found.series > 1 else f"confirmed {age}"
    late = found.series - found.never - found.in_time
    parts = [f"confirmed in time: {found.in_time:,} of {found.series:,} series"]
    parts += [f"{late:,} longer ago"] if late else []
    parts += [f"{found.never:,} not confirmed yet"] if found.never else []
    return f"{', '.join(parts)}; the oldest {age}"


def confirmed_text(verified_at: datetime | None, now: datetime) -> str:
    """Since when a series is confirmed."""
    return f"confirmed {age_text(verified_at, now)}" if verified_at else "not confirmed yet"


def withdrawn_text(days: int, last: datetime | None, series: int = 0) -> str:
    """How many days a provider has withdrawn, of how many series if given, and when the last of them."""
    of = f" of {counted(series, 'series', 'series')}" if series else ""
    when = f", last on {last:%Y-%m-%d}" if last else ""
    return f"{counted(days, 'day')}{of} withdrawn by the provider{when}"


def age_text(at: datetime, now: datetime) -> str:
    """How long ago something was, or its date."""
    return f"on {at:%Y-%m-%d}" if now - at >= DATED_FROM else f"{span(now - at)} ago"
