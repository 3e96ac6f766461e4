"""query_data: lags, the time since when a value is known, withdrawn days, vintages, first releases and finality."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pandas as pd
import pytest

import query_data as q
from model.errors import BadQuestion
from model.values import DAY, Verb
from query.plot_columns import checked
from tests.tables import START, Opener, Rows, asked, point, points

pytestmark = pytest.mark.every_postgres

LOADED = START + 1.5 * DAY
WITHDRAW = "UPDATE coverage SET withdrawn = '{[2024-01-02,2024-01-03)}' WHERE (asset, metric_name) = ('solana', 'TVL')"
BY_HAND = "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) VALUES ('defillama', %s, 'TVL', %s, 5)"


@pytest.fixture(autouse=True)
def _stored(database_url: str, open_store: Opener, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days 0 to 2 of two assets, loaded at noon of day 1; of solana, day 0 is replaced twice and day 1 is withdrawn."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([*points(0, 1, 2), *points(0, 1, 2, asset="avax")], [asked(0, 3)])
    settle = open_store(Verb.SETTLE)
    for value in (2.0, 3.0):
        settle.load([point(value=value)])
    rows("UPDATE loads SET loaded_at = %s", LOADED)
    for value, at, reason in ((1.0, START + 2 * DAY, "sample"), (2.0, START + 6 * DAY, "restated")):
        rows("UPDATE revisions SET replaced_at = %s, reason = %s WHERE value = %s", at, reason, value)
    rows(WITHDRAW)


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(BadQuestion) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def values(frame: pd.DataFrame) -> dict[float, float]:
    """The values by the number of their day."""
    days = [(at.to_pydatetime() - START) / DAY for at in pd.DatetimeIndex(frame.index)]
    return dict(zip(days, frame["value"], strict=True))


def test_a_series_has_every_value_that_each_point_had() -> None:
    frame = q.vintages("solana", "TVL", end="2024-01-03")
    assert list(frame) == ["value", "known_at", "known_until", "reason"]
    assert [((at - START) / DAY, value, (known - START) / DAY) for at, value, known, *_ in frame.itertuples()] == [
        (0, 1.0, 1.5), (0, 2.0, 2), (0, 3.0, 6), (1, 1.0, 2),
    ]  # fmt: skip
    assert frame["reason"].tolist() == ["first", "sample", "restated", "first"]
    assert frame["known_until"].tolist()[:2] == [START + 2 * DAY, START + 6 * DAY]
    assert frame["known_until"].isna().tolist() == [False, False, True, True]
    assert frame.attrs["withdrawn"] == {"defillama solana TVL": "2024-01-02"}
    empty = q.vintages("solana", "TVL", start="2030-01-01", end="2031-01-01")
    assert empty.dtypes.to_dict() == frame.dtypes.to_dict()


def test_the_first_release_of_a_point_is_the_value_that_was_known_first() -> None:
    frame = q.first_release("solana", "TVL")
    assert list(frame) == ["value", "known_at"]
    assert values(frame) == {0: 1.0, 1: 1.0, 2: 1.0}
    assert frame["known_at"].tolist() == [LOADED, START + 2 * DAY, START + 3 * DAY]


def test_a_value_of_the_open_day_is_no_vintage(open_store: Opener) -> None:
    open_store(Verb.PULL).load([point(day=(datetime.now(UTC) - START) // DAY)])
    assert len(q.vintages("solana", "TVL")) == 5
    assert len(q.series("solana", "TVL")) == 4


@pytest.mark.parametrize(
    ("lag", "known"),
    [
        ("0d", {1: 1.0, 2: 1.0}),
        ("12h", {0: 1.0, 1: 1.0, 2: 1.0}),
        (timedelta(days=3), {0: 2.0, 1: 1.0, 2: 1.0}),
        (pd.Timedelta(days=5), {0: 3.0, 1: 1.0, 2: 1.0}),
    ],
)
def test_with_a_lag_each_day_is_as_it_was_known_so_long_after_its_end(
    lag: str | timedelta, known: dict[float, float]
) -> None:
    frame = q.series("solana", "TVL", lag=lag)
    assert values(frame) == values(q.series("solana", "TVL", lag=lag, daily=True)) == known
    assert q.panel("TVL", ["solana"], lag=lag)["solana"].to_dict() == frame["value"].to_dict()
    assert q.frame("solana", lag=lag)["TVL"].to_dict() == frame["value"].to_dict()
    assert q.compare("solana", "TVL", lag=lag).iloc[:, 0].to_dict() == frame["value"].to_dict()
    assert values(pd.concat(q.chunks("TVL", "solana", lag=lag))) == known


def test_a_day_that_is_not_yet_so_old_is_left_out(open_store: Opener) -> None:
    today = (datetime.now(UTC) - START) // DAY
    open_store(Verb.PULL).load([point(day=today), point(day=today - 1), point(day=today - 2)])
    assert max(values(q.series("solana", "TVL", lag="0d"))) == 2  # it was stored after the end of its day
    assert values(q.series("solana", "TVL", lag="3d", as_of="2024-01-05T23:00")) == {0: 2.0}
    assert values(q.series("solana", "TVL", lag="3d", as_of="2024-01-06")) == {0: 2.0, 1: 1.0}
    assert q.series("solana", "TVL", lag="36500d").empty
    assert q.series("solana", "TVL", lag="60h").attrs["lag"] == "60h"


def test_a_value_has_the_instant_since_when_it_is_known(rows: Rows) -> None:
    rows(BY_HAND, "solana", START + 9 * DAY)
    now = q.series("solana", "TVL", known_at=True)["known_at"]
    assert now.tolist()[:3] == [START + 6 * DAY, START + 2 * DAY, START + 3 * DAY]
    assert now.isna().tolist() == [False, False, False, True]
    assert str(now.dtype).endswith("UTC]")
    then = q.series("solana", "TVL", as_of="2024-01-04", known_at=True)
    assert then["known_at"].tolist() == [START + 2 * DAY, START + 2 * DAY, START + 3 * DAY]
    late = q.series("solana", "TVL", lag="12h", known_at=True, daily=True)["known_at"]
    assert late.tolist()[:2] == [LOADED, START + 2 * DAY]
    latest = q.latest("TVL", known_at=True)
    assert latest.loc["avax", "known_at"] == START + 3 * DAY
    assert latest["known_at"].isna().to_dict() == {"avax": False, "solana": True}
    day = q.cross_section("TVL", START, known_at=True, withdrawn=True)
    assert list(day) == ["value", "pulled_at", "known_at", "withdrawn"]
    assert day["known_at"].to_dict() == {"avax": LOADED, "solana": START + 6 * DAY}
    by_hand = q.cross_section("TVL", START + 9 * DAY, known_at=True)
    assert by_hand["known_at"].isna().tolist() == [True]
    chunk = pd.concat(q.chunks("TVL", known_at=True))
    assert list(chunk) == ["asset", "metric", "value", "known_at"]
    assert chunk["known_at"].isna().sum() == 1


def test_a_frame_with_a_column_for_each_series_has_its_values_and_what_is_said_of_them_apart(rows: Rows) -> None:
    rows(BY_HAND, "avax", START + 5 * DAY)
    plain = q.panel("TVL")
    frame = q.panel("TVL", known_at=True, withdrawn=True)
    assert frame.columns.names == ["column", "asset"]
    assert frame.columns.get_level_values(0).unique().tolist() == ["value", "known_at", "withdrawn"]
    pd.testing.assert_frame_equal(pd.DataFrame(frame["value"]), plain)
    assert frame["known_at"]["solana"].tolist()[0] == START + 6 * DAY
    assert frame["known_at"]["avax"].isna().tolist() == [False, False, False, True]
    assert frame["withdrawn"].to_numpy().tolist() == [[False, False], [False, True], [False, False], [False, False]]
    assert frame["withdrawn"].to_numpy().dtype == bool
    for drawn in (frame, q.series("solana", "TVL", known_at=True, withdrawn=True)):
        assert checked(drawn).notna().to_numpy().sum() == np.isfinite(drawn["value"].to_numpy()).sum()
        assert drawn.attrs["limits"]


def test_withdrawn_days_are_named_in_every_frame_and_marked_on_request(rows: Rows) -> None:
    said = {"defillama solana TVL": "2024-01-02"}
    assert q.series("solana", "TVL").attrs["withdrawn"] == said
    assert q.panel("TVL", daily=True).attrs["withdrawn"] == q.latest("TVL").attrs["withdrawn"] == said
    assert next(q.chunks("TVL")).attrs["withdrawn"] == q.compare("solana", "TVL").attrs["withdrawn"] == said
    assert q.cross_section("TVL", "2024-01-02").attrs["withdrawn"] == said
    for frame in (
        q.cross_section("TVL", "2024-01-01"),
        q.panel("TVL", "avax"),
        q.series("solana", "TVL", start="2024-01-03"),
        q.series("solana", "TVL", end="2024-01-02"),
        q.series("solana", "TVL", start="2024-01-02T01:00", daily=True),
    ):
        assert frame.attrs["withdrawn"] == {}
    marked = q.series("solana", "TVL", withdrawn=True, as_of="2024-01-04")
    assert marked["withdrawn"].tolist() == [False, True, False]
    assert q.latest("TVL", withdrawn=True)["withdrawn"].to_dict() == {"avax": False, "solana": False}
    rows("UPDATE coverage SET withdrawn = '{[2024-01-01,2024-01-03),[2024-01-05,2024-01-06)}' WHERE asset = 'solana'")
    assert q.series("solana", "TVL").attrs["withdrawn"] == {
        "defillama solana TVL": "2024-01-01 to 2024-01-02, 2024-01-05"
    }


def test_the_day_of_a_price_is_that_of_the_midnight_for_which_it_was_asked(open_store: Opener, rows: Rows) -> None:
    before_midnight = point("coin", 1 - 20 / 86_400, 7.0, "PRICE")
    open_store(Verb.BACKFILL).load([before_midnight], [asked(0, 3, "coin", "PRICE")])
    rows("UPDATE loads SET loaded_at = %s WHERE first_id = (SELECT max(first_id) FROM loads)", START + 1.5 * DAY)
    rows("UPDATE coverage SET withdrawn = '{[2024-01-02,2024-01-03)}' WHERE asset = 'coin'")
    assert len(q.series("coin", "PRICE", lag="0d", as_of="2024-01-03")) == 1
    assert q.series("coin", "PRICE", lag="0d", as_of="2024-01-02T23:59").empty
    assert q.series("coin", "PRICE", withdrawn=True)["withdrawn"].tolist() == [True]
    assert q.cross_section("PRICE", "2024-01-02", withdrawn=True)["withdrawn"].tolist() == [True]
    for frame in (
        q.series("coin", "PRICE", end="2024-01-02"),
        q.series("coin", "PRICE", end="9999-12-31T23:00"),
        q.cross_section("PRICE", "2024-01-02"),
    ):
        assert frame.attrs["withdrawn"] == {"defillama coin PRICE": "2024-01-02"}


def test_finality_says_how_late_values_change(rows: Rows) -> None:
    frame = q.finality("tvl")
    assert frame.index.tolist() == ["avax", "solana", "all"]
    assert frame["points"].tolist() == [3, 3, 6]
    assert [frame[name].iloc[-1] for name in ("largest_change", "last_change_days")] == [0.5, 5.0]
    assert frame["changed_after_3d"].tolist() == [0.0, 1 / 3, 1 / 6]
    assert frame["changed_after_7d"].tolist() == [0.0, 0.0, 0.0]
    rows("UPDATE loads SET loaded_at = %s", START + 20 * DAY)
    late = q.finality("TVL").iloc[-1]
    assert late.isna()[["changed_after_7d", "changed_after_30d"]].tolist() == [True, False]
    rows("UPDATE revisions SET reason = 'sample'")
    unchanged = q.finality("TVL").iloc[-1]
    assert unchanged.isna()[["largest_change", "last_change_days"]].all()


@pytest.mark.parametrize("lag", ["-3d", "3 bananas", "", "3", "1.5d", "3D", "99999999d", 3, timedelta(-1), pd.NaT])
def test_what_is_no_lag_is_refused_with_what_would_be_one(lag: object) -> None:
    told = refused(lambda: q.series("solana", "TVL", lag=lag))  # type: ignore[arg-type]
    assert told.startswith(f"{lag!r} is not a lag: write 3d or 12h (after the end of the day of a point), or give a")


def test_an_instant_in_the_future_is_refused() -> None:
    soon = datetime.now(UTC) + timedelta(minutes=2)
    for ask in (
        partial(q.series, "solana", "TVL"), partial(q.panel, "TVL"), partial(q.latest, "TVL"),
        partial(q.cross_section, "TVL", START),
    ):  # fmt: skip
        for when in ("2999-01-01", soon):
            told = refused(partial(ask, as_of=when))
            assert told.startswith(f"as_of {when} is in the future: give a time up to now, 20")
    assert len(q.series("solana", "TVL", as_of=datetime.now(UTC))) == 3


def test_a_live_only_metric_has_no_vintages(open_store: Opener) -> None:
    open_store(Verb.PULL).load([point("lido", metric="FEES_24H")])
    for ask in (partial(q.vintages, "lido"), partial(q.first_release, "lido"), q.finality):
        assert refused(partial(ask, "FEES_24H")).startswith("FEES_24H of defillama is live-only and has no vintages: ")
