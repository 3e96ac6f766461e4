"""Work grows as the number of series does: twice as many take about twice the lines of Python, not four times as many.

What runs inside C is not counted.
"""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import requests

from model.values import DAY, Target, Verb, Window, midnight
from sources import SOURCES
from sources.base import BaseSource
from tests.fake_api import FakeApi

FEW = 300  # assets
MOST = 2.1  # times as many lines for twice as many assets
METRICS = {
    "artemis": "PRICE MC FDMC FEES REVENUE DAU TXNS TVL",
    "defillama": "TVL MCAP FEES FEES_24H REVENUE REVENUE_24H DEX_VOLUME DEX_VOLUME_24H",
}


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of Python some work runs in this thread."""
    count = 0

    def trace(_frame: FrameType, event: str, _given: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def targets(source: str, verb: Verb, assets: int) -> list[Target]:
    kind = "protocol" if source == "defillama" else ""
    names = [name for name in METRICS[source].split() if verb in SOURCES[source].METRICS[name].verbs]
    return [Target(f"asset-{place}", name, f"asset-{place}", kind) for place in range(assets) for name in names]


@pytest.fixture
def window() -> Window:
    today = midnight(datetime.now(UTC))
    return Window(today - 7 * DAY, today + DAY)


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("name", list(SOURCES))
def test_the_calls_of_twice_as_many_series_take_twice_the_work(name: str, verb: Verb, window: Window) -> None:
    def lines_for(count: int) -> int:
        wanted = targets(name, verb, count)
        return lines_of(lambda: list(SOURCES[name]("key").calls(verb, wanted, window)))

    few, many = lines_for(FEW), lines_for(2 * FEW)
    assert FEW < few < many <= MOST * few


def test_reading_an_answer_that_lists_twice_as_many_protocols_takes_twice_the_work(
    tmp_path: Path, window: Window
) -> None:
    few, many = (lines_of_a_pull(tmp_path / f"{count}.csv", count, window) for count in (FEW, 2 * FEW))
    assert FEW < few < many <= MOST * few


def lines_of_a_pull(config: Path, count: int, window: Window) -> int:
    wanted = targets("defillama", Verb.PULL, count)
    rows = [f"asset-{place},protocol,{METRICS['defillama']}" for place in range(count)]
    config.write_text("\n".join(["asset,kind,metrics", *rows]) + "\n", encoding="utf-8")
    with FakeApi(universe=(config,)) as api:
        source = SOURCES["defillama"]("key", api.environment()["DEFILLAMA_BASE_URL"])
        return sum(lines_of(work) for work in readings(source, wanted, window))


def readings(source: BaseSource, wanted: list[Target], window: Window) -> Iterator[Callable[[], object]]:
    """The reading of each answer of a pull."""
    for call in source.calls(Verb.PULL, wanted, window):
        request = source.request(call)
        payload = requests.get(request.url, request.params, timeout=60).json()
        yield partial(source.answer, call, payload, window.end - DAY)
