"""Points as Arrow tables: their types, their metadata, and that they are the points of a panel."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import query_data as q
from model.errors import BadQuestion
from model.values import DAY, DataPoint, Verb
from query import arrow_tables
from tests.tables import START, Opener, Rows, asked, points

WITHDRAW = "UPDATE coverage SET withdrawn = '{[2024-01-02,2024-01-03)}' WHERE (asset, metric_name) = ('a', 'TVL')"


@pytest.fixture(autouse=True)
def _stored(
    database_url: str, open_store: Opener, load_artemis: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    found = [*points(0, 1, 2, asset="a"), *points(1, 2.5, 2.6, asset="b"), *points(1, asset="a", metric="FEES")]
    open_store(Verb.BACKFILL).load(found, [asked(0, 3, "a")])
    load_artemis(DataPoint("x", "PRICE", START, 7.0))


def test_types_are_those_of_the_values_and_a_value_that_is_none_is_null(rows: Rows) -> None:
    rows("UPDATE metrics SET value = NULL WHERE asset = 'b' AND pulled_at = %s", START + DAY)
    rows("UPDATE metrics SET value = 'Infinity' WHERE asset = 'a' AND metric_name = 'FEES'")
    table = q.arrow(["TVL", "FEES"], known_at=True, withdrawn=True)
    names = pa.dictionary(pa.int32(), pa.string())
    time = pa.timestamp("us", tz="UTC")
    types = {"pulled_at": time, "asset": names, "metric": names, "value": pa.float64()}
    types |= {"known_at": time, "withdrawn": pa.bool_()}
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == types
    assert (table["value"].null_count, table["value"].to_pylist().count(float("inf"))) == (1, 1)
    assert table["known_at"].null_count == 0
    rows("DELETE FROM loads")
    assert q.arrow("TVL", known_at=True)["known_at"].null_count == 6
    empty = q.arrow("TVL", start="2030-01-01")
    assert (len(empty), empty.schema.types) == (0, [time, names, names, pa.float64()])


def test_the_metadata_says_source_units_instant_lag_and_withdrawn_days(rows: Rows) -> None:
    rows(WITHDRAW)
    plain = q.arrow(["TVL", "FEES"]).schema.metadata
    assert {key: value.decode() for key, value in plain.items()} == {
        b"source": "defillama",
        b"units": '{"TVL": "USD", "FEES": "USD"}',
        b"withdrawn": '{"defillama a TVL": "2024-01-02"}',
    }
    now = datetime.now(UTC)
    then = q.arrow("TVL", ["b"], as_of=now, lag="3d").schema.metadata
    assert (then[b"as_of"].decode(), then[b"lag"], json.loads(then[b"withdrawn"])) == (now.isoformat(), b"3d", {})


@pytest.mark.parametrize("daily", [False, True])
@pytest.mark.parametrize("held", [1, 2, 200_000])
def test_a_table_has_the_points_of_a_panel_however_few_are_held_at_once(
    held: int, daily: bool, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(WITHDRAW)
    monkeypatch.setattr(arrow_tables, "POINTS_AT_ONCE", held)
    table = q.arrow(["TVL", "FEES"], daily=daily, known_at=True, withdrawn=True)
    panel = q.panel(["TVL", "FEES"], daily=daily, known_at=True, withdrawn=True, tidy=True)
    order = ["asset", "metric", "pulled_at"]
    found, wanted = (frame.astype({"asset": str, "metric": str}).sort_values(order, ignore_index=True)
                     for frame in (table.to_pandas(), panel.reset_index()))  # fmt: skip
    pd.testing.assert_frame_equal(found, wanted, check_like=True)
    assert len(found) == (6 if daily else 7)


def test_polars_reads_a_table_as_it_is() -> None:
    frame = pl.from_arrow(q.arrow(["TVL", "FEES"]))
    assert isinstance(frame, pl.DataFrame)
    assert frame.schema["pulled_at"] == pl.Datetime("us", "UTC")
    assert frame.filter(pl.col("asset") == "b")["value"].to_list() == [1.0, 1.0, 1.0]
    assert frame["pulled_at"].min() == START


def test_a_wrong_name_is_refused_as_in_a_panel() -> None:
    with pytest.raises(BadQuestion, match="there is no metric 'TVLL': did you mean TVL"):
        q.arrow("TVLL")
    with pytest.raises(BadQuestion, match="no metric is named: name at least one"):
        q.arrow([])
