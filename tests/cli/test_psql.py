"""The command `psql`, as a process."""

from pathlib import Path

import pytest

from db.database import Database
from tests.commands import copy_tree, environment, run_process


def test_psql_is_on_the_database_in_use_and_gives_its_exit_code(database_url: str) -> None:
    found = run_process("main.py psql", "SELECT 'rows: ' || count(*) FROM metrics", env=environment(database_url))
    assert (found.returncode, "rows: 0" in found.stdout) == (0, True), found.stderr
    failed = run_process("main.py psql", "SELECT FROM nothing", env=environment(database_url))
    assert (failed.returncode, 'relation "nothing" does not exist' in failed.stderr) == (1, True)


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    copy_tree(root := tmp_path / "copy")
    found = run_process("main.py psql", env=environment(""), root=root)
    assert found.returncode == 2
    assert found.stderr == "error: there is no database yet: python main.py setup creates one\n"
    assert not (root / ".data").exists()


def test_the_password_is_no_part_of_what_ps_shows(tmp_path: Path) -> None:
    database = Database("postgresql://me:s3cr3t%40@host:7777/db?sslmode=require", tmp_path)
    shown, password = database.conninfo()
    assert password == "s3cr3t@"  # noqa: S105 - of this test
    assert sorted(shown.split()) == ["dbname=db", "host=host", "port=7777", "sslmode=require", "user=me"]


@pytest.mark.parametrize("line", ["main.py psql", "main.py backup a.dump", "main.py url"])
def test_the_passphrase_of_a_key_is_in_no_list_of_processes_and_in_no_output(line: str, database_url: str) -> None:
    done = run_process(line, env=environment(f"{database_url} sslpassword=s3cr3t"))
    assert "s3cr3t" not in done.stdout + done.stderr
    if line != "main.py url":
        assert done.returncode == 2
        assert done.stderr.endswith("for psql and backups, name a key without a passphrase in sslkey\n")
