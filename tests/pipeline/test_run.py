"""One run in this process: what it must hold before it writes, and which answers it believes."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime

import pytest

from db.database import Database
from db.lock import SessionLock, place_of_run
from db.reader import Reader
from model.errors import ConfigurationError, RunRefused
from model.values import DAY, Target, Verb, Window
from pipeline.plan import Job, Scope, make_job
from pipeline.run import run
from sources.artemis import Artemis
from sources.pace import Pace
from tests.fake_api import FakeApi
from tests.tables import Rows, this_midnight
from tests.wire import Wire, reply

UNKNOWN = [Target(f"unknown-{number}", "PRICE", f"unknown-{number}") for number in range(3)]
SOL = Target("sol", "PRICE", "sol")


def job(api: FakeApi, *targets: Target, days: int) -> Job:
    """The backfill of the last days that are not covered yet."""
    source = Artemis("key", f"{api.url}/artemis")
    return make_job(
        source, Verb.BACKFILL, targets, Window(this_midnight() - days * DAY, this_midnight()), Scope.MISSING
    )


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_run_whose_other_place_is_lost_writes_nothing_more(allowed: int, database: Database, rows: Rows) -> None:
    held: list[datetime] = []

    def check_place() -> None:
        if len(held) == allowed:
            raise RunRefused("another scheduler is running")
        held.append(this_midnight())

    with FakeApi() as api, pytest.raises(RunRefused, match="another scheduler"):
        run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0), check_place=check_place)
    assert rows("SELECT count(*), count(finished_at), count(failure) FROM pulls") == [(allowed, 0, 0)]
    assert rows("SELECT FROM metrics") == []


def test_a_run_whose_plan_fails_gets_its_end_and_its_reason(database: Database, rows: Rows) -> None:
    rows("DROP TABLE refused CASCADE")
    with FakeApi() as api, pytest.raises(ConfigurationError, match="are missing"):
        run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0))
    [(status, ended, failure)] = rows("SELECT status, finished_at IS NOT NULL, failure FROM pulls")
    assert (status, ended) == ("error", True)
    assert "tables or columns of this version are missing" in failure


TIMEOUTS = ("statement_timeout", "lock_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout")
HOSTILE = (
    *(f"{name} = '1s'" for name in TIMEOUTS), "datestyle = 'SQL, DMY'", "extra_float_digits = -15",
    "timezone = 'Asia/Tokyo'", "default_transaction_isolation = 'serializable'",
)  # fmt: skip


def test_what_a_role_or_database_has_set_changes_no_run_and_no_value(database: Database, rows: Rows) -> None:
    with FakeApi() as api:
        run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0))
        expected = rows("SELECT pulled_at, value FROM metrics ORDER BY 1")
        rows("TRUNCATE metrics, coverage")
        (name,) = rows("SELECT current_database()")[0]
        for setting in HOSTILE:
            rows(f"ALTER DATABASE {name} SET {setting}")
        summary = run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0))
    assert summary.status == "success"
    assert rows("SELECT pulled_at, value FROM metrics ORDER BY 1") == expected
    with closing(Reader(database)) as reader:
        found = reader.table("SELECT pulled_at::text, value::text, 0.1::float8::text FROM metrics ORDER BY 1 LIMIT 1")
        timeouts = reader.table(f"SELECT {', '.join(f'current_setting({name!r})' for name in TIMEOUTS)}")
    assert found.rows == [(str(expected[0][0]), repr(expected[0][1]), "0.1")]
    assert timeouts.rows == [("0",) * len(TIMEOUTS)]


def test_a_series_without_a_value_is_requested_on_two_days_and_makes_no_run_fail(
    database: Database, rows: Rows
) -> None:
    with FakeApi() as api:
        made = job(api, SOL, *UNKNOWN, days=30)
        for calls, unconfirmed in ((2, len(UNKNOWN)), (2, 0), (0, 0)):
            summary = run(made, database, threading.Event(), str, Pace(0.0))
            assert (summary.calls, len(summary.unconfirmed), summary.exit_code) == (calls, unconfirmed, 0)
            rows("UPDATE refused SET last_on = last_on - 1 RETURNING 1")


def test_a_pull_counts_what_is_null_and_what_is_refused_and_keeps_the_last_value_of_a_day(
    database: Database, rows: Rows
) -> None:
    yesterday = f"{this_midnight() - DAY:%Y-%m-%d}"
    points = [
        {"date": f"{yesterday}T23:00:00Z", "val": 3}, {"date": f"{yesterday}T01:00:00Z", "val": 1},
        *({"date": yesterday, "val": None} for _ in range(2)), {"date": yesterday, "val": "much"},
    ]  # fmt: skip
    data = {"data": {"symbols": {"sol": {"PRICE": points}}}}
    window = Window(this_midnight() - DAY, this_midnight() + DAY)
    with Wire(reply(b'{"assets": []}'), reply(json.dumps(data).encode())) as wire:
        made = make_job(Artemis("key", wire.url), Verb.PULL, [SOL], window)
        summary = run(made, database, threading.Event(), str, Pace(0.0))
    assert (summary.nulls, dict(summary.refused)) == (2, {"'much' in place of a number": 1})
    assert rows("SELECT value FROM metrics") == [(3.0,)]


def test_a_stopped_run_says_of_no_series_that_it_has_no_data(database: Database) -> None:
    stop = threading.Event()
    stop.set()
    with FakeApi() as api:
        summary = run(job(api, SOL, days=30), database, stop, str, Pace(0.0))
    assert (summary.not_made, summary.without_data) == (1, [])


def test_each_message_is_counted_as_often_as_it_came(database: Database) -> None:
    targets = [Target(f"coin-{number}", "PRICE", f"coin-{number}") for number in range(120)]
    with FakeApi(broken={"data/api": "404"}) as api:
        summary = run(job(api, *targets, days=2_000), database, threading.Event(), str, Pace(0.0))
    assert summary.failures.total() == summary.failed == 6
    assert [*summary.failures.values()] == [2, 2, 2]  # three lists of symbols, each in two windows


def test_progress_ends_with_all_calls_and_all_points(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.http.MAX_TRIES", 1)
    seen: list[tuple[int, int, int]] = []
    titles: list[tuple[str, int]] = []

    @contextmanager
    def show(title: str, total: int) -> Iterator[Callable[[int, int, int], None]]:
        titles.append((title, total))
        yield lambda *numbers: seen.append(numbers)

    coins = [Target(f"coin-{number}", "PRICE", f"coin-{number}") for number in range(30)]
    with FakeApi(most_series=20) as api:
        summary = run(job(api, *coins, days=5), database, threading.Event(), str, Pace(0.0), show=show)
    assert titles == [("artemis backfill", 2)]
    assert seen[-1] == (summary.calls, summary.calls, summary.received) == (4, 4, summary.counts.new)
    assert 0 < summary.seconds < 60


def test_each_point_is_loaded_once_in_however_many_loads(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.run.BATCH_POINTS", 1)
    with FakeApi() as api:
        summary = run(job(api, SOL, days=3_000), database, threading.Event(), str, Pace(0.0))
    assert rows("SELECT count(*) FROM metrics") == [(summary.counts.new,)] == [(summary.received,)]
    assert summary.counts.unchanged == 0
    assert rows("SELECT count(*) > 1 FROM loads") == [(True,)]


def test_a_backfill_stores_only_the_days_that_it_requested(database: Database, rows: Rows) -> None:
    days = [f"{this_midnight() - number * DAY:%Y-%m-%d}" for number in range(6)]
    data = {"data": {"symbols": {"sol": {"PRICE": [{"date": day, "val": 1} for day in days]}}}}
    window = Window(this_midnight() - 4 * DAY, this_midnight() - DAY)
    with Wire(reply(b'{"assets": []}'), reply(json.dumps(data).encode())) as wire:
        made = make_job(Artemis("key", wire.url), Verb.BACKFILL, [SOL], window, Scope.MISSING)
        summary = run(made, database, threading.Event(), str, Pace(0.0))
    assert summary.received == 3
    assert rows("SELECT pulled_at::date::text FROM metrics ORDER BY 1") == [(days[4],), (days[3],), (days[2],)]


def test_a_run_whose_own_place_is_lost_writes_nothing_more(database: Database, rows: Rows) -> None:
    place = place_of_run("artemis", Verb.BACKFILL)
    taken: list[SessionLock] = []

    def lose() -> None:
        if not taken and rows("SELECT FROM pulls"):
            rows(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks "  # it waits until the session has ended
                "WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
            taken.append(SessionLock(database, place))

    with FakeApi() as api, pytest.raises(RunRefused, match="another backfill artemis"):
        run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0), check_place=lose)
    taken[0].close()
    assert rows("SELECT FROM metrics") == []


def test_a_bug_in_a_reader_ends_the_run_and_is_recorded(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Artemis, "read", broken)
    with FakeApi() as api, pytest.raises(RuntimeError, match="a bug"):
        run(job(api, SOL, days=30), database, threading.Event(), str, Pace(0.0))
    assert rows("SELECT status, failure FROM pulls") == [("error", "RuntimeError: a bug")]
