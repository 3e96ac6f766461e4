"""query_data: stored values as DataFrames."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest

import query_data as q
from model.errors import BadQuestion
from model.values import DAY, DataPoint, Verb, midnight
from query import query_session as query_session
from query.time_arguments import instant
from tests.commands import ROOT, copy_tree, environment
from tests.tables import OF_SESSIONS, START, Opener, Rows, point, points, refusal

pytestmark = pytest.mark.every_postgres


@pytest.fixture(autouse=True)
def _in_the_tests_database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)


def load(open_store: Opener, *points: DataPoint) -> None:
    open_store(Verb.BACKFILL).load(points)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(BadQuestion) as caught:
        work()
    return str(caught.value)


def midnights(*days: int) -> list[pd.Timestamp]:
    return [pd.Timestamp(START + day * DAY) for day in days]


def test_a_series_is_a_frame_with_a_utc_index_and_what_was_asked(open_store: Opener) -> None:
    load(open_store, *(point(day=day, value=day) for day in (2, 0, 1)))
    frame = q.series("Solana", "tvl", start="2024-01-01")
    assert list(frame.index) == midnights(0, 1, 2)
    assert str(frame.index.dtype).endswith("UTC]")
    assert list(frame["value"]) == [0.0, 1.0, 2.0]
    assert frame.attrs == {
        "source": "defillama", "asset": "solana", "metric": "TVL", "unit": "USD", "as_of": None,
        "lag": None, "withdrawn": {},
        "series": "defillama solana TVL", "limits": "0.0 2.0 1704240000000000 2.0",
        "asked": {"asset": "Solana", "metric": "tvl", "start": "2024-01-01"},
    }  # fmt: skip


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
    load(open_store, *(point(day=day, value=day) for day in range(4)))
    frame = q.series("solana", "TVL", start=start, end="2024-01-04")  # type: ignore[arg-type]
    assert list(frame["value"]) == [1.0, 2.0]


@pytest.mark.parametrize(
    "when",
    [
        "",
        "yesterday",
        "2024-13",
        "9999999999d",
        "٣d",
        20240102,
        1.5,
        True,
        float("nan"),
        pd.NaT,
        np.datetime64("NaT"),
        [date(2024, 1, 2)],
        np.arange(2),
    ],
    ids=repr,
)
def test_what_is_no_instant_is_refused_with_what_would_be_one(when: object) -> None:
    wanted = r"is not a time: write 2026-11-17, 2026-11-17T09:00, 2026-11 \(its first day\), 2026 or 30d \(the day"
    for name in ("start", "end", "as_of"):
        with pytest.raises(ValueError, match=wanted):
            q.series("solana", "TVL", **{name: when})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=wanted):
        q.cross_section("TVL", when)  # type: ignore[arg-type]


def test_a_year_a_month_and_days_ago_are_times() -> None:
    assert [instant(text) for text in ("2024", "2024-02")] == [datetime(2024, month, 1, tzinfo=UTC) for month in (1, 2)]
    (before, ago, after) = midnight(datetime.now(UTC)), instant("30d"), midnight(datetime.now(UTC))
    assert ago is not None
    assert ago + 30 * DAY in (before, after)


def test_a_window_that_ends_where_it_starts_is_refused() -> None:
    told = refused(lambda: q.panel("TVL", start="2024-01-02", end=date(2024, 1, 2)))
    assert told == "the window is empty: its start, 2024-01-02, must be before its end, 2024-01-02"


def test_a_window_without_a_point_is_an_empty_frame_of_the_same_form(open_store: Opener) -> None:
    load(open_store, point(), point("ethereum"))
    for frame in (
        q.series("solana", "TVL", start="2030-01-01"),
        q.series("solana", "TVL", as_of="2010-01-01"),
        q.panel("TVL", start="2030-01-01"),
        q.frame("solana", start="2030-01-01", daily=True),
    ):
        assert len(frame) == 0
        assert str(frame.index.dtype).endswith("UTC]")
        assert set(frame.dtypes) == {np.dtype(float)}
    assert list(q.panel("TVL", start="2030-01-01")) == ["ethereum", "solana"]
    assert q.cross_section("TVL", "2030-01-01").empty
    assert list(q.cross_section("TVL", "2030-01-01")) == ["value", "pulled_at"]


def test_a_panel_has_a_column_for_each_asset_and_fills_nothing(open_store: Opener) -> None:
    load(open_store, *points(0, 1, 3), *points(1, 2, asset="ethereum"), *points(9, metric="FEES"))
    frame = q.panel("TVL")
    assert list(frame.index) == midnights(0, 1, 2, 3)
    assert frame.columns.tolist() == ["ethereum", "solana"]
    assert frame.columns.name == "asset"
    assert frame.isna().to_numpy().tolist() == [[True, False], [False, False], [False, True], [True, False]]
    assert q.panel("TVL", ["Solana", "ETHEREUM", "solana"]).columns.tolist() == ["solana", "ethereum"]
    assert q.panel("TVL", "solana").columns.tolist() == ["solana"]


@pytest.mark.one_server
def test_a_zero_is_a_value_and_a_null_of_other_hands_is_none(open_store: Opener, rows: Rows) -> None:
    load(open_store, point(value=0.0), point(day=1), point(day=2, value=-0.5))
    rows("UPDATE metrics SET value = NULL WHERE pulled_at = %s", START + DAY)
    values = q.series("solana", "TVL")["value"]
    assert values.tolist()[::2] == [0.0, -0.5]
    assert np.isnan(values.iloc[1])
    assert np.isnan(q.cross_section("TVL", START + DAY)["value"].item())


def test_a_frame_has_a_column_for_each_metric_of_one_asset(open_store: Opener) -> None:
    load(open_store, *points(0, 1), *points(1, metric="FEES"), *points(0, asset="other", metric="MCAP"))
    assert q.frame("solana").columns.tolist() == ["FEES", "TVL"]
    assert q.frame("SOLANA", "tvl").columns.tolist() == ["TVL"]
    frame = q.frame("solana", ["TVL", "FEES"])
    assert frame.columns.tolist() == ["TVL", "FEES"]
    assert frame["FEES"].isna().tolist() == [True, False]
    assert frame.attrs["asset"] == "solana"
    assert frame.attrs["metric"] == ""
    assert frame.attrs["series"] == "defillama solana TVL; defillama solana FEES"


def test_compare_shows_the_same_thing_of_all_sources(open_store: Opener, load_artemis: Callable[..., object]) -> None:
    load(open_store, *points(0, 1, metric="CHAIN_TVL"))
    load_artemis(DataPoint("sol", "TVL", START + DAY, 7.0))
    frame = q.compare("Solana", ["TVL", "CHAIN_TVL"])
    assert frame.columns.tolist() == ["artemis sol TVL", "defillama solana CHAIN_TVL"]
    assert frame["artemis sol TVL"].isna().tolist() == [True, False]
    assert q.compare("solana", "tvl").attrs["source"] == "artemis"


def test_the_latest_values_stand_by_asset_with_their_times(open_store: Opener) -> None:
    load(open_store, *(point(day=day, value=day) for day in range(3)), point("ethereum", 1, value=9))
    frame = q.latest("tvl")
    assert frame.index.tolist() == ["ethereum", "solana"]
    assert frame["value"].tolist() == [9.0, 2.0]
    assert frame["pulled_at"].tolist() == midnights(1, 2)
    assert q.latest("TVL", "solana").index.tolist() == ["solana"]


def test_a_cross_section_has_every_asset_that_has_a_point_that_day(open_store: Opener) -> None:
    load(open_store, *points(0, 1), *points(1, asset="ethereum"), *points(1, asset="other", metric="FEES"))
    assert q.cross_section("TVL", "2024-01-02T23:00").index.tolist() == ["ethereum", "solana"]
    assert q.cross_section("TVL", date(2024, 1, 1)).index.tolist() == ["solana"]


def test_of_several_points_of_a_day_the_last_one_counts(open_store: Opener) -> None:
    """A pool's records, of which a day may have several, and a row at midnight that a pull has dated so."""
    evening = point("pool", 22 / 24, 2.0, "APY")
    load(
        open_store,
        point("pool", 0, 1.0, "APY"),
        evening,
        point("pool", 23 / 24, 3.0, "APY"),
        point("pool", 1, 4, "APY"),
    )
    assert q.series("pool", "APY", daily=True)["value"].tolist() == [3.0, 4.0]
    assert list(q.series("pool", "APY", daily=True).index) == midnights(0, 1)
    assert q.cross_section("APY", "2024-01-01")["value"].tolist() == [3.0]
    assert len(q.series("pool", "APY")) == 4


def test_a_price_is_of_the_midnight_that_it_was_asked_for(open_store: Opener) -> None:
    """Seen up to a minute before or after it; what was observed comes before the live row of that day."""
    second = 1 / 86_400
    seen = [point("coin", day + off * second, day, "PRICE") for day, off in ((1, -40), (2, 20), (3, -1))]
    live = [point("coin", day, 90 + day, "PRICE") for day in (1, 2, 4)]
    load(open_store, *seen, *live)
    daily = q.series("coin", "PRICE", daily=True)["value"]
    assert dict(zip(daily.index, daily, strict=True)) == dict(zip(midnights(1, 2, 3, 4), [1, 2, 3, 94], strict=True))
    for day in (1, 2, 3, 4):
        assert q.cross_section("PRICE", START + day * DAY)["value"].item() == daily.loc[START + day * DAY]


def test_daily_windows_are_of_whole_days(open_store: Opener) -> None:
    """The same as all days, of which those are taken whose midnights lie in the window; whatever the metric's times."""
    random = Random(1)  # noqa: S311 - of a test
    times = [day + random.choice((0, -40 / 86_400, 30 / 86_400, 0.4, 0.93)) for day in range(1, 12) for _ in range(3)]
    load(open_store, *(point("x", at, random.random(), metric) for metric in ("PRICE", "APY") for at in times))
    for metric in ("PRICE", "APY"):
        every = q.series("x", metric, daily=True)
        for first, last in ((2, 5), (2.5, 5.5), (0, 4), (5, 99), (3, 4)):
            start, end = START + first * DAY, START + last * DAY
            wanted = every[(every.index >= start) & (every.index < end)]
            for found in (
                q.series("x", metric, start=start, end=end, daily=True),
                q.panel(metric, start=start, end=end, daily=True).rename(columns={"x": "value"}),
            ):
                assert found["value"].to_dict() == wanted["value"].to_dict()
        for day, value in every["value"].items():
            assert q.cross_section(metric, day)["value"].tolist() == [value]  # type: ignore[arg-type]


@pytest.mark.parametrize("date", ["0001-01-01", "9999-12-31", "1999-12-31"])
def test_a_day_at_the_ends_of_the_calendar_has_no_points_or_is_refused(open_store: Opener, date: str) -> None:
    load(open_store, point("coin", 0, 1, "PRICE"), point())
    for metric in ("PRICE", "TVL"):
        try:
            assert q.cross_section(metric, date).empty
        except BadQuestion as error:
            assert str(error) == f"no series can have points on {date}: give a date from 2000 on"  # noqa: PT017 - or none, as the metric is
    assert q.series("coin", "PRICE", start="1999-01-01", end="9999-12-31", daily=True)["value"].tolist() == [1.0]


@pytest.mark.parametrize(
    "when",
    ["2024-01-01", date(2024, 1, 1), pd.Timestamp("2024-01-01", tz="UTC"), np.datetime64("2024-01-01")],
    ids=repr,
)
def test_what_a_frame_says_of_itself_can_be_saved(open_store: Opener, when: object) -> None:
    load(open_store, *points(0, 1))
    asked = {"start": when, "as_of": pd.Timestamp.now("UTC")}
    for frame in (
        q.series("solana", "TVL", **asked),  # type: ignore[arg-type]
        q.panel("TVL", ["solana"], **asked),  # type: ignore[arg-type]
        q.frame("solana", ["TVL"], **asked),  # type: ignore[arg-type]
        q.cross_section("TVL", when),  # type: ignore[arg-type]
        q.latest("TVL", as_of=when),  # type: ignore[arg-type]
    ):
        assert json.loads(json.dumps(frame.attrs)) == frame.attrs


def test_what_would_not_fit_the_memory_is_refused_with_what_would(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(open_store, *points(*range(10)), *points(*range(10), asset="ethereum"))
    monkeypatch.setattr("query.frames.MOST_CELLS", 19)
    told = refused(lambda: q.panel("TVL"))
    assert told.startswith("a frame of 10 times and 2 columns takes too much memory: give a window")
    assert len(q.panel("TVL", end="2024-01-05")) == 4


def test_chunks_hold_what_a_panel_would(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    load(open_store, *(each for number in range(7) for each in points(0, 1, 2, asset=f"asset-{number}")))
    monkeypatch.setattr(q, "CHUNK", 7)
    chunks = list(q.chunks("TVL", start="2024-01-02"))
    assert [len(chunk) for chunk in chunks] == [4, 4, 4, 2]
    assert [*chunks[0]] == ["asset", "metric", "value"]
    together = pd.concat(chunks)
    pivoted = together.reset_index().pivot(index="pulled_at", columns="asset", values="value")
    assert pivoted.to_dict() == q.panel("TVL", start="2024-01-02").to_dict()


def test_a_series_larger_than_a_chunk_comes_in_pieces(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    load(open_store, *points(0, 1, 2, 3))
    monkeypatch.setattr(q, "CHUNK", 2)
    chunks = list(q.chunks("TVL"))
    assert [len(chunk) for chunk in chunks] == [2, 2]
    assert pd.concat(chunks)["value"].tolist() == q.series("solana", "TVL")["value"].tolist()


def test_ten_thousand_assets_may_be_asked_at_once(open_store: Opener) -> None:
    load(open_store, *(point(f"Asset-{number}", value=number) for number in range(10_000)))
    names = [f"ASSET-{number}" for number in reversed(range(10_000))]
    assert q.latest("TVL", names).loc["Asset-77", "value"] == 77
    assert q.panel("TVL", names).columns[:2].tolist() == ["Asset-9999", "Asset-9998"]
    assert "'nothing'" in refused(lambda: q.panel("TVL", [*names, "nothing"]))


def test_sql_in_a_name_is_a_name_that_is_not_found(open_store: Opener, rows: Rows) -> None:
    load(open_store, point(), point("o'brien; DROP TABLE metrics --%s%(x)s", value=5))
    assert q.series("o'brien; DROP TABLE metrics --%s%(x)s", "TVL")["value"].tolist() == [5.0]
    for asset in ("'; DROP TABLE metrics; --", "%s", "%(as_of)s", "\\", '"'):
        assert "there is no asset" in refused(partial(q.series, asset, "TVL"))
    for name in ("\0", "a\0b", "\udcff", "a\nb"):
        assert refused(partial(q.series, name, "TVL")) == f"{name!r} is not a valid asset: give a name"
    assert refused(lambda: q.panel("TVL", 5)) == "5 is neither a name nor a list of names"  # type: ignore[arg-type]
    assert rows("SELECT count(*) FROM metrics") == [(2,)]


def test_a_query_reads_and_can_do_nothing_else(open_store: Opener, rows: Rows) -> None:
    load(open_store, *points(0, 1))
    frame = q.sql("SELECT asset, pulled_at, value, NULL AS none FROM metrics WHERE value = %s ORDER BY 2", [1.0])
    assert frame.columns.tolist() == ["asset", "pulled_at", "value", "none"]
    assert frame["pulled_at"].tolist() == midnights(0, 1)
    assert q.sql("SELECT 1 AS a WHERE false").shape == (0, 1)
    assert q.sql("SELECT '%%' AS a, %(b)s AS a", {"b": 2}).to_numpy().tolist() == [["%", 2]]
    with pytest.raises(Exception, match="read-only transaction"):
        q.sql("DELETE FROM metrics RETURNING id")
    with pytest.raises(Exception, match="syntax error"):
        q.sql("SELEC 1")
    for slip in ("SET work_mem = '8MB'", "SET default_transaction_read_only = off", "BEGIN"):
        assert refused(partial(q.sql, slip)) == "the statement returns no rows: write a query, such as SELECT"
    with pytest.raises(Exception, match="read-only transaction"):
        q.sql("DELETE FROM metrics RETURNING id")
    assert q.sql("SHOW work_mem").iloc[0, 0] == "4MB"
    assert rows(f"SELECT state {OF_SESSIONS} '%% query %%'") == [("idle",)]
    assert q.sql("SELECT avg(x) AS mean FROM generate_series(1, 2) AS x")["mean"].dtype == float
    assert len(q.series("solana", "TVL")) == 2


def test_a_database_without_tables_says_in_one_line_how_to_fill_it(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_url)
    monkeypatch.setenv("ARTEMIS_API_KEY", "")
    for work in (lambda: q.series("solana", "TVL"), q.sources, q.pulls, lambda: q.sql("SELECT 1")):
        assert refusal(work) == "nothing is stored yet: python main.py backfill defillama"
    monkeypatch.setenv("ARTEMIS_API_KEY", "a key")
    assert refusal(q.sources) == "nothing is stored yet: python main.py backfill all"


def test_tables_of_another_version_are_told_from_none(rows: Rows) -> None:
    rows("COMMENT ON TABLE metrics IS 'an older one'")
    assert refusal(q.sources) == "the tables are of another version: python main.py setup"


def test_a_database_with_nothing_in_it_says_which_command_fetches_what_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARTEMIS_API_KEY", "key")
    told = refused(lambda: q.series("sol", "PRICE", "artemis"))
    assert told == "nothing is stored yet of sol PRICE: python main.py backfill artemis --asset sol --metric PRICE"
    assert refused(lambda: q.latest("FEES_24H")).endswith("python main.py pull defillama --metric FEES_24H")
    assert q.assets().empty


def test_for_a_look_no_server_is_made(tmp_path: Path) -> None:
    copy_tree(tmp_path / "copy")
    code = "import query_data; query_data.series('solana', 'TVL')"
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


def test_an_edited_config_counts_at_once_and_a_wrong_line_costs_its_names_alone(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load(open_store, point("uniswap-v3"))
    monkeypatch.setattr(query_session, "ROOT", tmp_path)
    (tmp_path / "artemis_config.csv").write_text("asset,metrics\nsol,PRICE\n")
    file = tmp_path / "defillama_config.csv"
    file.write_text("asset,kind,metrics,entity\nuniswap-v3,protocol,TVL,uni\n")
    assert len(q.series("uni", "TVL")) == 1
    file.write_text("asset,kind,metrics,entity\nuniswap-v3,protocol,TVL,the unicorn\n")
    assert len(q.series("the unicorn", "TVL")) == 1
    file.write_text("asset,kind,metrics,entity\nuniswap-v3,protocol,TVLL,uni\n")
    assert len(q.series("uniswap-v3", "TVL")) == 1
    assert "there is no asset 'uni'" in refused(lambda: q.series("uni", "TVL"))
    (told,) = caplog.messages
    assert told.endswith("defillama_config.csv:2: unknown metric 'TVLL': did you mean TVL?")


def test_pandas_is_loaded_only_by_who_asks_for_a_frame() -> None:
    for modules, unwanted in (
        ("main, scheduler, cli.scheduler, pipeline.run", "{'pandas', 'numpy', 'matplotlib', 'pyarrow'}"),
        ("query_data", "{'matplotlib'}"),
    ):
        code = f"import sys, {modules}; sys.exit(bool({unwanted} & {{*sys.modules}}))"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0  # noqa: S603


def test_a_daily_window_has_its_days_whole_though_their_points_lie_outside_of_it(open_store: Opener) -> None:
    load(open_store, point("x", 2 - 40 / 86_400, 5.0, "PRICE"), point("x", 2 + 22 / 24, 7.0, "APY"))
    assert q.series("x", "PRICE", start="2024-01-03", daily=True)["value"].to_dict() == {START + 2 * DAY: 5.0}
    assert q.series("x", "APY", end="2024-01-03T12:00", daily=True)["value"].to_dict() == {START + 2 * DAY: 7.0}


def test_a_day_on_which_one_column_ends_and_the_next_begins_is_in_both(open_store: Opener) -> None:
    load(open_store, *points(0, 1, asset="a"), *points(1, 2, asset="b"))
    assert q.panel("TVL", daily=True).notna().to_numpy().tolist() == [[True, False], [True, True], [False, True]]


def test_the_latest_stand_by_asset_in_whatever_order_they_are_named(open_store: Opener) -> None:
    load(open_store, point("a"), point("b"))
    assert q.latest("TVL", ["b", "a"]).index.tolist() == ["a", "b"]


def test_a_window_that_is_empty_without_an_end_or_a_start_says_its_default() -> None:
    late = refused(lambda: q.panel("TVL", start="9999-12-31"))
    assert "its start, 9999-12-31, must be before its end, 9999-12-31 by default" in late
    early = refused(lambda: q.panel("TVL", end="1990-01-01"))
    assert "its start, 2000-01-01 by default, must be before its end, 1990-01-01" in early


def test_an_instant_that_no_utc_time_can_be_is_none() -> None:
    when = "0001-01-01T00:00+02:00"
    assert refused(lambda: q.panel("TVL", start=when)).startswith(f"{when!r} is not a time: write 2026-11-17")


def test_of_a_cross_section_the_last_of_a_day_counts_where_times_are_not_the_apis_own_too(open_store: Opener) -> None:
    load(open_store, point("x", 0.5, 2.0), point("x", 0, 1.0), point("a", 0.7, 3.0))
    assert q.cross_section("TVL", "2024-01-01")["value"].to_dict() == {"a": 3.0, "x": 2.0}


def test_letters_of_any_alphabet_are_found_whatever_their_case(open_store: Opener) -> None:
    load(open_store, point("STRASSE"), point("Ωmega"))
    for name, asset in (("straße", "STRASSE"), ("ωMEGA", "Ωmega")):
        assert q.series(name, "TVL").attrs["asset"] == asset


def test_without_the_config_files_what_is_stored_is_still_told(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(open_store, point("uniswap-v3"))
    monkeypatch.setattr(query_session, "ROOT", tmp_path)
    assert len(q.series("uniswap-v3", "TVL")) == 1


def test_a_person_completes_and_reads_the_public_functions_alone() -> None:
    own = {name for name, value in vars(q).items() if callable(value) and value.__module__ == q.__name__}
    assert dir(q) == q.__all__ == sorted(q.__all__)
    assert {name for name in own if not name.startswith("_")} < set(q.__all__)
    assert all(vars(q)[name].__doc__ for name in q.__all__)


def test_compare_takes_the_name_of_an_asset(open_store: Opener, load_artemis: Callable[..., object]) -> None:
    load(open_store, point(metric="PRICE"))
    load_artemis(DataPoint("sol", "PRICE", START, 7.0))
    assert q.compare("SOL", "PRICE").columns.tolist() == ["artemis sol PRICE", "defillama solana PRICE"]
