"""Runs in which something goes wrong: what is stored, recorded and said all the same."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sources import SOURCES
from tests.commands import (
    ARTEMIS,
    DEFILLAMA,
    ROOT,
    SECONDS,
    Rows,
    Table,
    artemis_backfill,
    artemis_pull,
    defillama_backfill,
    defillama_pull,
    differences,
    environment,
    run,
    start,
    stored,
    today,
    write,
)
from tests.fake_api import FAULT_KINDS, FakeApi

SECRET = "s3cret/key+of=ours"  # noqa: S105 - of the fake
ENDED = "SELECT status, records_count, calls, failed_calls, failure FROM pulls WHERE finished_at IS NOT NULL"

WITHOUT_MEMORY = """
import resource, sys
import cli.pull_backfill_settle
from cli.run_command import main
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**22, -1))
sys.exit(main())
"""


def test_one_failed_call_costs_its_own_points_and_makes_the_run_an_error(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    file = write(
        tmp_path, "asset,kind,metrics,id\naave,protocol,TVL,parent#aave\nlido,protocol,TVL\nEthereum,chain,CHAIN_TVL\n"
    )
    with FakeApi(universe=[file], shipped=False, broken={"/tvl/aave": "404"}) as api:
        done = run("main.py pull defillama --config", file, env=environment(database_url, api))
    assert done.returncode == 1
    assert "3 calls, 1 failed; 2 points received: 2 new," in done.stdout
    assert "; 0 of 3 series without data;" in done.stdout
    assert "\n  failed: api/tvl/aave: HTTP 404: 404 page not found\n" in done.stdout
    assert "what was received is stored; run the command again for the rest" in done.stdout
    assert {asset for asset, _, _ in stored(rows, "defillama")} == {"lido", "Ethereum"}
    assert rows(ENDED) == [("error", 2, 3, 1, "api/tvl/aave: HTTP 404: 404 page not found")]


def test_an_api_that_cannot_be_reached_is_an_error_with_each_call_named(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    file = write(tmp_path, "asset,kind,metrics\nlido,protocol,TVL\nEthereum,chain,CHAIN_TVL\n")
    done = run("main.py pull defillama --config", file, env=environment(database_url))
    assert done.returncode == 1
    assert "defillama pull: 2 calls, 2 failed; 0 points received" in done.stdout
    failed = "no connection (Connection refused) (5 tries)"
    assert f"  failed: api/protocols: {failed}\n" in done.stdout
    assert f"  failed: api/v2/chains: {failed}\n" in done.stdout
    assert "  nothing was received; run the command again once that is mended\n" in done.stdout
    [(status, records, calls, failed_calls, _)] = rows(ENDED)
    assert (status, records, calls, failed_calls) == ("error", 0, 2, 2)


@pytest.mark.long
def test_an_api_that_is_down_ends_a_long_run_soon(database_url: str, rows: Rows) -> None:
    done = run("main.py pull defillama", env=environment(database_url))
    assert done.returncode == 1
    assert "defillama looks down: 20 calls in a row failed" in done.stdout
    [(status, records, calls, failed, failure)] = rows(ENDED)
    assert (status, records, calls) == ("error", 0, failed)
    assert str(failure).startswith("defillama looks down")


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        ("artemis", {"artemis_key": "right"}, "artemis refuses the key (HTTP 401: "),
        ("defillama", {"defillama_key": "right"}, "defillama refuses the key (HTTP 401: "),
        ("defillama", {"defillama_key": "right", "key_status": 403}, "defillama refuses the key (HTTP 403: "),
        ("artemis", {"broken": {"": "402"}}, "artemis refuses the key (HTTP 402: "),
    ],
)
def test_a_refused_key_ends_the_run_with_the_remedy(
    source: str, options: dict[str, Any], said: str, database_url: str, rows: Rows
) -> None:
    with FakeApi(**options) as api:
        done = run(f"main.py pull {source}", env=environment(database_url, api, DEFILLAMA_API_KEY="wrong"))
        assert len(api.requests) <= 16  # as many as are under way at once
    assert done.returncode == 1
    assert said in done.stdout
    assert f": check {source.upper()}_API_KEY in the environment or .env" in done.stdout
    [(status, records, calls, failed, failure)] = rows(ENDED)
    assert (status, records, calls) == ("error", 0, failed)
    assert str(failure).startswith(said)


@pytest.mark.parametrize(
    ("text", "bad", "alone"),
    [
        ("asset,metrics\nbtc,PRICE\nsol,PRICE\n", ("sol",), 1),
        pytest.param(ARTEMIS, ("sol", "eq-nvda"), 3, marks=pytest.mark.long),  # eq-nvda by day and by quarter
    ],
)
def test_bad_symbols_cost_only_themselves(
    text: str, bad: tuple[str, ...], alone: int, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    with FakeApi(bad_symbols=bad) as api:
        done = run("main.py pull artemis --config", write(tmp_path, text), env=environment(database_url, api))
    good = "\n".join(line for line in text.splitlines() if not line.startswith(bad))
    assert done.returncode == 1
    assert differences(stored(rows, "artemis"), artemis_pull(good, today())) == []
    [(status, _, _, failed, failure)] = rows(ENDED)
    assert (status, failed) == ("error", alone)
    assert "symbols=sol&" in str(failure)


@pytest.mark.parametrize(
    ("line", "text", "wanted"),
    [
        ("main.py pull defillama", DEFILLAMA, defillama_pull),
        ("main.py pull artemis", ARTEMIS, artemis_pull),
        pytest.param("main.py backfill defillama", DEFILLAMA, defillama_backfill, marks=pytest.mark.long),
        ("main.py backfill artemis", ARTEMIS, artemis_backfill),
    ],
)
def test_faults_at_every_fifth_request_change_nothing_in_the_table(
    line: str, text: str, wanted: Callable[..., Table],
    tmp_path: Path, database_url: str, rows: Rows,
) -> None:  # fmt: skip
    file = write(tmp_path, text)
    with FakeApi(universe=[file], shipped=False, faults=0.2, most_faults=3, hang=0.2) as api:
        env = environment(database_url, api, DEFILLAMA_API_KEY=SECRET)
        done = run(f"{line} --config", file, env=env)
        assert any(request.fault for request in api.requests) or "artemis" in line
    assert done.returncode == 0, done.stderr
    assert differences(stored(rows, line.split()[2]), wanted(text, today())) == []


FAULTY = [kind for kind in FAULT_KINDS if kind != "hang"] + ["echo", "404", "302"]


@pytest.mark.parametrize("failing", ["each call in its way", "the keys", "the way there"])
def test_no_key_is_printed_recorded_or_shown_by_ps_whatever_fails(
    failing: str, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    lines = [f"p-{kind},protocol,TVL,parent#p-{kind}\n" for kind in FAULTY[: None if "each" in failing else 1]]
    (tmp_path / "defillama.csv").write_text("asset,kind,metrics,id\n" + "".join(lines))
    (tmp_path / "artemis.csv").write_text("asset,metrics\nsol,PRICE\n")
    broken = {rf"/tvl/p-{kind}\?": kind for kind in FAULTY} | {"/artemis/": "echo"}
    options: dict[str, Any] = (
        {"broken": broken} if "each" in failing else {"artemis_key": "right", "defillama_key": "right"}
    )
    keys = {"ARTEMIS_API_KEY": f"artemis-{SECRET}", "DEFILLAMA_API_KEY": SECRET}
    with FakeApi(**options) as api:
        env = environment(database_url, None if failing == "the way there" else api, **keys)
        started = [start(f"main.py pull {name} --config", tmp_path / f"{name}.csv", env=env) for name in SOURCES]
        shown = "".join(Path(f"/proc/{process.pid}/cmdline").read_text() for process in started)
        for process in started:
            shown += "".join(process.communicate(timeout=SECONDS))
    assert [process.returncode for process in started] == [1, 1]
    recorded = rows("SELECT failure FROM pulls")
    assert len(recorded) == 2
    assert (None,) not in recorded
    assert "pull" in shown
    for secret in (SECRET, quote(SECRET, safe=""), quote(SECRET), "s3cret"):
        assert secret not in shown + str(recorded)


def test_a_key_that_was_pasted_into_the_config_is_hidden_in_what_is_said_of_its_call(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, f"asset,kind,metrics,id\npasted,protocol,TVL,parent#{SECRET}\n")
    with FakeApi(broken={"/tvl/s3cret": "404"}) as api:
        env = environment(database_url, api, DEFILLAMA_API_KEY=SECRET)
        done = run("main.py pull defillama --config", config, env=env)
    said = "api/tvl/***: HTTP 404: 404 page not found"
    assert done.stderr.endswith(f" WARNING {said}\n")
    assert f"  failed: {said}\n" in done.stdout
    assert rows("SELECT failure FROM pulls") == [(said,)]


def test_a_key_that_goes_unencrypted_over_a_network_is_one_warning(database_url: str) -> None:
    exposed = {"ARTEMIS_API_KEY": SECRET.replace("/", ""), "ARTEMIS_BASE_URL": "http://192.0.2.1"}
    done = run("main.py backfill artemis --full --dry-run", env=environment(database_url) | exposed)
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert line.endswith(
        "ARTEMIS_BASE_URL: requests to 192.0.2.1 show ARTEMIS_API_KEY to the network: "
        "write https:// in place of http://"
    )


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit of memory is that of Linux")
def test_without_memory_for_a_thread_one_line_says_so(database_url: str) -> None:
    command = [sys.executable, "-c", WITHOUT_MEMORY, "pull", "defillama"]
    env = environment(database_url)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: there is too little memory: can't start new thread"
    assert "Traceback" not in done.stderr
