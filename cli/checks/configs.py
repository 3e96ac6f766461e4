"""The area `configs`: errors in each config, series requested twice, and entities of several configs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from cli.checks.context import CheckContext
from cli.checks.finding import Area, Finding, Severity, few
from model.settings import ROOT
from model.text import counted
from sources import SOURCES
from sources.config import Asset

LONG = 6  # letters and digits: in a name that long, one other letter is taken for a misspelling


def check_configs(context: CheckContext) -> Area:
    """What is wrong with the configs, as far as no API has to be asked."""
    files = {SOURCES[name].CONFIG: found for name, found in context.configs.items()}
    findings: list[Finding] = []
    for file, (rows, errors) in files.items():
        findings += error_findings(ROOT / file, errors)
        findings += twice_findings(file, rows)
    findings += entity_findings({file: rows for file, (rows, _) in files.items()})
    counts = [
        f"{file} ({counted(len(rows), 'row')}, {sum(len(row.metrics) for row in rows):,} series)"
        for file, (rows, _) in files.items()
    ]
    return Area(", ".join(counts), findings)


def error_findings(path: Path, errors: Sequence[str]) -> Iterator[Finding]:
    """The errors of a config, each with its file and line."""
    for error in errors:
        place, _, what = error.removeprefix(f"{path.parent}/").partition(": ")
        yield Finding(Severity.ERROR, place, what)


def twice_findings(file: str, rows: Sequence[Asset]) -> Iterator[Finding]:
    """Series of the API that a config requests under several names."""
    names: dict[tuple[str, str], dict[str, list[str]]] = {}
    for row in rows:
        for metric in row.metrics:
            names.setdefault((row.kind, row.id.casefold()), {}).setdefault(metric, []).append(row.asset)
    for (_, identifier), metrics in names.items():
        twice = {metric: assets for metric, assets in metrics.items() if len(assets) > 1}
        if twice:
            assets = dict.fromkeys(asset for each in twice.values() for asset in each)
            what = f"{identifier} is requested under {len(assets)} names, {few(assets)}: {few(twice)}"
            yield Finding(Severity.WARNING, file, what, "keep one of them, or correct an id")


def entity_findings(files: Mapping[str, Sequence[Asset]]) -> Iterator[Finding]:
    """Assets without an entity, and entities that two configs seem to spell differently."""
    for file, rows in files.items():
        if without := [row.asset for row in rows if not row.entity]:
            what = f"without an entity, so nothing compares them across sources: {few(without)}"
            yield Finding(Severity.NOTE, file, what, "give each the entity that it has in the other configs")
    entities = {file: {row.entity for row in rows} - {""} for file, rows in files.items()}
    for (first, ones), (second, others) in combinations(entities.items(), 2):
        for one, other in _similar(ones - others, others - ones):
            what = f"entity {one} here, and {other} in {second}: are they the same thing?"
            yield Finding(Severity.NOTE, first, what, "if so, write one name in both")


def _similar(ones: Iterable[str], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names that differ by a misspelling, such as hyper-liquid and hyperliquid."""
    by_form: dict[tuple[str, str], list[str]] = {}
    for other in sorted(others):
        for form in _forms(other):
            by_form.setdefault(form, []).append(other)
    for one in sorted(ones):
        for other in dict.fromkeys(other for form in _forms(one) for other in by_form.get(form, ())):
            yield one, other


def _forms(name: str) -> list[tuple[str, str]]:
    """What two spellings of one name have in common: all but one of their letters, and every digit.

    So uniswap-v2 and uniswap-v3 are two names.
    """
    plain = "".join(filter(str.isalnum, name.casefold()))
    shorter = [plain[:at] + plain[at + 1 :] for at in range(len(plain))] if len(plain) >= LONG else []
    return [(each, "".join(filter(str.isdigit, plain))) for each in (plain, *shorter)]
