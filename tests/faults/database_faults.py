"""Databases that fail, are in the way, or are not what they seem."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psycopg2

from db.embedded import EmbeddedServer
from tests.faults.process_faults import DONE_OR_FAILED, begun, moment_of
from tests.faults.trial import Fault, Trial
from tests.pgbouncer import PGBOUNCER, answers, pooled
from tests.waiting import until

SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'crypto-metrics %%'"
HOSTILE = ("statement_timeout = '30ms'", "lock_timeout = '30ms'", "datestyle = 'SQL, DMY'",
           "extra_float_digits = -15", "timezone = 'Asia/Tokyo'")  # fmt: skip
REFUSED = frozenset({2})


def database_faults(seed: int) -> list[Fault]:
    """What happens to the database while a command uses it, at a moment that the seed chooses."""
    moment = moment_of(seed)

    def during(happen: Callable[[Trial, ExitStack], object]) -> Callable[[Trial], int]:
        def run(trial: Trial) -> int:
            process = begun(trial, moment)
            with ExitStack() as undone:
                happen(trial, undone)
                time.sleep(1.0)
            until(lambda: answers(trial.url))
            return trial.end(process)

        return run

    faults = [
        Fault("database", "sessions terminated", during(_terminate), DONE_OR_FAILED),
        Fault("database", "crash and recovery", during(_crash), DONE_OR_FAILED),
        Fault("database", "restart", during(_restart), DONE_OR_FAILED),
        Fault("database", "table locked for a second", during(_lock), DONE_OR_FAILED),
        Fault("database", "deadlock", during(_deadlock), DONE_OR_FAILED),
        Fault("database", "too many clients", during(_fill), frozenset({0, 1, 2})),
        Fault("database", "read-only", _set_for_all("default_transaction_read_only = on"), REFUSED),
        Fault("database", "hostile settings", _set_for_all(*HOSTILE), frozenset({0})),
        Fault("database", "rights to read alone", _as_reader, REFUSED),
        Fault("database", "a table metrics of others", _beside_others, REFUSED),
        Fault("database", "encoding LATIN1", _encoded("LATIN1"), frozenset({0})),
        Fault("database", "encoding SQL_ASCII", _encoded("SQL_ASCII"), frozenset({0})),
    ]
    if PGBOUNCER:
        faults.append(Fault("database", "pooler", _through_pooler, REFUSED))
    return faults


def _set_for_all(*settings: str) -> Callable[[Trial], int]:
    def run(trial: Trial) -> int:
        [(name,)] = trial.rows("SELECT current_database()")
        for setting in settings:
            trial.rows(f"ALTER DATABASE {name} SET {setting}")
        code = trial.end(trial.start())
        trial.rows(f"BEGIN READ WRITE; ALTER DATABASE {name} RESET ALL; COMMIT")
        return code

    return run


def _encoded(encoding: str) -> Callable[[Trial], int]:
    """The whole trial in a new database of this encoding, whose tables the command creates."""

    def run(trial: Trial) -> int:
        [(name,)] = trial.rows("SELECT current_database()")
        other = f"{name}_{encoding.lower()}"
        trial.rows(f"CREATE DATABASE {other} TEMPLATE template0 LOCALE 'C' ENCODING '{encoding}'")
        trial.url = trial.url.replace(f"dbname={name}", f"dbname={other}")
        return trial.end(trial.start())

    return run


def _as_reader(trial: Trial) -> int:
    [(name,)] = trial.rows("SELECT current_database()")
    trial.rows(f"CREATE ROLE {name} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    return trial.end(trial.start(DATABASE_URL=trial.url.replace("user=metrics", f"user={name}")))


def _beside_others(trial: Trial) -> int:
    trial.rows("ALTER TABLE metrics RENAME TO ours; CREATE TABLE metrics (id INTEGER); INSERT INTO metrics VALUES (7)")
    code = trial.end(trial.start())
    assert trial.rows("SELECT * FROM metrics") == [(7,)]
    trial.rows("DROP TABLE metrics; ALTER TABLE ours RENAME TO metrics")
    return code


def _through_pooler(trial: Trial) -> int:
    with pooled(trial.url, "transaction") as url:
        return trial.end(trial.start(DATABASE_URL=url))


def _terminate(trial: Trial, _: ExitStack) -> None:
    trial.rows(f"SELECT pg_terminate_backend(pid) {SESSIONS}")


def _crash(trial: Trial, _: ExitStack) -> None:
    for (pid,) in trial.rows(f"SELECT pid {SESSIONS} LIMIT 1"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # the server then ends all sessions, and recovers


def _restart(trial: Trial, undone: ExitStack) -> None:
    [(data,)] = trial.rows("SELECT current_setting('data_directory')")
    pid = int(Path(data, "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGINT)  # a fast shutdown
    until(lambda: not answers(trial.url))
    undone.callback(EmbeddedServer(Path(data).parent).release)


def _lock(trial: Trial, undone: ExitStack) -> None:
    session = undone.enter_context(closing(psycopg2.connect(trial.url)))
    session.cursor().execute("SET statement_timeout = '5s'; LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")


def _deadlock(trial: Trial, undone: ExitStack) -> None:
    """Lock what a load locks, the other way round; the server ends the load, since it waits first."""
    cursor = undone.enter_context(closing(psycopg2.connect(trial.url))).cursor()
    cursor.execute("SET statement_timeout = '5s'; SET deadlock_timeout = '4s'; LOCK TABLE coverage IN EXCLUSIVE MODE")
    time.sleep(0.8)
    with suppress(psycopg2.errors.QueryCanceled):
        cursor.execute("LOCK TABLE metrics IN EXCLUSIVE MODE")


def _fill(trial: Trial, undone: ExitStack) -> None:
    with suppress(psycopg2.OperationalError):
        for _ in range(200):
            undone.enter_context(closing(psycopg2.connect(trial.url)))
