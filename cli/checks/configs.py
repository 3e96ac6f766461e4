"""The configs, each for itself and beside each other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from cli.checks.finding import Finding, Severity, few
from sources.config import Asset

LONG = 6  # letters and digits from which on a name that differs by one of them is taken for a slip


def error_findings(path: Path, errors: Sequence[str]) -> Iterator[Finding]:
    """What `sources.config` refuses, each with its file and line."""
    for error in errors:
        line, _, what = error.removeprefix(f"{path}:").partition(": ")
        if line.isdecimal():
            yield Finding(Severity.ERROR, f"{path.name}:{line}", what)
        else:
            yield Finding(Severity.ERROR, path.name, error.removeprefix(f"{path}: "))


def twice_findings(file: str, assets: Sequence[Asset]) -> Iterator[Finding]:
    """Series of the API that a config asks for under two names."""
    names: dict[tuple[str, str], dict[str, list[str]]] = {}
    for asset in assets:
        for metric in asset.metrics:
            names.setdefault((asset.kind, asset.id.casefold()), {}).setdefault(metric, []).append(asset.asset)
    for (_, identifier), metrics in names.items():
        twice = {metric: called for metric, called in metrics.items() if len(called) > 1}
        if twice:
            called = dict.fromkeys(name for each in twice.values() for name in each)
            what = f"{identifier} is asked for under {len(called)} names, {few(called)}: {few(twice)}"
            yield Finding(Severity.WARNING, file, what, "keep one of them, or correct an id")


def entity_findings(files: Mapping[str, Sequence[Asset]]) -> Iterator[Finding]:
    """Assets without an entity, and entities that two configs seem to spell differently."""
    for file, assets in files.items():
        if without := [asset.asset for asset in assets if not asset.entity]:
            what = f"without an entity, so nothing compares them across sources: {few(without)}"
            yield Finding(Severity.NOTE, file, what, "give each the name that the same thing has in the other configs")
    entities = {file: {asset.entity for asset in assets} - {""} for file, assets in files.items()}
    for (first, ones), (second, others) in combinations(entities.items(), 2):
        for one, other in _alike(ones - others, others - ones):
            what = f"entity {one} here, and {other} in {second}: are they the same thing?"
            yield Finding(Severity.NOTE, first, what, "if so, write one name in both")


def _alike(ones: Iterable[str], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that differ by a slip only, such as hyper-liquid and hyperliquid."""
    slips: dict[tuple[str, str], list[str]] = {}
    for other in sorted(others):
        for slip in _slips(other):
            slips.setdefault(slip, []).append(other)
    for one in sorted(ones):
        for other in dict.fromkeys(other for slip in _slips(one) for other in slips.get(slip, ())):
            yield one, other


def _slips(name: str) -> list[tuple[str, str]]:
    """What names that differ by a slip have in common: all but one of their letters, and all numbers.

    uniswap-v2 is not uniswap-v3.
    """
    plain = "".join(filter(str.isalnum, name.casefold()))
    shorter = [plain[:at] + plain[at + 1 :] for at in range(len(plain))] if len(plain) >= LONG else []
    return [(each, "".join(filter(str.isdigit, plain))) for each in (plain, *shorter)]
