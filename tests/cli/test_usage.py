"""How many calls a key of DefiLlama has left this month: what runs remember, and what `status` and `check` say."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.checks.area import Severity
from cli.checks.environment_and_keys import usage_findings
from model.values import Target
from pipeline.usage import calls_a_month
from sources.config import Asset
from sources.defillama import DefiLlama
from tests.commands import Rows, environment, run, write
from tests.fake_api import FakeApi

CONFIG = "asset,kind,metrics\nlido,protocol,TVL FEES_24H\nEthereum,chain,CHAIN_TVL\n"
LEFT = "SELECT value FROM api_limits WHERE name = 'calls_left'"
KEY = {"DEFILLAMA_API_KEY": "s3cret-k3y"}
ROW = Asset("lido", ("TVL", "FEES_24H"), "lido", "protocol", "", "")
MIDDLE = datetime(2026, 11, 15, 12, tzinfo=UTC)


def test_daily_runs_remember_what_is_left_and_status_shows_it(tmp_path: Path, database_url: str, rows: Rows) -> None:
    config = write(tmp_path, CONFIG)
    with FakeApi(universe=[config], credits_left=123_456) as api:
        env = environment(database_url, api, **KEY)
        assert run("main.py pull defillama --config", config, env=env).returncode == 0
        assert rows(LEFT) == []  # an hourly pull does not ask
        assert run("main.py settle defillama --config", config, env=env).returncode == 0
        assert rows(LEFT) == [(123_456,)]
        assert [request.path for request in api.requests].count("/llama/usage") == 1
    shown = run("main.py status", env=env).stdout
    assert re.search(r"  123,456 calls are left this month; the config needs about [\d,]+ a month \(as of ", shown)
    (_, defillama) = json.loads(run("main.py status --json", env=env).stdout)["sources"]
    assert defillama["calls_left"] == 123_456
    assert defillama["calls_needed_a_month"] > 0


def test_a_run_succeeds_where_the_api_does_not_say_what_is_left(tmp_path: Path, database_url: str, rows: Rows) -> None:
    config = write(tmp_path, CONFIG)
    with FakeApi(universe=[config], broken={"/usage": "404"}) as api:
        done = run("main.py settle defillama --config", config, env=environment(database_url, api, **KEY))
    assert done.returncode == 0
    assert "how many calls are left this month is not known: usage: HTTP 404" in done.stderr
    assert rows(LEFT) == []


def test_without_a_key_nobody_asks(tmp_path: Path, database_url: str) -> None:
    config = write(tmp_path, CONFIG)
    with FakeApi(universe=[config]) as api:
        assert run("main.py settle defillama --config", config, env=environment(database_url, api)).returncode == 0
        assert not [request for request in api.requests if "usage" in request.path]


def test_check_asks_the_api_itself(database_url: str) -> None:
    with FakeApi(credits_left=987_654) as api:
        done = run("main.py check defillama", env=environment(database_url, api, **KEY))
    assert "987,654 calls are left this month; the config needs about" in " ".join(done.stdout.split())
    assert KEY["DEFILLAMA_API_KEY"] not in done.stdout + done.stderr


def test_a_refused_question_for_the_usage_spoils_no_other_check(database_url: str) -> None:
    with FakeApi(broken={"/usage": "401"}) as api:
        done = run("main.py check defillama", env=environment(database_url, api, **KEY))
    assert "how many calls are left this month is not known: defillama refuses the key" in done.stderr
    assert "identifiers: 88 of defillama" in done.stdout


def test_what_was_left_in_another_month_or_by_another_key_is_not_shown(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, CONFIG)
    with FakeApi(universe=[config]) as api:
        env = environment(database_url, api, **KEY)
        run("main.py settle defillama --config", config, env=env)
        assert "calls are left this month" in run("main.py status", env=env).stdout
        assert "calls are left" not in run("main.py status", env=environment(database_url, api)).stdout
        rows("UPDATE api_limits SET found_at = date_trunc('month', found_at) - interval '1 minute'")
        assert "calls are left" not in run("main.py status", env=env).stdout


def test_a_month_has_thirty_days_of_hourly_pulls_and_of_a_settle_each() -> None:
    targets = [Target("lido", metric, "lido", "protocol") for metric in ("TVL", "FEES", "FEES_24H")]
    assert calls_a_month(DefiLlama("key"), targets, MIDDLE) == 30 * (24 * 2 + 2)


@pytest.mark.parametrize(("left", "severity"), [(800, Severity.NOTE), (700, Severity.WARNING)])
def test_too_few_calls_for_the_rest_of_the_month_are_a_warning(left: int, severity: Severity) -> None:
    (found,) = usage_findings(DefiLlama("key"), left, [ROW], MIDDLE)  # 15.5 days × (24 × 2 + 1) calls are 760
    assert found.severity is severity
    assert bool(found.remedy) == (severity is Severity.WARNING)
    assert found.what == f"{left} calls are left this month; the config needs about 1,470 a month"
