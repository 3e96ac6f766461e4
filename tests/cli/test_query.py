"""The commands query and latest as processes: what they answer, and how they refuse."""

import csv
import io
import json
import re
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from db.database import Database
from db.store import Store
from model.values import DAY, DataPoint
from tests.commands import environment, run, run_process
from tests.tables import BACKFILL, START, Rows, as_role, point

pytestmark = pytest.mark.cluster

ODD = 0.1 + 0.2  # needs all seventeen digits
AT_20_SECONDS_TO = START + DAY - DAY / 4320


@pytest.fixture
def url(database: Database, database_url: str) -> str:
    """A database with some series of both sources."""
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load([point("sol", day, day + ODD, "PRICE") for day in range(4)])
        store.load([point("sol", day, 1e6 * day, "FEES") for day in (1, 3, 5)])
        store.load([point("btc", day, 1e5 + day, "PRICE") for day in range(2)])
    with closing(Store(database, "defillama", BACKFILL)) as store:
        store.load([DataPoint("solana", "PRICE", AT_20_SECONDS_TO, 7.0), point("solana", 0, -0.0, "TVL")])
    return database_url


def asked(url: str, line: str, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A command that must succeed."""
    done = run(f"main.py {line}", *words, env=environment(url) | more)
    assert done.returncode == 0, done.stderr
    return done


def test_points_come_as_csv_whose_floats_are_as_they_were(url: str) -> None:
    done = asked(url, "query sol PRICE --source artemis")
    assert done.stdout.splitlines()[:2] == ["pulled_at,PRICE", "2024-01-01T00:00:00Z,0.30000000000000004"]
    assert [float(row["PRICE"]) for row in csv.DictReader(io.StringIO(done.stdout))] == [n + ODD for n in range(4)]
    assert re.fullmatch(r"\S+ \S+ INFO artemis sol PRICE: 4 rows\n", done.stderr)


def test_metrics_stand_side_by_side_and_nothing_is_filled_in(url: str) -> None:
    line = "query sol fees price fees --source artemis --start 2024-01-02"
    assert asked(url, line).stdout.splitlines() == [
        "pulled_at,FEES,PRICE",
        "2024-01-02T00:00:00Z,1000000.0,1.3",
        "2024-01-03T00:00:00Z,,2.3",
        "2024-01-04T00:00:00Z,3000000.0,3.3",
        "2024-01-06T00:00:00Z,5000000.0,",
    ]
    rows = json.loads(asked(url, f"{line} --format json").stdout)
    assert rows[1] == {"pulled_at": "2024-01-03T00:00:00Z", "FEES": None, "PRICE": 2.3}
    lines = asked(url, f"{line} --format jsonl").stdout.splitlines()
    assert [json.loads(each) for each in lines] == rows
    table = asked(url, f"{line} --format table").stdout
    assert table == (
        "pulled_at        FEES  PRICE\n"
        "2024-01-02  1,000,000    1.3\n"
        "2024-01-03               2.3\n"
        "2024-01-04  3,000,000    3.3\n"
        "2024-01-06  5,000,000\n"
    )


def test_all_assets_come_one_after_another_each_row_with_its_asset(url: str) -> None:
    lines = asked(url, "query ALL price fees --source Artemis --end 2024-01-03").stdout.splitlines()
    assert lines[0] == "asset,pulled_at,PRICE,FEES"
    assert [line.split(",")[0] for line in lines[1:]] == ["btc", "btc", "sol", "sol"]
    assert lines[-1] == "sol,2024-01-02T00:00:00Z,1.3,1000000.0"


def test_an_asset_is_found_by_its_entity_too_and_times_are_those_of_the_api(url: str) -> None:
    done = asked(url, "query SOLANA price --source defillama")
    assert done.stdout == "pulled_at,PRICE\n2024-01-01T23:59:40Z,7.0\n"


def test_a_window_is_half_open_and_as_of_is_what_was_known_then(url: str, rows: Rows) -> None:
    line = "query sol PRICE --source artemis --start 2024-01-02 --end 2024-01-03T00:00"
    assert asked(url, line).stdout.splitlines()[1:] == ["2024-01-02T00:00:00Z,1.3"]
    [(now,)] = rows("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
    assert len(asked(url, f"{line} --as-of {now.isoformat()}").stdout.splitlines()) == 2
    before = asked(url, f"{line} --as-of 2024-06-01")
    assert before.stdout == "pulled_at,PRICE\n"
    assert "artemis sol PRICE as of 2024-06-01 00:00:00Z: 0 rows: no such point was known so early: " in before.stderr
    assert "0 rows: no such point was known so early: " in asked(url, f"{line} --lag 0d").stderr


@pytest.mark.parametrize(("form", "out"), [("csv", "pulled_at,PRICE\n"), ("json", "[]\n"), ("jsonl", "")])
def test_a_window_without_points_is_an_empty_answer_and_a_note(form: str, out: str, url: str) -> None:
    done = asked(url, f"query sol PRICE --source artemis --start 2031-01-01 --format {form}")
    assert done.stdout == out
    assert " WARNING artemis sol PRICE: 0 rows: there is no such point\n" in done.stderr


def test_what_is_no_number_is_null_in_json(url: str, rows: Rows) -> None:
    rows("UPDATE metrics SET value = 'NaN' WHERE asset = 'btc' AND pulled_at = '2024-01-01'")
    rows("UPDATE metrics SET value = NULL WHERE asset = 'btc' AND pulled_at = '2024-01-02'")
    rows("UPDATE metrics SET value = 'Infinity' WHERE asset = 'sol' AND pulled_at = '2024-01-01'")
    found = json.loads(asked(url, "query all PRICE --source artemis --format json").stdout, parse_constant=pytest.fail)
    assert [row["PRICE"] for row in found][:4] == [None, None, None, 1.3]
    assert asked(url, "query btc PRICE").stdout.splitlines()[1:] == ["2024-01-01T00:00:00Z,", "2024-01-02T00:00:00Z,"]
    table = asked(url, "latest PRICE --source artemis --format table").stdout
    assert [line.split()[0] for line in table.splitlines()] == ["asset", "sol", "btc"]


def test_the_newest_value_of_each_asset_by_asset_and_in_a_table_by_value(url: str) -> None:
    done = asked(url, "latest price --source artemis")
    assert done.stdout == ("asset,pulled_at,PRICE\nbtc,2024-01-02T00:00:00Z,100001.0\nsol,2024-01-04T00:00:00Z,3.3\n")
    only = json.loads(asked(url, "latest PRICE --asset SOL --source artemis --format json").stdout)
    assert only == [{"asset": "sol", "pulled_at": "2024-01-04T00:00:00Z", "PRICE": 3.3}]
    table = asked(url, "latest PRICE --source artemis --format table").stdout.splitlines()
    days = (datetime.now(UTC) - START).days
    assert table == [
        "asset      PRICE  pulled_at   age",
        f"btc    100,001    2024-01-02  {days - 1} days",
        f"sol          3.3  2024-01-04  {days - 3} days",
    ]


def test_of_an_earlier_instant_the_newest_value_is_that_of_then_and_what_has_none_is_counted(url: str) -> None:
    done = asked(url, "latest PRICE --source artemis --as-of 2024-01-02")
    assert done.stdout == "asset,pulled_at,PRICE\n"
    assert "2 of 2 assets had no value of PRICE at that time" in done.stderr


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("query sool PRICE", "did you mean sol"),
        ("query sol PRISE", "PRICE"),
        ("query solana PRICE", "several sources have"),
        ("query all PRICE", "several sources have PRICE: artemis (2 assets), defillama (1 asset)"),
        ("query sol PRICE TVL --source artemis", "TVL"),
        ("query sol PRICE --source artmis", "did you mean artemis?"),
        ("query sol PRICE --source artemis --start 2024-02-01 --end 2024-02-01", "the window is empty"),
        ("query sol PRICE --source artemis --start yesterday", "'yesterday' is not a time"),
        ("query sol PRICE --source artemis --out nowhere/x.csv", "nowhere/x.csv: can't be written: No such file"),
        ("query sol PRICE --source artemis --out . --format csv", ".: can't be written: it is not a regular file"),
        (
            "query sol PRICE --source artemis --out /dev/null --format csv",
            "/dev/null: can't be written: it is not a regular file",
        ),
        ("query sol PRICE --source artemis --out x --format table", "--format table is for a screen"),
        ("query sol PRICE --source artemis --out x.xlsx", "--out x.xlsx: write a file that ends in .csv, .json, "),
        ("query sol PRICE --out x.png --format csv --plot ./x.png", "--plot x.png: --out writes to the same file"),
        ("query sol PRICE --source artemis --plot x.gif", "--plot x.gif: write a file that ends in .png"),
        ("query all PRICE FEES --source artemis --plot x.png", "--plot draws one metric of all assets"),
        ("latest PRISE", "did you mean PRICE?"),
        ("latest PRICE --asset sool", "did you mean sol"),
        ("latest PRICE", "several sources have PRICE"),
    ],
)
def test_what_cannot_be_asked_is_one_line_that_says_what_would_be_right(
    line: str, said: str, url: str, tmp_path: Path
) -> None:
    done = run(f"main.py {line}", env=environment(url), cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("line", ["query sol PRICE", "latest PRICE"])
def test_without_data_the_command_that_fills_it_is_named(line: str, empty_url: str) -> None:
    done = run(f"main.py {line}", env=environment(empty_url))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: nothing is stored yet: python main.py backfill all\n"


def test_a_name_with_sql_in_it_is_a_name(url: str, rows: Rows) -> None:
    done = run("main.py query", "sol'; DROP TABLE metrics; --", "PRICE", env=environment(url))
    assert (done.returncode, "error: there is no asset" in done.stderr) == (2, True)
    assert rows("SELECT count(*) FROM metrics") == [(11,)]


@pytest.mark.one_server
def test_a_role_that_may_not_read_is_told_so_in_one_line(url: str, rows: Rows) -> None:
    rows("DROP ROLE IF EXISTS stranger")
    rows("CREATE ROLE stranger LOGIN")
    try:
        done = run("main.py query sol PRICE", env=environment(as_role(url, "stranger")))
    finally:
        rows("DROP ROLE stranger")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: .* can't be read: permission denied for table \w+\n", done.stderr)


def hide(folder: Path, *modules: str) -> dict[str, str]:
    """The environment of a command that can't import these."""
    for name in modules:
        (folder / f"{name}.py").write_text("raise ImportError('not here')\n")
    return {"PYTHONPATH": str(folder)}


def test_pandas_is_not_needed_to_look(url: str, tmp_path: Path) -> None:
    hidden = hide(tmp_path, "pandas", "numpy", "matplotlib")
    for line in ("query sol PRICE FEES --source artemis", "latest PRICE --source artemis"):
        assert run_process(f"main.py {line}", env=environment(url) | hidden).stdout


def test_a_plot_without_matplotlib_is_refused_with_how_to_get_it(url: str, tmp_path: Path) -> None:
    env = environment(url) | hide(tmp_path, "matplotlib")
    done = run_process("main.py query btc PRICE --plot", tmp_path / "x.png", env=env)
    assert (done.returncode, done.stdout, list(tmp_path.glob("*x.png*"))) == (2, "", [])
    assert re.fullmatch(r"error: plots need matplotlib .*pip install .*\n", done.stderr)


@pytest.mark.parametrize(("name", "begin"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml"), ("x.pdf", b"%PDF")])
def test_a_plot_is_a_picture_beside_the_points(name: str, begin: bytes, url: str, tmp_path: Path) -> None:
    done = asked(url, "query sol PRICE FEES --source artemis --log --plot", tmp_path / name)
    assert done.stdout.startswith("pulled_at,PRICE,FEES\n")
    assert (tmp_path / name).read_bytes().startswith(begin)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_plot_needs_no_backend_for_windows(url: str, tmp_path: Path) -> None:
    env = environment(url, MPLBACKEND="no such")
    assert run_process("main.py query sol FEES --plot", tmp_path / "x.png", env=env).returncode == 0
