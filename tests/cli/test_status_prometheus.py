"""`status --format prometheus`: a valid text, with the figures of --json, whatever the database says."""

import json
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from db.database import Database
from db.heartbeat import Heartbeat
from db.lock import SCHEDULER, SessionLock
from db.store import Store
from model.values import Verb
from sources import SOURCES
from tests.commands import copy_tree, environment, run, run_process
from tests.tables import Rows, point

Values = dict[tuple[str, tuple[tuple[str, str], ...]], float]
NAME = re.compile(r"crypto_metrics_[a-z]+(_[a-z]+)*")
RESERVED = (
    "_total",
    "_count",
    "_sum",
    "_bucket",
    "_info",
    "_created",
)  # by the types counter, histogram, summary, info
MOST_SAMPLES = 120
FAILED = """
INSERT INTO pulls (source_name, kind, slot, pulled_at, finished_at, status, calls, failed_calls, failure)
SELECT 'artemis', 'pull', at, at, at, 'error', 3, 2, 'HTTP 500' FROM (SELECT clock_timestamp()::timestamp AS at) AS x
"""


@pytest.fixture
def scheduler(database: Database) -> Iterator[None]:
    """The place and the heartbeat of a scheduler that lives and does nothing: this process."""
    with closing(SessionLock(database, SCHEDULER)), closing(Heartbeat(database, list(SOURCES), fresh=False)) as beat:
        beat.beat("idle")
        yield


def scrape(url: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """The command."""
    return run("main.py status --format prometheus", *words, env=environment(url))


def read(text: str) -> Values:
    """The samples of a text, which must keep the rules of the format and of the names."""
    assert text.endswith("\n")
    found: Values = {}
    for family in text_string_to_metric_families(text):
        assert NAME.fullmatch(family.name)
        assert not family.name.endswith(RESERVED)
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        assert text.count(f"# HELP {family.name} ") == text.count(f"# TYPE {family.name} ") == 1
        assert family.samples
        for sample in family.samples:
            assert sample.labels.keys() <= {"source", "kind", "state"}
            key = sample.name, tuple(sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    assert "" not in text.split("\n")[:-1]
    return found


def value(found: Values, name: str, **labels: str) -> float:
    """One sample."""
    return found[f"crypto_metrics_{name}", tuple(sorted(labels.items()))]


def seconds(text: str) -> float:
    """A time of the JSON as Prometheus has it."""
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.usefixtures("scheduler")
def test_the_text_is_valid_and_has_the_figures_of_the_json(database_url: str, database: Database, rows: Rows) -> None:
    with closing(Store(database, "artemis", Verb.BACKFILL)) as store:
        store.load([point("sol", metric="PRICE")])
    rows(FAILED)
    done = scrape(database_url)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    found = read(done.stdout)
    assert len(found) < MOST_SAMPLES
    health = json.loads(run("main.py status --json", env=environment(database_url)).stdout)
    assert value(found, "database_up") == 1
    assert value(found, "status_exit_code") == health["exit_code"] == 1
    assert value(found, "scheduler_alive") == value(found, "scheduler_state", state="alive") == 1
    assert value(found, "scheduler_state", state="dead") == 0
    assert value(found, "scheduler_started_timestamp_seconds") == seconds(health["scheduler"]["started_at"])
    artemis, defillama = health["sources"]
    pull = artemis["runs"][0]
    assert value(found, "run_state", source="artemis", kind="pull", state="failing") == 1
    assert value(found, "run_failures", source="artemis", kind="pull") == pull["failures_in_a_row"] == 1
    failed = value(found, "run_failure_timestamp_seconds", source="artemis", kind="pull")
    assert failed == seconds(pull["last_failure"])
    assert sum(number for (name, _), number in found.items() if name == "crypto_metrics_run_state") == 6
    assert value(found, "problems", source="artemis") == len(artemis["problems"]) == 1
    assert value(found, "problems", source="defillama") == 0
    for each in (artemis, defillama):
        for state in ("fresh", "quiet", "awaited", "stale", "never_seen"):
            assert value(found, "series", source=each["source"], state=state) == each["series"][state]
    newest = value(found, "newest_point_timestamp_seconds", source="artemis")
    assert newest == seconds(artemis["series"]["newest"])
    assert value(found, "recent_failed_requests", source="artemis") == artemis["failed_requests"] == 2
    assert value(found, "history_series", source="artemis") == artemis["confirmation"]["series"] == 1
    assert ("crypto_metrics_newest_point_timestamp_seconds", (("source", "defillama"),)) not in found


def test_where_no_scheduler_has_ever_run_all_figures_are_there(database_url: str, empty_url: str) -> None:
    for url, problems in ((database_url, 2), (empty_url, 0)):
        done = scrape(url)
        found = read(done.stdout)
        assert done.returncode == value(found, "status_exit_code") == 3
        assert (value(found, "database_up"), value(found, "scheduler_alive")) == (1, 0)
        assert value(found, "scheduler_state", state="none") == 1
        assert sum(name == "crypto_metrics_problems" for name, _ in found) == problems


def test_without_a_database_the_text_says_so_with_the_exit_code_of_status(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    copy_tree(tmp_path / "copy")
    rows("COMMENT ON TABLE metrics IS 'crypto-metrics schema 1'")
    command = "main.py status --format prometheus"
    for done, code, said in (
        (scrape("postgresql://127.0.0.1:9/none"), 4, "check DATABASE_URL and that the server runs\n"),
        (scrape(database_url), 2, "error: the tables are of another version: python main.py setup\n"),
        (run_process(command, env=environment(""), root=tmp_path / "copy"), 3, ""),
    ):
        assert done.returncode == code
        assert done.stderr.endswith(said)
        assert read(done.stdout) == {
            ("crypto_metrics_database_up", ()): 0, ("crypto_metrics_status_exit_code", ()): code,
        }  # fmt: skip
    assert not (tmp_path / "copy" / ".data").exists()


def test_out_replaces_a_file_that_others_may_read(tmp_path: Path, database_url: str) -> None:
    file = tmp_path / "status.prom"
    for url, code in (("postgresql://127.0.0.1:9/none", 4), (database_url, 3)):
        done = scrape(url, "--out", file)
        assert (done.returncode, done.stdout) == (code, "")
        assert value(read(file.read_text()), "status_exit_code") == code
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [each.name for each in tmp_path.iterdir()] == ["status.prom"]


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, database_url: str) -> None:
    for url in (database_url, "postgresql://127.0.0.1:9/none"):
        done = scrape(url, "--out", tmp_path / "none" / "status.prom")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines()[-1] == (
            f"error: {tmp_path}/none/status.prom: can't be written: No such file or directory"
        )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--format prometheus --json", "argument --json: not allowed with argument --format"),
        ("--format xml", "argument --format: invalid choice: 'xml' (choose from "),
        ("--format prometheus --watch", "error: --watch does not go with --format prometheus: leave it out\n"),
        ("--out file", "error: --out goes with --format prometheus: leave it out, or add that option\n"),
    ],
)
def test_options_that_do_not_go_together_are_refused(line: str, said: str) -> None:
    done = run(f"main.py status {line}", env=environment("postgresql://127.0.0.1:9/none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
