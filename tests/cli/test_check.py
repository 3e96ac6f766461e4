"""The command `check` as a process, on the fake APIs and a real database."""

import json
import signal
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.store import Store
from model.values import Answered, DataPoint, Window
from tests.commands import SECONDS, copy_tree, environment, run_process, start
from tests.fake_api import FakeApi
from tests.fake_api.server import ARTEMIS_KEY
from tests.tables import BACKFILL, Rows, as_role, this_midnight
from tests.waiting import until

ARTEMIS = "asset,metrics,id,name,entity\nbtc,PRICE FEES,,Bitcoin,bitcoin\n"
DEFILLAMA = """asset,kind,metrics,id,name,entity
# a parent, a chain by its old name, a stablecoin, a coin of no list, a pool
aave,protocol,TVL,parent#aave,Aave,aave
bsc,chain,CHAIN_TVL,Binance,BNB Smart Chain,bnb-chain
usdt,stablecoin,STABLECOIN_SUPPLY,1,Tether USD,usdt
bitcoin,coin,PRICE,coingecko:bitcoin,Bitcoin,bitcoin
lido-steth-ethereum,pool,APY POOL_TVL,747c1d2a-c668-4682-b9f9-296708a3dd90,Lido stETH,lido-steth-ethereum
"""
PASSWORD = "a-secret-word"  # noqa: S105 - of no database


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the repository, with small configs in which all is well."""
    copy = tmp_path / "copy"
    copy_tree(copy)
    (copy / "artemis_config.csv").write_text(ARTEMIS)
    (copy / "defillama_config.csv").write_text(DEFILLAMA)
    return copy


def check(
    root: Path, words: str = "", url: str = "", api: FakeApi | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """The command in a copy of the repository."""
    done = run_process(f"main.py check {words}".strip(), env=environment(url, api, **more), root=root)
    assert "Traceback" not in done.stderr
    return done


def found(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """The findings of --json by area, less the notes."""
    areas: list[dict[str, Any]] = json.loads(done.stdout)["areas"]
    return {
        area["area"]: [
            f"{each['where']}: {each['what']} -> {each['remedy']}"
            for each in area["findings"]
            if each["severity"] != "note"
        ]
        for area in areas
    }


def replace(root: Path, file: str, old: str, new: str) -> None:
    """Edit a config."""
    text = (root / file).read_text()
    assert text.count(old) == 1
    (root / file).write_text(text.replace(old, new))


def test_a_fresh_copy_is_well_but_for_the_key_that_is_missing_and_nothing_is_created(root: Path) -> None:
    done = check(root, "--offline", ARTEMIS_API_KEY="")
    assert done.returncode == 1
    assert "  error    ARTEMIS_API_KEY" in done.stdout
    assert "there is none yet\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 needs attention, ")
    assert done.stderr == ""
    assert not (root / ".data").exists()
    assert check(root, "defillama --offline").returncode == 0


def test_where_all_is_well_each_area_says_what_was_checked_and_the_exit_code_is_0(
    root: Path, database_url: str
) -> None:
    with FakeApi() as api:
        done = check(root, "", database_url, api)
    assert done.returncode == 0, done.stdout
    assert [line.split(":")[0] for line in done.stdout.splitlines()[:-1] if line[0] != " "] == [
        *("environment", "database", "configs", "keys", "identifiers", "series", "flags")
    ]
    assert "configs: ok: artemis_config.csv (1 row, 2 series), defillama_config.csv (5 rows, 6 series)" in done.stdout
    assert "keys: ok: artemis by its key, defillama without a key" in done.stdout
    assert "identifiers: ok: 1 of artemis, 5 of defillama" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("0 need attention, ")


def test_offline_nothing_is_sent(root: Path, database_url: str) -> None:
    with FakeApi() as api:
        done = check(root, "--offline", database_url, api)
        assert api.requests == []
    assert done.returncode == 0
    assert "keys: not checked: --offline\nidentifiers: not checked: --offline\n" in done.stdout


def test_identifiers_that_the_apis_do_not_know_are_shown_with_the_nearest_right_one(
    root: Path, database_url: str
) -> None:
    replace(root, "artemis_config.csv", "btc,PRICE FEES,", "bitcoin,PRICE FEES,unknown-btc")
    replace(root, "defillama_config.csv", "parent#aave", "parent#aavee")
    replace(root, "defillama_config.csv", "coingecko:bitcoin", "coingecko:unknown-bitcoin")
    replace(root, "defillama_config.csv", "747c1d2a-c668-4682", "747c1d2a-c668-4683")
    with FakeApi() as api:
        done = check(root, "--json", database_url, api)
    assert done.returncode == 1
    missing = [line.partition(" python main.py")[0] for line in found(done)["identifiers"]]
    assert missing == [
        "artemis bitcoin: the API knows no unknown-btc ->",
        "defillama aave: the API knows no protocol parent#aavee -> did you mean parent#aave?",
        "defillama bitcoin: the API knows no coin coingecko:unknown-bitcoin -> did you mean coingecko:bitcoin?",
        "defillama lido-steth-ethereum: the API knows no pool 747c1d2a-c668-4683-b9f9-296708a3dd90 -> "
        "did you mean 747c1d2a-c668-4682-b9f9-296708a3dd90 (aave-v3 WETH on Ethereum)?",
    ]


def test_a_metric_that_the_api_does_not_list_for_an_asset_is_shown_once(
    root: Path, database: Database, database_url: str
) -> None:
    replace(root, "artemis_config.csv", "PRICE FEES", "PRICE FEES EBITDA")
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load([], [Answered("btc", "EBITDA", Window(this_midnight() - timedelta(days=90), this_midnight()))])
    with FakeApi() as api:
        areas = found(check(root, "artemis --json", database_url, api))
    assert areas["series"] == []
    (line,) = areas["identifiers"]
    assert line.startswith("artemis btc: the API does not list EBITDA for it -> no run can fetch it")


def test_a_coin_of_no_list_is_asked_for_in_one_call(root: Path) -> None:
    coins = "".join(f"coin-{number},coin,PRICE,chain:0x{number}\n" for number in range(40))
    (root / "defillama_config.csv").write_text(f"asset,kind,metrics,id\n{coins}")
    with FakeApi() as api:
        done = check(root, "defillama --json", "", api)
        asked = [request.path for request in api.requests if "/coins/" in request.path]
    assert done.returncode == 0, done.stdout
    assert len(asked) == 1


@pytest.mark.parametrize("status", ["500", "hang-up"])
def test_an_outage_of_the_prices_makes_no_coin_unknown(root: Path, status: str) -> None:
    (root / "defillama_config.csv").write_text("asset,kind,metrics,id\ncoin,coin,PRICE,chain:0x1\n")
    with FakeApi(broken={"coins/prices": status.replace("hang-up", "drop")}) as api:
        (line,) = found(check(root, "defillama --json", "", api))["identifiers"]
    assert line.startswith(
        "defillama: 1 call had no answer, so this check is incomplete: coins/prices/current/chain:0x1"
    )


@pytest.mark.parametrize("source", ["artemis", "defillama"])
def test_an_api_that_is_down_is_shown_in_a_line(root: Path, source: str) -> None:
    with FakeApi(broken={".*": "500"}) as api:
        done = check(root, f"{source} --json", "", api)
    (line,) = found(done)["keys"]
    assert "a call to the API failed" in line
    assert done.returncode == 1


@pytest.mark.parametrize(
    "harm", ["ALTER TABLE coverage RENAME TO another", "ALTER TABLE metrics RENAME COLUMN value TO val"]
)
def test_tables_that_somebody_has_changed_are_shown_with_the_command_that_repairs_them(
    root: Path, database_url: str, rows: Rows, harm: str
) -> None:
    rows(harm)
    expected = "tables or columns of this version are missing"
    areas = found(check(root, "--offline --json", database_url))
    assert expected in str(areas) or "value" in harm  # check reads no values
    for command in ("main.py query sol PRICE", "main.py report --out -"):
        done = run_process(command, env=environment(database_url), root=root)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_list_without_an_answer_is_shown_and_nothing_is_missing_of_its_kind(root: Path) -> None:
    replace(root, "defillama_config.csv", "747c1d2a-c668-4682", "747c1d2a-c668-4683")
    replace(root, "defillama_config.csv", "parent#aave", "parent#aavee")
    with FakeApi(broken={"yields/pools": "404"}) as api:
        first, second = found(check(root, "defillama --json", "", api))["identifiers"]
    assert first.startswith("defillama: 1 call had no answer, so this check is incomplete: yields/pools: HTTP 404")
    assert first.endswith("try again later")
    assert "parent#aavee" in second


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"artemis_key": "another"}, "artemis refuses the key (HTTP 401"),
        ({"rate_limit": 0, "rate_window": 7200}, "artemis asks to wait 120 minutes: try again later"),
        ({"broken": {"asset/symbols": "404"}}, "a call to the API failed: asset/symbols/: HTTP 404"),
    ],
)
def test_a_refused_key_a_rate_limit_and_an_api_without_an_answer_are_distinguished(
    root: Path, options: dict[str, Any], expected: str
) -> None:
    with FakeApi(**options) as api:
        done = check(root, "artemis --json", "", api)
        assert len(api.requests) == 1
    assert done.returncode == 1
    (line,) = found(done)["keys"]
    assert expected in line
    assert "no API answers" in done.stdout
    assert ARTEMIS_KEY not in done.stdout + done.stderr


def test_an_area_that_fails_hides_no_other_and_no_secret_is_shown(root: Path) -> None:
    (root / ".env").write_text("ARTEMIS_APIKEY=mine\n")
    (root / ".env").chmod(0o604)
    replace(root, "defillama_config.csv", "chain,CHAIN_TVL", "chain,CHAIN_TV")
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:9/{PASSWORD}"
    with FakeApi(broken={"v2/chains": "echo"}) as api:
        done = check(root, "defillama --json", url, api, DEFILLAMA_API_KEY="a-secret-key", ARTEMIS_API_KEY="")
    assert done.returncode == 1
    areas = found(done)
    assert {name: len(lines) for name, lines in areas.items() if lines} == {
        "environment": 2,
        "database": 1,
        "configs": 1,
        "keys": 1,
    }
    assert "did you mean ARTEMIS_API_KEY?" in areas["environment"][0]
    assert "check DATABASE_URL and that the server runs" in areas["database"][0]
    assert areas["configs"] == ["defillama_config.csv:4: unknown metric 'CHAIN_TV': did you mean CHAIN_TVL? -> "]
    assert "a call to the API failed" in areas["keys"][0]
    assert PASSWORD not in done.stdout + done.stderr
    assert "a-secret-key" not in done.stdout + done.stderr


def test_a_dotenv_that_others_can_read_is_one_finding_whatever_is_in_it(root: Path) -> None:
    (root / ".env").write_text("DEFILLAMA_API_KEY=a-key\nNOTIFY_URL=https://example.org/a-token\n")
    (root / ".env").chmod(0o604)
    with FakeApi() as api:
        done = check(root, "defillama --offline --json", "", api)
    (line,) = found(done)["environment"]
    assert "every user of this machine can read it" in line


def test_a_secret_that_would_be_wrapped_is_hidden_whole(root: Path) -> None:
    secret = "secret-" * 30
    done = check(root, "artemis --offline", f"postgresql://me:{secret}@127.0.0.1:9/{secret}")
    assert "*** on 127.0.0.1:9" in done.stdout
    assert "secret-" not in done.stdout + done.stderr


def test_every_wrong_line_of_a_config_is_shown_and_the_others_are_still_checked(root: Path) -> None:
    rows = ARTEMIS + "eth,PRCE\n,PRICE\nsol,PRICE,a,b,c,d\nbtc,PRICE\n"
    (root / "artemis_config.csv").write_text(rows)
    with FakeApi() as api:
        areas = found(check(root, "artemis --json", "", api))
    assert [line.split(": ")[0] for line in areas["configs"]] == [
        f"artemis_config.csv:{number}" for number in (3, 4, 5, 6)
    ]
    assert areas["identifiers"] == []


@pytest.mark.parametrize("text", ["", "asset,metric\nbtc,PRICE\n"])
def test_a_config_without_a_right_header_or_a_row_is_shown_once(root: Path, text: str) -> None:
    (root / "artemis_config.csv").write_text(text)
    assert len(found(check(root, "artemis --offline --json"))["configs"]) == 1


def test_tables_of_another_version_are_left_alone_and_shown_with_what_upgrades_them(
    root: Path, database_url: str, rows: Rows
) -> None:
    rows("COMMENT ON TABLE metrics IS 'crypto-metrics schema 1'")
    done = check(root, "artemis --offline --json", database_url)
    (line,) = found(done)["database"]
    assert line == "tables: the tables are of another version -> python main.py setup, or the next run, upgrades them"
    assert "there are no tables of this version" in done.stdout
    assert rows("SELECT obj_description('metrics'::regclass)") == [("crypto-metrics schema 1",)]


def test_a_name_of_a_view_that_others_have_taken_is_shown(root: Path, database_url: str, rows: Rows) -> None:
    rows("DROP VIEW daily; CREATE VIEW daily AS SELECT 1 AS mine")
    (line,) = found(check(root, "artemis --offline --json", database_url))["database"]
    assert line.startswith("views: daily: missing, or made by others -> rename what has one of these names, and run ")


def test_a_database_without_tables_is_a_note_and_stays_without(root: Path, empty_url: str) -> None:
    done = check(root, "artemis --offline", empty_url)
    assert done.returncode == 0
    assert "there are no tables yet\n" in done.stdout
    assert check(root, "artemis --offline", empty_url).stdout == done.stdout


def test_a_role_that_may_only_read_is_shown_with_what_it_lacks(root: Path, database_url: str, rows: Rows) -> None:
    rows("DROP ROLE IF EXISTS looker")
    rows("CREATE ROLE looker LOGIN")
    rows("GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
    done = check(root, "artemis --offline --json", as_role(database_url, "looker"))
    rows("DROP OWNED BY looker")
    rows("DROP ROLE looker")
    (line,) = found(done)["database"]
    assert line.startswith("role looker: it lacks DELETE on coverage, ")
    assert " and 29 more -> " in line
    assert found(done)["series"] == []


def test_a_database_that_takes_no_writes_is_shown(root: Path, database_url: str, rows: Rows) -> None:
    rows(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database());"
        " END $$"
    )
    (line,) = found(check(root, "artemis --offline --json", database_url))["database"]
    assert line.startswith("database: it can only be read -> ")


def test_series_that_never_had_a_value_or_have_none_any_more_are_shown(
    root: Path, database: Database, database_url: str
) -> None:
    days = Window(this_midnight() - timedelta(days=90), this_midnight())
    old = [DataPoint("btc", "PRICE", days.start, 1.0)]
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load(old, [Answered("btc", metric, days) for metric in ("PRICE", "FEES")])
    done = check(root, "artemis --offline", database_url)
    assert done.returncode == 1
    shown = " ".join(done.stdout.split())
    assert "warning artemis btc the API has never had a value of FEES" in shown
    assert f"warning artemis btc the API has had no new value of PRICE since {days.start:%Y-%m-%d}" in shown


def test_restatements_that_wait_are_errors_with_two_lines_and_withdrawn_days_are_a_note(
    root: Path, database: Database, database_url: str, rows: Rows
) -> None:
    days = Window(this_midnight() - timedelta(days=5), this_midnight())
    values = [DataPoint("btc", "PRICE", days.start + number * timedelta(days=1), 100.0) for number in range(5)]
    with closing(Store(database, "artemis", BACKFILL)) as store:
        store.load(values, [Answered("btc", "PRICE", days)])
    rows("UPDATE coverage SET withdrawn = datemultirange(daterange(%s, %s)), withdrawn_at = '2026-11-20 04:36'",
         days.start.date(), days.start.date() + timedelta(days=2))  # fmt: skip
    for state, code in (("new", 0), ("rejected", 0), ("waiting", 1)):
        rows("DELETE FROM quarantine")
        rows("INSERT INTO quarantine SELECT source, asset, metric_name, pulled_at, 0, %s, now() FROM metrics", state)
        done = check(root, "artemis --offline", database_url)
        assert done.returncode == code, done.stdout
    shown = " ".join(done.stdout.split())
    assert "error artemis btc PRICE: the API now gives zero for 5 of 5 stored days, " in shown
    assert " would be $0 in place of $100; first seen " in shown
    lines = [line.strip() for line in done.stdout.splitlines()]
    at = lines.index("-> to take the new values:")
    assert lines[at + 1 : at + 4] == [
        "python main.py settle artemis --accept btc PRICE",
        "to keep the stored ones:",
        "python main.py settle artemis --reject btc PRICE",
    ]
    assert (
        "note artemis 2 days of 1 series withdrawn by the provider, last on 2026-11-20, whose values stay stored: "
        "btc PRICE (2) -> python main.py gaps artemis shows which days" in shown
    )


def test_a_wrong_use_is_shown_with_what_would_be_right(root: Path) -> None:
    done = check(root, "artemiss")
    assert done.returncode == 2
    assert "did you mean artemis?" in done.stderr


def test_a_signal_has_not_the_exit_code_of_findings(root: Path, database_url: str) -> None:
    env = environment(database_url)
    with FakeApi(latency=SECONDS) as api, start("main.py check", root=root, env=env | api.environment()) as process:
        until(lambda: api.requests)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
        api.closing.set()
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")


def test_an_api_that_stops_answering_in_the_middle_hides_no_other_one(root: Path, database_url: str) -> None:
    replace(root, "defillama_config.csv", "parent#aave", "parent#aavee")
    with FakeApi(broken={"supported-metrics": "401"}) as api:
        first, second = found(check(root, "--json", database_url, api))["identifiers"]
    assert first.startswith("artemis: artemis refuses the key (HTTP 401")
    assert "parent#aavee" in second


def test_tables_that_can_not_be_read_keep_no_identifier_from_being_checked(
    root: Path, database_url: str, rows: Rows
) -> None:
    replace(root, "artemis_config.csv", "btc,PRICE FEES,", "bitcoin,PRICE FEES,unknown-btc")
    rows("DROP ROLE IF EXISTS stranger")
    rows("CREATE ROLE stranger LOGIN")
    with FakeApi() as api:
        areas = found(check(root, "artemis --json", as_role(database_url, "stranger"), api))
    rows("DROP ROLE stranger")
    assert {name: len(lines) for name, lines in areas.items() if lines} == {
        "database": 1,
        "identifiers": 1,
        "series": 1,
    }
