"""query_data: stored values as DataFrames, now and as they were known before."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import query_data
from pipeline.values import Verb
from tests.commands import ROOT, copy_tree, environment
from tests.tables import DONE, START, Opener, Rows, point, refusal

SETTLE = Verb.SETTLE


@pytest.fixture(autouse=True)
def _in_the_tests_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)


def test_a_series_is_a_frame_with_a_utc_index_and_what_was_asked(open_store: Opener) -> None:
    open_store(Verb.BACKFILL).load([point(day=day, value=day) for day in (2, 0, 1)])
    frame = query_data.series("solana", "TVL", "defillama")
    assert list(frame.index) == [pd.Timestamp(START + timedelta(days=day)) for day in range(3)]
    assert list(frame["value"]) == [0.0, 1.0, 2.0]
    assert frame.attrs == {"source": "defillama", "asset": "solana", "metric": "TVL", "as_of": None}


@pytest.mark.parametrize(
    "start",
    [
        "2024-01-02",
        date(2024, 1, 2),
        datetime(2024, 1, 2),  # noqa: DTZ001 - what people write
        datetime(2024, 1, 2, 2, tzinfo=timezone(timedelta(hours=2))),
        pd.Timestamp("2024-01-02T00:00:00.000000001"),
        pd.Timestamp("2024-01-02T02:00+02:00"),
        np.datetime64("2024-01-02"),
        np.datetime64("2024-01-02T00:00:00", "ns"),
    ],
    ids=repr,
)
def test_a_window_is_half_open_and_takes_dates_in_every_form(open_store: Opener, start: object) -> None:
    open_store(Verb.BACKFILL).load([point(day=day, value=day) for day in range(4)])
    frame = query_data.series("solana", "TVL", "defillama", start=start, end="2024-01-04")  # type: ignore[arg-type]
    assert list(frame["value"]) == [1.0, 2.0]


@pytest.mark.parametrize(
    "when",
    ["", "yesterday", 20240102, 1.5, True, pd.NaT, np.datetime64("NaT"), [date(2024, 1, 2)], np.arange(2)],
    ids=repr,
)
def test_what_is_no_instant_is_refused_with_what_would_be_one(when: object) -> None:
    for name in ("start", "end", "as_of"):
        with pytest.raises(
            ValueError, match=r"is no instant: give a date, .* or ISO 8601 text such as '2026-11-17T09:00'"
        ):
            query_data.series("solana", "TVL", "defillama", **{name: when})  # type: ignore[arg-type]


def test_a_database_without_tables_says_in_one_line_how_to_fill_it(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    told = [
        refusal(lambda: query_data.series("solana", "TVL", "defillama")),
        refusal(lambda: query_data.revisions("defillama")),
    ]
    assert told == ["nothing is stored yet, or by another version: python main.py backfill all"] * 2


def test_for_a_look_no_server_is_made(tmp_path: Path) -> None:
    copy_tree(tmp_path / "copy")
    code = "import query_data; query_data.series('solana', 'TVL', 'defillama')"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code],
        cwd=tmp_path / "copy",
        env=environment(""),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith("ConfigurationError: nothing is stored yet: python main.py backfill all\n")
    assert not (tmp_path / "copy" / ".data").exists()


def test_what_is_not_stored_is_an_empty_frame_of_the_same_form() -> None:
    frame = query_data.series("nothing", "TVL", "defillama")
    assert frame.empty
    assert str(frame.index.dtype).endswith("UTC]")
    assert frame["value"].dtype == float


def test_as_of_gives_the_values_of_then_and_revisions_what_came_of_them(open_store: Opener, rows: Rows) -> None:
    open_store(Verb.BACKFILL).load([point(value=1.0)])
    [(then,)] = rows("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
    store = open_store(SETTLE)
    pull_id = store.begin_run()
    store.load([point(value=2.0), point(day=1, value=3.0)])
    store.end_run(pull_id, DONE)
    assert list(query_data.series("solana", "TVL", "defillama", as_of=then)["value"]) == [1.0]
    assert list(query_data.series("solana", "TVL", "defillama")["value"]) == [2.0, 3.0]
    assert query_data.series("solana", "TVL", "defillama", as_of="2024-06-01").empty
    found = query_data.revisions("defillama", "solana").iloc[0]
    assert (found["asset"], found["metric"], found["old"], found["new"], found["pull_id"]) == (
        "solana", "TVL", 1.0, 2.0, pull_id,
    )  # fmt: skip
    assert found["replaced_at"] > then.replace(tzinfo=UTC)


def test_pandas_is_loaded_only_by_who_asks_for_a_frame() -> None:
    code = "import sys, main, query_data, pipeline.run; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0  # noqa: S603
