"""The option --dry-run of pull, backfill and settle, in a module of its own that loads no HTTP client."""

import argparse
from collections.abc import Callable

from cli.jobs import jobs_of
from cli.process import open_database, read_database
from cli.run_text import plan_lines
from db.setup import has_schema
from model.settings import Settings
from pipeline.plan import Scope, make_plan, plan_alone


def show_plans(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Print the calls of each run. The database is read where the calls depend on it, but never created."""
    jobs = jobs_of(arguments, settings)
    if all(job.scope is Scope.FULL for job in jobs) or not settings.has_database():
        plans = [make_plan(job) for job in jobs]
    else:
        with open_database(settings) as database:
            known = read_database(database, "check schema", has_schema)
            plans = [plan_alone(database, job) if known else make_plan(job) for job in jobs]
    for plan in plans:
        print(scrub("\n".join(plan_lines(plan))))
    return 0
