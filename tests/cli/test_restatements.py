"""Settles as processes: how far back they compare, what waits for a person, and what a person decides."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import (
    DAY,
    Rows,
    defillama_backfill,
    differences,
    environment,
    for_points,
    run,
    stored,
    today,
    write,
)
from tests.fake_api import FakeApi

pytestmark = pytest.mark.cluster

WHOLE = "asset,kind,metrics,id\nEthereum,chain,CHAIN_TVL\naave-v3,protocol,TVL\n"
BY_WINDOW = "asset,metrics\nsol,PRICE DAU\neth,PRICE\n"
USUAL, SCALED = 1, 100_000  # restatements by 0.2 % of the usual value, and by 200 times of it
VERIFIED = "SELECT count(*), count(verified_at) FROM coverage"
Settle = Callable[..., str]


@pytest.fixture
def command(tmp_path: Path, database_url: str) -> Settle:
    """Run a command on a config against a fake API of its own; what it prints."""

    def work(words: str, config: str = WHOLE, restated: int = 0, code: int = 0) -> str:
        file = write(tmp_path, config)
        with FakeApi(universe=[file], shipped=False, restated=restated) as api:
            verb, *options = words.split()
            env = environment(database_url, api, DEFILLAMA_API_KEY="pro-key")
            done = run(f"main.py {verb} {file.stem} {' '.join(options)} --config", file, env=env)
            requests = for_points(api.requests)
        assert done.returncode == code, done.stderr
        windows = {request.query.partition("startDate=")[2][:10] for request in requests} - {""}
        return f"{done.stdout}{done.stderr}{' '.join(sorted(f'asked from {window}' for window in windows))}"

    return work


@pytest.fixture
def decide(database_url: str) -> Settle:
    """Run a settle that only decides; what it prints."""

    def work(words: str, source: str = "defillama", code: int = 0) -> str:
        done = run(f"main.py settle {source} {words}", env=environment(database_url))
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return work


@pytest.fixture
def show(database_url: str) -> Settle:
    """What a read-only command prints."""
    return lambda words: run(f"main.py {words}", env=environment(database_url)).stdout


def ago(number: int) -> str:
    return str(today() - number * DAY)


def test_a_settle_compares_the_whole_history_where_the_api_answers_with_it(command: Settle, rows: Rows) -> None:
    command("backfill")
    before = stored(rows, "defillama")
    assert rows(VERIFIED) == [(2, 0)]
    out = command("settle", restated=USUAL)
    adopted = {key for key, value in stored(rows, "defillama").items() if before[key] != value}
    assert any(at.date() < today() - 365 * DAY for _, _, at in adopted)
    assert f"{len(before):,} points received: 0 new, {len(adopted):,} restated, " in out
    assert rows("SELECT count(*), count(*) FILTER (WHERE reason = 'restated') FROM revisions") == [(len(adopted),) * 2]
    assert rows(VERIFIED) == [(2, 2)]
    assert f"{len(before):,} unchanged; " in command("settle", restated=USUAL)


def test_a_settle_requests_nothing_older_than_what_was_ever_requested(command: Settle, rows: Rows) -> None:
    command(f"backfill --start {ago(100)}")
    command("settle")
    assert differences(stored(rows, "defillama"), defillama_backfill(WHOLE, today(), today() - 100 * DAY)) == []


def test_by_window_a_settle_compares_ten_days_and_with_all_what_was_ever_requested(command: Settle, rows: Rows) -> None:
    command(f"backfill --start {ago(300)}", BY_WINDOW)
    assert f"asked from {ago(10)}" in command("settle", BY_WINDOW)
    assert rows(VERIFIED) == [(3, 0)]
    assert f"asked from {ago(300)}" in command("settle --all", BY_WINDOW)
    assert rows(VERIFIED) == [(3, 3)]


def test_a_doubtful_restatement_is_not_adopted_and_the_run_says_what_waits(
    command: Settle, show: Settle, rows: Rows
) -> None:
    command("backfill")
    before = stored(rows, "defillama")
    out = command("settle", restated=SCALED, code=1)
    assert stored(rows, "defillama") == before
    for name in ("Ethereum CHAIN_TVL", "aave-v3 TVL"):
        assert f"needs attention: defillama {name}: " in out
    assert rows("SELECT DISTINCT state FROM quarantine") == [("waiting",)]
    assert rows(VERIFIED) == [(2, 0)]
    assert "aave-v3 TVL: " in (gaps := show("gaps defillama --metric TVL"))
    assert ", not confirmed yet; a restatement waits for a person" in gaps
    assert [each["waiting"] for each in json.loads(show("gaps defillama --json"))] == [True, True]
    [(status, failure)] = rows("SELECT status, failure FROM pulls WHERE kind = 'settle'")
    assert (status, "aave-v3 TVL: " in str(failure)) == ("success", True)  # the scheduler does not retry it
    assert "needs attention" in command("settle", restated=SCALED, code=1)  # as long as it waits
    assert "needs attention" not in command("settle")  # the provider has taken it back
    assert (rows("SELECT FROM quarantine"), rows(VERIFIED)) == ([], [(2, 2)])


def test_what_a_person_accepts_is_adopted_with_its_revisions(command: Settle, decide: Settle, rows: Rows) -> None:
    command("backfill")
    before = stored(rows, "defillama")
    command("settle", restated=SCALED, code=1)
    waiting = rows("SELECT count(*) FROM quarantine WHERE metric_name = 'TVL'")[0][0]
    assert f"defillama aave-v3 TVL: adopted {waiting} values\n" in decide("--accept ALL tvl")
    changed = {key for key, value in stored(rows, "defillama").items() if before[key] != value}
    assert (len(changed), {asset for asset, _, _ in changed}) == (waiting, {"aave-v3"})
    assert rows("SELECT count(*), count(pull_id) FROM revisions WHERE reason = 'accepted'") == [(waiting, 0)]
    out = command("settle", restated=SCALED, code=1)
    assert ("Ethereum CHAIN_TVL: " in out, "aave-v3 TVL: " in out) == (True, False)


def test_what_a_person_rejects_stays_as_stored_and_is_not_asked_again_but_can_be_accepted_later(
    command: Settle, decide: Settle, show: Settle, rows: Rows
) -> None:
    command("backfill")
    before = stored(rows, "defillama")
    command("settle", restated=SCALED, code=1)
    assert "defillama Ethereum CHAIN_TVL: kept " in decide("--reject ethereum CHAIN_TVL --reject aave-v3 all")
    out = command("settle", restated=SCALED)
    assert ("needs attention" in out, stored(rows, "defillama"), rows(VERIFIED)) == (False, before, [(2, 2)])
    values = rows("SELECT count(*) FROM quarantine")[0][0]
    kept = f"{values:,} stored values of 2 series kept against the API, since a person rejected its values"
    assert f"  {kept}\n" in show("status")
    assert f"{kept}: Ethereum CHAIN_TVL (" in " ".join(show("check --offline").split())
    assert "nothing waits for all all in defillama: nothing waits at all" in decide("--accept all all", code=2)
    assert "defillama aave-v3 TVL: adopted " in decide("--accept aave-v3 tvl")
    changed = {asset for (asset, _, at), value in stored(rows, "defillama").items() if before[asset, _, at] != value}
    assert changed == {"aave-v3"}


def test_a_pull_leaves_restated_days_to_the_next_settle(command: Settle, rows: Rows) -> None:
    command(f"backfill --start {ago(100)}", BY_WINDOW)
    before = stored(rows, "artemis")
    out = command("pull", BY_WINDOW, restated=USUAL)
    assert {key: value for key, value in stored(rows, "artemis").items() if key in before} == before
    [(number,)] = rows("SELECT count(*) FROM quarantine WHERE state = 'new'")
    assert f"kept as stored: {number} values of closed days; the next settle decides about the API's values: " in out
    command("settle", BY_WINDOW, restated=USUAL)
    assert rows("SELECT FROM quarantine") == []
    assert rows("SELECT count(*) >= %s FROM revisions WHERE reason = 'restated'", number) == [(True,)]


def test_what_a_killed_settle_has_left_is_compared_again_by_the_next_one(command: Settle, rows: Rows) -> None:
    command(f"backfill --start {ago(100)}", BY_WINDOW)
    rows(
        "INSERT INTO quarantine SELECT source, asset, metric_name, pulled_at, value * 1.5, 'new', now(), 1 "
        "FROM metrics WHERE metric_name = 'PRICE' AND asset = 'sol' AND pulled_at < now() - interval '20 days'"
    )
    assert f"asked from {ago(100)} asked from {ago(10)}" in command("settle", BY_WINDOW)
    assert rows("SELECT FROM quarantine") == []  # the API says what was stored


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--accept aave-v3 TLV",
            "nothing waits for aave-v3 TLV in defillama: these wait: defillama Ethereum CHAIN_TVL, ",
        ),
        ("--reject nobody all", "nothing waits for nobody all in defillama: these wait: "),
        ("--accept aave-v3 TVL --reject aave-v3 all", "name it with --accept or with --reject, not with both"),
        ("--accept aave-v3 TVL --days 5", "--accept and --reject make no run: leave the other options out"),
        ("--accept aave-v3 TVL --dry-run", "--accept and --reject make no run: leave the other options out"),
    ],
)
def test_a_wrong_decision_is_one_line_and_changes_nothing(
    words: str, message: str, command: Settle, decide: Settle, rows: Rows
) -> None:
    command("backfill")
    command("settle", restated=SCALED, code=1)
    before = rows("SELECT * FROM quarantine ORDER BY 1, 2, 3, 4")
    out = decide(words, code=2)
    (error,) = [line for line in out.splitlines() if " INFO " not in line]
    assert error.startswith("error: ")
    assert message in error
    assert rows("SELECT * FROM quarantine ORDER BY 1, 2, 3, 4") == before


def test_a_decision_before_anything_waits_is_one_line(decide: Settle, command: Settle) -> None:
    command("backfill")
    assert "error: nothing waits for aave-v3 TVL in defillama: nothing waits at all\n" in decide(
        "--accept aave-v3 TVL", code=2
    )


def test_a_restatement_that_a_killed_run_has_left_is_decided_by_the_next_one(command: Settle, rows: Rows) -> None:
    command("backfill")
    rows(
        "INSERT INTO quarantine SELECT source, asset, metric_name, pulled_at, value * 1.001, 'new', now(), 1 "
        "FROM metrics WHERE asset = 'Ethereum' ORDER BY pulled_at LIMIT 3"
    )
    command("settle", restated=USUAL)
    assert rows("SELECT FROM quarantine") == []
    wanted = defillama_backfill(WHOLE, today())
    found = stored(rows, "defillama")
    assert sum(found[key] != value for key, value in wanted.items()) == rows("SELECT count(*) FROM revisions")[0][0]
