"""The environment: packages, variables, .env, and where the pace is kept."""

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from cli.checks.finding import Finding, Severity, few
from model.errors import ConfigurationError
from model.settings import Settings
from sources.base import BaseSource
from sources.config import Asset

INSTALL = "python -m pip install -r requirements.txt, with the Python that runs this"
ALIKE = 0.8  # of 1: how near a name is to one of ours to be taken for a slip


class Requirement(NamedTuple):
    """A package that requirements.txt names, and its range: [(operator, version)]."""

    name: str
    clauses: list[tuple[str, str]]

    def allows(self, version: str) -> bool:
        """Whether a version is in the range, by its release number alone."""
        return all(_holds(_release(version), operator, _release(bound)) for operator, bound in self.clauses)

    def __str__(self) -> str:
        return self.name + ",".join(f"{operator}{bound}" for operator, bound in self.clauses)


def requirements(text: str) -> list[Requirement]:
    """The packages of a requirements file; of markers and options nothing is understood."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    named = [(re.match(r"[\w.-]+", line), line) for line in lines if not line.startswith("-")]
    return [Requirement(name[0], re.findall(r"(>=|<=|==|!=|<|>)\s*([\d.]+)", line)) for name, line in named if name]


def package_findings(wanted: Iterable[Requirement], installed: Callable[[str], str | None]) -> Iterator[Finding]:
    """Packages that are not installed, or not in their range; `installed` gives a version, or None."""
    for package in wanted:
        version = installed(package.name)
        if version is None:
            yield Finding(Severity.ERROR, package.name, "is not installed", INSTALL)
        elif not package.allows(version):
            yield Finding(Severity.WARNING, package.name, f"{version} is installed, wanted is {package}", INSTALL)


def key_findings(settings: Settings, sources: Iterable[type[BaseSource]]) -> Iterator[Finding]:
    """Keys that are needed and not set, values that can't be a key or a server, and servers in place of the APIs."""
    for source in sources:
        try:
            if not settings.key(source.KEY_VARIABLE) and source.KEY_REQUIRED:
                what, remedy = "is needed and not set", f"write {source.KEY_VARIABLE}=… into .env or the environment"
                yield Finding(Severity.ERROR, source.KEY_VARIABLE, f"{source.name}: {what}", remedy)
        except ConfigurationError as error:
            yield Finding(Severity.ERROR, source.KEY_VARIABLE, str(error))
        try:
            if url := settings.url(source.BASE_URL_VARIABLE):
                server = urlsplit(url).netloc.rpartition("@")[2]
                what = f"{source.name} is asked at {server} in place of its API"
                yield Finding(Severity.NOTE, source.BASE_URL_VARIABLE, what)
        except ConfigurationError as error:
            yield Finding(Severity.ERROR, source.BASE_URL_VARIABLE, str(error))


def without_key(source: type[BaseSource], rows: Iterable[Asset]) -> Iterator[Finding]:
    """What a source leaves out while its optional key is not set."""
    skipped = [metric for row in rows for metric in row.metrics if source.METRICS[metric].needs_key]
    if skipped:
        what = f"is not set, so {source.name} leaves out {len(skipped):,} series: {few(sorted(skipped))}"
        yield Finding(Severity.NOTE, source.KEY_VARIABLE, what)


def known_variables(sources: Iterable[type[BaseSource]], *others: str) -> list[str]:
    """Every variable that the pipeline reads."""
    return [name for source in sources for name in (source.KEY_VARIABLE, source.BASE_URL_VARIABLE)] + list(others)


def variable_findings(
    written: Mapping[str, str | None], environment: Mapping[str, str], known: Collection[str]
) -> Iterator[Finding]:
    """Lines of .env that say nothing: misspelt, without a value, or outdone by the environment."""
    for name, value in written.items():
        if name not in known:
            meant = get_close_matches(name.upper(), known, n=1, cutoff=ALIKE)
            if meant and not (written.get(meant[0]) or environment.get(meant[0])):
                yield Finding(Severity.WARNING, ".env", f"nothing reads {name}", f"did you mean {meant[0]}?")
        elif value is None:
            yield Finding(Severity.WARNING, ".env", f"{name} has no value", f"write {name}=…, or remove the line")
        elif environment.get(name, value).strip() != value.strip():
            what = f"{name} has another value in the environment, and that one counts"
            yield Finding(Severity.NOTE, ".env", what)


def mode_findings(file: Path) -> Iterator[Finding]:
    """Whether others on this machine can read the file with the secrets."""
    if os.name == "posix" and file.exists() and file.stat().st_mode & stat.S_IROTH:
        yield Finding(Severity.WARNING, file.name, "every user of this machine can read it", f"chmod 600 {file}")


def pace_findings(directory: Path, variable: str) -> Iterator[Finding]:
    """Whether the pace of requests can be shared with other processes: directory and files are ours to write."""
    there = next(each for each in (directory, *directory.absolute().parents) if each.exists())
    held = there.iterdir() if there == directory and there.is_dir() and os.access(there, os.R_OK) else ()
    barred = [each for each in (there, *held) if not os.access(each, os.W_OK)]
    if not there.is_dir() or barred:
        place = barred[0] if barred else there
        what = f"{place} can't be written{'' if there.is_dir() else ' as a directory'}: the pace is not shared"
        remedy = f"let the user who runs the commands write it, or name another directory in {variable}"
        yield Finding(Severity.WARNING, variable, what, remedy)


def _holds(version: list[int], operator: str, bound: list[int]) -> bool:
    """Whether a comparison holds of two release numbers."""
    return {
        ">=": version >= bound,
        "<=": version <= bound,
        "==": version == bound,
        "!=": version != bound,
        "<": version < bound,
        ">": version > bound,
    }[operator]


def _release(version: str) -> list[int]:
    """The numbers of a version, without zeros at the end: 2.10.0rc1 is [2, 10]."""
    numbers = [int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", version, maxsplit=1)[0])]
    while numbers and not numbers[-1]:
        numbers.pop()
    return numbers
