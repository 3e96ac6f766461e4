"""query_data: many assets and many metrics in one frame."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import query_data as q
from model.errors import BadQuestion
from model.values import DAY, DataPoint, Verb
from tests.tables import START, Opener, Rows, point, points


@pytest.fixture(autouse=True)
def _stored(
    database_url: str, open_store: Opener, load_artemis: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of DefiLlama: a has TVL and FEES, b has TVL and MCAP, c has FEES; of Artemis: a has TVL, x has FEES."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    found = [*points(0, 1, asset="a"), *points(1, 2, asset="b"), *points(5, asset="a", metric="FEES")]
    found += [*points(1, asset="b", metric="MCAP"), *points(3, asset="c", metric="FEES")]
    open_store(Verb.BACKFILL).load(found)
    load_artemis(DataPoint("a", "TVL", START, 7.0), DataPoint("x", "FEES", START, 7.0))


def refused(work: Callable[[], object]) -> str:
    with pytest.raises(BadQuestion) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def columns(frame: pd.DataFrame) -> list[Any]:
    return list(frame.columns)


def part(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The columns below a name of the first level."""
    return pd.DataFrame(frame[name])


def test_a_panel_of_several_metrics_has_a_level_for_metrics_and_one_for_assets() -> None:
    frame = q.panel(["TVL", "fees", "TVL"], ["B", "a"], "defillama")
    assert frame.columns.names == ["metric", "asset"]
    assert columns(frame) == [("TVL", "b"), ("TVL", "a"), ("FEES", "a")]
    assert part(frame, "TVL").notna().to_numpy().tolist() == [
        [False, True],
        [True, True],
        [True, False],
        [False, False],
    ]
    assert frame["FEES"]["a"].tolist()[-1] == 1.0
    one = q.panel("TVL", ["B", "a"], "defillama")
    pd.testing.assert_frame_equal(part(frame, "TVL").dropna(how="all"), one)
    assert columns(q.panel(["TVL"], ["B", "a"], "defillama")) == [("TVL", "b"), ("TVL", "a")]
    assert frame.attrs["series"] == "defillama b TVL; defillama a TVL; defillama a FEES"
    assert frame.attrs["asked"] == {"metric": "TVL, fees, TVL", "assets": "B, a", "source": "defillama"}


def test_a_frame_of_several_assets_has_a_level_for_assets_and_one_for_metrics() -> None:
    frame = q.frame(["b", "a"], ["FEES", "TVL", "MCAP"])
    assert frame.columns.names == ["asset", "metric"]
    assert columns(frame) == [("b", "TVL"), ("b", "MCAP"), ("a", "FEES"), ("a", "TVL")]
    every = q.frame(["b", "c"])
    assert columns(every) == [("b", "MCAP"), ("b", "TVL"), ("c", "FEES")]
    pd.testing.assert_frame_equal(part(every, "b").dropna(how="all"), q.frame("b"))


def test_all_assets_that_have_any_of_the_metrics_are_asked_for_at_once() -> None:
    found = q.panel(["FEES", "TVL"], source="defillama")
    assert columns(found) == [("FEES", "a"), ("FEES", "c"), ("TVL", "a"), ("TVL", "b")]


def test_tidy_frames_have_a_row_for_each_point() -> None:
    frame = q.panel(["TVL", "FEES"], ["a", "b"], "defillama", tidy=True, known_at=True)
    assert list(frame) == ["asset", "metric", "value", "known_at"]
    assert frame.index.name == "pulled_at"
    rows = [(*row[1:3], (row[0] - START) / DAY) for row in frame.itertuples()]
    assert rows == [("a", "TVL", 0), ("a", "TVL", 1), ("b", "TVL", 1), ("b", "TVL", 2), ("a", "FEES", 5)]
    assert q.panel("TVL", ["a", "b"], "defillama", tidy=True)["asset"].tolist() == ["a", "a", "b", "b"]
    assert q.frame("b", tidy=True)["metric"].tolist() == ["MCAP", "TVL", "TVL"]
    assert frame.attrs["series"] == "defillama a TVL; defillama b TVL; defillama a FEES"
    empty = q.frame(["a", "b"], start="2030-01-01", tidy=True)
    assert (len(empty), list(empty)) == (0, ["asset", "metric", "value"])


def test_extras_days_lags_and_instants_are_those_of_a_frame_with_one_level(rows: Rows) -> None:
    rows("UPDATE loads SET loaded_at = %s", START + 3 * DAY)
    asked = {"known_at": True, "withdrawn": True, "daily": True, "lag": "1d", "source": "defillama"}
    frame = q.panel(["TVL", "FEES"], ["a", "b"], **asked)  # type: ignore[arg-type]
    assert frame.columns.names == ["column", "metric", "asset"]
    for metric, assets in (("TVL", ["a", "b"]), ("FEES", ["a"])):
        one = q.panel(metric, assets, **asked)  # type: ignore[arg-type]
        for column in ("value", "known_at", "withdrawn"):
            found = frame[column][metric].loc[one.index]
            pd.testing.assert_frame_equal(pd.DataFrame(found), pd.DataFrame(one[column]))
    assert frame["value"].notna().to_numpy().sum() == 4
    assert q.frame(["a", "b"], as_of=START + 2.5 * DAY).isna().to_numpy().all()


def test_each_name_has_a_column_or_is_refused_with_what_would_be_right() -> None:
    assert refused(lambda: q.panel(["TVL", "FEES"], ["a", "solano"])).startswith(
        "there is no asset 'solano': did you mean sol"
    )
    told = refused(lambda: q.panel(["TVL", "FEAS"], ["a", "b"]))
    assert told == "there is no metric 'FEAS': did you mean FEES?"
    told = refused(lambda: q.panel(["FEES", "MCAP"], ["a", "c"], "defillama"))
    assert told == "defillama has no MCAP of any of these assets: a, c"
    told = refused(lambda: q.frame(["a", "c"], ["TVL"], "defillama"))
    assert told == "defillama has no TVL of 'c': defillama has FEES"
    assert refused(lambda: q.panel(["TVL", "FEAS"])) == "there is no metric 'FEAS': did you mean FEES?"


def test_sources_are_never_mixed() -> None:
    told = refused(lambda: q.panel(["TVL", "FEES"]))
    assert told.startswith("several sources have TVL, FEES: artemis (2 assets), defillama (3 assets): name the source")
    told = refused(lambda: q.frame(["b", "x"]))
    assert told == ("no source has all these assets (b in defillama, x in artemis): name only assets of one source")
    told = refused(lambda: q.frame(["a", "x"], ["FEES", "MCAP", "TVL"], "artemis"))
    assert told == "artemis has no metric 'MCAP': known: FEES, TVL"
    assert columns(q.frame(["a", "x"])) == [("a", "TVL"), ("x", "FEES")]


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: q.panel([]), "no metric is named: name at least one"),
        (lambda: q.panel(None), "no metric is named: name at least one"),  # type: ignore[arg-type]
        (lambda: q.frame([], ["TVL"]), "no asset is named: name at least one"),
        (lambda: q.panel(["TVL"], []), "no asset is named: leave assets out for all of them"),
        (lambda: q.frame(["a"], []), "no metric is named: leave metrics out for all of them"),
        (lambda: q.panel(7), "7 is neither a name nor a list of names"),  # type: ignore[arg-type]
        (lambda: q.panel(["TVL", None], ["a"]), "None is not a valid metric: give a name"),  # type: ignore[list-item]
        (lambda: q.series(["a"], "TVL"), "['a'] is not a valid asset: give a name"),  # type: ignore[arg-type]
    ],
)
def test_what_names_nothing_is_refused(ask: Callable[[], object], told: str) -> None:
    assert refused(ask) == told


def test_a_frame_of_both_levels_is_drawn_with_a_line_for_each_series_in_its_unit() -> None:
    frame = q.panel(["TVL", "FEES"], source="defillama")
    axes = q.plot(frame)
    assert axes.figure is not None
    names = [str(line.get_label()) for each in axes.figure.axes for line in each.lines]
    assert sum(np.isfinite(line.get_ydata()).sum() for each in axes.figure.axes for line in each.lines) == 6
    assert len(names) == 4


def test_chunks_hold_several_metrics_of_whole_days(open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(Verb.BACKFILL).load([point("a", 8.1), point("a", 8.9, 5.0)])
    monkeypatch.setattr(q, "CHUNK", 2)
    together = pd.concat(q.chunks(["TVL", "FEES"], source="defillama", daily=True))
    wanted = q.panel(["TVL", "FEES"], source="defillama", daily=True, tidy=True)
    found = {(*row[1:3], row[0]): row[3] for row in together.itertuples()}
    assert found == {(*row[1:3], row[0]): row[3] for row in wanted.itertuples()}
    assert found["a", "TVL", START + 8 * DAY] == 5.0
    assert len(together) == len(wanted)
