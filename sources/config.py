"""Reads and writes config files: one row for each asset. Every error in a row names its line."""

import csv
import fcntl
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from model.errors import ConfigurationError
from model.files import atomic_write
from model.flags import FlagRule
from model.text import FORMULA_SIGNS, counted, nearest
from model.values import MAX_ASSET, Target
from sources.base import BaseSource

# kind only where the source has kinds
CONFIG_COLUMNS = ("asset", "kind", "metrics", "id", "name", "entity", "flags_off")
MOST_ERRORS = 20  # of a file, in a message
REQUIRED = ("asset", "kind", "metrics")


@dataclass(frozen=True, slots=True)
class Asset:
    """One row of a config file: the name of an asset, its name at the API, and the metrics to fetch."""

    asset: str
    metrics: tuple[str, ...]
    id: str  # the API's own identifier; the name of the asset if the row gives none
    kind: str
    name: str
    entity: str
    flags_off: tuple[FlagRule, ...] = ()  # the rules that do not apply to its series

    def targets(self) -> list[Target]:
        """The series that this row names."""
        return [Target(self.asset, metric, self.id, self.kind) for metric in self.metrics]


class _Parsed(NamedTuple):
    """The rows of a config in their order, and its errors; there are no rows if the header is wrong."""

    header: list[str]
    rows: list[Asset]
    errors: list[ConfigurationError]

    def valid(self) -> list[Asset]:
        """The rows; raises one error for all that is wrong, a line for each."""
        lines = list(map(str, self.errors))
        if len(lines) > MOST_ERRORS:
            lines[MOST_ERRORS:] = [f"and {counted(len(lines) - MOST_ERRORS, 'more error')}"]
        if lines:
            raise ConfigurationError("\n".join(lines))
        return self.rows


def read_targets(path: Path, source: type[BaseSource]) -> list[Target]:
    """The series in a source's config file, in its order; raises ConfigurationError with file and line."""
    return _targets(read_config(path, source))


def read_config(path: Path, source: type[BaseSource], *, may_be_empty: bool = False) -> list[Asset]:
    """The rows of a source's config file, in its order; raises ConfigurationError with file and line."""
    return _parse(path, source, may_be_empty=may_be_empty).valid()


def valid_targets(path: Path, source: type[BaseSource]) -> tuple[list[Target], list[str]]:
    """The series in the valid rows of a config file, and everything that is wrong with it."""
    rows, errors = valid_rows(path, source)
    return _targets(rows), errors


def valid_rows(path: Path, source: type[BaseSource]) -> tuple[list[Asset], list[str]]:
    """The valid rows of a config file, and everything that is wrong with it."""
    _, rows, errors = _parse(path, source)
    return rows, [str(error) for error in errors]


def append_rows(path: Path, source: type[BaseSource], rows: Sequence[Asset]) -> list[str]:
    """Add rows at the end of a config file and leave every other byte as it is; returns the added lines.

    The new text is parsed first; then it replaces the file atomically. Raises ConfigurationError, with nothing written,
    if parsing the new text gives other series than these rows, or if the file can't be written.
    """
    with ExitStack() as stack:
        folder = os.open(path.resolve().parent, os.O_RDONLY)
        stack.callback(os.close, folder)
        fcntl.flock(folder, fcntl.LOCK_EX)  # one writer at a time; the file itself can't be locked: it is replaced
        present = _parse(path, source, may_be_empty=True)
        expected = [*present.valid(), *rows]
        if not present.header:
            raise ConfigurationError(f"{path}: the header is missing: write {','.join(_columns(source))}")
        for text in (text for row in rows for text in (row.asset, row.id, row.name)):
            if text.startswith(FORMULA_SIGNS):
                raise ConfigurationError(f"{path}: not written, since a spreadsheet would run {text!r} as a formula")
        lines = [_line(path, row, present.header) for row in rows]
        before = path.read_bytes()
        end = (re.findall(rb"\r\n|\n|\r", before) or [b"\n"])[-1].decode()
        closed = before.endswith((b"\n", b"\r"))
        try:
            after = before + "".join(f"{line}{end}" if closed else f"{end}{line}" for line in lines).encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{path}: not written, since half a character is in {lines!r}") from None
        if _targets(expected) != _targets(_parse(path, source, after).valid()):
            raise ConfigurationError(f"{path}: not written, since it would be read as other values: {' '.join(lines)}")
        with atomic_write(path) as part:
            part.write_bytes(after)
    return lines


def _parse(
    path: Path, source: type[BaseSource], content: bytes | None = None, *, may_be_empty: bool = False
) -> _Parsed:
    """The header, the valid rows and the errors of a file, or of its new content."""
    parsed = _Parsed([], [], [])
    try:
        text = (path.read_bytes() if content is None else content).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        missing = isinstance(error, FileNotFoundError)
        why = "there is no such config file" if missing else f"can't be read as UTF-8 text: {error}"
        parsed.errors.append(ConfigurationError(f"{path}: {why}"))
        return parsed
    lines_of = dict[tuple[str, str], int]()  # by asset and metric
    for line, raw in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        try:
            fields = _fields(raw)
            if fields and not parsed.header:
                parsed.header.extend(_header(fields, _columns(source)))
            elif fields:
                row = _row(fields, parsed.header, source)
                for metric in row.metrics:
                    if (first := lines_of.setdefault((row.asset.casefold(), metric), line)) != line:
                        raise ConfigurationError(f"{row.asset} {metric} is in line {first} already: keep one of them")
                parsed.rows.append(row)
        except ConfigurationError as error:
            parsed.errors.append(ConfigurationError(f"{path}:{line}: {error}"))
            if not parsed.header:
                break
    if not parsed.rows and not parsed.errors and not may_be_empty:
        metric, known = next(iter(source.METRICS.items()))
        example = f"NAME,{known.kind},{metric}" if known.kind else f"NAME,{metric}"
        header = ",".join(parsed.header or _columns(source))
        wrong = "it has no asset" if parsed.header else "it has no header"
        parsed.errors.append(
            ConfigurationError(f"{path}: {wrong}: write rows such as {example} under the header {header}")
        )
    return parsed


def _columns(source: type[BaseSource]) -> tuple[str, ...]:
    return tuple(column for column in CONFIG_COLUMNS if column != "kind" or source.KINDS)


def _fields(raw: str) -> list[str]:
    """The stripped fields of a line, without empty ones at its end; none for a comment."""
    if raw.lstrip(' \t"').startswith("#"):  # spreadsheets put a comment into quotes
        return []
    try:
        fields = [field.strip() for field in next(csv.reader([raw], strict=True))]
    except csv.Error as error:
        raise ConfigurationError(f"not valid CSV: {error}: check its quotes") from error
    for char in "".join(fields):
        if not char.isprintable():
            instead = "separate the columns by commas" if char == "\t" else "remove it"
            raise ConfigurationError(f"there is a {char!r} in this line: {instead}")
    while fields and not fields[-1]:
        fields.pop()
    return fields


def _header(fields: list[str], known: tuple[str, ...]) -> list[str]:
    _check_separator(fields)
    for field in fields:
        if field not in known:
            raise ConfigurationError(f"unknown column {field!r}: {nearest(field, known)}")
        if fields.count(field) > 1:
            raise ConfigurationError(f"column {field!r} appears twice: remove one")
    for field in REQUIRED:
        if field in known and field not in fields:
            raise ConfigurationError(f"column {field!r} is missing: the header is {','.join(known)}")
    return fields


def _check_separator(fields: list[str]) -> None:
    if len(fields) == 1 and ";" in fields[0]:
        raise ConfigurationError("the columns are separated by ';': separate them by commas, in all lines")


def _row(fields: list[str], header: list[str], source: type[BaseSource]) -> Asset:
    _check_separator(fields)
    if len(fields) > len(header):
        raise ConfigurationError(f"{len(fields)} fields, but the header has {len(header)} columns")
    cells = defaultdict(str, zip(header, fields, strict=False))  # empty fields at the end of a row may be left out
    name, kind, metrics = cells["asset"], cells["kind"], tuple(cells["metrics"].split())
    if not name:
        raise ConfigurationError("the asset is empty")
    if len(name) > MAX_ASSET:
        raise ConfigurationError(f"the asset has {len(name)} characters: write at most {MAX_ASSET}")
    identifier = cells["id"] or name
    if source.KINDS and kind not in source.KINDS:
        raise ConfigurationError(f"unknown kind {kind!r}: {nearest(kind, source.KINDS)}")
    if not metrics:
        raise ConfigurationError(f"{name} has no metric: name at least one")
    for metric in metrics:
        _check_metric(metric, kind, source)
        if metrics.count(metric) > 1:
            raise ConfigurationError(f"{name} names {metric} twice")
    _check_id(identifier, kind, source, given=bool(cells["id"]))
    return Asset(name, metrics, identifier, kind, cells["name"], cells["entity"], _rules(cells["flags_off"]))


def _rules(cell: str) -> tuple[FlagRule, ...]:
    names = cell.split()
    for name in names:
        if name not in set(FlagRule):
            raise ConfigurationError(f"unknown rule {name!r} in flags_off: {nearest(name, FlagRule)}")
        if names.count(name) > 1:
            raise ConfigurationError(f"flags_off names {name} twice")
    return tuple(map(FlagRule, names))


def _check_id(identifier: str, kind: str, source: type[BaseSource], *, given: bool) -> None:
    if "," in identifier or not identifier.strip("."):
        raise ConfigurationError(f"id {identifier!r} can't be requested: use no comma, and more than dots")
    if kind in source.ID_FORMS:
        pattern, right = source.ID_FORMS[kind]
        if not re.fullmatch(pattern, identifier):
            wrong = f"id {identifier!r} is not that of a {kind}" if given else f"{identifier} needs an id"
            raise ConfigurationError(f"{wrong}: write {right}")


def _check_metric(metric: str, kind: str, source: type[BaseSource]) -> None:
    fitting = {name for name, known in source.METRICS.items() if kind == known.kind}
    if parts := re.findall("[^,;]+", metric)[1:]:
        raise ConfigurationError(f"unknown metric {metric!r}: separate metrics by spaces, as before {parts[0]}")
    if metric in source.REMOVED:
        raise ConfigurationError(
            f"metric {metric} was removed, since {source.REMOVED[metric]}: take it out of this line"
        )
    if metric not in fitting:
        wrong = f"unknown metric {metric!r}"
        if metric in source.METRICS:
            wrong = f"metric {metric} is one of kind {source.METRICS[metric].kind}, not of {kind}"
        raise ConfigurationError(f"{wrong}: {nearest(metric, fitting)}")


def _line(path: Path, row: Asset, header: Sequence[str]) -> str:
    """A row as CSV, in the columns of the header."""
    if row.id != row.asset and "id" not in header:
        raise ConfigurationError(f"{path}: {row.asset} needs a column id, since the API calls it {row.id}: add one")
    cells = asdict(row) | {"metrics": " ".join(row.metrics), "flags_off": " ".join(row.flags_off)}
    cells["id"] = "" if row.id == row.asset else row.id
    line = io.StringIO()
    csv.writer(line).writerow([cells[column] for column in header])
    return line.getvalue().removesuffix("\r\n")


def _targets(assets: Iterable[Asset]) -> list[Target]:
    return [target for asset in assets for target in asset.targets()]
