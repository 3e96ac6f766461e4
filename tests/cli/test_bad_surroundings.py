"""Surroundings that no command can work in: one line says what is wrong and what to do."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from shlex import quote

import psycopg2
import pytest

from model.values import Verb
from tests.commands import ROOT, SECONDS, copy_tree, environment, run, write
from tests.fake_api import FakeApi
from tests.tables import Opener, Rows, as_role, point
from tests.wire import Wire, reply

READING = ("gaps artemis", "revisions artemis", "status", "query sol PRICE", "latest PRICE", "report --out {}/r.html")
COMMANDS = (
    *READING,
    "pull defillama",
    "backfill defillama",
    "settle defillama",
    "setup",
    "psql",
    "fresh defillama --yes",
)


def error_of(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """The one line with which a command ends."""
    *_, line = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert (done.returncode, line[:7]) == (code, "error: "), (done.returncode, done.stderr)
    return line.removeprefix("error: ")


@pytest.mark.parametrize("command", READING)
def test_a_role_that_may_not_select_is_named_as_the_reason(
    command: str, database_url: str, rows: Rows, tmp_path: Path
) -> None:
    role = f"stranger_{database_url.rpartition('_')[2]}"
    rows(f"CREATE ROLE {role} LOGIN")
    try:
        done = run(f"main.py {command.format(tmp_path)}", env=environment(as_role(database_url, role)))
    finally:
        rows(f"DROP ROLE {role}")
    assert "can't be read: permission denied for table" in error_of(done)


@pytest.mark.parametrize("command", [*COMMANDS, "check --offline"])
def test_a_wrong_percent_sign_in_the_address_of_the_database_is_said_by_each_command(
    command: str, tmp_path: Path
) -> None:
    done = run(f"main.py {command.format(tmp_path)}", env=environment("postgresql://me:%ac@127.0.0.1:9/metrics"))
    if command.startswith("check"):
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        assert "DATABASE_URL" in done.stdout
    else:
        assert "DATABASE_URL" in error_of(done)
    assert "%ac" not in done.stdout + done.stderr


def test_a_closed_standard_input_is_nobody_who_can_confirm(database_url: str) -> None:
    line = f"exec {quote(sys.executable)} main.py fresh defillama <&-"
    done = subprocess.run(  # noqa: S602 - our own words
        line, shell=True, cwd=ROOT, env=environment(database_url), capture_output=True, text=True, timeout=SECONDS
    )
    assert error_of(done).startswith("nobody can confirm the clearing, ")


def test_a_name_with_half_a_character_in_a_listing_is_shown_and_never_written(empty_url: str, tmp_path: Path) -> None:
    file = write(tmp_path, "asset,kind,metrics,id\n")
    chains = [{"name": "Bad\ud800chain", "tvl": 1.0, "gecko_id": None, "cmcId": None, "tokenSymbol": "X\udfff"}]
    with Wire(reply(json.dumps(chains).encode())) as wire:
        env = environment(empty_url) | {"DEFILLAMA_BASE_URL": wire.url}
        done = run("main.py discover defillama chain --kind chain --json", env=env)
        added = run("main.py discover defillama bad-chain --add --config", file, env=env)
    assert [each["id"] for each in json.loads(done.stdout)] == ["Bad\ud800chain"]
    assert "not written, since half a character is in ['bad-chain,chain,CHAIN_TVL,Bad\\ud800chain']" in error_of(added)
    assert file.read_text() == "asset,kind,metrics,id\n"


def test_a_database_that_can_not_store_a_name_is_said_with_its_encoding(database_url: str, tmp_path: Path) -> None:
    name = f"{database_url.rpartition('dbname=')[2]}_latin1"
    file = write(
        tmp_path, "asset,kind,metrics,id\n₿itcoin,coin,PRICE,coingecko:bitcoin\nether,coin,PRICE,coingecko:ethereum\n"
    )
    with closing(psycopg2.connect(database_url)) as session:
        session.autocommit = True
        session.cursor().execute(f"CREATE DATABASE {name} ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    url = f"{database_url.rpartition('dbname=')[0]}dbname={name}"
    try:
        with FakeApi() as api:
            done = run("main.py pull defillama --config", file, env=environment(url, api))
            query = run("main.py query ₿itcoin PRICE", env=environment(url, api))
        assert "LATIN1" in error_of(done)
        assert "there is no asset '₿itcoin'" in error_of(query)
    finally:
        with closing(psycopg2.connect(database_url)) as session:
            session.autocommit = True
            session.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_table_that_was_dropped_by_hand_is_made_again_by_setup(
    database_url: str, rows: Rows, tmp_path: Path, open_store: Opener
) -> None:
    open_store(Verb.BACKFILL).load([point("ethereum", metric="TVL")])
    rows("DROP TABLE coverage CASCADE")
    for command in READING:
        done = run(f"main.py {command.format(tmp_path)}", env=environment(database_url))
        assert "python main.py setup" in error_of(done)
    assert run("main.py setup", env=environment(database_url)).returncode == 0
    assert run("main.py backfill defillama --asset ethereum --dry-run", env=environment(database_url)).returncode == 0


def test_the_fakes_say_which_folder_can_not_be_written(tmp_path: Path) -> None:
    copy_tree(tmp_path / "copy")
    (tmp_path / "copy" / ".data").write_text("")
    words = [sys.executable, "-m", "tests.fake_api", "main.py", "sources"]
    env = environment("")
    done = subprocess.run(words, cwd=tmp_path / "copy", env=env, capture_output=True, text=True, timeout=SECONDS)  # noqa: S603
    assert ".data" in error_of(done)
