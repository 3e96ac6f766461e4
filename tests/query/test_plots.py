"""plot: what a frame of query_data looks like, read back from the axes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.colors import to_hex
from matplotlib.dates import num2date
from matplotlib.figure import Figure

import query_data
from model.amount_text import amount
from model.values import Verb
from query.plot_columns import MOST_NAMED
from tests.commands import ROOT
from tests.plotted import NAN, dates, days, dots, frame, legend, shown, ticks, values
from tests.tables import START, Opener, point, points, refusal

# What is drawn


def test_a_series_is_one_line_through_its_points_with_a_title_and_no_legend(
    database_url: str, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([point(day=day, value=1e6 * (day + 1)) for day in range(3)])
    axes = query_data.plot(query_data.series("Solana", "tvl"))
    (line,) = axes.lines
    assert values(axes) == [1e6, 2e6, 3e6]
    assert np.asarray(line.get_xdata())[0] == np.datetime64(START.replace(tzinfo=None))
    assert axes.get_title() == "solana TVL, defillama"
    assert legend(axes) == []
    assert ticks(axes) == ["$1M", "$1.5M", "$2M", "$2.5M", "$3M"]


def test_a_panel_of_the_database_is_a_line_for_each_asset(
    database_url: str, open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([*points(0, 1, 2), *points(1, 2, 3, asset="aave")])
    axes = query_data.plot(query_data.panel("TVL"))
    assert axes.get_title() == "TVL, defillama"
    np.testing.assert_equal(values(axes, 0), [NAN, 1, 1, 1])
    assert len(axes.lines) == 2


def test_an_empty_window_says_so(database_url: str, open_store: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    open_store(Verb.BACKFILL).load([point()])
    axes = shown(query_data.plot(query_data.series("solana", "TVL", start="2025-01-01")))
    assert [text.get_text() for text in axes.texts] == ["no points in this window"]
    assert axes.get_title() == "solana TVL, defillama"


@pytest.mark.parametrize("log", [False, True])
def test_points_drawn_into_empty_axes_take_the_place_of_the_words(log: bool) -> None:
    axes = query_data.plot(frame(sol=[NAN, NAN]), log=log)
    query_data.plot(frame(sol=[1, 2]), ax=axes)
    assert list(axes.texts) == []
    assert dates(axes)
    assert ticks(axes)


def test_a_pandas_series_is_drawn_under_its_name() -> None:
    axes = query_data.plot(frame(sol=[1, 2], eth=[3, 4])["eth"])
    assert values(axes) == [3, 4]
    assert axes.get_title() == "eth TVL, artemis"


def test_numbers_of_ones_own_are_drawn_without_unit_and_title() -> None:
    own = pd.Series([1, 2], index=pd.to_datetime(["2026-01-02", "2026-01-01"]))
    axes = query_data.plot(own)
    assert values(axes) == [2, 1]
    assert axes.get_title() == ""
    assert ticks(axes)[0] == "1"


# Gaps


def test_no_value_is_a_gap_and_a_point_between_gaps_a_dot() -> None:
    axes = query_data.plot(frame(sol=[1, 2, NAN, 3, NAN, 5, 6]))
    np.testing.assert_equal(values(axes), [1, 2, NAN, 3, NAN, 5, 6])
    assert dots(axes) == [3]


def test_a_single_point_is_a_dot_with_a_day_on_both_sides() -> None:
    axes = query_data.plot(frame(sol=[7]))
    assert dots(axes) == [0]
    first, last = (num2date(at).date().isoformat() for at in axes.get_xlim())  # type: ignore[no-untyped-call]
    assert (first, last) == ("2025-12-31", "2026-01-02")


def test_rows_that_are_far_apart_are_not_joined() -> None:
    made = frame(sol=[float(day) for day in range(20)]).drop(pd.to_datetime(days(19)[8:16], utc=True))
    axes = query_data.plot(made)
    np.testing.assert_equal(values(axes), [*range(8), NAN, *range(16, 20)])


def test_a_long_gap_that_is_in_the_frame_is_left_as_it_is() -> None:
    numbers = [1, 2, 3, *[NAN] * 9, 4, 5]
    np.testing.assert_equal(values(query_data.plot(frame(sol=numbers))), numbers)


def test_weekends_without_rows_are_no_gaps() -> None:
    made = frame(sol=[float(day) for day in range(20)])
    made = made[[at.weekday() < 5 for at in made.index]]
    axes = query_data.plot(made)
    assert values(axes) == made["sol"].to_list()


# Amounts and dates


@pytest.mark.parametrize(
    ("value", "within", "text"),
    [
        (0, 0, "0"),
        (1, 0, "1"),
        (-1500, 0, "\N{MINUS SIGN}1.5K"),
        (999.99, 1, "1,000"),
        (1e6, 0, "1M"),
        (2_500_000_000, 0, "2.5bn"),
        (1.25e12, 0, "1.25T"),
        (1.24e12, 1e11, "1.2T"),
        (0.1 + 0.2, 0, "0.3"),
        (0.0000012, 0, "0.0000012"),
        (5e-15, 0, "5e-15"),
        (1e6 * (1 - 1e-13), 0, "1M"),
        (NAN, 0, "nan"),
    ],
)
def test_an_amount_has_as_few_digits_as_say_it(value: float, within: float, text: str) -> None:
    assert amount(value, within=within) == text


def test_dollars_and_percent_stand_at_the_amount() -> None:
    assert amount(-1500, "USD") == "\N{MINUS SIGN}$1.5K"
    assert amount(4.5, "%") == "4.5%"


@pytest.mark.parametrize(
    ("unit", "label", "first"), [("USD", "", "$1"), ("%", "", "1%"), ("units of its peg", "units of its peg", "1")]
)
def test_the_axis_has_the_unit(unit: str, label: str, first: str) -> None:
    axes = query_data.plot(frame(unit, sol=[1, 3]))
    assert axes.get_ylabel() == label
    assert ticks(axes)[0] == first


@pytest.mark.parametrize("values", [[1e9, 1.0003e9], [0, 3e12], [-4e6, 4e6], [0.001, 0.0012], [5, 5], [1e-7, 9e-7]])
@pytest.mark.parametrize("log", [False, True])
def test_ticks_are_few_and_told_apart(values: list[float], log: bool) -> None:
    labels = ticks(query_data.plot(frame(sol=values), log=log))
    assert 2 <= len(labels) <= 10
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", None])
def test_dates_are_utc_whatever_the_zone_of_the_rows_or_of_matplotlib(zone: str | None) -> None:
    made = frame(sol=[1, 2, 3, 4]).tz_convert(zone)
    mpl.rcParams["timezone"] = "America/New_York"
    axes = query_data.plot(made)
    assert dates(axes) == ["Jan", "02", "03", "04"]
    assert all(at == int(at) for at in axes.get_xticks())  # in days


# Log scales


def test_a_log_scale_leaves_out_what_is_not_above_zero_and_says_how_much() -> None:
    axes = shown(query_data.plot(frame(sol=[1, 0, 10, -5, 0, 100]), log=True))
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "not shown on a log scale: 3 of 0 or less"
    assert dots(axes) == [0, 2, 5]


def test_axes_that_are_on_a_log_scale_already_say_it_too() -> None:
    axes = query_data.plot(frame(sol=[1, 10]), log=True)
    query_data.plot(frame(eth=[0, 10]), ax=axes)
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "not shown on a log scale: 1 of 0 or less"


def test_a_log_scale_of_nothing_above_zero_is_refused_and_leaves_no_figure() -> None:
    assert "log=True" in refusal(lambda: query_data.plot(frame(sol=[0, -1]), log=True))
    assert pyplot.get_fignums() == []


def test_ticks_of_a_log_scale_are_round_amounts() -> None:
    assert ticks(query_data.plot(frame(sol=[1e6, 5e7]), log=True)) == ["$1M", "$2M", "$5M", "$10M", "$20M", "$50M"]
    assert ticks(query_data.plot(frame(sol=[1, 1e10]), log=True))[::2] == ["$1", "$10K", "$100M"]


def test_infinite_values_are_counted() -> None:
    axes = shown(query_data.plot(frame(sol=[1, float("inf"), 3])))
    assert axes.get_xlabel() == "not shown: 1 infinite"


# Legends


def test_the_legend_is_ordered_by_the_last_values_and_says_what_has_no_points() -> None:
    axes = query_data.plot(frame(low=[9, 1], none=[NAN, NAN], ended=[5, NAN], high=[2, 8]))
    assert legend(axes) == ["high", "ended", "low", "none (no points)"]


def test_of_many_lines_the_largest_twenty_are_named_and_the_others_grey() -> None:
    axes = query_data.plot(frame(**{f"a{number}": [1.0, float(number)] for number in range(30)}))
    assert legend(axes) == [*(f"a{number}" for number in range(29, 9, -1)), "and 10 more"]
    colours = [to_hex(line.get_color()) for line in axes.lines]
    assert set(colours[:10]) == {"#c8c8c8"}
    looks = {(colour, line.get_linestyle()) for colour, line in zip(colours[10:], axes.lines[10:], strict=True)}
    assert len(looks) == MOST_NAMED


def test_names_are_shown_as_they_are() -> None:
    axes = shown(query_data.plot(frame(**{"$A": [1.0, 2.0], "_B$": [3.0, 4.0]})))
    assert legend(axes) == ["_B$", "$A"]
    assert not any(text.get_parse_math() for text in axes.get_legend().get_texts())  # type: ignore[union-attr]


# Axes to go on with


def test_axes_of_ones_own_are_drawn_into_and_pyplot_is_left_alone() -> None:
    own = Figure().subplots()
    assert query_data.plot(frame(sol=[1, 2]), ax=own) is own
    assert pyplot.get_fignums() == []


def test_without_axes_there_is_one_figure_for_pyplot_to_show() -> None:
    axes = query_data.plot(frame(sol=[1, 2]))
    assert pyplot.get_fignums() == [1]
    assert pyplot.gca() is axes


def test_threads_draw_side_by_side_and_leave_pyplot_alone() -> None:
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda number: shown(query_data.plot(frame(sol=[1.0, number]))), range(12)))
    assert [values(axes) for axes in drawn] == [[1, number] for number in range(12)]
    assert pyplot.get_fignums() == []


def test_what_was_known_and_what_is_known_are_told_apart_on_the_same_axes() -> None:
    now, then = frame(value=[1, 3]), frame(value=[1, 2])
    now.attrs["asset"] = then.attrs["asset"] = "sol"
    then.attrs["as_of"] = "2026-01-03T09:00:00+00:00"
    axes = query_data.plot(then)
    assert axes.get_title() == "sol TVL, artemis, as known at 2026-01-03 09:00 UTC"
    query_data.plot(now, ax=axes)
    assert axes.get_title() == "sol TVL, artemis"
    assert legend(axes) == ["as known now", "as known at 2026-01-03 09:00 UTC"]
    assert axes.lines[0].get_color() != axes.lines[1].get_color()


def test_frames_of_different_units_on_the_same_axes_have_them_in_the_legend() -> None:
    axes = query_data.plot(frame(sol=[3, 4]))
    query_data.plot(frame("%", apy=[1, 2]), ax=axes)
    assert legend(axes) == ["sol TVL (USD)", "apy TVL (%)"]
    assert ticks(axes)[0] == "1"


def test_words_of_ones_own_stay() -> None:
    axes = query_data.plot(frame(sol=[1, 2]), title="Mine $ and $ yours")
    axes.set_xlabel("days")
    axes.set_ylabel("dollars")
    query_data.plot(frame("units of its peg", sol=[0, 2]), ax=axes, log=True)
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("Mine $ and $ yours", "days", "dollars")


# What can't be drawn


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "NoneType can't be drawn: give a frame of series()"),
        ([1, 2], "list can't be drawn"),
        (pd.DataFrame({"value": [1]}, index=pd.Index(["sol"], name="asset")), "holds asset instead of times"),
        (pd.DataFrame({"value": [1]}), "holds numbers instead of times"),
        (frame(sol=[1]).astype(str), "'sol' holds no numbers"),
        (pd.Series([1], index=pd.DatetimeIndex([pd.NaT])), "no time"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused_with_what_to_give(data: Any, told: str) -> None:
    assert told in refusal(lambda: query_data.plot(data))
    assert pyplot.get_fignums() == []


def test_what_is_no_axes_is_refused() -> None:
    assert "ax is not an Axes" in refusal(lambda: query_data.plot(frame(sol=[1]), ax=pyplot))  # type: ignore[arg-type]


def test_without_matplotlib_one_line_says_how_to_install_it() -> None:
    program = """
import sys
sys.modules["matplotlib"] = None
import pandas, query_data
try:
    query_data.plot(pandas.DataFrame())
except query_data.BadQuestion.__base__ as error:
    print(error, error.exit_code)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.endswith("-m pip install 'matplotlib>=3.9,<4' 2\n")
    assert done.stdout.count("\n") == 1


def test_columns_with_times_of_their_own_are_lines_and_their_gaps_gaps(
    open_store: Opener, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    seen = [point(name, day + off, day + 1, "PRICE") for name, off in (("a", 0.001), ("b", 0.002)) for day in range(40)]
    open_store(Verb.BACKFILL).load([each for each in seen if not (each.asset == "b" and 10 < each.value < 25)])
    first, second = query_data.plot(query_data.panel("PRICE")).lines
    assert np.isfinite(np.asarray(first.get_ydata(), dtype=float)).all()
    assert np.isnan(np.asarray(second.get_ydata(), dtype=float)).sum() == 1
    assert list(first.get_markevery() or []) == []  # type: ignore[arg-type]
