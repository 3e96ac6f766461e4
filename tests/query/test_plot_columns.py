"""The columns of a plot: what can be drawn, which unit each has, and which share a panel."""

import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.dates import num2date

import query_data
from model.values import Verb
from query.plot_columns import MOST_LINES, MOST_NAMED
from tests.plotted import NAN, dates, frame, legend, shown, ticks
from tests.tables import Opener, point, refusal


def test_columns_of_different_units_have_panels_or_on_given_axes_the_units_in_the_legend() -> None:
    made = frame("", PRICE=[1, 2], EARNINGS_YIELD=[0.1, 0.2], DAU=[8, 9], FEES=[40, 30])
    made.attrs |= {"asset": "sol", "metric": "", "series": "; ".join(f"artemis sol {column}" for column in made)}
    first = query_data.plot(made)
    panels = first.figure.axes
    assert first is panels[0]
    assert [legend(panel) for panel in panels] == [["FEES", "PRICE"], ["EARNINGS_YIELD"], ["DAU"]]
    assert [ticks(panel)[-1] for panel in panels] == ["$40", "0.2%", "9"]
    assert [panel.get_title() for panel in panels] == ["sol, artemis", "", ""]
    assert len(pyplot.get_fignums()) == 1
    axes = query_data.plot(made, ax=pyplot.figure().subplots())
    assert legend(axes) == ["FEES (USD)", "DAU", "PRICE (USD)", "EARNINGS_YIELD (%)"]
    assert ticks(axes)[0] == "0"


def test_lines_of_very_different_size_have_panels_unless_they_are_many_or_on_a_log_scale() -> None:
    made = frame(btc=[100_000, 90_000], doge=[0.1, 0.2], eth=[3_000, 3_100], sol=[200, 210], none=[0, 0])
    panels = query_data.plot(made).figure.axes
    assert [legend(panel) for panel in panels] == [["btc", "eth"], ["sol"], ["doge", "none"]]
    assert [ticks(panel)[0] for panel in panels] == ["$0", "$200", "$0"]
    assert len(query_data.plot(made, log=True).figure.axes) == 1
    many = frame(**{f"a{power}": [2.0**power] for power in range(MOST_NAMED + 1)})
    assert len(query_data.plot(many).figure.axes) == 1
    assert len(query_data.plot(many.iloc[:, :-1]).figure.axes) == 4


def test_panels_share_their_dates_and_each_has_the_scale_that_its_values_allow() -> None:
    made = frame(btc=[90_000, 91_000, 92_000, 93_000], new=[NAN, NAN, 0.1, NAN], none=[NAN] * 4)
    made.index += pd.Timedelta(hours=1)
    top, bottom = shown(query_data.plot(made)).figure.axes
    low, high = (num2date(at) for at in top.get_xlim())  # type: ignore[no-untyped-call]
    assert low.day in (1, 31)
    assert high.day >= 4
    assert bottom.get_xlim() == top.get_xlim()
    empty = frame("", PRICE=[1, 2, 3], DAU=[NAN] * 3, EARNINGS_YIELD=[-1, -2, -3])
    empty.attrs |= {"asset": "sol", "metric": "", "series": "; ".join(f"artemis sol {column}" for column in empty)}
    price, dau, yields = query_data.plot(empty, log=True).figure.axes
    assert [each.get_yscale() for each in (price, dau, yields)] == ["log", "linear", "linear"]
    assert [text.get_text() for text in dau.texts] == ["no points in this window"]
    last = query_data.plot(empty[["PRICE", "DAU"]]).figure.axes[-1]
    assert [text for text in dates(last) if text]


def test_computed_values_have_no_unit_and_slices_of_stored_ones_keep_theirs(
    open_store: Opener, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([point("sol", day, 100.0 + day, "TVL") for day in range(9)])
    open_store(Verb.BACKFILL).load([point("eth", day, 50.0 + day, "TVL") for day in range(1, 9)])
    stored, panel = query_data.series("sol", "TVL"), query_data.panel("TVL")
    slices = stored, stored[2:5], stored["value"].dropna(), panel["sol"], panel[-3:], stored.rename(columns=str.upper)
    for made in slices:
        axes = query_data.plot(made)
        assert ticks(axes)[0].startswith("$")
        assert not axes.get_title().startswith("computed")
    ratio, count = panel["sol"] / panel["eth"], panel.count(axis=1)
    computed = (
        stored.pct_change(),
        stored[2:5].diff(),
        panel / panel.shift(),
        stored - 1,
        panel.fillna(-1),
        ratio,
        count,
    )
    for made in (*computed, ratio[:-1].rename("sol")):
        axes = query_data.plot(made)
        assert not [text for each in axes.figure.axes for text in ticks(each) if "$" in text]
        assert axes.get_title().startswith("computed from ")
    mixed = panel.assign(ratio=ratio.to_numpy())
    (stored_axes, ratio_axes) = query_data.plot(mixed).figure.axes
    assert (ticks(stored_axes)[0], stored_axes.get_title()) == ("$60", "TVL, defillama")
    assert "$" not in "".join(ticks(ratio_axes))
    assert query_data.plot(query_data.series("sol", "TVL", end="2001")).get_title() == "sol TVL, defillama"


def test_a_column_taken_from_a_frame_of_different_units_has_its_own() -> None:
    made = frame("", PRICE=[1, 2], DAU=[8, 9])
    made.attrs |= {"asset": "sol", "metric": "", "series": "artemis sol PRICE; artemis sol DAU"}
    assert ticks(query_data.plot(made["PRICE"]))[0] == "$1"
    assert ticks(query_data.plot(made["DAU"]))[0] == "8"


def test_compared_sources_are_named_each_with_its_unit() -> None:
    names = {"artemis sol TVL": [3, 4], "defillama solana CHAIN_TVL": [1, 2], "artemis sol DAU": [7, 8]}
    made = frame("", **names)  # type: ignore[arg-type]
    made.attrs |= {"source": "", "asset": "", "metric": "", "series": "; ".join(names)}
    made.attrs["asked"] = {"entity": "solana"}
    axes = query_data.plot(made, ax=pyplot.figure().subplots())
    assert legend(axes) == ["artemis sol DAU", "artemis sol TVL (USD)", "defillama solana CHAIN_TVL (USD)"]
    assert axes.get_title() == "solana"


def test_of_what_was_computed_the_unit_is_as_told() -> None:
    ratio = frame(sol=[1, 2, 4]) / frame(sol=[4, 4, 4])
    assert {text[0] for text in ticks(query_data.plot(ratio, unit="", title="a ratio"))} == {"0", "1"}
    pyplot.close("all")
    change = frame(sol=[1, 2, 3]).pct_change() * 100
    assert all(text.endswith("%") for text in ticks(query_data.plot(change, unit="%")))


def test_too_many_lines_are_refused_with_a_way_to_choose() -> None:
    many = frame(**{f"a{number}": [1.0] for number in range(MOST_LINES + 1)})
    assert f"501 lines can't be told apart: draw at most {MOST_LINES}" in refusal(lambda: query_data.plot(many))
    query_data.plot(many[many.max().nlargest(20).index])


def test_a_time_that_stands_twice_is_refused_with_what_would_be_right() -> None:
    twice = pd.concat([frame(sol=[1, 2]), frame(sol=[3, 4])])
    assert refusal(lambda: query_data.plot(twice)).startswith("a time appears more than once: keep one row of each by ")


def test_a_frame_without_columns_has_no_points() -> None:
    (text,) = query_data.plot(frame(sol=[1.0])[[]]).texts
    assert text.get_text() == "no points in this window"
