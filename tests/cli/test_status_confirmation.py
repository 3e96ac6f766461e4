"""What `status` says of confirmed series, of withdrawn days, and of restatements that wait for a person."""

import json
from collections.abc import Iterator
from contextlib import closing
from subprocess import CompletedProcess
from typing import Any

import pytest

from db.database import Database
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SessionLock
from db.store import Store
from sources import SOURCES
from tests.commands import environment, on_terminal, run
from tests.tables import BACKFILL, Rows, asked, point, points

WAITS = """
INSERT INTO quarantine (source, asset, metric_name, pulled_at, value, state, seen_at)
SELECT source, asset, metric_name, pulled_at, value / 1000, '{state}', '2026-11-20 04:36' FROM metrics
"""
CONFIRM = "UPDATE coverage SET verified_at = clock_timestamp() AT TIME ZONE 'UTC' - interval '{age}'"


@pytest.fixture(autouse=True)
def _alive(database: Database) -> Iterator[None]:
    """A scheduler that lives and does nothing; four series with two days each, one of them live-only."""
    with (
        closing(SessionLock(database, SCHEDULER)),
        closing(Heartbeat(database, list(SOURCES), fresh=False)) as beat,
        closing(Store(database, "defillama", BACKFILL)) as store,
    ):
        beat.beat("idle")
        series = [("aave-v3", "FEES"), ("aave-v3", "FEES_24H"), ("lido", "FEES"), ("uniswap-v3", "FEES")]
        values = [point(asset, day, 4.1e9, metric) for asset, metric in series for day in (0, 1)]
        store.load(values, [asked(0, 2, asset, metric) for asset, metric in series])
        yield


def status(url: str, words: str = "") -> CompletedProcess[str]:
    return run(f"main.py status {words}", env=environment(url))


def of_defillama(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(status(url, "--json").stdout)["sources"][1]
    return found


def test_an_upgraded_database_is_not_confirmed_yet_and_well(database_url: str) -> None:
    done = status(database_url)
    assert done.returncode == 0, done.stdout
    assert "  not confirmed yet: 3 series\n" in done.stdout
    assert "withdrawn" not in done.stdout
    assert of_defillama(database_url)["confirmation"] == {
        "series": 3, "in_time": 0, "never": 3, "oldest": None,
        "withdrawn": {"days": 0, "last": None, "series": 0},
    }  # fmt: skip
    assert of_defillama(database_url)["waiting"] == []


def test_a_line_says_how_many_series_are_confirmed_and_how_old_the_oldest_confirmation_is(
    database_url: str, rows: Rows
) -> None:
    rows(CONFIRM.format(age="9 hours 5 minutes"))
    assert "  confirmed: all 3 series, the oldest 9 h ago\n" in status(database_url).stdout
    rows("UPDATE coverage SET verified_at = NULL WHERE asset = 'lido'")
    done = status(database_url)
    assert "  confirmed in time: 2 of 3 series, 1 not confirmed yet; the oldest 9 h ago\n" in done.stdout
    assert done.returncode == 0
    found = of_defillama(database_url)["confirmation"]
    assert (found["series"], found["in_time"], found["never"]) == (3, 2, 1)
    assert found["oldest"].endswith("+00:00")


def test_withdrawn_days_are_counted_and_need_no_attention(database_url: str, rows: Rows) -> None:
    rows("UPDATE coverage SET withdrawn = '{[2024-01-02,2024-01-03)}', withdrawn_at = '2026-11-20 04:36' "
         "WHERE asset <> 'lido' AND metric_name = 'FEES'")  # fmt: skip
    done = status(database_url)
    assert "  2 days of 2 series withdrawn by the provider, last on 2026-11-20\n" in done.stdout
    assert done.returncode == 0
    assert of_defillama(database_url)["confirmation"]["withdrawn"] == {
        "days": 2, "last": "2026-11-20T04:36:00+00:00", "series": 2,
    }  # fmt: skip


def test_a_restatement_that_waits_needs_attention_with_the_commands_that_decide(database_url: str, rows: Rows) -> None:
    rows(f"{WAITS.format(state='waiting')} WHERE asset = 'lido'")
    done = status(database_url)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("! "))
    take = lines.index("    to take the new values:")
    assert " ".join(" ".join(lines[at:take]).split()) == (
        "! defillama: lido FEES: the API now gives other values for 2 of 2 stored days, 2024-01-01 to 2024-01-02, "
        "typically new = 0.001 × old; 2024-01-02 would be $4.1M in place of $4.1bn; first seen 2026-11-20 04:36Z"
    )
    commands = [f"python main.py settle defillama {option} lido FEES" for option in ("--accept", "--reject")]
    assert [line.strip() for line in lines[take + 1 : take + 4]] == [
        commands[0], "to keep the stored ones:", commands[1],
    ]  # fmt: skip
    assert max(map(len, lines)) < 100
    assert any(line.startswith("defillama: NEEDS ATTENTION ") for line in lines)
    (waiting,) = of_defillama(database_url)["waiting"]
    assert waiting == {
        "asset": "lido", "metric": "FEES", "days": 2, "zero": 0, "withdrawn": 0, "stored": 2,
        "first": "2024-01-01T00:00:00+00:00", "last": "2024-01-02T00:00:00+00:00", "factor": 0.001,
        "old": 4.1e9, "new": 4.1e6, "since": "2026-11-20T04:36:00+00:00", "commands": commands,
    }  # fmt: skip
    assert "lido FEES: the API now gives" in of_defillama(database_url)["problems"][0]


def test_of_many_that_wait_the_first_three_are_named(database_url: str, database: Database, rows: Rows) -> None:
    with closing(Store(database, "defillama", BACKFILL)) as store:
        store.load([each for name in "12345" for each in points(0, asset=name)])
    rows(WAITS.format(state="waiting"))
    shown = " ".join(status(database_url).stdout.split())
    assert [f"! defillama: {name} TVL: the API now gives" in shown for name in "1234"] == [True, True, True, False]
    assert "! defillama: and 6 more series wait for a person python main.py check defillama " in shown
    assert len(of_defillama(database_url)["waiting"]) == 9
    assert max(map(len, on_terminal(database_url, "status", columns=60)[1:])) <= 60
    narrow = on_terminal(database_url, "status", columns=40)
    assert "    python main.py settle defillama --accept 1 TVL" in narrow  # a command is never broken


@pytest.mark.parametrize("state", ["new", "rejected"])
def test_what_a_run_is_still_judging_and_what_was_rejected_is_no_problem(
    state: str, database_url: str, rows: Rows
) -> None:
    rows(WAITS.format(state=state))
    assert status(database_url).returncode == 0


def test_a_stored_value_that_is_no_number_is_null_in_the_json(database_url: str, rows: Rows) -> None:
    rows(f"{WAITS.format(state='waiting')} WHERE asset = 'lido'")
    rows("UPDATE metrics SET value = 'NaN'")
    assert of_defillama(database_url)["waiting"][0]["old"] is None
    assert "would be $4.1M in place of nan" in " ".join(status(database_url).stdout.split())
