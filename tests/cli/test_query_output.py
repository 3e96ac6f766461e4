"""Where the commands query and latest write: pipes, files, terminals; kills and sizes."""

import csv
import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from db.database import Database
from db.store import Store
from tests.commands import ROOT, SECONDS, environment, on_terminal, run, start
from tests.tables import BACKFILL, Rows, point, points
from tests.waiting import until

SOME, MANY = 60_000, 300_000  # both are more than is held at once
FILL = """
INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
SELECT 'artemis', 'asset-' || asset, 'TVL', timestamp '2020-01-01' + number * interval '1 minute', number / 3.0::float
FROM generate_series(1, %s) AS asset, generate_series(1, %s) AS number
"""
COUNT = """
INSERT INTO coverage (source, asset, metric_name, row_count)
SELECT source, asset, metric_name, count(*) FROM metrics GROUP BY source, asset, metric_name
ON CONFLICT (source, asset, metric_name) DO UPDATE SET row_count = excluded.row_count
"""
MEASURED = """
import resource, sys
from cli.run_command import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


@pytest.fixture
def url(database: Database, database_url: str) -> str:
    """A database with a few points of two metrics."""
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load([point("sol", day, float(day % 50), "TVL") for day in range(100)])
        store.load(points(*range(0, 100, 2), asset="sol", metric="FEES"))
    return database_url


def fill(rows: Rows, assets: int, each: int) -> None:
    """Store so many points of so many assets."""
    rows(FILL, assets, each)
    rows(COUNT)


def test_a_terminal_gets_a_chart_and_the_last_rows_that_fit_it(url: str) -> None:
    shown = on_terminal(url, "query sol TVL")
    assert len(shown) == 22  # of 24, for the command itself and the next prompt
    assert shown[0] == "artemis sol TVL"
    assert shown[1].split()[:2] == ["$49", "┤"]
    assert shown[8].startswith(" $0 ┤⣀")
    assert shown[9].split() == ["2024-01-01", "2024-04-09"]
    assert shown[10] == "first $0, min $0 on 2024-01-01, max $49 on 2024-02-19, last $49"
    assert shown[11:13] == ["", "pulled_at   TVL"]
    assert shown[-2:] == [
        "2024-04-09   49",
        "100 rows, the last 8 shown: --out FILE.csv or --format csv gives them all",
    ]


def test_on_a_terminal_several_metrics_have_a_line_each(url: str) -> None:
    shown = on_terminal(url, "query sol TVL FEES", columns=40)
    assert shown[0] == "artemis sol TVL FEES"
    assert [line.split()[0] for line in shown[1:3]] == ["TVL", "FEES"]
    assert [line.split()[-1] for line in shown[1:3]] == ["49", "1"]
    assert shown[4].split() == ["pulled_at", "TVL", "FEES"]
    assert max(map(len, shown[1:3])) == 40


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_terminal_without_braille_gets_ascii(more: dict[str, str], url: str) -> None:
    shown = "".join(on_terminal(url, "query sol TVL", more=more) + on_terminal(url, "query sol TVL FEES", more=more))
    assert shown.isascii()
    assert "\\u" not in shown


def test_nothing_on_a_terminal_is_coloured_or_moves_the_cursor(url: str) -> None:
    shown = on_terminal(url, "query sol TVL") + on_terminal(url, "latest TVL") + on_terminal(url, "query all TVL")
    assert "\x1b" not in "".join(shown)


def test_a_terminal_that_is_asked_for_csv_gets_csv(url: str) -> None:
    shown = on_terminal(url, "query sol TVL --format csv --end 2024-01-03")
    assert shown[:3] == ["pulled_at,TVL", "2024-01-01T00:00:00Z,0.0", "2024-01-02T00:00:00Z,1.0"]


def test_a_reader_who_has_seen_enough_ends_the_command_quietly(database_url: str, rows: Rows) -> None:
    fill(rows, 20, 2000)
    with start("main.py query all TVL", env=environment(database_url)) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "asset,pulled_at,TVL\n"
        process.stdout.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""


def test_a_reader_who_has_seen_enough_before_the_picture_is_drawn_is_a_failure(
    database_url: str, rows: Rows, tmp_path: Path
) -> None:
    fill(rows, 1, 20_000)
    line = f"main.py query asset-1 TVL --plot {tmp_path / 'x.png'}"
    with start(line, env=environment(database_url)) as process:
        assert process.stdout
        process.stdout.close()
        assert (process.wait(SECONDS), process.stderr and process.stderr.read()) == (1, "")
    assert not (tmp_path / "x.png").exists()


def test_a_reader_who_takes_his_time_holds_no_transaction_open(database_url: str, rows: Rows) -> None:
    fill(rows, 1, SOME)
    with start("main.py query asset-1 TVL", env=environment(database_url)) as process:
        assert process.stdout
        assert process.stdout.readline() == "pulled_at,TVL\n"
        assert process.stdout.readline()
        mine = "application_name LIKE '% query %' AND datname = current_database()"
        until(lambda: rows(f"SELECT FROM pg_stat_activity WHERE {mine} AND state = 'idle'"))
        assert rows(f"SELECT FROM pg_stat_activity WHERE {mine} AND backend_xmin IS NOT NULL") == []
        assert process.poll() is None
        assert len(process.stdout.readlines()) == SOME - 1
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("name", "begin"), [("x.csv", "pulled_at,"), ("x.json", "[\n {"), ("x.JSONL", '{"pulled'), ("x.ndjson", '{"pulled')]
)
def test_the_form_of_a_file_goes_by_its_ending_and_standard_output_stays_empty(
    name: str, begin: str, url: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text("what was there")
    file.chmod(0o640)
    done = run("main.py query sol TVL --out", file, env=environment(url))
    assert (done.returncode, done.stdout) == (0, "")
    assert f"artemis sol TVL: 100 rows in {file}\n" in done.stderr
    assert file.read_text().startswith(begin)
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(url: str, tmp_path: Path) -> None:
    file, link = tmp_path / "file.json", tmp_path / "link.json"
    file.write_text("what was there")
    link.symlink_to(file)
    assert run("main.py latest TVL --out", link, env=environment(url)).returncode == 0
    assert link.is_symlink()
    assert [row["asset"] for row in json.loads(file.read_text())] == ["sol"]


def test_a_file_that_is_read_only_is_left_as_it_is(url: str, tmp_path: Path) -> None:
    file = tmp_path / f"{'ü' * 120}.csv"
    file.write_text("what was there")
    file.chmod(0o444)
    done = run("main.py query sol TVL --out", file, env=environment(url))
    assert (done.returncode, file.read_text()) == (2, "what was there")
    assert done.stderr.endswith("can't be written: it is read-only\n")
    file.chmod(0o644)
    assert run("main.py query sol TVL --out", file, env=environment(url)).returncode == 0


def test_a_dash_is_standard_output(url: str) -> None:
    done = run("main.py query sol TVL --format csv --out -", env=environment(url), cwd=ROOT)
    assert done.stdout.startswith("pulled_at,TVL\n")
    assert not (ROOT / "-").exists()


@pytest.mark.parametrize("line", ["query sol TVL --format csv", "latest TVL", "report --out -"])
def test_a_full_disk_behind_standard_output_is_one_line(url: str, line: str) -> None:
    command = f"{sys.executable} main.py {line} > /dev/full"
    done = subprocess.run(  # noqa: S603
        ["bash", "-c", command], cwd=ROOT, env=environment(url), capture_output=True, text=True, check=False  # noqa: S607
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith("error: standard output can't be written: No space left on device\n")
    assert "Traceback" not in done.stderr


def test_standard_output_may_be_closed(url: str, tmp_path: Path) -> None:
    command = f"{sys.executable} main.py report --out {tmp_path}/r.html >&-"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment(url), stderr=subprocess.PIPE, check=False)  # noqa: S603, S607
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.html").stat().st_size > 1000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_killed_leaves_the_file_as_it_was(
    number: signal.Signals, database_url: str, rows: Rows, tmp_path: Path
) -> None:
    fill(rows, 1, MANY)
    file = tmp_path / "x.csv"
    file.write_text("what was there")
    with start("main.py query asset-1 TVL --out", file, env=environment(database_url)) as process:
        until(lambda: any(part.stat().st_size for part in tmp_path.glob(".*.part")))
        process.send_signal(number)
        code = process.wait(SECONDS)
    assert code == (-number if number == signal.SIGKILL else 128 + number)
    assert file.read_text() == "what was there"
    if number != signal.SIGKILL:
        assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("assets", "line"), [(100, "query all TVL"), pytest.param(1, "query asset-1 TVL", marks=pytest.mark.long)]
)
def test_however_large_an_answer_is_it_takes_little_memory_and_has_every_point_once(
    assets: int, line: str, database_url: str, rows: Rows, tmp_path: Path
) -> None:
    fill(rows, assets, MANY // assets)
    file = tmp_path / "x.csv"
    few, many = (
        _megabytes(database_url, [*line.split(), "--end", end, "--out", str(file)])
        for end in ("2020-01-01T12:00", "2030-01-01")
    )
    with file.open(newline="") as text:
        found = [tuple(row.values()) for row in csv.DictReader(text)]
    assert len(set(found)) == len(found) == MANY
    if assets == 1:
        assert [float(value) for _, value in found] == [number / 3 for number in range(1, MANY + 1)]
    assert many - few < 30  # all of these rows at once would be over 60


def _megabytes(url: str, words: list[str]) -> float:
    line = [sys.executable, "-c", MEASURED, *words]
    done = subprocess.run(line, cwd=ROOT, env=environment(url), capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return int(done.stdout) / (1024 if sys.platform == "linux" else 1024**2)


def test_metrics_of_different_density_are_paged_without_losing_a_row(database_url: str, rows: Rows) -> None:
    fill(rows, 1, 40_000)
    insert = """INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
    SELECT 'artemis', 'asset-1', 'FEES', timestamp '2020-01-01' + number * interval '7 minutes', number
    FROM generate_series(1, 30000) AS number"""
    rows(insert)
    rows(COUNT)
    done = run("main.py query asset-1 TVL FEES", env=environment(database_url))
    found = list(csv.DictReader(done.stdout.splitlines()))
    times = [row["pulled_at"] for row in found]
    assert times == sorted(set(times))
    assert sum(bool(row["TVL"]) for row in found) == 40_000
    assert sum(bool(row["FEES"]) for row in found) == 30_000
    assert sum(bool(row["TVL"] and row["FEES"]) for row in found) == 40_000 // 7
