"""The scheduler's lanes: what comes of a run that can't begin, must not be recorded, or does not move any more."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from db.heartbeat import Heartbeat
from model.errors import ConfigurationError, RunRefused
from model.schedule import Schedule
from model.values import DAY, Target, Verb
from pipeline import scheduler
from pipeline.due import ScheduledRun
from pipeline.plan import Job, make_job, pull_window
from pipeline.run import Show
from pipeline.scheduler import Scheduler
from pipeline.summary import Summary
from pipeline.systemd import Notify
from sources.artemis import Artemis
from tests.schedulers import service_manager
from tests.tables import START, Rows, end
from tests.waiting import until

DUTY = ScheduledRun("artemis", Verb.PULL, Schedule(DAY, timedelta()))
JOB = make_job(Artemis("key"), Verb.PULL, [Target("sol", "PRICE", "sol")], pull_window(START, 7))
RECORDED = "SELECT status, finished_at IS NOT NULL, failure FROM pulls"


def of(
    heartbeat: Heartbeat,
    run: Callable[[Job, Show], Summary],
    *,
    check_place: Callable[[], None] = lambda: None,
    make_job: Callable[[ScheduledRun], Job] = lambda _: JOB,
    notify: Notify | None = None,
    after_check: Callable[[], None] = lambda: None,
) -> Scheduler:
    """A scheduler of one scheduled run, whose runs are these."""
    return Scheduler(
        [DUTY], heartbeat, threading.Event(), notify or Notify({}), lambda text: text.replace("s3cret", "***"),
        check_place=check_place, make_job=make_job, run=run, after_check=after_check,
    )  # fmt: skip


def never(job: Job, show: Show) -> Summary:
    """A run that must not be made."""
    raise AssertionError(job, show)


def refused(_: ScheduledRun) -> Job:
    """The job of a config that is wrong."""
    raise ConfigurationError("defillama_config.csv:2: s3cret is wrong")


def test_reports_are_made_after_a_check_that_found_the_database_and_started_nothing(
    heartbeat: Heartbeat, rows: Rows
) -> None:
    reports: list[str] = []
    made = of(heartbeat, never, make_job=refused, after_check=lambda: reports.append("reported"))
    made._check()
    assert reports == []  # it has started a run
    until(lambda: not made._lanes)
    made._check()
    assert reports == ["reported"]  # the run has failed, and its retry waits
    end(rows, "crypto-metrics heartbeat")
    made._check()
    assert reports == ["reported"]
    made._check()
    assert reports == ["reported"] * 2


def test_a_config_that_is_wrong_is_recorded_without_secrets_as_a_failed_try(heartbeat: Heartbeat, rows: Rows) -> None:
    made = of(heartbeat, never, make_job=refused)
    made._check()
    until(lambda: not made._lanes)
    assert rows(RECORDED) == [("error", True, "defillama_config.csv:2: *** is wrong")]
    made._check()  # the next try has to wait
    assert (made._lanes, len(rows(RECORDED))) == ({}, 1)


def test_nothing_is_recorded_where_the_place_has_been_lost(heartbeat: Heartbeat, rows: Rows) -> None:
    turns = iter([None, RunRefused("another scheduler is running")])

    def check_place() -> None:
        if lost := next(turns):
            raise lost

    made = of(heartbeat, never, check_place=check_place, make_job=refused)
    made._check()
    until(lambda: not made._lanes)
    assert next(turns, "all were taken") == "all were taken"
    assert rows(RECORDED) == []


def test_a_run_whose_place_is_taken_is_left_alone_for_a_while(
    heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "REFUSED_SECONDS", 0.5)
    tried = []

    def run(job: Job, show: Show) -> Summary:
        del show
        tried.append(job.slot)
        raise RunRefused("another pull artemis is running")

    made = of(heartbeat, run)
    made._check()
    until(lambda: tried)
    for _ in range(5):
        made._check()
    assert len(tried) == 1
    until(lambda: not made._lanes)
    made._check()
    until(lambda: len(tried) == 2)
    made.stop.set()


def test_a_run_that_moves_no_more_lets_the_watchdog_bite_and_is_told_once(
    heartbeat: Heartbeat,
    tmp_path: Path,
    rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("STILL_SECONDS", "HUNG_SECONDS"):
        monkeypatch.setattr(scheduler, name, 0.2)
    goes_on, ends = threading.Event(), threading.Event()

    def run(job: Job, show: Show) -> Summary:
        del job
        with show("artemis pull", 10) as update:
            while not goes_on.wait(0.01):
                update(0, 10, 0)  # which is no progress
            update(3, 10, 7)
            ends.wait(30)
        raise RunRefused("it was only a test")

    with service_manager(tmp_path / "socket") as heard:
        made = of(heartbeat, run, notify=Notify({"NOTIFY_SOCKET": str(tmp_path / "socket")}))
        made._check()
        assert rows("SELECT doing <> 'idle' AND doing <> 'starting' FROM scheduler") == [(True,)]  # told at once
        until(lambda: heard.count("WATCHDOG=1") == 1)
        threading.Event().wait(0.3)
        made._check()
        assert made._doing() == "artemis pull: 0 of 10 calls, 0 points, no progress for 0 minutes"
        made._check()
        for name in ("STILL_SECONDS", "HUNG_SECONDS"):
            monkeypatch.setattr(scheduler, name, 60.0)
        goes_on.set()
        until(lambda: "3 of 10 calls, 7 points" in made._doing())
        made._check()
        until(lambda: heard.count("WATCHDOG=1") == 2)
        made.stop.set()
        ends.set()
        until(lambda: not made._lanes)
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert rows("SELECT doing FROM scheduler") == [("artemis pull: 3 of 10 calls, 7 points",)]
    assert told == ["the watchdog is no longer reset: artemis pull: 0 of 10 calls, 0 points, no progress for 0 minutes"]
