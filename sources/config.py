"""The only reader of config files: one row for each asset, refused line by line before anything is sent."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.values import MAX_ASSET, Target
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


def nearest(name: str, known: Collection[str], listed: str = "python main.py sources") -> str:
    """A hint at the known name most like this one, or at all of them where they are few, else at where they stand."""
    matches = get_close_matches(name, known, n=1, cutoff=0.5) or get_close_matches(name.upper(), known, n=1, cutoff=0.5)
    if matches:
        return f"did you mean {matches[0]}?"
    return f"known: {', '.join(sorted(known))}" if len(known) <= 12 else f"see {listed}"


def read_targets(path: Path, source: type[BaseSource]) -> list[Target]:
    """The series that a source's config file names, in its order; raises ConfigurationError naming file and line."""
    return [target for asset in read_config(path, source) for target in asset.targets()]


def read_config(path: Path, source: type[BaseSource]) -> list[Asset]:
    """The rows of a source's config file, in its order; raises ConfigurationError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigurationError(f"{path}: there is no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: can't be read as UTF-8 text: {error}") from error
    rows, seen = [], dict[tuple[str, str], int]()
    for line, fields in _records(path, text, source):
        try:
            asset = _asset(fields, source)
            for metric in asset.metrics:
                if (first := seen.setdefault((asset.asset.casefold(), metric), line)) != line:
                    raise ConfigurationError(f"{asset.asset} {metric} stands in line {first} already: keep one of them")
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}:{line}: {error}") from None
        rows.append(asset)
    if not rows:
        raise ConfigurationError(f"{path}: no asset in it: add a row such as {_example(source)}")
    return rows


def _records(path: Path, text: str, source: type[BaseSource]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each data row with its line number, as a mapping from column to stripped text."""
    known = tuple(column for column in COLUMNS if column != "kind" or source.KINDS)
    header: list[str] = []
    for line, raw in enumerate(text.split("\n"), start=1):
        if raw.lstrip(' \t"').startswith("#"):  # spreadsheets put a comment into quotes
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
        except csv.Error as error:
            raise ConfigurationError(f"{path}:{line}: no CSV: {error}") from None
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}:{line}: {error}") from None
        yield line, dict(zip(header, fields + [""] * (len(header) - len(fields)), strict=True))


def _fields(raw: str) -> list[str]:
    """The stripped fields of a line, less the empty ones at its end; raises csv.Error."""
    fields = [field.strip() for field in next(csv.reader([raw], strict=True))]
    for char in "".join(fields):
        if not char.isprintable():
            raise ConfigurationError(f"there is a {char!r} in this line: remove it")
    while fields and not fields[-1]:
        fields.pop()
    return fields


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


def _example(source: type[BaseSource]) -> str:
    metric, known = next(iter(source.METRICS.items()))
    kind = min(known.kinds)
    return f"NAME,{kind},{metric} (asset,kind,metrics)" if kind else f"NAME,{metric} (asset,metrics)"
