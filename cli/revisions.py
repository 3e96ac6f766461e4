"""The command `revisions`: how often and by how much a provider has restated values."""

import argparse
from collections.abc import Callable
from typing import Any

from cli.stored_sources import read_sources
from db.revisions import RevisedSeries, Revision, revised_series, revisions
from model.settings import Settings


def show_revisions(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show how often and by how much the values of each series were restated. For one series, show each time."""
    wanted = arguments.assets or None, arguments.metrics or None

    def read(cursor: Any, name: str) -> tuple[str, list[RevisedSeries], list[Revision]]:
        listed = revisions(cursor, name, *wanted) if all(wanted) else []
        return name, revised_series(cursor, name, *wanted), [each for each in listed if each.reason != "sample"]

    for name, series, listed in read_sources(arguments, settings, read):
        print(f"{name}: {sum(each.restatements for each in series):,} restatements of {len(series):,} series")
        for each in series:
            size = "" if each.median is None else f"by {each.median:.2%} (median), {each.largest:.2%} at most; "
            print(
                f"  {each.asset} {each.metric}: {each.restatements:,} restatements of {each.points:,} of "
                f"{each.stored:,} points, {size}last {each.last:%Y-%m-%d %H:%M:%SZ}"
            )
        for revision in listed:
            print(
                f"    {revision.at:%Y-%m-%d %H:%M:%S}: {revision.old!r} until "
                f"{revision.replaced_at:%Y-%m-%d %H:%M:%SZ}, then {revision.new!r} "
                f"({revision.reason}, run {revision.pull_id})"
            )
    return 0
