"""The command `sources`, and the metrics that an API has deprecated or defined anew."""

import re
from pathlib import Path

from sources import SOURCES
from tests.commands import Rows, environment, run, write
from tests.fake_api import FakeApi

UNUSED = "host=/nowhere"  # a database that a command fails on as soon as it opens it


def test_sources_lists_every_metric_with_its_runs_and_whether_the_keys_are_set() -> None:
    done = run("main.py sources", env=environment(UNUSED, DEFILLAMA_API_KEY="secret-pro-key"))
    assert (done.returncode, done.stderr) == (0, "")
    words = done.stdout.split()
    for kind in SOURCES.values():
        assert set(kind.METRICS) <= set(words)
    assert "ARTEMIS_API_KEY (needed): set" in done.stdout
    assert "  protocol, backfill, settle; with the key:\n    PERPS_VOLUME\n" in done.stdout
    assert "secret-pro-key" not in done.stdout


def test_a_deprecated_metric_is_one_warning_with_what_replaces_it_and_the_run_goes_on(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, "asset,metrics\neth,DEX_VOLUMES PRICE\nsol,DEX_VOLUMES\n")
    with FakeApi(universe=[config]) as api:
        done = run("main.py pull artemis --config", config, env=environment(database_url, api))
    assert done.returncode == 0, done.stderr
    assert re.findall("WARNING.*", done.stderr) == [
        "WARNING artemis: DEX_VOLUMES is deprecated since August 2025: use CHAIN_SPOT_VOLUME in its place; "
        "the stored values stay"
    ]
    assert rows("SELECT count(*) FROM metrics WHERE metric_name = 'DEX_VOLUMES'") == [(14,)]


def test_sources_says_which_metrics_are_deprecated_and_which_have_changed() -> None:
    done = run("main.py sources", env=environment(UNUSED))
    assert "  DEX_VOLUMES: deprecated since August 2025: use CHAIN_SPOT_VOLUME in its place\n" in done.stdout
    assert "  STABLECOIN_TRANSFER_VOLUME: the gross volume since July 2026" in done.stdout
