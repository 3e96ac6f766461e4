"""An upgrade of the embedded database from a backup, which never reads the old data: one PostgreSQL is enough."""

from pathlib import Path

import pytest

from db import embedded
from db.backup import back_up
from db.database import Database
from db.embedded import EmbeddedServer
from db.embedded_upgrade import upgrade_embedded
from tests.commands import SECONDS, copy_tree, environment, start
from tests.tables import ask
from tests.waiting import until


@pytest.fixture
def root(tmp_path: Path, database: Database, database_url: str) -> Path:
    """A copy of the repository with data that says it is of PostgreSQL 13, and a backup with a run."""
    ask(database_url, "INSERT INTO pulls (source_name, status) VALUES ('artemis', 'success')")
    copy_tree(root := tmp_path / "copy")
    back_up(database, root / "metrics.dump")
    EmbeddedServer(home := root / ".data" / "postgres").release()
    (home / "data" / "PG_VERSION").write_text("13\n")
    return root


@pytest.mark.parametrize("moment", ["data.new", "data/postmaster.pid"])
def test_a_kill_leaves_the_old_data_in_its_place_and_the_command_can_be_repeated(moment: str, root: Path) -> None:
    home = root / ".data" / "postgres"
    before = (home / "data").stat().st_ino
    with start("main.py upgrade-database metrics.dump", env=environment(""), root=root, cwd=root) as process:
        until((home / "upgrade" / moment).exists)
        process.kill()
        process.wait(SECONDS)
    assert (home / "data").stat().st_ino == before
    done = upgrade_embedded(home, root / "metrics.dump")
    assert done is not None
    assert (done.old, done.rows["public.pulls"], done.kept.stat().st_ino) == (13, 1, before)
    server = EmbeddedServer(home)
    assert ask(server.dsn, "SELECT count(*) FROM pulls") == [(1,)]
    server.release()
    assert not [pid for data in home.rglob("data*") for pid in embedded._server_processes(data)]
