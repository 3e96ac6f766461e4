"""Artemis' calls, for the tests of its calls and of its answers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from model.values import DAY, Target, Verb, Window
from sources.artemis import METRICS, QUARTERLY, Artemis
from sources.base import Call

TODAY = datetime(2026, 8, 17, tzinfo=UTC)
RECEIVED = TODAY + timedelta(hours=10, minutes=30)
WEEK = Window(TODAY - 6 * DAY, TODAY + DAY)
DAILY = sorted(METRICS.keys() - QUARTERLY)


def targets(symbols: Sequence[str] | int, metrics: Sequence[str] | int) -> list[Target]:
    """Each symbol with each metric; a number makes so many of them."""
    names = [f"s{number:03}" for number in range(symbols)] if isinstance(symbols, int) else symbols
    wanted = DAILY[:metrics] if isinstance(metrics, int) else metrics
    return [Target(name, metric, name) for name in names for metric in wanted]


def calls(verb: Verb, wanted: Sequence[Target], window: Window = WEEK) -> list[Call]:
    return list(Artemis("key").calls(verb, wanted, window))


def days(number: int) -> Window:
    return Window(TODAY - number * DAY, TODAY)


def asked(call: Call) -> tuple[list[str], list[str], dict[str, str]]:
    """The metrics, the symbols and the other parameters that a call asks for."""
    params = dict(call.params)
    metrics = call.path.removeprefix("data/api/").removesuffix("/").split(",")
    return metrics, params.pop("symbols").split(","), params
