"""What the commands say and refuse, and what they need to be started."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from cli import progress_bar as progress
from cli.progress_bar import progress_bar
from tests.commands import (
    DAY,
    ROOT,
    SECONDS,
    Rows,
    copy_tree,
    environment,
    on_terminal,
    run,
    run_process,
    start,
    today,
)
from tests.fake_api import FakeApi

HEAVY = {"requests", "psycopg2", "pandas", "matplotlib", "rich", "ijson"}
UNUSED = "host=/nowhere"  # a database that a command fails on as soon as it opens it


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("main.py", "the following arguments are required: COMMAND"),
        ("main.py pul", "'pul' (choose from 'pull', 'backfill', 'settle', 'sources', 'gaps',"),
        ("main.py pull", "the following arguments are required: SOURCE"),
        ("main.py pull defilama", "unknown source 'defilama': did you mean defillama?"),
        ("main.py pull defillama --start 2024-01-01", "unrecognized arguments: --start 2024-01-01"),
        ("main.py pull artemis --asset slo", "error: artemis_config.csv has no asset 'slo': did you mean sol?"),
        ("main.py pull artemis --metric PRISE", "artemis_config.csv has no metric 'PRISE': did you mean PRICE?"),
        ("main.py pull artemis --asset btc --metric TVL", "has none of these metrics for any of these assets"),
        (
            "main.py pull defillama --metric FEES",
            "a pull can request none of these series: run python main.py backfill defillama",
        ),
        (
            "main.py backfill defillama --metric MCAP",
            "a backfill can request none of these series: run python main.py pull defillama",
        ),
        (
            "main.py pull defillama --metric PERPS_VOLUME_24H",
            "a pull can request none of these series: set DEFILLAMA_API_KEY",
        ),
        ("main.py pull all --config x.csv", "error: --config goes with one source: name it in place of 'all'"),
        ("main.py pull defillama --config absent.csv", "error: absent.csv: there is no such config file"),
        ("backfill_artemis.py --start 2024-1-x", "argument --start: '2024-1-x' is not a date: write YYYY-MM-DD"),
        (
            "backfill_artemis.py --start 2024-02-01 --end 2024-02-01",
            "from --start 2024-02-01 to --end 2024-02-01: --start must be before --end",
        ),
        ("backfill_artemis.py --start 0001-01-01", "--start must be before --end and not before 2000-01-01"),
        ("backfill_artemis.py --start {today}", "from --start {today} to --end {today}: --start must be before --end"),
        ("backfill_artemis.py --end {tomorrow}", "before 2000-01-01, --end must not be after {today}, today (UTC)"),
        ("backfill_defillama.py artemis", "unrecognized arguments: artemis"),
        ("main.py fresh all --y", "unrecognized arguments: --y"),
    ],
)
def test_what_is_used_wrongly_is_refused_with_what_would_be_right(line: str, said: str) -> None:
    days = {"today": str(today()), "tomorrow": str(today() + DAY)}
    done = run(line.format(**days), env=environment(UNUSED))
    assert (done.returncode, done.stdout) == (2, "")
    assert said.format(**days) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_config_is_refused_by_file_and_line_before_anything_is_sent_or_written(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = tmp_path / "mine.csv"
    config.write_text("asset,kind,metrics\n# chains\nEthereum,chain,CHAIN_TVL\nSolana,chain,CHAIN_TLV\n")
    with FakeApi(universe=[config]) as api:
        done = run("main.py pull defillama --config", config, env=environment(database_url, api))
        assert api.requests == []
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {config}:4: unknown metric 'CHAIN_TLV': did you mean CHAIN_TVL?\n"
    assert rows("SELECT * FROM pulls") == []


def test_without_the_key_of_artemis_one_line_says_where_to_write_it(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        done = run("main.py pull artemis", env=environment(database_url, api, ARTEMIS_API_KEY=""))
        assert api.requests == []
    assert done.returncode == 2
    assert done.stderr == "error: artemis needs a key: write ARTEMIS_API_KEY=… into .env or the environment\n"
    assert rows("SELECT * FROM pulls") == []


def test_a_missing_key_stops_only_its_own_source(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        done = run("main.py pull all", env=environment(database_url, api, ARTEMIS_API_KEY=""))
    assert done.returncode == 1
    where = "write ARTEMIS_API_KEY=… into .env or the environment"
    assert done.stderr.count(f"WARNING artemis needs a key: {where}: skipped\n") == 1
    assert rows("SELECT source_name, status FROM pulls") == [("defillama", "success")]


def test_a_key_that_cannot_be_one_is_refused_without_showing_it() -> None:
    done = run("main.py pull artemis", env=environment(UNUSED, ARTEMIS_API_KEY="half of a key"))
    assert done.returncode == 2
    assert re.fullmatch(r"error: ARTEMIS_API_KEY contains a .*: copy the key again\n", done.stderr)


@pytest.mark.parametrize("verb", ["pull", "backfill", "settle"])
def test_a_dry_run_shows_the_calls_and_their_time_in_few_lines_and_sends_nothing(verb: str, empty_url: str) -> None:
    with FakeApi() as api:
        done = run(f"main.py {verb} all --dry-run", env=environment(empty_url, api))
        assert api.requests == []
    assert done.returncode == 0, done.stderr
    for source in ("artemis", "defillama"):  # without a key, the pace of DefiLlama is that of its free hosts
        found = re.search(rf"^{source} {verb}: (\d+) calls for \d+ series, at least ([\d.]+) s$", done.stdout, re.M)
        assert found, done.stdout
        assert float(found[2]) == pytest.approx(int(found[1]) * 0.12, abs=0.06)
    shown = [line for line in done.stdout.splitlines() if line.startswith("    ")]
    more = sum(int(number) for number in re.findall(r"^    and (\d+) more of ", done.stdout, re.M))
    listed = [line for line in shown if not line.startswith("    and ")]
    windows = sum(int(number) for number in re.findall(r"^  \S+ to \S+: (\d+) calls", done.stdout, re.M))
    calls = sum(int(number) for number in re.findall(r"^\w+ \w+: (\d+) calls", done.stdout, re.M))
    assert len(listed) + more == windows == calls
    assert len(shown) < 60


def test_with_a_key_defillama_takes_more_calls_a_second() -> None:
    done = run("main.py pull defillama --asset ethereum --dry-run", env=environment(UNUSED, DEFILLAMA_API_KEY="key"))
    found = re.search(r"(\d+) calls for \d+ series, at least ([\d.]+) s", done.stdout)
    assert found, done.stderr
    assert float(found[2]) == pytest.approx(int(found[1]) * 0.08, abs=0.06)


def test_a_dry_run_of_one_call_shows_it() -> None:
    done = run("main.py pull defillama --asset ethereum --dry-run", env=environment(UNUSED))
    assert "  coins/prices/current/coingecko:ethereum\n" in done.stdout


def test_output_that_nobody_reads_on_is_no_error() -> None:
    with start("main.py sources", env=environment(UNUSED)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(SECONDS) == 0
        assert process.stderr.read() == ""


def test_setup_makes_the_tables_and_may_run_again_and_twice_at_once(
    session: Connection, database_url: str, rows: Rows
) -> None:
    session.cursor().execute("DROP TABLE pulls, metrics CASCADE")
    both = [start("main.py setup", env=environment(database_url)) for _ in range(2)]
    ended = [(*process.communicate(timeout=SECONDS), process.returncode) for process in both]
    assert [code for _, _, code in ended] == [0, 0], ended
    tables = rows("SELECT oid FROM pg_class WHERE relname IN ('pulls', 'metrics', 'idx_metrics_unique') ORDER BY 1")
    again = run("main.py setup", env=environment(database_url))
    assert (again.returncode, again.stdout[:21]) == (0, "the tables are ready:")
    assert len(tables) == 3
    assert tables == rows(
        "SELECT oid FROM pg_class WHERE relname IN ('pulls', 'metrics', 'idx_metrics_unique') ORDER BY 1"
    )


def test_a_pull_makes_the_tables_where_they_are_missing(session: Connection, database_url: str, rows: Rows) -> None:
    session.cursor().execute("DROP TABLE pulls, metrics CASCADE")
    with FakeApi() as api:
        done = run("main.py pull artemis --asset btc", env=environment(database_url, api))
    assert done.returncode == 0, done.stderr
    assert rows("SELECT status FROM pulls") == [("success",)]


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("no connection string", 2, "DATABASE_URL is not a PostgreSQL connection string: write postgresql://"),
        ("postgresql://me:pass-word@127.0.0.1:9/db", 4, "error: db on 127.0.0.1:9: "),
        ("{url} dbname=absent password=pass-word", 2, 'database "absent" does not exist: check DATABASE_URL'),
    ],
)
def test_a_database_that_cannot_be_used_is_one_clear_line_without_its_password(
    url: str, code: int, said: str, database_url: str
) -> None:
    with FakeApi() as api:
        env = environment(url.format(url=database_url), api, DEFILLAMA_API_KEY="a-pro-key")
        done = run("main.py pull defillama --metric TVL", env=env)
        assert api.requests == []
    assert (done.returncode, done.stdout) == (code, "")
    *_, error = done.stderr.splitlines()
    assert said in error
    assert "Traceback" not in done.stderr
    assert "pass-word" not in done.stderr


def test_the_settle_that_a_backfill_of_days_long_gone_names_adopts_what_it_kept(database_url: str) -> None:
    words = f"artemis --asset sol --start {today() - 500 * DAY} --end {today() - 200 * DAY}"
    with FakeApi() as api:
        assert run(f"main.py backfill {words}", env=environment(database_url, api)).returncode == 0
    with FakeApi(restated=1) as api:
        env = environment(database_url, api)
        (remedy,) = re.findall(
            "to adopt the API's values: python (.*)", run(f"main.py backfill --full {words}", env=env).stdout
        )
        assert run(remedy, "--asset", "sol", env=env).returncode == 0
        assert "another value" not in run(f"main.py backfill --full {words}", env=env).stdout


def test_the_help_and_the_import_load_nothing_heavy() -> None:
    loaded = f"print({HEAVY} & set(sys.modules))"
    script = f"import atexit, sys, main; {loaded}; atexit.register(lambda: {loaded}); main.main(['--help'])"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    first, *_, last = done.stdout.splitlines()
    assert (first, last) == ("set()", "set()")
    assert "usage: " in done.stdout


def test_from_nothing_a_pull_makes_its_own_database_reads_env_and_leaves_no_server(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_tree(copy)
    with FakeApi() as api:
        wanted = environment("", api, DEFILLAMA_API_KEY="key-from-env-file")
        lines = [f"{name}={wanted.pop(name)}" for name in list(wanted) if name.endswith(("_API_KEY", "_BASE_URL"))]
        (copy / ".env").write_text("\n".join(lines))
        del wanted["DATABASE_URL"]
        done = run_process("main.py pull defillama --metric TVL --asset lido", env=wanted, cwd=Path("/"), root=copy)
        assert done.returncode == 0, done.stderr
        assert re.search(r"1 calls, 0 failed; 1 points received: 1 new", done.stdout)
        assert "creating an embedded PostgreSQL" in done.stderr
        assert "database: embedded PostgreSQL 18" in done.stderr
        assert not list(copy.rglob("postmaster.pid"))
        again = run_process("main.py pull defillama --metric TVL --asset lido", env=wanted, cwd=Path("/"), root=copy)
        assert "1 points received: 0 new, 0 changed, 1 unchanged;" in again.stdout
        assert "making" not in again.stderr
    assert not list(copy.rglob("postmaster.pid"))
    assert sorted(path.name for path in (copy / ".data").iterdir()) == ["postgres"]


@pytest.mark.parametrize(("words", "code"), [("--metric PRICE", 0), ("--metric PRISE", 2)])
def test_the_fake_runs_a_command_and_passes_its_exit_code_on(words: str, code: int, database_url: str) -> None:
    line = [sys.executable, "-m", "tests.fake_api", "main.py", "pull", "artemis", *words.split()]
    env = {name: text for name, text in environment(database_url).items() if name != "ARTEMIS_API_KEY"}
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("fake APIs on http://127.0.0.1:")


def test_a_terminal_shows_a_bar_and_a_readable_summary_and_elsewhere_there_is_none(database_url: str) -> None:
    line = "pull defillama --metric REVENUE_24H --asset aave"
    with FakeApi(latency=0.1) as api:
        shown = "\n".join(on_terminal(database_url, line, columns=100, more=api.environment()))
        done = run(f"main.py {line}", env=environment(database_url, api))
    assert "defillama pull" in shown
    assert "━━━" in shown
    assert re.search(r"\d+%", shown)
    *_, summary = re.sub(r"\r|\x1b\[[?\d;]*[A-Za-z]", "", shown).strip().splitlines()
    assert re.fullmatch(r"defillama pull: \d+ calls, 0 failed; .* \d+\.\d s", summary)
    assert "\x1b" not in done.stdout + done.stderr
    assert "━" not in done.stdout + done.stderr


def test_elsewhere_a_line_now_and_then_says_how_far_a_run_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with progress_bar("artemis pull", 3) as show:
        show(1, 3, 1000)
        assert caplog.messages == []
        monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
        show(2, 3, 2000)
    assert caplog.messages == ["artemis pull: 2 of 3 calls, 2,000 points"]


def test_an_output_without_unicode_still_gets_its_lines(empty_url: str) -> None:
    done = run_process(
        "main.py backfill defillama --dry-run", env=environment(empty_url) | {"PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 0, done.stderr
    assert "more of api/protocol/\\u2026" in done.stdout
