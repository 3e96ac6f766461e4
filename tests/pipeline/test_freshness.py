"""How old series are judged, against the day that is due, on nights of a modelled scheduler."""

from datetime import date, datetime

import pytest

from model.values import DAY, Target
from pipeline.freshness import DueDays, Freshness, SeriesState
from tests.modelled_night import BUSY, HOUR, MINUTE, WEDNESDAY, Known, first_problem, model, problems


@pytest.mark.parametrize(
    ("source", "asset", "metric", "at"),
    [
        ("defillama", "aave", "FEES", WEDNESDAY + 6 * HOUR + 35 * MINUTE),
        ("defillama", "aave", "FEES_24H", WEDNESDAY + 2 * HOUR + 5 * MINUTE),
        ("defillama", "dead", "TVL", WEDNESDAY + 6 * HOUR + 35 * MINUTE),
        ("artemis", "sol", "PRICE", WEDNESDAY + 7 * HOUR + 35 * MINUTE),
        ("artemis", "eq-nvda", "PRICE", WEDNESDAY + 7 * HOUR + 35 * MINUTE),
    ],
)
def test_a_series_that_is_answered_no_longer_is_stale_when_its_day_is_due_while_others_go_on(
    source: str, asset: str, metric: str, at: datetime
) -> None:
    made = model(source, WEDNESDAY - HOUR)
    made.silent = lambda _model, target: (target.asset, target.metric) == (asset, metric)
    begin, text = first_problem(made, WEDNESDAY + 10 * HOUR)
    assert begin == at
    assert text.startswith(f"1 series is stale, newest point of the oldest: {asset} {metric} (20")
    assert text.endswith(f"; see what is missing: python main.py gaps {source}; log: journalctl -u crypto-metrics")
    assert [each.asset for each in made.health().freshness.stalest] == [asset]


def test_of_many_stale_series_the_oldest_three_are_named() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    for number in range(5):
        made.known[Target(f"a{number}", "FEES", "", "protocol")] = Known(WEDNESDAY - (number + 2) * DAY)
    (problem,) = problems(made.health())
    named = "a4 FEES (2026-11-19), a3 FEES (2026-11-20), a2 FEES (2026-11-21)"
    assert problem.startswith(f"5 series are stale, newest point of the oldest: {named}; ")


def test_an_api_that_answers_but_has_had_nothing_new_for_days_is_a_problem() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    for target, known in made.known.items():
        if target.metric == "PRICE" and known.newest:
            made.known[target] = Known(min(known.newest, WEDNESDAY - 5 * DAY), known.answered)
    assert problems(made.health()) == []
    for target, known in made.known.items():
        if target.metric == "PRICE" and known.newest:
            made.known[target] = Known(min(known.newest, WEDNESDAY - 6 * DAY), known.answered)
    (problem,) = problems(made.health())
    assert problem.startswith(
        "no series has had a new point since 2026-11-19: the API answers, but has nothing newer; "
    )


def test_a_series_of_quarters_is_fresh_while_its_next_report_can_be_out() -> None:
    made = model("artemis", WEDNESDAY + 10 * HOUR)
    (target,) = (target for target in made.known if target.metric == "NET_INCOME")
    found = []
    for days in (150, 151, 152):
        made.known[target] = Known(WEDNESDAY - days * DAY)
        found.append(made.health().freshness.count(SeriesState.STALE))
    assert found == [0, 0, 1]


def test_the_deadline_moves_on_when_the_nights_runs_have_had_their_time_or_are_over() -> None:
    made = model("defillama", WEDNESDAY + 4 * HOUR)
    moves = WEDNESDAY + 6 * HOUR + 35 * MINUTE
    assert made.health().freshness.due == DueDays(date(2026, 11, 23), date(2026, 11, 25), moves)
    made.lengths = BUSY
    made.sleep(WEDNESDAY + 7 * HOUR)
    assert made.health().freshness.due == DueDays(date(2026, 11, 23), date(2026, 11, 25), None)
    made.sleep(WEDNESDAY + 8 * HOUR)
    assert made.health().freshness.due.closed == date(2026, 11, 24)


def test_each_series_is_counted_once() -> None:
    made = model("defillama", WEDNESDAY + 10 * HOUR)
    made.known[Target("x", "FEES", "x", "protocol")] = Known(WEDNESDAY - 9 * DAY)
    found: Freshness = made.health().freshness
    assert (
        found.count(SeriesState.FRESH)
        + found.count(SeriesState.STALE)
        + found.count(SeriesState.QUIET)
        + found.count(SeriesState.AWAITED)
        + found.count(SeriesState.NEVER_SEEN)
        == len(found.states)
        == 7
    )
