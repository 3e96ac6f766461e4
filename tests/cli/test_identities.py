"""An API gives the identifier of a config row to another asset: what runs and `check` do, and how a user goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Rows, environment, run, write
from tests.fake_api import FakeApi, artemis

ARTEMIS = "asset,metrics,id\nmatic,PRICE FEES,\nsol,PRICE,\n"
MEANT = """
SELECT asset, canonical_id, lasting_id, title, other_lasting_id, other_title FROM identities
ORDER BY asset, canonical_id
"""
VALUES = "SELECT DISTINCT asset FROM metrics ORDER BY 1"
ASSET = artemis._asset


@pytest.fixture
def repoint(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let the symbol matic mean this asset."""

    def change(title: str) -> None:
        def row(symbol: str) -> dict[str, object]:
            other = {"artemis_id": f"id-{title}", "title": title} if symbol == "matic" else {}
            return ASSET(symbol) | other

        monkeypatch.setattr(artemis, "_asset", row)

    return change


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write(tmp_path, ARTEMIS)


def pull(config: Path, api: FakeApi, database_url: str) -> Any:
    return run("main.py pull artemis --config", config, env=environment(database_url, api))


def check(words: str, database_url: str) -> Any:
    return run(f"main.py check artemis --offline {words}", env=environment(database_url))


def test_a_symbol_that_means_another_asset_stores_nothing_until_it_is_confirmed(
    config: Path, database_url: str, rows: Rows, repoint: Callable[[str], None]
) -> None:
    with FakeApi(universe=[config]) as api:
        assert pull(config, api, database_url).returncode == 0
        assert rows(MEANT)[0] == ("matic", "matic", "id-matic", "MATIC", None, None)
        rows("DELETE FROM metrics; DELETE FROM coverage")
        repoint("Polygon")
        for _ in range(2):
            done = pull(config, api, database_url)
            assert done.returncode == 1
            assert (
                "artemis matic: matic now stands for Polygon (id-Polygon) at the API, and stood for MATIC"
                in done.stdout
            )
            assert "python main.py check artemis --confirm matic" in done.stdout
            assert rows(VALUES) == [("sol",)]
        [(status, failure)] = rows("SELECT status, failure FROM pulls ORDER BY pull_id DESC LIMIT 1")
        assert status == "success"  # a retry can't help: the scheduler makes none
        assert str(failure).startswith("artemis matic: matic now stands for Polygon")
        done = check("--confirm matic", database_url)
        assert "artemis matic: from now on this is Polygon (id-Polygon)" in done.stderr
        assert pull(config, api, database_url).returncode == 0
    assert rows(VALUES) == [("matic",), ("sol",)]
    assert rows(MEANT)[0] == ("matic", "matic", "id-Polygon", "Polygon", None, None)


def test_a_row_whose_id_is_corrected_is_requested_again(
    config: Path, tmp_path: Path, database_url: str, rows: Rows, repoint: Callable[[str], None]
) -> None:
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(ARTEMIS.replace("matic,PRICE FEES,", "matic,PRICE FEES,pol"))
    with FakeApi(universe=[config, corrected]) as api:
        pull(config, api, database_url)
        repoint("Polygon")
        assert pull(config, api, database_url).returncode == 1
        assert pull(corrected, api, database_url).returncode == 0
        assert rows(MEANT)[1] == ("matic", "pol", "id-pol", "POL", None, None)
        assert pull(config, api, database_url).returncode == 1  # what was seen of the other id is not forgotten


def test_a_symbol_that_means_the_first_asset_again_is_well_again(
    config: Path, database_url: str, rows: Rows, repoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeApi(universe=[config]) as api:
        pull(config, api, database_url)
        repoint("Polygon")
        assert pull(config, api, database_url).returncode == 1
        monkeypatch.undo()
        assert pull(config, api, database_url).returncode == 0
    assert rows(MEANT)[0] == ("matic", "matic", "id-matic", "MATIC", None, None)


def test_a_new_title_of_the_same_asset_is_no_change(
    config: Path, database_url: str, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeApi(universe=[config]) as api:
        pull(config, api, database_url)
        monkeypatch.setattr(artemis, "_asset", lambda symbol: ASSET(symbol) | {"title": f"New {symbol}"})
        assert pull(config, api, database_url).returncode == 0
    assert rows(MEANT)[0] == ("matic", "matic", "id-matic", "New matic", None, None)


def test_without_the_list_the_run_goes_on_and_says_that_the_call_failed(
    config: Path, database_url: str, rows: Rows, repoint: Callable[[str], None]
) -> None:
    with FakeApi(universe=[config]) as api:
        pull(config, api, database_url)
        repoint("Polygon")
        pull(config, api, database_url)
    rows("DELETE FROM metrics; DELETE FROM coverage")
    with FakeApi(universe=[config], broken={"asset/symbols": "404"}) as api:
        done = pull(config, api, database_url)
    assert done.returncode == 1
    assert "needs attention: asset/symbols/: HTTP 404" in done.stdout
    assert rows("SELECT status, failed_calls FROM pulls ORDER BY pull_id DESC LIMIT 1") == [("success", 1)]
    assert rows(VALUES) == [("sol",)]  # what is known to have changed stays out


def test_check_shows_a_changed_asset_also_without_a_request(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        run("main.py pull artemis --asset sol", env=environment(database_url, api))
        rows("UPDATE identities SET other_lasting_id = 'id-x', other_title = 'Sol X'")
    done = check("", database_url)
    assert done.returncode == 1
    assert "artemis sol" in done.stdout
    assert "sol now stands for Sol X (id-x) at the API, and stood for SOL (id-sol) before" in " ".join(
        done.stdout.split()
    )


def test_status_shows_a_changed_asset_until_it_is_confirmed(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        run("main.py pull artemis --asset sol", env=environment(database_url, api))
    rows("UPDATE identities SET other_lasting_id = 'id-x', other_title = 'Sol X'")
    said = " ".join(run("main.py status", env=environment(database_url)).stdout.split())
    assert "! artemis: sol: sol now stands for Sol X (id-x) at the API" in said
    assert "python main.py check artemis --confirm sol" in said
    check("--confirm sol", database_url)
    assert "now stands for" not in run("main.py status", env=environment(database_url)).stdout


def test_a_name_that_changed_in_two_sources_needs_one_of_them(database_url: str, rows: Rows) -> None:
    for source in ("artemis", "defillama"):
        rows("INSERT INTO identities VALUES (%s, '', 'aave', 'aave', 'id', 'Aave', 'other', 'B')", source)
    done = run("main.py check --offline --confirm aave", env=environment(database_url))
    assert done.returncode == 2
    assert done.stderr.endswith("error: --confirm aave: name one source: artemis or defillama\n")
    assert check("--confirm aave", database_url).returncode == 0
    assert rows("SELECT source FROM identities WHERE other_title IS NULL") == [("artemis",)]


def test_only_what_has_changed_can_be_confirmed(database_url: str, rows: Rows) -> None:
    with FakeApi() as api:
        run("main.py pull artemis --asset sol", env=environment(database_url, api))
    done = check("--confirm sol", database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: --confirm sol: the API still means the same asset by it: no row has changed\n" in done.stderr
    rows("UPDATE identities SET other_lasting_id = 'id-x', other_title = 'Sol X'")
    done = check("--confirm sol --confirm soll", database_url)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("did you mean sol?\n")
    assert rows("SELECT other_title FROM identities") == [("Sol X",)]


def test_a_backfill_of_defillama_sees_a_slug_that_means_another_protocol(
    tmp_path: Path, database_url: str, rows: Rows
) -> None:
    config = write(tmp_path, "asset,kind,metrics\nlido,protocol,TVL\nmorpho,protocol,TVL\n")
    with FakeApi(universe=[config], shipped=False) as api:
        backfill = "main.py backfill defillama --start 2026-01-01 --config"
        assert run(backfill, config, env=environment(database_url, api)).returncode == 0
        rows("UPDATE identities SET lasting_id = '77', title = 'Old' WHERE asset = 'lido'; DELETE FROM coverage")
        done = run(backfill, config, env=environment(database_url, api))
        assert done.returncode == 1
        assert "defillama lido: lido now stands for " in done.stdout
        assert rows("SELECT asset FROM coverage") == [("morpho",)]
        done = run("main.py pull defillama --config", config, env=environment(database_url, api))
        assert done.returncode == 1  # a pull reads no list, but knows what the last backfill saw
        assert "defillama lido: lido now stands for " in done.stdout


def test_a_title_that_moves_a_cursor_or_has_half_a_character_is_stored_as_plain_text(
    config: Path, database_url: str, rows: Rows, repoint: Callable[[str], None]
) -> None:
    with FakeApi(universe=[config]) as api:
        repoint("Bad\x00\x1b[2J\ud800 title")
        assert pull(config, api, database_url).returncode == 0
    assert rows(MEANT)[0][3] == "Bad [2J title"


def test_a_row_that_no_list_has_is_requested_all_the_same(
    config: Path, tmp_path: Path, database_url: str, rows: Rows
) -> None:
    more = tmp_path / "more.csv"
    more.write_text(f"{ARTEMIS}unlisted,PRICE,\n")
    with FakeApi(universe=[config], shipped=False) as api:
        assert pull(more, api, database_url).returncode == 0
    assert rows(VALUES) == [("matic",), ("sol",), ("unlisted",)]
    assert rows("SELECT asset FROM identities ORDER BY 1") == [("matic",), ("sol",)]
    assert rows("SELECT calls FROM pulls") == [(3,)]  # the list, and two for points


def test_a_key_that_the_list_refuses_ends_the_run_as_any_refused_key_does(
    config: Path, database_url: str, rows: Rows
) -> None:
    with FakeApi(universe=[config], artemis_key="another") as api:
        done = pull(config, api, database_url)
    assert done.returncode == 1
    assert "artemis refuses the key" in done.stdout
    assert rows("SELECT status FROM pulls") == [("error",)]
