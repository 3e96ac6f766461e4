"""The command `check`: finds what is wrong in each area, and says what to do."""

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack

from cli import check_screen as screen
from cli.checks.configs import check_configs
from cli.checks.context import CheckContext
from cli.checks.database import check_database
from cli.checks.environment import check_environment
from cli.checks.finding import Area, Finding, Severity, need_attention
from cli.checks.identifiers import check_identifiers
from cli.checks.keys import check_keys
from cli.checks.series import check_series
from cli.jobs import names_of
from model.errors import PipelineError
from model.scrub import scrubbed
from model.settings import Settings

AREAS: dict[str, Callable[[CheckContext], Area]] = {  # in this order: each uses what those before it have found
    "environment": check_environment,
    "database": check_database,
    "configs": check_configs,
    "keys": check_keys,
    "identifiers": check_identifiers,
    "series": check_series,
}


def check(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Check every area; 1 if anything needs attention."""
    with ExitStack() as leaving:
        context = CheckContext(settings, names_of(arguments.source), leaving, offline=arguments.offline)
        areas = {name: scrubbed(_checked(name, context), scrub) for name in AREAS}
    print(json.dumps(screen.as_json(areas), indent=1) if arguments.json else "\n".join(screen.lines(areas)))
    return int(any(need_attention(area.findings or ()) for area in areas.values()))


def _checked(name: str, context: CheckContext) -> Area:
    """The result of one area; an error that ends it is a finding, so that the other areas are checked all the same."""
    try:
        return AREAS[name](context)
    except PipelineError as error:
        return Area("", [Finding(Severity.ERROR, name, str(error))])
