"""main.py discover as a process, on the fake APIs."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model.settings import ROOT
from sources import SOURCES
from sources.config import read_config
from tests.commands import environment, run
from tests.fake_api import FakeApi
from tests.fake_api.server import ARTEMIS_KEY

NOW = datetime(2026, 8, 17, 12, 34, 56, tzinfo=UTC)
KEY = "s3cret-k3y"
NOWHERE = "postgresql://nowhere.invalid/no-database-is-needed"
ARTEMIS = "asset,metrics,id,name,entity\r\n# mine\r\nsol,PRICE FEES,,Solana,solana\r\n"
DEFILLAMA = "asset,kind,metrics,id,name,entity\nlido,protocol,TVL,,Lido,lido\n"


@pytest.fixture(scope="module")
def api() -> Iterator[FakeApi]:
    with FakeApi(now=lambda: NOW, artemis_key=ARTEMIS_KEY, defillama_key=KEY) as fake:
        yield fake


@pytest.fixture
def artemis(tmp_path: Path) -> Path:
    file = tmp_path / "artemis.csv"
    file.write_bytes(ARTEMIS.encode())
    return file


@pytest.fixture
def defillama(tmp_path: Path) -> Path:
    file = tmp_path / "defillama.csv"
    file.write_text(DEFILLAMA)
    return file


def discover(api: FakeApi | None, line: str, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    return run(f"main.py discover {line}", *words, env=environment(NOWHERE, api, **more))


def test_what_matches_is_shown_with_what_the_config_has_of_it(api: FakeApi, artemis: Path) -> None:
    done = discover(api, "artemis SOL --config", artemis)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["sol  sol  SOL", "    configured: PRICE FEES"]
    assert re.search(r"^    to add: .*\bDAU\b", done.stdout, re.MULTILINE)


def test_every_kind_of_defillama_is_found_and_cut_to_the_limit(api: FakeApi) -> None:
    done = discover(api, "defillama ethereum --limit 2")
    assert done.returncode == 0, done.stderr
    heads = [line.split()[:3] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert heads[:2] == [["ethereum", "chain", "Ethereum"], ["ethereum", "coin", "coingecko:ethereum"]]
    assert re.search(r"^and \d,\d+ more: .*--limit", done.stdout, re.MULTILINE)
    assert "DEFILLAMA_API_KEY is not set" in done.stderr


def test_json_is_all_that_stands_on_standard_output(api: FakeApi) -> None:
    done = discover(api, "defillama hyperliquid-perps --json", DEFILLAMA_API_KEY=KEY)
    (found,) = json.loads(done.stdout)
    assert (found["kind"], found["id"]) == ("protocol", "hyperliquid-perps")
    assert {"PERPS_VOLUME", "OPEN_INTEREST"} <= set(found["metrics"])
    assert KEY not in done.stdout + done.stderr


def test_what_nothing_matches_is_refused_with_the_nearest_names(api: FakeApi) -> None:
    done = discover(api, "artemis slo")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: artemis lists no 'slo': did you mean sol.*\?", done.stderr.strip())


def test_only_names_of_the_wanted_kind_are_suggested(api: FakeApi) -> None:
    assert "did you mean lido" in discover(api, "defillama lydo").stderr
    assert "lido" not in discover(api, "defillama lydo --kind stablecoin").stderr


def test_one_asset_is_added_and_then_is_there(api: FakeApi, defillama: Path) -> None:
    line = "defillama aave-v3 --kind protocol --metric FEES --metric TVL --add --config"
    done = discover(api, line, defillama)
    assert (done.returncode, done.stdout) == (0, f"{defillama.name}: added aave-v3,protocol,TVL FEES,,Aave V3,\n")
    assert defillama.read_text() == f"{DEFILLAMA}aave-v3,protocol,TVL FEES,,Aave V3,\n"
    again = discover(api, line, defillama)
    assert (again.returncode, again.stdout) == (0, f"{defillama.name}: nothing to add, it has FEES TVL of aave-v3\n")


def test_to_a_configured_asset_the_rest_of_its_metrics_is_added(api: FakeApi, artemis: Path) -> None:
    done = discover(api, "artemis sol --add --config", artemis)
    assert done.returncode == 0, done.stderr
    assert artemis.read_bytes().startswith(ARTEMIS.encode())
    first, second = read_config(artemis, SOURCES["artemis"])
    assert (second.asset, second.id, second.name, second.entity) == ("sol", "sol", "Solana", "solana")
    assert "DAU" in second.metrics
    assert not set(first.metrics) & set(second.metrics)


def test_an_unclear_name_adds_nothing_and_names_the_candidates(api: FakeApi, artemis: Path) -> None:
    done = discover(api, "artemis eq- --add --config", artemis)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: 'eq-' matches ")
    assert "  eq-nvda  eq-nvda  EQ-NVDA" in done.stderr.splitlines()
    assert artemis.read_bytes() == ARTEMIS.encode()


def test_a_config_with_a_header_alone_is_filled(api: FakeApi, tmp_path: Path) -> None:
    file = tmp_path / "artemis.csv"
    file.write_text("asset,metrics\n")
    done = discover(api, "artemis btc --metric PRICE --add --config", file)
    assert (done.returncode, file.read_text()) == (0, "asset,metrics\nbtc,PRICE\n")


def test_without_a_config_option_the_shipped_one_is_read(api: FakeApi) -> None:
    before = (ROOT / "artemis_config.csv").read_bytes()
    done = discover(api, "artemis eth --metric PRICE --add")
    assert done.stdout == "artemis_config.csv: nothing to add, it has PRICE of eth\n"
    assert (ROOT / "artemis_config.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("artemis btc --kind coin", "unknown kind 'coin': artemis has no kinds, so leave --kind out"),
        ("defillama btc --kind coins", "unknown kind 'coins': did you mean coin?"),
        ("defillama --add", "--add needs the name of the asset to add: write it as TEXT"),
        ("defillama lido --metric TVL", "--metric only goes with --add: it says which metrics are added"),
        ("defillama lido --add --metric TVLL", "defillama has no metric 'TVLL': did you mean TVL?"),
        ("defillama lido --limit 0", "--limit 0: write a number of at least 1"),
        ("defillama lido --config no.csv", "no.csv: there is no such config file"),
    ],
)
def test_a_question_that_can_not_be_asked_is_refused_before_anything_is_sent(line: str, words: str) -> None:
    done = discover(None, line)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {words}\n")


def test_without_the_key_that_it_needs_a_source_is_not_asked() -> None:
    done = discover(None, "artemis btc", ARTEMIS_API_KEY="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "artemis needs a key: write ARTEMIS_API_KEY=" in done.stderr


def test_a_refused_key_ends_with_the_remedy_and_is_not_shown(api: FakeApi) -> None:
    done = discover(api, "artemis btc", ARTEMIS_API_KEY="wr0ng-k3y")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: artemis refuses the key (HTTP 401")
    assert "wr0ng-k3y" not in done.stderr


def test_a_list_without_an_answer_is_a_warning_and_makes_the_exit_code_1() -> None:
    with FakeApi(now=lambda: NOW, broken={"dailyRevenue": "400"}) as api:
        done = discover(api, "defillama lido --kind protocol")
    assert done.returncode == 1
    assert re.search(
        "WARNING assets or metrics may be missing, since a call failed: .*dailyRevenue: HTTP 400", done.stderr
    )
    assert "    configured: TVL MCAP FEES FEES_24H REVENUE REVENUE_24H" in done.stdout.splitlines()


def test_an_api_without_any_answer_is_an_error_of_one_line() -> None:
    with FakeApi(now=lambda: NOW, broken={".": "404"}) as api:
        done = discover(api, "artemis lido")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == "error: artemis: none of the lists could be fetched: asset/symbols/: HTTP 404: 404 page not found\n"
    )


def test_where_its_metrics_are_not_known_nothing_is_added(artemis: Path) -> None:
    with FakeApi(now=lambda: NOW, broken={"supported-metrics": "404"}) as api:
        done = discover(api, "artemis sol --add --config", artemis)
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: nothing is added: the metrics of sol could not be fetched: try again later" in done.stderr
    assert artemis.read_bytes() == ARTEMIS.encode()
