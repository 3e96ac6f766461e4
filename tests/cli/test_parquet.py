"""The commands that write Parquet: query --out FILE.parquet and export --out DIR."""

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import duckdb
import psycopg2
import pyarrow.parquet as pq
import pytest

from db.database import Database
from db.store import Store
from tests.commands import ROOT, SECONDS, environment, run, run_process, start
from tests.tables import BACKFILL, START, Rows, point
from tests.waiting import until

FILL = """
INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
SELECT 'artemis', 'asset-' || asset, 'TVL', timestamp '2020-01-01' + number * interval '1 minute', random()
FROM generate_series(1, 20) AS asset, generate_series(1, 2000) AS number;
INSERT INTO coverage (source, asset, metric_name, row_count)
SELECT source, asset, metric_name, count(*) FROM metrics WHERE asset LIKE 'asset-%' GROUP BY source, asset, metric_name
"""
ADD = """
INSERT INTO metrics (source, asset, metric_name, pulled_at, value)
SELECT 'artemis', 'sol', metric, '2024-02-01', 5 FROM unnest('{PRICE,FEES}'::text[]) AS metric
"""
SMALL = "ulimit -f 64; exec {python} main.py {line}"  # no file of more than 64 KB


@pytest.fixture
def url(database: Database, database_url: str) -> str:
    """A database with some series of both sources."""
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load([point("sol", day, float(day), "PRICE") for day in range(4)])
        store.load([point("sol", day, 1e6 * day, "FEES") for day in (1, 3)])
        store.load([point("btc", day, 1e5 + day, "PRICE") for day in range(2)])
    with closing(Store(database, "defillama", BACKFILL)) as store:
        store.load([point("solana", 0, -0.0, "CHAIN_TVL"), point("solana", 1, 7.0, "A/B =%")])
    return database_url


def rows_of(file: Path) -> list[tuple[str, str, float]]:
    """Asset, metric and value of each row of a file."""
    return [(row["asset"], row["metric"], row["value"]) for row in pq.read_table(file).to_pylist()]


def exported(folder: Path, what: str) -> list[tuple[object, ...]]:
    """What DuckDB selects from an exported folder."""
    files = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    found = duckdb.sql(f"SELECT {what} FROM {files} GROUP BY ALL ORDER BY ALL")  # noqa: S608 - our own words
    assert found is not None
    return found.fetchall()


def test_a_parquet_file_has_a_row_for_each_point_and_says_what_it_is(url: str, tmp_path: Path) -> None:
    file = tmp_path / "x.PARQUET"
    file.write_text("what was there")
    done = run(
        "main.py query sol PRICE FEES --source artemis --end 2024-01-03 --known-at --out", file, env=environment(url)
    )
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (0, "", [file])
    assert done.stderr.endswith(f"artemis sol PRICE FEES: 3 rows in {file}\n")
    assert rows_of(file) == [("sol", "PRICE", 0.0), ("sol", "PRICE", 1.0), ("sol", "FEES", 1e6)]
    schema = pq.read_schema(file)
    assert str(schema.field("pulled_at").type) == str(schema.field("known_at").type) == "timestamp[us, tz=UTC]"
    assert json.loads(schema.metadata[b"units"]) == {"PRICE": "USD", "FEES": "USD"}
    every = tmp_path / "every"
    assert (
        run("main.py query all PRICE --source artemis --format parquet --out", every, env=environment(url)).returncode
        == 0
    )
    assert len(rows_of(every)) == 6


def test_a_window_without_points_is_a_file_without_rows_and_a_note(url: str, tmp_path: Path) -> None:
    done = run(
        "main.py query sol PRICE --source artemis --start 2031 --out", tmp_path / "x.parquet", env=environment(url)
    )
    assert done.returncode == 0
    assert " WARNING artemis sol PRICE: 0 rows in " in done.stderr
    assert rows_of(tmp_path / "x.parquet") == []


def test_an_export_has_every_point_in_folders_that_duckdb_reads(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "all"
    done = run("main.py export --out", folder, env=environment(url))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{folder}: 10 points in 4 files; ")
    assert exported(folder, "source, metric_name, asset, count(*), epoch(min(pulled_at)), max(value)") == [
        ("artemis", "FEES", "sol", 2, START.timestamp() + 86_400, 3e6),
        ("artemis", "PRICE", "btc", 2, START.timestamp(), 1e5 + 1),
        ("artemis", "PRICE", "sol", 4, START.timestamp(), 3.0),
        ("defillama", "A/B =%", "solana", 1, START.timestamp() + 86_400, 7.0),
        ("defillama", "CHAIN_TVL", "solana", 1, START.timestamp(), 0.0),
    ]
    names = {str(file.relative_to(folder)) for file in folder.rglob("*.parquet")}
    assert "source=artemis/metric_name=PRICE/points.parquet" in names
    assert len(names) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["all"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("--asset sol --metric PRICE --metric fees --start 2024-01-02 --end 2024-01-04", [("FEES", 1), ("PRICE", 2)]),
        ("--source defillama --metric CHAIN_TVL", [("CHAIN_TVL", 1)]),
        ("--asset solana --metric PRICE", [("PRICE", 4)]),
        ("--source artemis --as-of 2024-06-01", []),
    ],
)
def test_an_export_may_be_of_some_names_and_times(
    words: str, found: list[tuple[str, int]], url: str, tmp_path: Path
) -> None:
    done = run(f"main.py export {words} --out", tmp_path / "some", env=environment(url))
    assert done.returncode == 0, done.stderr
    assert exported(tmp_path / "some", "metric_name, count(*)" if found else "metric_name") == found
    assert ("no such point was known so early" in done.stderr) == (not found)


def test_an_export_is_one_picture_whatever_is_stored_while_it_runs(url: str, rows: Rows, tmp_path: Path) -> None:
    """The first file waits for a lock; meanwhile, a run stores a point of each metric."""
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK coverage IN ACCESS EXCLUSIVE MODE")
        with start("main.py export --out", tmp_path / "all", env=environment(url)) as process:
            mine = "application_name LIKE '% query %' AND datname = current_database() AND wait_event_type = 'Lock'"
            until(lambda: rows(f"SELECT FROM pg_stat_activity WHERE {mine}"))
            rows(ADD)
            other.rollback()
            assert process.wait(SECONDS) == 0, process.stderr and process.stderr.read()
    assert exported(tmp_path / "all", "count(*)") == [(10,)]


def test_a_folder_that_exists_must_be_empty(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir(mode=0o750)
    assert run("main.py export --out", folder, env=environment(url)).returncode == 0
    assert folder.stat().st_mode & 0o777 == 0o750
    before = sorted(folder.rglob("*"))
    done = run("main.py export --out", folder, env=environment(url))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("there exists and is not an empty folder: name a new one, or remove it first\n")
    assert (sorted(folder.rglob("*")), list(tmp_path.iterdir())) == (before, [folder])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("query sol PRICE --format parquet", "--format parquet is for a file: add --out FILE.parquet"),
        (
            "query sol PRICE --out nowhere/x.parquet --source artemis",
            "nowhere/x.parquet: can't be written: No such file",
        ),
        ("query sol PRICE --out . --format parquet --source artemis", ".: can't be written: it is not a regular file"),
        ("query sol PRICES --out x.parquet", "there is no PRICES of 'sol': artemis has PRICE"),
        ("query sol PRICE --out x.parq", "write a file that ends in .csv, .json, .jsonl, .ndjson, .parquet, or name"),
        ("latest PRICE --out x.parquet", "write a file that ends in .csv, .json, .jsonl, .ndjson, or name the format"),
        ("vintages sol PRICE --out x.parquet", "write a file that ends in .csv, .json, .jsonl, .ndjson, or name the"),
        ("export --out nowhere/x", "nowhere/x: can't be written: No such file or directory"),
        ("export --out x --source artmis", "there is no source 'artmis': did you mean artemis?"),
        ("export --out x --asset soll", "there is no asset 'soll': did you mean sol"),
        ("export --out x --metric PRICEY", "there is no metric 'PRICEY': did you mean PRICE"),
        ("export --out x --asset btc --metric FEES", "nothing is stored of these names together"),
        ("export --out x --start 2024-02-01 --end 2024-01-01", "the window is empty"),
        ("export --out x --as-of 2999", "is in the future"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(line: str, said: str, url: str, tmp_path: Path) -> None:
    done = run(f"main.py {line}", env=environment(url), cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("line", ["query sol PRICE --source artemis --out x.parquet", "export --out x"])
def test_without_pyarrow_a_line_says_how_to_get_it(line: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "pyarrow.py").write_text("raise ImportError('not here')\n")
    env = environment(url) | {"PYTHONPATH": str(tmp_path / "hidden")}
    done = run_process(f"main.py {line}", env=env, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: Arrow and Parquet need pyarrow (not here): {sys.executable} -m pip install pyarrow\n"
    assert [file.name for file in tmp_path.iterdir()] == ["hidden"]


@pytest.mark.parametrize("line", ["query all TVL --out {0}/x.parquet", "export --out {0}/x"])
def test_a_disk_that_takes_no_more_leaves_nothing_behind(
    line: str, database_url: str, rows: Rows, tmp_path: Path
) -> None:
    rows(FILL)
    command = SMALL.format(python=sys.executable, line=line.format(tmp_path))
    done = subprocess.run(  # noqa: S603
        ["bash", "-c", command], cwd=ROOT, env=environment(database_url), capture_output=True, text=True, check=False  # noqa: S607
    )  # fmt: skip
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.splitlines()[-1].endswith("can't be written: File too large")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("line", ["query sol PRICE --source artemis --out {0}/x.parquet", "export --out {0}/x"])
def test_a_command_that_is_interrupted_leaves_what_was_there(
    number: signal.Signals, line: str, url: str, rows: Rows, tmp_path: Path
) -> None:
    (tmp_path / "x.parquet").write_text("what was there")
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("LOCK metrics IN ACCESS EXCLUSIVE MODE")
        with start(f"main.py {line.format(tmp_path)}", env=environment(url)) as process:
            until(lambda: list(tmp_path.glob(".*.part")))
            until(lambda: rows("SELECT FROM pg_locks WHERE NOT granted AND relation = 'metrics'::regclass"))
            process.send_signal(number)
            assert process.wait(SECONDS) == 128 + number
            assert process.stderr
            assert process.stderr.read() == "interrupted\n"
    assert [file.name for file in tmp_path.iterdir()] == ["x.parquet"]
    assert (tmp_path / "x.parquet").read_text() == "what was there"
