"""How the embedded server listens on loopback, for tools that can't use its socket: only if asked, with a password."""

import secrets
from contextlib import closing
from pathlib import Path

import psycopg2
from psycopg2.extensions import encrypt_password

from model.errors import ConfigurationError
from model.files import atomic_write

HOST = "127.0.0.1"
# Who may log in. The rules that initdb writes trust every program of this machine.
RULES = f"local all all trust\nhost all all {HOST}/32 scram-sha-256\n"
RULES_FILE = "listening_hba.conf"  # in the data directory, in which the server starts
PASSWORD_FILE = "password"  # noqa: S105 - the name of a file, beside the data directory


def server_settings(port: int) -> dict[str, str]:
    """The settings of a server that listens on this port of loopback."""
    return {"listen_addresses": HOST, "port": str(port), "hba_file": RULES_FILE}


def write_rules(data: Path) -> Path:
    """Write the file that `server_settings` names; returns it."""
    file = data / RULES_FILE
    file.write_text(RULES, encoding="utf-8")
    return file


def ensure_password(dsn: str, directory: Path, user: str, port: int) -> bool:
    """Give the role a password and keep it beside the data, unless it has one; False if the server is not on the port.

    A role of new data gets the password that is there. The file is written last: where a process is killed before, the
    next one does both.
    """
    try:
        with closing(psycopg2.connect(dsn)) as session, session, session.cursor() as cursor:
            cursor.execute("SELECT current_setting('listen_addresses'), current_setting('port')")
            if cursor.fetchone() != (HOST, str(port)):
                return False
            kept = (directory / PASSWORD_FILE).exists()
            cursor.execute("SELECT FROM pg_authid WHERE rolname = %s AND rolpassword IS NOT NULL", (user,))
            if kept and cursor.rowcount:
                return True
            password = password_of(directory) if kept else secrets.token_urlsafe(24)
            verifier = encrypt_password(password, user, session, "scram-sha-256")  # no log of the server has more
            cursor.execute(f'ALTER ROLE "{user}" PASSWORD %s', (verifier,))
    except psycopg2.Error as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(
            f"no password could be set in {directory}: {why}: repeat, or leave out EMBEDDED_PORT"
        ) from error
    with atomic_write(directory / PASSWORD_FILE) as file:
        file.write_text(password, encoding="utf-8")
    return True


def password_of(directory: Path) -> str:
    """The password of the role; raises ConfigurationError if its file can't be read."""
    file = directory / PASSWORD_FILE
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{file}: can't be read: {error.strerror}") from error
