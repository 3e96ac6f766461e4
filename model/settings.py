"""The settings from the environment and .env, read once, and which of them are secret."""

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from model.errors import ConfigurationError
from model.files import atomic_write

VERSION = "1.0"
HOME = "CRYPTO_METRICS_HOME"
CODE = Path(__file__).resolve().parent.parent
INSTALLED = not (CODE / "pyproject.toml").exists()  # by pip; otherwise this is a clone of the repository
# The home folder, where .env, the configs, .data and saved are.
ROOT = Path(os.environ.get(HOME) or ("~/.crypto-metrics" if INSTALLED else CODE)).expanduser().absolute()
# What a person writes to start the two programs.
MAIN, SCHEDULER_COMMAND = (
    ("crypto-metrics", "crypto-metrics-scheduler") if INSTALLED else ("python main.py", "python scheduler.py")
)
DOTENV = ".env" if ROOT == CODE else str(ROOT / ".env")
DATABASE_URL = "DATABASE_URL"
DATABASE_SECRETS = ("password", "sslpassword")  # its secret parameters, as libpq names them
EMBEDDED_PORT = "EMBEDDED_PORT"
READER_PASSWORD = "READER_PASSWORD"  # noqa: S105 - the name of a variable
EMBEDDED_DIRECTORY = ROOT / ".data" / "postgres"
PACE_DIRECTORY = "PACE_DIRECTORY"
OWN_PACE_DIRECTORY = ROOT / ".data" / "pace"
NOTIFY_URL, NOTIFY_FORM, HEARTBEAT_URL = "NOTIFY_URL", "NOTIFY_FORM", "HEARTBEAT_URL"
WEBHOOKS = (NOTIFY_URL, HEARTBEAT_URL)  # their paths and queries hold tokens
# All that .env may set, beside the key and the URL of each source.
VARIABLES = (DATABASE_URL, READER_PASSWORD, EMBEDDED_PORT, PACE_DIRECTORY, NOTIFY_URL, NOTIFY_FORM, HEARTBEAT_URL)
WORD = r"(?:[a-z]{1,15}|[A-Z]{1,15}|[A-Z][a-z]{1,14}|sendMessage)"
WORDS = re.compile(rf"{WORD}(?:[-_.]{WORD})*")  # a part of a URL that is no token: to hide it would hide plain words


class Settings:
    """The variables of the environment, and those of .env that the environment does not set."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value.strip() for name, value in values.items()}

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ, file: Path = ROOT / ".env") -> "Settings":
        """The settings of this process; raises ConfigurationError if .env can't be read."""
        try:
            written = {name: value for name, value in dotenv_values(file).items() if value is not None}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file}: can't be read: {error}") from error
        return cls({**written, **environment})

    def get(self, name: str) -> str:
        """The value of a variable; empty if it is not set."""
        return self._values.get(name, "")

    def has_database(self) -> bool:
        """Whether DATABASE_URL is set or an embedded database exists."""
        return bool(self.get(DATABASE_URL)) or EMBEDDED_DIRECTORY.exists()

    def key(self, name: str) -> str:
        """The value of a variable for an API key; raises ConfigurationError if it can't be a key."""
        value = self.get(name)
        if not value.isascii() or not value.isprintable() or set(value) & set(" \"'"):
            raise ConfigurationError(
                f"{name} contains a space, a quote or another character that no API key has: copy the key again"
            )
        return value

    def url(self, name: str) -> str:
        """The value of a variable for the URL of a server; raises ConfigurationError if it can't be one."""
        value = self.get(name)
        if value and not _is_url(value):
            raise ConfigurationError(f"{name} is not the URL of a server: write http://host:port or https://host")
        return value

    def port(self, name: str) -> int:
        """The value of a variable for a TCP port, 0 if it is not set; raises ConfigurationError if it can't be one."""
        value = self.get(name)
        if value and not (value.isascii() and value.isdecimal() and 1024 <= int(value) <= 65535):
            raise ConfigurationError(f"{name} is not a port: write a number from 1024 to 65535, such as 5433")
        return int(value or 0)

    def exposed(
        self, key_variable: str, url_variable: str, file: Path = ROOT / ".env"
    ) -> Iterator[tuple[str, str, str]]:
        """Where others can read a key that is set: the file or variable, why, and what to do."""
        if not self.get(key_variable):
            return
        server = re.match(r"http://(?:[^/?#]*@)?\[?([^/?#\]]*?)\]?(:\d*)?([/?#]|$)", self.get(url_variable))
        if server and not _is_loopback(server[1]):
            why = f"requests to {server[1]} show {key_variable} to the network"
            yield url_variable, why, "write https:// in place of http://"
        if file.exists() and file.stat().st_mode & stat.S_IROTH and dotenv_values(file).get(key_variable):
            yield file.name, "every user of this machine can read it", f"chmod 600 {file}"

    def secrets(self, key_variables: Iterable[str]) -> list[str]:
        """The keys, the passwords of database and reader, and the tokens of webhooks, in each form that may occur."""
        import psycopg2  # imported here, since `--help` does not need it
        from psycopg2.extensions import parse_dsn

        url = self.get(DATABASE_URL)
        pairs = re.findall(r"://[^:/?#@]*:(.*)@|[?&](?:ssl)?password=([^&]*)", url)
        found = {written for pair in pairs for written in pair}
        found |= {unquote(written) for written in found}  # as libpq reads them
        with contextlib.suppress(psycopg2.ProgrammingError, UnicodeDecodeError):  # Database refuses a wrong URL
            parts = parse_dsn(url)
            found |= {parts.get(name, "") for name in DATABASE_SECRETS}
        found.update(token for name in WEBHOOKS for token in _tokens(self.get(name)))
        return [secret for secret in {*map(self.get, (*key_variables, READER_PASSWORD)), *found} if secret]


def _is_url(value: str) -> bool:
    if not value.isprintable() or not re.fullmatch(r"https?://[^/?#\s]\S*", value):
        return False
    try:
        return bool((urlsplit(value).hostname or "").encode("idna")) and urlsplit(value).port != 0
    except ValueError:  # a port, an IPv6 address or a host name that can be none
        return False


def _tokens(url: str) -> Iterator[str]:
    """What may be secret in the URL of a webhook, which may be a wrong one: user and password, path and query."""
    place, _, query = (url.partition("://")[2] or url).partition("?")
    host, *path = re.split("[/#]", place)
    user, _, password = host.rpartition("@")[0].partition(":")
    values = [each.partition("=")[2] or each for each in re.split("[&#]", query)]
    yield password
    yield from (part for part in (user, *path, *values) if not WORDS.fullmatch(part))


def make_home() -> None:
    """Copy each config that the home folder does not have to it; what is there is never written to.

    Raises ConfigurationError if the folder can't be made.
    """
    for config in sorted(CODE.glob("*_config.csv")):  # in a clone that is its own home, all are there
        copy = ROOT / config.name
        if not copy.exists():
            try:
                ROOT.mkdir(0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"{ROOT} can't be made: {error.strerror}: set {HOME}") from error
            with atomic_write(copy) as part:
                part.write_bytes(config.read_bytes())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
