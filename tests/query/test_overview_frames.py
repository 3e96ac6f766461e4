"""query_data's frames about the data: sources, assets, metrics, coverage, freshness, runs, revisions."""

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

import query_data as q
from db.database import Database
from db.store import Store
from model.errors import BadQuestion
from model.values import DAY, Answered, Verb, Window
from pipeline import health as diagnosis
from query import query_session as query_session
from tests.tables import DONE, START, Opener, Rows, asked, point, points, this_midnight

pytestmark = pytest.mark.cluster

CONFIGS = {
    "artemis_config.csv": "asset,metrics,name,entity\nsol,PRICE,Solana,solana\n",
    "defillama_config.csv": (
        "asset,kind,metrics,id,name,entity\nsolana,protocol,TVL,,Solana,solana\nsolana,coin,PRICE,coingecko:solana,,\n"
        "ethereum,protocol,TVL FEES,,Ether,\nold,coin,PRICE,coingecko:old,,\n"
        "old,protocol,TVL,,Older,the older\n"
    ),
}


@pytest.fixture(autouse=True)
def _stored(
    database_url: str, open_store: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Three series of DefiLlama, one of them in no config; configs of their own."""
    folder = tmp_path_factory.mktemp("configs")
    for name, text in CONFIGS.items():
        (folder / name).write_text(text)
    for module in (query_session, diagnosis):
        monkeypatch.setattr(module, "ROOT", folder)
    monkeypatch.setenv("DATABASE_URL", database_url)
    store = open_store(Verb.BACKFILL)
    store.load(points(0, 1, 3), [asked(0, 6)])
    store.load(points(1, asset="ethereum"), [asked(1, 2, "ethereum"), asked(0, 2, "ethereum", "FEES")])
    store.load(points(0, asset="old", metric="MCAP"))


def records(frame: pd.DataFrame, *columns: str) -> list[tuple[object, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def test_sources_count_what_has_points() -> None:
    frame = q.sources()
    assert frame.index.tolist() == ["defillama"]
    assert frame.iloc[0].to_dict() == {"assets": 3, "metrics": 2, "series": 3, "points": 5}


def test_assets_are_told_with_what_the_configs_call_them() -> None:
    assert records(q.assets(), "source", "asset", "kinds", "name", "entity", "metrics", "points") == [
        ("defillama", "ethereum", "protocol", "Ether", "", 1, 1),
        ("defillama", "old", "coin protocol", "Older", "the older", 1, 1),
        ("defillama", "solana", "protocol coin", "Solana", "solana", 1, 3),
    ]
    assert q.assets(metric="mcap")["asset"].tolist() == ["old"]
    assert q.assets("artemis").empty
    with pytest.raises(BadQuestion, match=r"there is no source 'artemi': did you mean artemis\?"):
        q.assets("artemi")


def test_metrics_are_told_with_their_units() -> None:
    assert records(q.metrics(), "source", "metric", "unit", "assets", "points") == [
        ("defillama", "MCAP", "USD", 1, 1),
        ("defillama", "TVL", "USD", 2, 4),
    ]
    assert q.metrics(asset="Solana")["metric"].tolist() == ["TVL"]
    assert q.metrics()["note"].tolist() == ["", ""]
    with pytest.raises(BadQuestion, match=r"there is no asset 'solan': did you mean solana"):
        q.metrics(asset="solan")


def test_coverage_tells_days_that_are_there_from_the_kinds_of_holes() -> None:
    frame = q.coverage(asset="solana")
    assert records(frame, "asset", "metric", "days", "empty", "lost") == [("solana", "TVL", 3, 3, 0)]
    assert frame["never"].item() == (this_midnight() - START).days - 6
    assert frame["asked_from"].item() == START
    assert frame["asked_to"].item() == START + 5 * DAY
    assert records(q.coverage(metric="mcap"), "asset", "days", "asked_from") == [("old", 1, pd.NaT)]


def test_coverage_and_freshness_say_since_when_a_series_is_confirmed_and_what_was_withdrawn(rows: Rows) -> None:
    for frame in (q.coverage(), q.freshness()):
        assert frame["verified_at"].isna().all()
        assert str(frame["verified_at"].dtype).endswith("UTC]")
        assert set(frame["withdrawn"]) == {0}
    rows("UPDATE coverage SET verified_at = '2026-11-20 04:35', withdrawn_at = '2026-11-19 04:36', "
         "withdrawn = '{[2024-01-01,2024-01-03)}' WHERE asset = 'solana'")  # fmt: skip
    confirmed = pd.Timestamp("2026-11-20 04:35", tz="UTC")
    found = q.coverage(asset="solana")
    assert records(found, "metric", "days", "withdrawn", "verified_at") == [("TVL", 3, 2, confirmed)]
    assert found["withdrawn_at"].item() == pd.Timestamp("2026-11-19 04:36", tz="UTC")
    found = q.freshness("defillama", "solana", "TVL")
    assert records(found, "metric", "withdrawn", "verified_at") == [("TVL", 2, confirmed)]


@pytest.mark.one_server
def test_coverage_says_what_was_lost(rows: Callable[..., object]) -> None:
    rows("DELETE FROM metrics WHERE pulled_at = %s AND asset = 'solana'", START + DAY)
    assert q.coverage("defillama", "solana")["lost"].item() == 1


def test_freshness_tells_the_age_of_every_series(open_store: Opener) -> None:
    yesterday = Window(this_midnight() - DAY, this_midnight())
    quiet = Answered("ethereum", "TVL", Window(this_midnight() - 3 * DAY, this_midnight()))
    open_store(Verb.BACKFILL).load(
        [point(day=(this_midnight() - START).days - 1)], [Answered("solana", "TVL", yesterday), quiet]
    )
    frame = q.freshness()
    assert records(frame, "source", "asset", "metric", "state") == [
        ("artemis", "sol", "PRICE", "never seen"),
        ("defillama", "ethereum", "FEES", "never seen"),
        ("defillama", "ethereum", "TVL", "quiet"),
        ("defillama", "old", "MCAP", "not asked for"),
        ("defillama", "old", "PRICE", "never seen"),
        ("defillama", "old", "TVL", "never seen"),
        ("defillama", "solana", "PRICE", "never seen"),
        ("defillama", "solana", "TVL", "fresh"),
    ]
    solana = frame.iloc[-1]
    assert solana["newest"] == this_midnight() - DAY
    assert solana["answered"] == this_midnight() - DAY
    assert abs(solana["age"] - (datetime.now(UTC) - (this_midnight() - DAY))) < timedelta(minutes=1)


def test_pulls_are_the_last_runs_the_newest_first(open_store: Opener) -> None:
    for verb in (Verb.PULL, Verb.BACKFILL, Verb.PULL):
        store = open_store(verb)
        store.end_run(store.begin_run(), DONE)
    frame = q.pulls()
    assert frame.index.name == "pull_id"
    assert frame["kind"].tolist() == ["pull", "backfill", "pull"]
    assert frame.index.is_monotonic_decreasing
    assert str(frame["finished_at"].dtype).endswith("UTC]")
    assert q.pulls(kind="pull", last=1).shape[0] == 1
    assert q.pulls("artemis").empty
    assert q.pulls(status="error").empty
    with pytest.raises(BadQuestion, match="last=0: give a number of runs, at least 1"):
        q.pulls(last=0)


def test_revisions_are_the_values_that_were_replaced(open_store: Opener, rows: Rows) -> None:
    settle = open_store(Verb.SETTLE)
    pull_id = settle.begin_run()
    settle.load([point(value=2.5)], [asked(0, 1)])
    settle.end_run(pull_id, DONE)
    rows("UPDATE revisions SET reason = 'accepted'")
    frame = q.revisions("DefiLlama", "SOLANA", "tvl")
    assert records(frame, "source", "asset", "metric", "at", "old", "new", "pull_id", "reason") == [
        ("defillama", "solana", "TVL", pd.Timestamp(START), 1.0, 2.5, pull_id, "accepted")
    ]
    assert len(q.revisions()) == 1
    assert q.revisions(asset="ethereum").empty
    assert str(q.revisions(asset="ethereum")["replaced_at"].dtype).endswith("UTC]")
    assert q.revisions(asset="ethereum").dtypes.to_dict() == frame.dtypes.to_dict()
    assert q.revisions(asset="ethereum").nlargest(5, "new").empty
    assert q.assets("artemis").dtypes.to_dict() == q.assets().dtypes.to_dict()


def test_a_source_without_a_module_is_told_as_far_as_the_table_goes(rows: Callable[..., object]) -> None:
    rows("UPDATE metrics SET source = 'gone'")
    rows("UPDATE coverage SET source = 'gone'")
    rows("UPDATE loads SET source = 'gone'")
    assert q.sources().index.tolist() == ["gone"]
    assert q.coverage("GONE", "solana")["days"].tolist() == [3]
    assert set(q.freshness("gone")["state"]) == {"not asked for"}
    assert q.series("solana", "TVL", daily=True)["value"].tolist() == [1.0, 1.0, 1.0]


def test_a_kind_that_two_rows_of_a_config_have_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_session, "ROOT", tmp_path)
    (tmp_path / "artemis_config.csv").write_text(CONFIGS["artemis_config.csv"])
    (tmp_path / "defillama_config.csv").write_text("asset,kind,metrics\nsolana,protocol,TVL\nsolana,protocol,FEES\n")
    assert q.assets(metric="TVL").set_index("asset")["kinds"].to_dict() == {"ethereum": "", "solana": "protocol"}


def test_weekends_are_no_holes_in_the_coverage_of_an_equity(database: Database) -> None:
    with closing(Store(database, "artemis", Verb.BACKFILL)) as store:
        week = points(0, 1, 2, 3, 4, asset="eq-x", metric="PRICE")  # from a Monday on
        store.load(week, [asked(0, 7, "eq-x", "PRICE", timedelta())])
    assert records(q.coverage("artemis", "eq-x"), "days", "empty", "lost") == [(5, 0, 0)]


@pytest.mark.one_server
def test_in_the_coverage_a_price_is_of_the_midnight_that_it_was_asked_for(open_store: Opener, rows: Rows) -> None:
    seen = [point("old", day - 20 / 86_400, metric="PRICE") for day in (1, 2)]
    open_store(Verb.BACKFILL).load(seen, [asked(1, 4, "old", "PRICE")])
    rows("DELETE FROM metrics WHERE metric_name = 'PRICE' AND pulled_at > %s", START + DAY)
    frame = q.coverage(asset="old", metric="PRICE")
    assert records(frame, "days", "empty", "lost", "asked_from") == [(1, 1, 1, START + DAY)]


def test_the_span_that_was_asked_for_reaches_over_what_was_not(open_store: Opener) -> None:
    open_store(Verb.BACKFILL).load(points(20), [asked(20, 22)])
    frame = q.coverage(asset="solana", metric="TVL")
    assert records(frame, "asked_from", "asked_to") == [(START, START + 21 * DAY)]


@pytest.mark.parametrize(("key", "state"), [("", "not asked for"), ("s3cr3t", "never seen")])
def test_a_series_whose_key_is_missing_is_not_asked_for(
    key: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEFILLAMA_API_KEY", key)
    for module in (query_session, diagnosis):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "artemis_config.csv").write_text(CONFIGS["artemis_config.csv"])
    (tmp_path / "defillama_config.csv").write_text("asset,kind,metrics\naave,protocol,PERPS_VOLUME_24H\n")
    assert q.freshness("defillama", "aave")["state"].tolist() == [state]
