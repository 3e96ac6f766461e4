"""A provider that rewrites its history for a year, withdraws days, changes a unit once and glitches five times.

Runs, commands, database and sockets are real. No clock is faked either: after each day, everything stored becomes a day
older (tests/ageing.py), and the provider has one more closed day, so today comes later for both. The short form has few
nights. The long form has a whole year, and prints what a settle costs beside one of the last ten days only:

    python -m pytest -m long -n 0 -s tests/restated_year
"""

import random
import statistics
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pytest

from db.coverage import Name
from db.database import Database
from model.values import Target, Verb
from pipeline.plan import Scope, make_job, settle_window
from pipeline.summary import Summary
from sources.artemis import Artemis
from sources.base import BaseSource
from sources.defillama import DefiLlama
from tests.commands import environment
from tests.commands import run as run_command
from tests.restated_year.provider import Cell, Glitch, Provider
from tests.restated_year.year import Event, Year
from tests.tables import Rows

METRICS = {DefiLlama: ("CHAIN_TVL", "CHAIN_FEES"), Artemis: ("TVL", "FEES")}  # FEES change their unit
PLACES = (0, 1, 2, 3, 5, 6)  # of the events, in steps; the fifth is about all series of the four before it
STEP, LASTS = 2, 3  # nights: a step of the short form, and a glitch
GONE = """
SELECT asset, metric_name, generate_series(lower(part), upper(part) - 1, '1 day')::timestamp
FROM coverage, unnest(withdrawn) AS part
"""
TIMES = 3  # that the last settle is repeated, for the median of its seconds


def events(first_metric: Sequence[Name], second_metric: Sequence[Name], step: int) -> list[Event]:
    """Five glitches and a new unit. Each touches the last ten days, which any settle compares."""
    glitches: list[Callable[[int], Glitch]] = [
        lambda today: Glitch("a factor of 1,000", first_metric[:1], range(today - 60, today - 3), 1000.0),
        lambda today: Glitch("a block of zeros", first_metric[1:2], range(today - 30, today - 4), 0.0),
        lambda today: Glitch("a block withdrawn", first_metric[2:3], range(today - 25, today - 3), None),
        lambda today: Glitch("one day × 1,000", first_metric[3:4], range(today - 5, today - 4), 1000.0),
        lambda today: Glitch("many series × 1.3", first_metric, range(today - 6, today - 3), 1.3),
        lambda today: Glitch("a new unit", second_metric, range(today - 1), 0.001),
    ]
    begins = [1 + place * step for place in PLACES]
    made = [Event(glitch, begin, begin + LASTS) for glitch, begin in zip(glitches, begins, strict=True)]
    made[1].rejected = made[1].begin + 2  # the settle of the night before has compared the whole history
    made[-1].taken_back, made[-1].accepted = None, made[-1].begin + 2
    return made


@pytest.mark.parametrize("source", [DefiLlama, Artemis])
@pytest.mark.parametrize(
    ("nights", "assets"), [(17, 5), pytest.param(365, 8, marks=pytest.mark.long)], ids=["17-nights", "a-year"]
)
def test_all_that_is_restated_is_adopted_and_each_glitch_waits_from_its_first_night_on(
    source: type[BaseSource], nights: int, assets: int, database: Database, database_url: str, rows: Rows
) -> None:
    kind = "chain" if source is DefiLlama else ""
    targets = [
        Target(f"asset-{number}", metric, f"asset-{number}", kind)
        for metric in METRICS[source]
        for number in range(assets)
    ]
    names = [(each.asset, each.metric) for each in targets]
    planned = events(names[:assets], names[assets:], STEP if nights < 100 else nights // 8)
    chance = random.Random(16)  # noqa: S311 - repeatable numbers

    def decide(option: str, names: Sequence[Name]) -> None:
        words = " ".join(f"{option} {asset} {metric}" for asset, metric in names)
        done = run_command(f"main.py settle {source.name} {words}", env=environment(database_url))
        assert done.returncode == 0, done.stderr

    with Provider(targets, chance) as provider:
        api = source("KEY" if source.KEY_REQUIRED else "", provider.url)
        year = Year(database, rows, provider, api, planned, decide, chance)
        year.begin()
        for number in range(nights):
            year.night(number)
        last = year.compare_all()
        _is_as_promised(year)
        if nights > 100:
            _print_cost(year, last)


def _is_as_promised(year: Year) -> None:
    """At the end of the year: what is stored, what waits, and why each value was replaced."""
    provider, rows = year.provider, year.rows
    assert year.shown == 6
    assert rows("SELECT FROM quarantine") == []
    stored = year.stored()
    for name in provider.targets:
        year.check_equal(name, stored[name])
    assert {((asset, metric), year.day_of(at)) for asset, metric, at in rows(GONE)} == provider.withdrawn
    replaced: dict[str, list[tuple[Cell, float]]] = {"sample": [], "restated": [], "accepted": []}
    for asset, metric, at, value, reason in rows("SELECT asset, metric_name, pulled_at, value, reason FROM revisions"):
        replaced[reason].append((((asset, metric), year.day_of(at)), value))
    assert [each for each in replaced["sample"] if each[1] not in provider.samples[each[0]]] == []
    for reason in ("restated", "accepted"):
        assert [each for each in replaced[reason] if each[1] in provider.samples[each[0]]] == []
    assert {cell for cell, _ in replaced["restated"]} <= provider.restated
    assert {name[1] for (name, _), _ in replaced["accepted"]} == {METRICS[type(year.source)][1]}
    assert len(replaced["sample"]) > 0


def _print_cost(year: Year, last: Summary) -> None:
    """The calls of the year's settles, and the seconds of one, beside those of a settle of the last ten days."""
    window, targets, nights = settle_window(datetime.now(UTC), 10), last.plan.job.targets, len(year.settles)
    ten_days = make_job(year.source, Verb.SETTLE, targets, window, Scope.FULL)
    ways: dict[str, Callable[[], Summary]] = {
        "ten days only": lambda: year.run_job(ten_days),
        "a usual night": lambda: year.run(Verb.SETTLE),
        "all days": year.compare_all,
    }
    calls, adopted = (sum(map(of, year.settles)) for of in (lambda each: each.calls, lambda each: each.counts.changed))
    lines = [f"{year.source.name}: {nights} nights, {len(targets)} series, {calls:,} calls, {adopted:,} values adopted"]
    for name, way in ways.items():
        runs = [way() for _ in range(TIMES)]
        seconds = statistics.median(each.seconds for each in runs)
        lines.append(f"{name}: {runs[0].calls} calls, {runs[0].received:,} values compared, {seconds:.3f} s")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
