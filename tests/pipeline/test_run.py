"""One run in this process: what it must hold before it writes, and which answers it believes."""

import threading
from contextlib import closing
from datetime import datetime

import pytest

from db.setup import Database
from db.store import Store
from model.errors import RunRefused
from model.values import DAY, Target, Verb, Window
from pipeline.plan import Job, Scope, make_job
from pipeline.run import run
from sources.artemis import Artemis
from sources.pace import Pace
from tests.fake_api import FakeApi
from tests.tables import PULL, TODAY, Rows

UNKNOWN = [Target(f"unknown-{number}", "PRICE", f"unknown-{number}") for number in range(3)]
SOL = Target("sol", "PRICE", "sol")


def job(api: FakeApi, *targets: Target, days: int) -> Job:
    """The backfill of the last days that are not covered yet."""
    source = Artemis("key", f"{api.url}/artemis")
    return make_job(source, Verb.BACKFILL, targets, Window(TODAY - days * DAY, TODAY), Scope.MISSING)


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_run_whose_other_place_is_lost_writes_nothing_more(allowed: int, database: Database, rows: Rows) -> None:
    held: list[datetime] = []

    def check_place() -> None:
        if len(held) == allowed:
            raise RunRefused("another scheduler is running")
        held.append(TODAY)

    with FakeApi() as api, pytest.raises(RunRefused, match="another scheduler"):
        run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0), check_place=check_place)
    assert rows("SELECT count(*), count(finished_at), count(failure) FROM pulls") == [(allowed, 0, 0)]
    assert rows("SELECT FROM metrics") == []


@pytest.mark.parametrize(("number", "days", "believed"), [(1, 30, True), (3, 7, True), (3, 8, False), (3, 30, False)])
def test_an_answer_with_nothing_for_several_series_and_over_a_week_is_asked_for_again(
    number: int, days: int, believed: bool, database: Database
) -> None:
    with FakeApi() as api:
        made = job(api, *UNKNOWN[:number], days=days)
        summary = run(made, database, threading.Event(), str, Pace(0.0))
        assert (summary.status, len(api.requests)) == ("no_data", 1)
    with closing(Store(database, "artemis", PULL)) as store:
        missing = store.missing(made.targets, made.window)
    assert missing == ({} if believed else {(each.asset, each.metric): [made.window] for each in made.targets})


def test_an_answer_with_points_for_one_of_several_series_is_believed_for_all(database: Database) -> None:
    with FakeApi() as api:
        made = job(api, SOL, *UNKNOWN, days=30)
        run(made, database, threading.Event(), str, Pace(0.0))
        again = run(made, database, threading.Event(), str, Pace(0.0))
        assert (again.calls, len(api.requests)) == (0, 1)
