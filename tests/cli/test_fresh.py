"""A fresh start as a process: nothing is cleared before all is checked and kept, and what was kept comes back."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from db.database import Database
from db.lock import SessionLock
from model.values import Answered, DataPoint, Target, Verb, Window, midnight
from pipeline.fresh_start import check_api
from pipeline.plan import make_job
from sources import SOURCES
from sources.artemis import Artemis
from sources.host_pace import NextStart
from sources.pace import Pace
from tests.commands import (
    SECONDS,
    Rows,
    Table,
    artemis_backfill,
    copy_tree,
    defillama_backfill,
    differences,
    environment,
    run_process,
    start,
    stored,
    today,
)
from tests.fake_api import FakeApi
from tests.fake_api.server import ARTEMIS_KEY
from tests.tables import AdoptingStore
from tests.waiting import until

pytestmark = pytest.mark.cluster

DEFILLAMA = """asset,kind,metrics,id
aave-v3,protocol,FEES FEES_24H PERPS_VOLUME_24H,
weth,coin,PRICE,coingecko:weth
"""
WITHOUT_KEY = DEFILLAMA.replace(" PERPS_VOLUME_24H", "")  # which no backfill asks for without a key
ARTEMIS = "asset,metrics\nsol,PRICE FEES\n"
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
TABLES = "SELECT * FROM metrics ORDER BY id", "TABLE coverage ORDER BY 1, 2, 3", "TABLE loads", "TABLE revisions"
REVISIONS = "SELECT asset, metric_name, pulled_at, value, replaced_at FROM revisions WHERE source = %s"


class Home(NamedTuple):
    """A copy of the repository with small configs, of which the commands read their own."""

    root: Path

    @property
    def saved(self) -> list[Path]:
        """The files that fresh starts have left, the oldest first."""
        return sorted((self.root / "saved").glob("*"))

    def api(self, **options: Any) -> FakeApi:
        """A fake API that knows the configs."""
        return FakeApi(universe=list(self.root.glob("*_config.csv")), shipped=False, **options)

    def run(self, line: str, *words: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run main.py of the copy."""
        return run_process(f"main.py {line}", *words, env=env, root=self.root, cwd=self.root)

    def asked(self, line: str, answer: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run main.py of the copy on a terminal, where a question gets this answer."""
        terminal, end = os.openpty()
        os.write(terminal, answer.encode())
        command = [sys.executable, "main.py", *line.split()]
        done = subprocess.run(  # noqa: S603 - our own script
            command, stdin=end, capture_output=True, cwd=self.root, env=env, encoding="utf-8", timeout=SECONDS
        )
        os.close(end)
        os.close(terminal)
        return done


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository."""
    copy = tmp_path_factory.mktemp("fresh") / "copy"
    copy_tree(copy)
    return copy


@pytest.fixture
def home(tree: Path) -> Iterator[Home]:
    """The copy as it was, with nothing saved yet."""
    (tree / "defillama_config.csv").write_text(DEFILLAMA)
    (tree / "artemis_config.csv").write_text(ARTEMIS)
    yield Home(tree)
    shutil.rmtree(tree / "saved", ignore_errors=True)


@pytest.fixture
def lived(database: Database) -> dict[str, Table]:
    """What each source has stored that no backfill gets again, besides a row that one corrects, and a revision."""
    kept: dict[str, Table] = {}
    for source, asset, live in (("defillama", "aave-v3", "FEES_24H"), ("artemis", "gone", "PRICE")):
        again = {"defillama": "FEES", "artemis": "PRICE"}[source]
        at = NOON.replace(hour=0)
        asked = Window(at, midnight(datetime.now(UTC)))
        points = [DataPoint(asset, live, at, 5.0), DataPoint("left", again, NOON, 0.0)]
        for verb, value in ((Verb.PULL, -1.0), (Verb.SETTLE, -2.0)):
            with closing(AdoptingStore(database, source, verb)) as store:
                corrected = DataPoint({"artemis": "sol"}.get(source, asset), again, at, value)
                store.load([*points, corrected], [Answered(corrected.asset, again, asked)])
        kept[source] = {(each.asset, each.metric, each.at.replace(tzinfo=None)): each.value for each in points}
    return kept


def everything(rows: Rows) -> list[object]:
    """All that is stored but the log of runs."""
    return [rows(table) for table in TABLES]


def test_a_fresh_start_refills_with_the_truth_and_a_restore_brings_back_the_rest(
    home: Home, lived: dict[str, Table], database_url: str, rows: Rows
) -> None:
    revised = [*rows(REVISIONS, "defillama"), *rows(REVISIONS, "artemis")]
    truth = {"defillama": defillama_backfill(WITHOUT_KEY, today()), "artemis": artemis_backfill(ARTEMIS, today())}
    with home.api() as api:
        env = environment(database_url, api)
        done = home.run("fresh all --yes", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        for source, kept in lived.items():
            assert differences(stored(rows, source), truth[source]) == []
            (file,) = (file for file in home.saved if source in file.name)
            assert re.fullmatch(rf"{source}-\d{{8}}T\d{{6}}Z\.csv\.gz", file.name)
            assert f"{source}: 3 rows that can't be fetched again are saved in {file}\n" in done.stdout
            assert (
                f"{source}: 3 points cleared; 3 rows saved; to restore them: python main.py restore {file}\n"
                in done.stdout
            )
            back = home.run("restore", file, env=env).stdout
            assert back.startswith(
                f"{file}: 2 points restored, 0 were stored already, 0 are stored with another value, which stays; 1 "
            )
            assert differences(stored(rows, source), truth[source] | kept) == []
            assert ": 0 points restored, 2 were stored already, 0 are" in home.run("restore", file, env=env).stdout
        assert [*rows(REVISIONS, "defillama"), *rows(REVISIONS, "artemis")] == revised
        gaps = home.run("gaps", env=env)
    assert (len(revised), len(home.saved)) == (2, 2)
    assert (gaps.returncode, "LOST" in gaps.stdout) == (0, False), gaps.stdout
    found = rows("SELECT source_name, kind, status FROM pulls ORDER BY pull_id")
    assert found == [(source, kind, "success") for source in SOURCES for kind in ("fresh", "backfill")]


def test_a_history_for_which_the_api_answers_no_more_is_kept_whole_and_comes_back(
    home: Home, database_url: str, rows: Rows
) -> None:
    with home.api() as api:
        assert home.run("backfill defillama", env=environment(database_url, api)).returncode == 0
    before = stored(rows, "defillama")
    rows("UPDATE coverage SET answered = answered - datemultirange(daterange(%s, NULL)) WHERE metric_name = 'PRICE'",
         today() - timedelta(days=3))  # fmt: skip
    prices = sum(metric == "PRICE" for _, metric, _ in before)
    with home.api(broken={"coins/chart": "404"}) as api:
        env = environment(database_url, api)
        done = home.run("fresh defillama --yes", env=env)
        assert f"defillama: {len(before):,} points cleared; {prices:,} rows saved; " in done.stdout, done.stderr
        assert home.run("restore", *home.saved, env=env).returncode == 0
    assert differences(stored(rows, "defillama"), before) == []


def test_with_keep_all_every_row_comes_back(home: Home, lived: dict[str, Table], database_url: str, rows: Rows) -> None:
    before = stored(rows, "artemis")
    with home.api() as api:
        env = environment(database_url, api)
        done = home.run("fresh artemis --keep-all --yes", env=env)
        (file,) = home.saved
        assert f"artemis: 4 rows of all kinds are saved in {file}\n" in done.stdout
    rows("DELETE FROM metrics WHERE source = 'artemis'")
    assert home.run("restore", file, env=env).returncode == 0
    assert differences(stored(rows, "artemis"), before) == []
    assert lived["defillama"].items() <= stored(rows, "defillama").items()


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(
    ("line", "keys", "code", "said"),
    [
        ("defillama", {}, 2, "nobody can confirm the clearing, since standard input is not a terminal: write --yes\n"),
        ("all", {"ARTEMIS_API_KEY": ""}, 2, "artemis needs a key: write ARTEMIS_API_KEY=… into .env or the"),
        ("all --yes", {"ARTEMIS_API_KEY": ""}, 2, "artemis needs a key: write ARTEMIS_API_KEY=… into .env or the"),
        ("all --yes", {"ARTEMIS_API_KEY": "bad"}, 1, "nothing was cleared: artemis refuses the key (HTTP 401"),
        ("all --yes", {"DEFILLAMA_API_KEY": "bad"}, 1, "nothing was cleared: defillama refuses the key (HTTP 401"),
    ],
)
def test_nothing_is_cleared_where_a_key_or_an_answer_is_missing(
    line: str, keys: dict[str, str], code: int, said: str, home: Home, database_url: str, rows: Rows
) -> None:
    before = everything(rows)
    with home.api(artemis_key=ARTEMIS_KEY, defillama_key="good") as api:
        done = home.run(f"fresh {line}", env=environment(database_url, api, **keys))
    assert (done.returncode, done.stdout, f"error: {said}" in done.stderr) == (code, "", True), done.stderr
    assert (everything(rows), home.saved) == (before, [])


@pytest.mark.usefixtures("lived")
def test_what_no_backfill_brings_back_is_not_cleared(home: Home, database_url: str, rows: Rows) -> None:
    (home.root / "defillama_config.csv").write_text("asset,kind,metrics\naave-v3,protocol,FEES_24H\n")
    before = everything(rows)
    done = home.run("fresh defillama --yes", env=environment(database_url))
    said = "error: a backfill can request none of these series: run python main.py pull defillama"
    assert (done.returncode, done.stdout, done.stderr.splitlines()[-1]) == (2, "", said)
    assert everything(rows) == before


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(("broken", "said"), [("404", "HTTP 404"), ("drop", "(5 tries)")])
def test_nothing_is_cleared_of_any_source_where_the_last_api_is_down(
    broken: str, said: str, home: Home, database_url: str, rows: Rows
) -> None:
    (home.root / "defillama_config.csv").write_text("asset,kind,metrics\naave-v3,protocol,FEES\n")
    before = everything(rows)
    with home.api(broken={"/llama": broken}) as api:
        done = home.run("fresh all --yes", env=environment(database_url, api))
        assert any(request.path.startswith("/artemis") for request in api.requests)
    assert (done.returncode, done.stdout, everything(rows), home.saved) == (1, "", before, [])
    assert re.search(rf"error: nothing was cleared: .*{re.escape(said)}", done.stderr)


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize("verb", list(Verb))
def test_nothing_is_cleared_while_another_run_of_the_source_is_under_way(
    verb: Verb, home: Home, database: Database, database_url: str, rows: Rows
) -> None:
    before = everything(rows)
    with home.api() as api, closing(SessionLock(database, f"{verb} artemis")):
        done = home.run("fresh artemis --yes", env=environment(database_url, api))
    assert (done.returncode, everything(rows)) == (1, before)
    assert f"error: another {verb} artemis is running: crypto-metrics {verb} artemis " in done.stderr


@pytest.mark.usefixtures("lived")
@pytest.mark.parametrize(("answer", "code"), [("no\n", 1), ("\n", 1), ("y\n", 1), ("\x04", 1), ("yes\n", 0)])
def test_on_a_terminal_it_asks_and_only_yes_clears(
    answer: str, code: int, home: Home, database_url: str, rows: Rows
) -> None:
    before = everything(rows)
    with home.api() as api:
        done = home.asked("fresh artemis", answer, environment(database_url, api))
    assert (
        f"saved in {home.saved[0]}\nclear everything stored of artemis, and fetch the history again? Write yes: "
        in done.stdout
    )
    assert (done.returncode, "nothing was cleared" in done.stdout) == (code, code == 1), done.stderr
    if code:
        assert everything(rows) == before
    else:
        assert differences(stored(rows, "artemis"), artemis_backfill(ARTEMIS, today())) == []


def test_a_backfill_completes_what_was_killed_between_the_clearing_and_the_refill(
    home: Home, lived: dict[str, Table], database_url: str, rows: Rows
) -> None:
    with home.api(latency=1.0) as api:
        env = environment(database_url, api)
        with start("main.py fresh artemis --yes", env=env, root=home.root, cwd=home.root) as process:
            until(lambda: rows("SELECT FROM pulls WHERE kind = 'fresh'"))
            process.kill()
        assert stored(rows, "artemis") == {}
    with home.api() as api:
        env = environment(database_url, api)
        assert home.run("backfill artemis", env=env).returncode == 0
        assert differences(stored(rows, "artemis"), artemis_backfill(ARTEMIS, today())) == []
        assert home.run("restore", *home.saved, env=env).returncode == 0
    assert differences(stored(rows, "artemis"), artemis_backfill(ARTEMIS, today()) | lived["artemis"]) == []


def test_the_calls_that_check_an_api_before_a_fresh_start_keep_the_pace() -> None:
    next_start = NextStart()
    with FakeApi() as api:
        source = Artemis("key", f"{api.url}/artemis")
        window = Window(midnight(datetime.now(UTC)) - timedelta(days=9), midnight(datetime.now(UTC)))
        job = make_job(source, Verb.BACKFILL, [Target("sol", "PRICE", "sol")], window)
        check_api(job, threading.Event(), Pace(5.0, next_start=next_start))
        assert len(api.requests) == 1
    assert next_start.moment > time.monotonic()
