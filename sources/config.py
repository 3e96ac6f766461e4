"""Config files, read and written nowhere else: one row for each asset, refused line by line before anything is sent."""

import csv
import fcntl
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model.errors import ConfigurationError
from model.files import atomic_write
from model.text import nearest
from model.values import MAX_ASSET, Target
from sources.base import BaseSource

COLUMNS = ("asset", "kind", "metrics", "id", "name", "entity")  # kind only where the source has kinds
REQUIRED = ("asset", "kind", "metrics")


@dataclass(frozen=True, slots=True)
class Asset:
    """One row of a config file: what to call an asset, what the API calls it, and which metrics are wanted."""

    asset: str
    metrics: tuple[str, ...]
    id: str  # the API's own identifier; the asset itself where the row gives none
    kind: str
    name: str
    entity: str

    def targets(self) -> list[Target]:
        """The series that this row asks for."""
        return [Target(self.asset, metric, self.id, self.kind) for metric in self.metrics]


def read_targets(path: Path, source: type[BaseSource]) -> list[Target]:
    """The series that a source's config file names, in its order; raises ConfigurationError naming file and line."""
    return _targets(read_config(path, source))


def read_config(path: Path, source: type[BaseSource], *, may_be_empty: bool = False) -> list[Asset]:
    """The rows of a source's config file, in its order; raises ConfigurationError naming file and line."""
    rows = _good(_rows(path, _text(path, _bytes(path)), source))
    if not rows and not may_be_empty:
        raise _nothing_in(path, source)
    return rows


def valid_rows(path: Path, source: type[BaseSource]) -> tuple[list[Asset], list[str]]:
    """The rows of a config file that are right, and all that is wrong with it; nothing follows a wrong header."""
    try:
        rows = list(_rows(path, _text(path, _bytes(path)), source)) or [_nothing_in(path, source)]
    except ConfigurationError as error:
        rows = [error]
    errors = [str(row) for row in rows if isinstance(row, ConfigurationError)]
    return [row for row in rows if not isinstance(row, ConfigurationError)], errors


def append_rows(path: Path, source: type[BaseSource], rows: Sequence[Asset]) -> list[str]:
    """Add rows at the end of a config file, of which every other byte stays; the lines that were added.

    The file is replaced at once, after the reader has taken the new text. Raises ConfigurationError, with nothing
    written, where it does not take it, or where the file can't be written.
    """
    with _alone(path):
        before = _bytes(path)
        text = _text(path, before)
        present = _good(_rows(path, text, source))
        header = _header_of(path, text, source)
        lines = [_line(path, row, header) for row in rows]
        end = (re.findall(rb"\r\n|\n|\r", before) or [b"\n"])[-1].decode()
        closed = text.endswith("\n")
        added = "".join(f"{line}{end}" if closed else f"{end}{line}" for line in lines)
        after = before + added.encode()
        if _targets([*present, *rows]) != _targets(_good(_rows(path, _text(path, after), source))):
            raise ConfigurationError(f"{path}: as a row this would be read as something else: {' '.join(lines)}")
        with atomic_write(path) as part:
            part.write_bytes(after)
    return lines


def _rows(path: Path, text: str, source: type[BaseSource]) -> Iterator[Asset | ConfigurationError]:
    """Each row of a config's text, or in its place what is wrong with it."""
    seen = dict[tuple[str, str], int]()
    for line, fields in _records(text, source):
        try:
            if isinstance(fields, ConfigurationError):
                raise fields
            asset = _asset(fields, source)
            for metric in asset.metrics:
                if (first := seen.setdefault((asset.asset.casefold(), metric), line)) != line:
                    raise ConfigurationError(f"{asset.asset} {metric} stands in line {first} already: keep one of them")
        except ConfigurationError as error:
            yield ConfigurationError(f"{path}:{line}: {error}")
        else:
            yield asset


def _records(text: str, source: type[BaseSource]) -> Iterator[tuple[int, dict[str, str] | ConfigurationError]]:
    """Each data row with its line number, as a mapping from column to stripped text, or what is wrong with it.

    Nothing follows a wrong header.
    """
    known = _columns(source)
    header: list[str] = []
    for line, raw in enumerate(text.split("\n"), start=1):
        if _is_comment(raw):
            continue
        try:
            fields = _fields(raw)
            if not fields:
                continue
            if not header:
                header = _header(fields, known)
                continue
            if len(fields) > len(header):
                raise ConfigurationError(f"{len(fields)} fields, but the header has {len(header)} columns")
        except (csv.Error, ConfigurationError) as error:
            no_csv = "no CSV: " if isinstance(error, csv.Error) else ""
            yield line, ConfigurationError(f"{no_csv}{error}")
            if not header:
                return
        else:
            yield line, dict(zip(header, fields + [""] * (len(header) - len(fields)), strict=True))


def _columns(source: type[BaseSource]) -> tuple[str, ...]:
    return tuple(column for column in COLUMNS if column != "kind" or source.KINDS)


def _is_comment(raw: str) -> bool:
    return raw.lstrip(' \t"').startswith("#")  # spreadsheets put a comment into quotes


def _fields(raw: str) -> list[str]:
    """The stripped fields of a line, less the empty ones at its end; raises csv.Error."""
    fields = [field.strip() for field in next(csv.reader([raw], strict=True))]
    for char in "".join(fields):
        if not char.isprintable():
            raise ConfigurationError(f"there is a {char!r} in this line: remove it")
    while fields and not fields[-1]:
        fields.pop()
    return fields


def _header_of(path: Path, text: str, source: type[BaseSource]) -> list[str]:
    """The columns of a config's text; raises ConfigurationError where it has none."""
    known = _columns(source)
    for raw in text.split("\n"):
        if not _is_comment(raw) and (fields := _fields(raw)):
            return _header(fields, known)
    raise ConfigurationError(f"{path}: there is no header in it: {','.join(known)}")


def _header(fields: list[str], known: tuple[str, ...]) -> list[str]:
    for field in fields:
        if field not in known:
            raise ConfigurationError(f"unknown column {field!r}: {nearest(field, known)}")
        if fields.count(field) > 1:
            raise ConfigurationError(f"column {field!r} stands twice")
    for field in REQUIRED:
        if field in known and field not in fields:
            raise ConfigurationError(f"column {field!r} is missing: the header is {','.join(known)}")
    return fields


def _asset(fields: dict[str, str], source: type[BaseSource]) -> Asset:
    name, kind, metrics = fields["asset"], fields.get("kind", ""), tuple(fields["metrics"].split())
    if not name:
        raise ConfigurationError("the asset is empty")
    if len(name) > MAX_ASSET:
        raise ConfigurationError(f"asset of {len(name)} characters: at most {MAX_ASSET} fit")
    identifier = fields.get("id") or name
    if "," in identifier or not identifier.strip("."):
        raise ConfigurationError(f"id {identifier!r} can't be asked for: no comma, nor dots alone")
    if source.KINDS and kind not in source.KINDS:
        raise ConfigurationError(f"unknown kind {kind!r}: {nearest(kind, source.KINDS)}")
    if not metrics:
        raise ConfigurationError(f"{name} names no metric")
    for metric in metrics:
        _check_metric(metric, kind, source)
        if metrics.count(metric) > 1:
            raise ConfigurationError(f"{name} names {metric} twice")
    return Asset(name, metrics, identifier, kind, fields.get("name", ""), fields.get("entity", ""))


def _check_metric(metric: str, kind: str, source: type[BaseSource]) -> None:
    fitting = {name for name, known in source.METRICS.items() if kind in known.kinds}
    if metric in fitting:
        return
    if metric in source.METRICS:
        kinds = " or ".join(sorted(source.METRICS[metric].kinds))
        raise ConfigurationError(f"metric {metric} is one of kind {kinds}, not of {kind}: {nearest(metric, fitting)}")
    raise ConfigurationError(f"unknown metric {metric!r}: {nearest(metric, fitting)}")


def _line(path: Path, row: Asset, header: Sequence[str]) -> str:
    """A row as CSV, in the columns of the header."""
    cells = {
        "asset": row.asset,
        "kind": row.kind,
        "metrics": " ".join(row.metrics),
        "id": "" if row.id == row.asset else row.id,
        "name": row.name,
        "entity": row.entity,
    }
    if cells["id"] and "id" not in header:
        raise ConfigurationError(f"{path}: {row.asset} needs the column id, as the API calls it {row.id}: add it")
    line = io.StringIO()
    csv.writer(line).writerow([cells[column] for column in header])
    return line.getvalue().removesuffix("\r\n")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such config file") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: can't be read as UTF-8 text: {error}") from error


def _text(path: Path, content: bytes) -> str:
    """The text without a BOM, each line ended by a newline alone."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: can't be read as UTF-8 text: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _targets(assets: Iterable[Asset]) -> list[Target]:
    return [target for asset in assets for target in asset.targets()]


def _good(rows: Iterable[Asset | ConfigurationError]) -> list[Asset]:
    """The rows; raises the first error among them."""
    good = []
    for row in rows:
        if isinstance(row, ConfigurationError):
            raise row
        good.append(row)
    return good


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One writer at a time; the folder is locked, as the file itself is replaced."""
    held = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _nothing_in(path: Path, source: type[BaseSource]) -> ConfigurationError:
    return ConfigurationError(f"{path}: no asset in it: add a row such as {_example(source)}")


def _example(source: type[BaseSource]) -> str:
    metric, known = next(iter(source.METRICS.items()))
    kind = min(known.kinds)
    return f"NAME,{kind},{metric} (asset,kind,metrics)" if kind else f"NAME,{metric} (asset,metrics)"
