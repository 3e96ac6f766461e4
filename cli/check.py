"""The command `check`: finds what is wrong in each area, and says what to do; as a table of text or as JSON."""

import argparse
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import zip_longest
from typing import Any

from cli.checks.area import Area, CheckContext, Finding, Severity, need_attention
from cli.checks.configs_and_identifiers import check_configs, check_identifiers
from cli.checks.database_and_series import check_database, check_series
from cli.checks.environment_and_keys import check_environment, check_keys
from cli.checks.flags import check_flags
from cli.confirm import confirm_assets
from cli.jobs import names_of
from model.errors import PipelineError
from model.scrub import scrubbed
from model.settings import Settings
from model.text import counted, printable

AREAS: dict[str, Callable[[CheckContext], Area]] = {  # in this order: each uses what those before it have found
    "environment": check_environment,
    "database": check_database,
    "configs": check_configs,
    "keys": check_keys,
    "identifiers": check_identifiers,
    "series": check_series,
    "flags": check_flags,
}
AREAS_WITH_REQUESTS = ("keys", "identifiers")
CHECK_WIDTH = 100  # columns
WIDEST_WHERE = 30
SEVERITY_WIDTH = max(map(len, Severity)) + 2


def check(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Check every area; returns 1 if anything needs attention."""
    if arguments.confirm:
        confirm_assets(names_of(arguments.source), arguments.confirm, settings)
    areas = {}
    with ExitStack() as exit_stack:
        context = CheckContext(settings, names_of(arguments.source), exit_stack)
        for name, check_area in AREAS.items():
            try:
                skipped = arguments.offline and name in AREAS_WITH_REQUESTS
                area = Area("--offline", None) if skipped else check_area(context)
            except PipelineError as error:  # the other areas are checked all the same
                area = Area("", [Finding(Severity.ERROR, name, str(error))])
            areas[name] = scrubbed(area, scrub)
    print(json.dumps(as_json(areas), indent=1) if arguments.json else "\n".join(lines(areas)))
    return int(need_attention(_findings(areas)) > 0)


def lines(areas: Mapping[str, Area]) -> Iterator[str]:
    """The table, and a last line with the counts. Findings with the same remedy share it if they follow each other."""
    every = _findings(areas)
    where_width = min(WIDEST_WHERE, max((len(each.where) for each in every), default=0))
    for name, area in areas.items():
        state = "not checked: " if area.findings is None else "" if area.findings else "ok: "
        yield from _wrapped(f"{name}: {state}{area.text}", CHECK_WIDTH, subsequent_indent="  ")
        findings = sorted(area.findings or (), key=lambda each: list(Severity).index(each.severity))
        for finding, following in zip_longest(findings, findings[1:]):
            shared = following is not None and following.remedy == finding.remedy
            yield from _finding_lines(finding._replace(remedy="") if shared else finding, where_width)
    number = need_attention(every)
    yield f"{number:,} {'needs' if number == 1 else 'need'} attention, {counted(len(every) - number, 'note')}"


def as_json(areas: Mapping[str, Area]) -> dict[str, Any]:
    """The results of all areas as plain values."""
    every = _findings(areas)
    return {
        "need_a_hand": need_attention(every),
        "notes": len(every) - need_attention(every),
        "areas": [
            {
                "area": name,
                "looked": area.findings is not None,
                "looked_at": area.text,
                "findings": [each._asdict() for each in area.findings or ()],
            }
            for name, area in areas.items()
        ],
    }


def _findings(areas: Mapping[str, Area]) -> list[Finding]:
    return [finding for area in areas.values() for finding in area.findings or ()]


def _finding_lines(finding: Finding, where_width: int) -> Iterator[str]:
    """Three columns: severity, where, and what with its remedy."""
    width = CHECK_WIDTH - SEVERITY_WIDTH - where_width - 4
    text = _wrapped(finding.what, width)
    first, *others = finding.remedy.splitlines() or [""]
    if others:
        text += [f"-> {printable(first)}", *(f"   {printable(line)}" for line in others)]
    elif first:
        text += _wrapped(f"-> {first}", width, subsequent_indent="   ")
    where = _wrapped(finding.where, where_width)
    for severity, part, line in zip_longest([finding.severity], where, text, fillvalue=""):
        yield f"  {severity:<{SEVERITY_WIDTH}}{part:<{where_width}}  {line}".rstrip()


def _wrapped(text: str, width: int, subsequent_indent: str = "") -> list[str]:
    """The lines of a text, broken at spaces, so that commands and names stay whole."""
    return textwrap.wrap(printable(text), width, subsequent_indent=subsequent_indent, break_on_hyphens=False)
