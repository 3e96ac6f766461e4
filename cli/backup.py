"""The commands that move the whole database: backup, restore-backup, upgrade-database."""

import argparse
from collections.abc import Callable

from cli.process import open_database
from db.backup import back_up, check_backup, restore_backup
from db.embedded_upgrade import upgrade_embedded
from model.errors import ConfigurationError
from model.settings import DATABASE_URL, EMBEDDED_DIRECTORY, MAIN, Settings
from pipeline.tables import ensure_tables


def write_backup(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write the embedded database, or our tables in another one, completely or not at all; returns 0."""
    if not settings.has_database():
        raise ConfigurationError(f"there is no database yet: {MAIN} setup creates one")
    with open_database(settings) as database:
        back_up(database, arguments.file, only_ours=bool(settings.get(DATABASE_URL)))
    size = arguments.file.stat().st_size / 1e6
    print(f"{arguments.file}: {size:,.1f} MB; to restore it: {MAIN} restore-backup {arguments.file}")
    return 0


def restore_whole(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Restore such a file into an empty database, completely or not at all, and upgrade the tables; returns 0."""
    check_backup(arguments.file)  # before a database is created
    with open_database(settings) as database:
        points = restore_backup(database, arguments.file)
        print(f"{arguments.file}: {points:,} points and all that is known of them are restored into {database}")
        ensure_tables(database, always=True)  # a backup of the tables alone has no views
    return 0


def upgrade_database(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Move the embedded database to the newest PostgreSQL that is installed; returns 0."""
    if settings.get(DATABASE_URL):
        raise ConfigurationError("DATABASE_URL is set: upgrade the server there with its own tools")
    done = upgrade_embedded(EMBEDDED_DIRECTORY, arguments.file)
    if done is None:
        print(f"the embedded database in {EMBEDDED_DIRECTORY} is of the newest PostgreSQL already")
        return 0
    rows = "the same number in each as before" if arguments.file is None else f"from {arguments.file}"
    print(
        f"moved from PostgreSQL {done.old} to {done.new}: {sum(done.rows.values()):,} rows in {len(done.rows)} tables, "
        f"{rows}. The old data is in {done.kept}: delete it when you no longer need it"
    )
    if done.readers:
        print(f"the readers are moved too, with their passwords: {', '.join(done.readers)}")
    if arguments.file:
        print(f"a backup has no roles: for each reader, run {MAIN} setup --reader NAME")
    return 0
