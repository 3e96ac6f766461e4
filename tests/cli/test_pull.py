"""A pull: the whole table is what the API says of today."""

import re
from pathlib import Path
from typing import Any

import pytest

from sources.defillama_metrics import METRICS
from sources.pace import Pace
from tests.commands import (
    ARTEMIS,
    DEFILLAMA,
    Rows,
    artemis_pull,
    defillama_pull,
    differences,
    environment,
    midnight,
    run,
    series,
    stored,
    today,
    write,
)
from tests.fake_api import FakeApi
from tests.paced_processes import closer_than

pytestmark = pytest.mark.cluster

KEY = {"DEFILLAMA_API_KEY": "a/pro+key"}
FEW = "\n".join(line for line in DEFILLAMA.splitlines() if line.startswith(("asset,", "uniswap,", "tether,", "defi,")))
PULLS = "SELECT source_name, kind, status, records_count, points_received, failed_calls, failure FROM pulls"


def test_the_config_of_these_tests_has_every_metric_of_defillama() -> None:
    assert {one.metric for one in series(DEFILLAMA)} == set(METRICS)


def test_a_pull_of_defillama_leaves_what_the_api_says_of_today_and_a_second_one_changes_nothing(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, DEFILLAMA)
    with FakeApi(universe=[config], shipped=False, defillama_key=KEY["DEFILLAMA_API_KEY"]) as api:
        done = run("main.py pull defillama --config", config, env=environment(database_url, api, **KEY))
        wanted = defillama_pull(DEFILLAMA, today())
        assert (done.returncode, differences(stored(rows, "defillama"), wanted)) == (0, []), done.stderr
        assert f" 0 failed; {len(wanted)} points received: {len(wanted)} new, 0 changed, 0 unchanged;" in done.stdout
        last_id = rows("SELECT last_value FROM metrics_id_seq")

        again = run("main.py pull defillama --config", config, env=environment(database_url, api, **KEY))
        assert f"{len(wanted)} points received: 0 new, 0 changed, {len(wanted)} unchanged;" in again.stdout
        assert rows("SELECT last_value FROM metrics_id_seq") == last_id
    assert rows(PULLS + " ORDER BY pull_id") == [
        ("defillama", "pull", "success", len(wanted), len(wanted), 0, None),
        ("defillama", "pull", "success", 0, len(wanted), 0, None),
    ]


def test_a_pull_of_artemis_leaves_a_week_and_five_quarters(tmp_path: Path, database_url: str, rows: Rows) -> None:
    config = write(tmp_path, ARTEMIS)
    with FakeApi(universe=[config], shipped=False) as api:
        done = run("main.py pull artemis --config", config, env=environment(database_url, api))
    wanted = artemis_pull(ARTEMIS, today())
    assert (done.returncode, differences(stored(rows, "artemis"), wanted)) == (0, []), done.stderr
    assert {"TOTAL_REVENUE", "EARNINGS_YIELD"} <= {metric for _, metric, _ in wanted}


@pytest.mark.parametrize("source", ["defillama", "artemis"])
def test_a_pull_changes_the_open_day_and_leaves_restated_days_to_a_settle(
    source: str, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    wanted = {"defillama": defillama_pull, "artemis": artemis_pull}[source]
    config = {"defillama": FEW, "artemis": ARTEMIS}[source]
    file = write(tmp_path, config)
    for restated in (0, 1):
        with FakeApi(universe=[file], shipped=False, restated=restated) as api:
            done = run(f"main.py pull {source} --config", file, env=environment(database_url, api))
    was, now = wanted(config, today()), wanted(config, today(), 1)
    differing = {key for key, value in now.items() if was[key] != value}
    changed = {key for key in differing if key[2] == midnight(today())}
    kept = differing - changed
    assert changed
    assert differences(stored(rows, source), now | {key: was[key] for key in kept}) == []
    assert rows("SELECT count(*), count(*) FILTER (WHERE state = 'new') FROM quarantine") == [(len(kept),) * 2]
    counts = f": 0 new, {len(changed)} changed, {len(now) - len(differing)} unchanged, {len(kept)} stored with another "
    assert counts in done.stdout


def test_without_a_key_the_metrics_that_need_one_are_left_out_with_one_warning(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, DEFILLAMA)
    pro = [one for one in series(DEFILLAMA) if METRICS[one.metric].needs_key]
    with FakeApi(universe=[config], shipped=False) as api:
        words = [word for one in pro for word in ("--metric", one.metric)]
        env = environment(database_url, api)
        done = run("main.py pull defillama --asset aave-v3 --metric MCAP --config", config, *words, env=env)
    assert done.returncode == 0, done.stderr
    assert {metric for _, metric, _ in stored(rows, "defillama")} == {"MCAP"}
    warning = "defillama: 3 series are skipped: they need DEFILLAMA_API_KEY, which is not set"
    assert re.findall(r"WARNING (.*)", done.stderr) == [warning]


def test_a_pull_of_all_sources_is_a_pull_of_each(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        done = run("main.py pull all --metric PRICE", env=environment(database_url, api))
    assert done.returncode == 0, done.stderr
    assert rows("SELECT source_name, status FROM pulls ORDER BY 1") == [
        ("artemis", "success"),
        ("defillama", "success"),
    ]
    assert {line.split(":")[0] for line in done.stdout.splitlines() if line[0] != " "} == {
        "artemis pull",
        "defillama pull",
    }


def test_a_pull_that_gets_nothing_says_no_data(tmp_path: Path, database_url: str, rows: Rows) -> None:
    config = write(tmp_path, "asset,metrics\nunknown-one,PRICE TVL\neq-nvda,DAU\n")
    with FakeApi() as api:
        env = environment(database_url, api)
        done = run("main.py pull artemis --config", config, env=env)
    assert done.returncode == 0
    assert "3 of 3 series without data" in done.stdout
    assert rows(PULLS) == [("artemis", "pull", "no_data", 0, 0, 0, None)]


def _entities(chains: int) -> tuple[str, int]:
    """A config of 258 protocols and some chains with every live flow metric, and the calls that it must need."""
    flows, of_chains = (
        [name for name, metric in METRICS.items() if metric.kind == kind and name.endswith("_24H")]
        for kind in ("protocol", "chain")
    )
    lines = [f"protocol-{number},protocol,{' '.join(flows)}" for number in range(258)]
    lines += [f"Chain {number},chain,{' '.join(of_chains)}" for number in range(chains)]
    return "\n".join(["asset,kind,metrics", *lines, ""]), len(flows) + chains * len(of_chains)


@pytest.mark.parametrize("chains", [4, pytest.param(103, marks=pytest.mark.long)])
def test_many_entities_need_one_call_for_each_kind_of_flow_and_of_each_chain_and_never_pass_the_limit(
    chains: int, tmp_path: Path, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, calls = _entities(chains)
    file, starts, wait = write(tmp_path, config), list[float](), Pace.wait

    def recorded_wait(*given: Any) -> float:
        starts.append(wait(*given))
        return starts[-1]

    monkeypatch.setattr(Pace, "wait", recorded_wait)
    with FakeApi(universe=[file], shipped=False, latency=0.3) as api:
        env = environment(database_url, api, **KEY)
        done = run("main.py pull defillama --config", file, env=env)
        assert (done.returncode, len(api.requests)) == (0, calls), done.stderr
    assert len(starts) == calls
    assert closer_than(0.08, starts) == []
    assert differences(stored(rows, "defillama"), defillama_pull(config, today())) == []
