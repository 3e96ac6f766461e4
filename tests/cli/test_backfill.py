"""A backfill as a process: the whole table is the history that the API has, at the API's own times."""

from datetime import datetime
from pathlib import Path

import pytest

from tests.commands import (
    ARTEMIS,
    DAY,
    DEFILLAMA,
    Rows,
    Table,
    artemis_backfill,
    artemis_pull,
    defillama_backfill,
    differences,
    environment,
    midnight,
    run,
    stored,
    today,
    write,
)
from tests.fake_api import FakeApi

pytestmark = pytest.mark.cluster

KEY = {"DEFILLAMA_API_KEY": "a/pro+key"}


@pytest.mark.one_server
def test_a_backfill_of_defillama_leaves_all_closed_days_and_a_second_one_changes_nothing(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, DEFILLAMA)
    with FakeApi(universe=[config], shipped=False) as api:
        env = environment(database_url, api, **KEY)
        done = run("backfill_defillama.py --config", config, env=env)
        wanted = defillama_backfill(DEFILLAMA, today())
        assert (done.returncode, differences(stored(rows, "defillama"), wanted)) == (0, []), done.stderr
        assert f" 0 failed; {len(wanted):,} points received: {len(wanted):,} new, 0 changed, 0 unc" in done.stdout
        last_id = rows("SELECT last_value FROM metrics_id_seq")
        again = run("main.py backfill defillama --full --asset weth --asset aave-weth --config", config, env=env)
        unchanged = sum(asset in {"weth", "aave-weth"} for asset, _, _ in wanted)
        assert f" 0 new, 0 changed, {unchanged:,} unchanged;" in again.stdout
    assert rows("SELECT count(*), (SELECT last_value FROM metrics_id_seq) FROM metrics") == [(len(wanted), *last_id[0])]
    _has_what_a_backfill_is_about(wanted)


def test_after_a_first_pull_the_years_before_a_coin_existed_are_no_failure(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, "asset,kind,metrics,id\nweth,coin,PRICE,coingecko:weth\n")
    with FakeApi(universe=[config], shipped=False) as api:
        env = environment(database_url, api)
        assert run("main.py pull defillama --config", config, env=env).returncode == 0
        done = run("main.py backfill defillama --config", config, env=env)
    assert (done.returncode, " 0 failed; " in done.stdout) == (0, True), done.stdout
    assert rows("SELECT min(pulled_at)::date > '2019-01-01', count(*) > 1000 FROM metrics") == [(True, True)]


def _has_what_a_backfill_is_about(wanted: Table) -> None:
    """The truth that the table is compared with has what could go wrong."""
    times: dict[tuple[str, str], list[datetime]] = {}
    for asset, metric, at in sorted(wanted):
        times.setdefault((asset, metric), []).append(at)
    assert max(at for each in times.values() for at in each) < midnight(today())
    assert times["dead-pool", "TVL"][-1].year == times["DeadChain", "CHAIN_STABLECOIN_SUPPLY"][-1].year == 2023
    assert any(at.microsecond for at in times["aave-weth", "POOL_TVL"])
    assert {at.hour for at in times["weth", "PRICE"]} == {0, 23}
    assert 0.0 in {value for (_, metric, _), value in wanted.items() if metric == "FEES"}


def test_a_backfill_of_artemis_leaves_five_years(tmp_path: Path, database_url: str, rows: Rows) -> None:
    config = write(tmp_path, ARTEMIS)
    with FakeApi(universe=[config], shipped=False) as api:
        done = run("backfill_artemis.py --config", config, env=environment(database_url, api))
    wanted = artemis_backfill(ARTEMIS, today())
    assert (done.returncode, differences(stored(rows, "artemis"), wanted)) == (0, []), done.stderr
    assert min(at for _, _, at in wanted) == midnight(today() - 5 * 365 * DAY)
    assert rows("SELECT kind, status, records_count, failed_calls FROM pulls") == [
        ("backfill", "success", len(wanted), 0)
    ]


@pytest.mark.parametrize("source", ["defillama", "artemis"])
def test_a_backfill_asks_from_its_start_up_to_and_without_its_end(
    source: str, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config, wanted = {"defillama": (DEFILLAMA, defillama_backfill), "artemis": (ARTEMIS, artemis_backfill)}[source]
    file = write(tmp_path, config)
    start, end = today() - 400 * DAY, today() - 390 * DAY
    with FakeApi(universe=[file], shipped=False) as api:
        env = environment(database_url, api, **KEY)
        line = f"main.py backfill {source} --start {start} --end {end} --config"
        done = run(line, file, env=env)
    expected = wanted(config, end, start)
    assert (done.returncode, differences(stored(rows, source), expected)) == (0, []), done.stderr
    assert len({at.date() for _, _, at in expected}) >= 10


def test_a_backfill_keeps_the_rows_of_a_pull(tmp_path: Path, database_url: str, rows: Rows) -> None:
    config = write(tmp_path, ARTEMIS)
    line = f"--start {today() - 30 * DAY} --config"
    with FakeApi(universe=[config], shipped=False, restated=1) as api:
        env = environment(database_url, api)
        assert run("main.py pull artemis --config", config, env=env).returncode == 0
    with FakeApi(universe=[config], shipped=False) as api:
        env = environment(database_url, api)
        done = run(f"main.py backfill artemis {line}", config, env=env)
    pulled = artemis_pull(ARTEMIS, today(), restated=1)
    history = artemis_backfill(ARTEMIS, today(), today() - 30 * DAY)
    assert differences(stored(rows, "artemis"), history | pulled) == []
    assert any(pulled.get(key, value) != value for key, value in history.items())
    assert f" {len(history.keys() - pulled.keys())} new, 0 changed, " in done.stdout
