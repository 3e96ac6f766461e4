"""Recorded answers of several days: what was really restated passes, and what looks like a glitch waits."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import combinations
from random import Random

import pytest

from db.quarantine import ComparedPoint
from model.restatement_bounds import RestatementBounds
from model.values import DAY, Target, Verb, Window, midnight
from pipeline.restatements import doubt
from sources.defillama import DefiLlama
from tests.recorded import LLAMA, RECORDED

pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded answers are not beside this checkout")

BOUNDS = RestatementBounds()
ALL_DAYS = Window(datetime(2013, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
HISTORIES = {  # by the begin of the file: what its answer has
    "protocol": ("TVL", "protocol"),
    "stablecoincharts": ("CHAIN_STABLECOIN_SUPPLY", "chain"),
    "yields": ("APY", "pool"),
}
DATED = re.compile(r"((protocol|stablecoincharts|yields)[-_].+?)@(\d{4}-\d\d-\d\d).*\.json")
TRIES = 20  # random places for each shape in each series
GLITCHES = {  # length in days, and the factor: None for withdrawn days
    "60 days × 1,000": (60, 1000.0),
    "20 days × 1.5": (20, 1.5),
    "20 days / 1,000": (20, 0.001),
    "20 days × -1": (20, -1.0),
    "20 days of zeros": (20, 0.0),
    "20 days withdrawn": (20, None),
}
SPIKES = {"a day × 1,000": 1000.0, "a day × 0": 0.0, "a day / 1,000": 0.001}
Values = Mapping[datetime, float]


@cache
def histories() -> dict[str, list[tuple[datetime, Values]]]:
    """The recorded values of each series, by the day of the answer, sorted."""
    found: dict[str, list[tuple[datetime, Values]]] = defaultdict(list)
    for file in sorted((RECORDED / LLAMA).iterdir()):
        if name := DATED.fullmatch(file.name):
            received = datetime.fromisoformat(name[3]).replace(tzinfo=UTC) + DAY / 2
            metric, kind = HISTORIES[name[2]]
            source = DefiLlama()
            (call,) = source.calls(Verb.BACKFILL, [Target(name[1], metric, name[1], kind)], ALL_DAYS)
            points = source.answer(call, json.loads(file.read_bytes()), received).points
            found[name[1]].append((received, {each.at: each.value for each in points}))
    return found


def compared(stored: Values, now: Mapping[datetime, float | None]) -> list[ComparedPoint]:
    """The stored points, beside what the API says now."""
    return [
        ComparedPoint(at, value, restated=now.get(at) != value, value=now.get(at))
        for at, value in sorted(stored.items())
    ]


@pytest.mark.parametrize("last_days", [10, 10_000])
def test_nothing_that_was_really_restated_waits(last_days: int) -> None:
    changed, doubts = 0, []
    for name, answers in histories().items():
        for (first, stored), (_, now) in combinations(answers, 2):
            window = Window(max(midnight(first) - last_days * DAY, ALL_DAYS.start), midnight(first))
            closed = {at: value for at, value in stored.items() if window.start <= at < window.end}
            points = compared(closed, now)
            changed += sum(each.restated for each in points)
            doubts += [(name, first, found.why) for found in [doubt(points, [window], BOUNDS)] if found]
    assert doubts == []
    assert changed > (60 if last_days > 10 else 5)


@pytest.mark.parametrize("title", GLITCHES)
def test_each_glitch_of_many_days_waits(title: str) -> None:
    length, factor = GLITCHES[title]
    assert _passed(length, factor) == 0.0


@pytest.mark.parametrize("title", SPIKES)
def test_nearly_each_glitch_of_one_day_waits(title: str) -> None:
    assert _passed(1, SPIKES[title]) <= 0.05  # where the series moves by a factor of ten within a few days anyway


def _passed(length: int, factor: float | None) -> float:
    """The share of such glitches at random places that would not wait."""
    chance, passed, planted = Random(16), 0, 0  # noqa: S311 - repeatable numbers
    for answers in histories().values():
        stored = answers[-1][1]
        times = sorted(at for at, value in stored.items() if value)
        for _ in range(TRIES if len(times) >= 4 * length and len(times) > 100 else 0):
            first = chance.randrange(len(times) - length + 1)
            glitch = {at: None if factor is None else stored[at] * factor for at in times[first : first + length]}
            planted += 1
            passed += not doubt(compared(stored, {**stored, **glitch}), [ALL_DAYS], BOUNDS)
    assert planted >= 5 * TRIES
    return passed / planted
