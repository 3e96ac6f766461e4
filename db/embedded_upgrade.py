"""Moves the embedded database to a newer major version of PostgreSQL, which can't read the files of an older one.

A new server is made in `<directory>/upgrade` and filled from a backup. When it is complete, its data is renamed to
`data.upgraded`, the old data to `data-15-…`, and `data.upgraded` to `data`. After a kill between the last two steps,
the next start makes the last one; after a kill before, the old data is still in its place. Nobody else can use the
database during the upgrade, since it holds the gate.
"""

import fcntl
import logging
import os
import shutil
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from db.backup import back_up, check_backup, restore_backup, row_counts
from db.database import Database
from db.embedded import UPGRADED, EmbeddedServer, finish_upgrade, lock, server_runs
from db.postgres_programs import data_major, program_directories, programs_for, server_version
from db.roles import ensure_reader, readers
from db.setup import ensure_schema
from model.errors import ConfigurationError
from model.files import sync_folder

log = logging.getLogger(__name__)
GATE_SECONDS = 10  # how long to wait for a process that is starting or stopping the server


class Upgraded(NamedTuple):
    """What an upgrade has done."""

    old: int  # the major versions
    new: int
    rows: dict[str, int]  # in the new database, by table
    kept: Path  # where the old data is
    readers: list[str]  # the roles of `setup --reader` that have been moved, with their passwords


def upgrade_embedded(directory: Path, backup: Path | None = None) -> Upgraded | None:
    """Move the data to the newest PostgreSQL that is installed; None if it is of that version already.

    The old data is read by its own PostgreSQL, and the numbers of rows are compared; or `backup`, a file of back_up,
    takes its place. Raises ConfigurationError, with the old data in its place, if another process uses the database, if
    the old PostgreSQL is gone and there is no backup, or if a step fails.
    """
    directory = directory.resolve()
    data = directory / "data"
    if not directory.exists():
        raise ConfigurationError(f"there is no embedded database in {directory}")
    if backup:
        check_backup(backup)
    try:
        with lock(directory / "gate", fcntl.LOCK_EX, GATE_SECONDS) as gate:
            lock(directory / "holders", fcntl.LOCK_EX, 0).close()  # nobody uses the server
            finish_upgrade(directory)
            old, (new, _) = data_major(data), server_version(program_directories()[0])
            if old is None:
                raise ConfigurationError(f"there is no embedded database in {directory}")
            if old == new:
                return None
            if old > new or backup is None:
                programs_for(data, program_directories())  # refuses what can't be read
            return _move(directory, backup, gate, old, new)
    except TimeoutError as error:
        raise ConfigurationError(f"stop everything that uses the embedded database first: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"the embedded database in {directory} was not moved: {error}") from error


def _move(directory: Path, backup: Path | None, gate: FileIO, old: int, new: int) -> Upgraded:
    work, data = directory / "upgrade", directory / "data"
    _stop_leftover(directory, gate)  # it would go on in the folder of the old data, unseen
    _remove_leftovers(directory, work)
    work.mkdir()
    try:
        before: dict[str, int] | None = None
        moved: dict[str, str] = {}
        if backup is None:
            log.info("reading the data with PostgreSQL %d", old)
            backup = work / "metrics.dump"
            before, moved = _read_old(directory, backup, gate)
        log.info("restoring it with PostgreSQL %d", new)
        rows = _fill(work, backup, moved)
        if before not in (None, rows):
            raise ConfigurationError(f"{before} rows went in, but {rows} came out: the old data stays in use")
        _give_to_owner_of(data, work / "data")
        kept = directory / f"data-{old}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for place, name in ((work / "data", UPGRADED), (data, kept.name), (directory / UPGRADED, "data")):
            place.rename(directory / name)
            sync_folder(directory)
    finally:
        shutil.rmtree(work, ignore_errors=True)  # otherwise the next upgrade does it
    return Upgraded(old, new, rows, kept, list(moved))


def _remove_leftovers(directory: Path, work: Path) -> None:
    """Remove what an upgrade that was killed has left, none of which is in use."""
    if (work / "data").exists():
        _stop_leftover(work)
    for folder in (work, directory / UPGRADED):
        if folder.exists():
            shutil.rmtree(folder)


def _read_old(directory: Path, file: Path, gate: FileIO) -> tuple[dict[str, int], dict[str, str]]:
    """Write a backup of the old database; the numbers of its rows, and its readers."""
    server = EmbeddedServer(directory, gate=gate)
    try:
        database = Database(server.dsn, directory)
        back_up(database, file)
        found = row_counts(database), readers(database)
    finally:
        server.release(gate)
    _check_stopped(directory)
    return found


def _fill(work: Path, backup: Path, moved: dict[str, str]) -> dict[str, int]:
    """Make a new database of a backup, with these readers, and stop its server; the numbers of rows in the backup."""
    server = EmbeddedServer(work)
    try:
        database = Database(server.dsn, work)
        restore_backup(database, backup)
        rows = row_counts(database)
        ensure_schema(database)
        for name, verifier in moved.items():
            ensure_reader(database, name, verifier)
    finally:
        server.release()
    _check_stopped(work)
    return rows


def _stop_leftover(directory: Path, gate: FileIO | None = None) -> None:
    """Stop the server that a killed process has left running in a folder, if there is one."""
    if server_runs(directory / "data"):
        EmbeddedServer(directory, gate=gate).release(gate)
    _check_stopped(directory)


def _check_stopped(directory: Path) -> None:
    if server_runs(directory / "data"):
        raise ConfigurationError(f"the PostgreSQL server in {directory} did not stop: end it, and try again")


def _give_to_owner_of(old: Path, new: Path) -> None:
    """Make the owner of the old data that of the new data too: for root, a new server may have had another account."""
    owner = old.stat()
    if (new.stat().st_uid, new.stat().st_gid) != (owner.st_uid, owner.st_gid):
        for path in (new, *new.rglob("*")):
            os.lchown(path, owner.st_uid, owner.st_gid)
