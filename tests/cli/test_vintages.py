"""What was known when, on the command line: vintages, and the lag and known-at of query."""

import json
from pathlib import Path

import pytest

from model.values import DAY, Verb
from tests.commands import environment, on_terminal, run
from tests.tables import BACKFILL, START, Opener, Rows, point, points

pytestmark = pytest.mark.cluster

FIRST = "2024-01-01T00:00:00Z"


@pytest.fixture
def url(open_store: Opener, rows: Rows, database_url: str) -> str:
    """Two days of two metrics, loaded at noon of the second; one value was restated a week later."""
    open_store(BACKFILL).load([*points(0, 1), point(metric="FEES", value=7.0)])
    open_store(Verb.SETTLE).load([point(value=2.5)])
    rows("UPDATE loads SET loaded_at = %s", START + 1.5 * DAY)
    rows("UPDATE revisions SET replaced_at = %s, reason = 'restated'", START + 8 * DAY)
    return database_url


def asked(url: str, line: str, *words: str | Path) -> str:
    """What a command that must succeed prints."""
    done = run(f"main.py {line}", *words, env=environment(url))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_vintages_come_in_each_format(url: str, tmp_path: Path) -> None:
    lines = asked(url, "vintages Solana tvl").splitlines()
    assert lines == [
        "pulled_at,value,known_at,known_until,reason",
        f"{FIRST},1.0,2024-01-02T12:00:00Z,2024-01-09T00:00:00Z,first",
        f"{FIRST},2.5,2024-01-09T00:00:00Z,,restated",
        "2024-01-02T00:00:00Z,1.0,2024-01-03T00:00:00Z,,first",
    ]
    second = json.loads(asked(url, "vintages solana TVL --format json --source defillama"))[1]
    assert second == {
        "pulled_at": FIRST, "value": 2.5, "known_at": "2024-01-09T00:00:00Z", "known_until": None, "reason": "restated",
    }  # fmt: skip
    assert asked(url, "vintages solana TVL --format table --end 2024-01-02") == (
        "pulled_at   value  known_at              known_until  reason\n"
        "2024-01-01    1    2024-01-02 12:00:00Z  2024-01-09   first\n"
        "2024-01-01    2.5  2024-01-09 00:00:00Z               restated\n"
    )
    asked(url, "vintages solana TVL --start 2024-01-02 --out", tmp_path / "x.jsonl")
    assert json.loads((tmp_path / "x.jsonl").read_text())["known_at"] == "2024-01-03T00:00:00Z"


def test_with_a_lag_each_day_is_as_it_was_known_so_long_after_its_end(url: str) -> None:
    assert asked(url, "query solana TVL --lag 0d").splitlines()[1:] == ["2024-01-02T00:00:00Z,1.0"]
    assert asked(url, "query solana TVL --lag 12h").splitlines()[1:] == [f"{FIRST},1.0", "2024-01-02T00:00:00Z,1.0"]
    assert asked(url, "query solana TVL --lag 7d --as-of 2024-01-09").splitlines()[1:] == [f"{FIRST},2.5"]
    done = run("main.py query all TVL --lag 36h", env=environment(url))
    assert done.stderr.endswith("defillama 1 asset TVL 36h after each day: 2 rows\n")


def test_each_metric_may_have_a_column_with_the_instant_since_when_its_value_is_known(url: str) -> None:
    assert asked(url, "query solana TVL FEES --known-at").splitlines() == [
        "pulled_at,TVL,FEES,TVL_known_at,FEES_known_at",
        f"{FIRST},2.5,7.0,2024-01-09T00:00:00Z,2024-01-02T12:00:00Z",
        "2024-01-02T00:00:00Z,1.0,,2024-01-03T00:00:00Z,",
    ]
    assert asked(url, "query all TVL --known-at --lag 1d").splitlines() == [
        "asset,pulled_at,TVL,TVL_known_at",
        f"solana,{FIRST},1.0,2024-01-02T12:00:00Z",
        "solana,2024-01-02T00:00:00Z,1.0,2024-01-03T00:00:00Z",
    ]


def test_a_picture_and_a_chart_show_values_alone(url: str, tmp_path: Path) -> None:
    asked(url, "query solana TVL --known-at --plot", tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    shown = on_terminal(url, "query solana TVL --known-at")
    assert shown[0] == "defillama solana TVL"
    assert any("┤" in line for line in shown)
    assert shown[-2].split() == ["2024-01-02", "1", "2024-01-03"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("query solana TVL --lag=-3d", "'-3d' is not a lag: write 3d or 12h"),
        ("query solana TVL --lag -3d", "'-3d' is not a lag: write 3d or 12h"),
        ("query solana TVL --lag bananas", "'bananas' is not a lag: write 3d or 12h"),
        ("query solana TVL --as-of 2999-01-01", "as_of 2999-01-01 is in the future: give a time up to now, 20"),
        ("latest TVL --as-of 2999-01-01", "as_of 2999-01-01 is in the future: give a time up to now, 20"),
        ("vintages lido FEES_24H", "FEES_24H of defillama is live-only and has no vintages"),
        ("vintages solana TVLL", "TVL"),
        ("vintages solana TVL --start 2024-02-01 --end 2024-01-01", "the window is empty"),
        ("vintages solana TVL --out x --format table", "--format table is for a screen"),
    ],
)
def test_what_cannot_be_asked_is_one_line_that_says_what_would_be_right(
    line: str, said: str, url: str, open_store: Opener, tmp_path: Path
) -> None:
    open_store(Verb.PULL).load([point("lido", metric="FEES_24H")])
    done = run(f"main.py {line}", env=environment(url), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("error: ")
    assert said in done.stderr


def test_a_lag_of_several_words_is_refused_in_one_line(url: str) -> None:
    done = run("main.py query solana TVL --lag", "3 bananas", env=environment(url))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: '3 bananas' is not a lag: write 3d or 12h")
