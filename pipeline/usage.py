"""How many calls a key has left in this month, and how many a config needs."""

import logging
from collections.abc import Sequence
from datetime import datetime

from model.errors import SourceStopped
from model.values import DAY, Target, Verb, Window
from pipeline.plan import make_job, make_plan, pull_window, settle_window
from sources.base import BaseSource
from sources.fetch import read_all
from sources.http import Client

log = logging.getLogger(__name__)

DAYS_A_MONTH = 30


def calls_left(source: BaseSource, client: Client) -> int | None:
    """How many calls the key has left in this month; None if it has no such limit, or if the API does not say it."""
    call = source.usage_call()
    if call is None:
        return None
    try:
        answers, failed = read_all(client, [call], lambda _, payload: source.read_usage(payload))
    except SourceStopped as error:
        answers, failed = {}, {call: str(error)}
    for why in failed.values():
        log.warning("%s: how many calls are left this month is not known: %s", source.name, why)
    return answers.get(call)


def calls_a_month(source: BaseSource, targets: Sequence[Target], now: datetime) -> int:
    """The calls of the scheduled pulls and settles of thirty days.

    A nightly backfill adds few, since it requests only what is missing after the settle.
    """
    last_days, whole_every = settle_window(now, source.SETTLE_DAYS), source.SCHEDULES[Verb.SETTLE].whole_every
    windows = {Verb.PULL: pull_window(now, source.PULL_DAYS), Verb.SETTLE: last_days}
    plans = {verb: make_plan(make_job(source, verb, targets, window)) for verb, window in windows.items()}
    a_month = (
        sum(len(plan.calls) * (DAY // source.SCHEDULES[verb].every) for verb, plan in plans.items()) * DAYS_A_MONTH
    )
    if whole_every:
        history = Window(source.history_start(now), last_days.end)
        more = len(make_plan(make_job(source, Verb.SETTLE, targets, history)).calls) - len(plans[Verb.SETTLE].calls)
        a_month += more * (DAYS_A_MONTH * DAY // whole_every)
    return a_month


def usage_text(left: int, needed: int) -> str:
    """Both numbers in one line."""
    return f"{left:,} calls are left this month; the config needs about {needed:,} a month"
