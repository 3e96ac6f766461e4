"""The command `revisions`: how often and by how much a provider has restated values."""

import argparse
from collections.abc import Callable
from typing import Any

from cli.stored_sources import read_sources
from db.revisions import RevisedSeries, Revision, revised_series, revisions
from model.settings import Settings

LARGE = 10.0  # the change, as a share of the old value, from which it is not shown in per cent


def show_revisions(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show how often and by how much the values of each series were restated. For one series, show each time."""
    wanted = arguments.assets or None, arguments.metrics or None

    def read(cursor: Any, name: str) -> tuple[str, list[RevisedSeries], list[Revision]]:
        listed = revisions(cursor, name, *wanted) if all(wanted) else []
        return name, revised_series(cursor, name, *wanted), [each for each in listed if each.reason != "sample"]

    for name, series, listed in read_sources(arguments, settings, read):
        print(f"{name}: {sum(each.restatements for each in series):,} restatements of {len(series):,} series")
        for each in series:
            size = ""
            if each.median is not None and each.largest is not None:
                size = f"by {_size(each.median)} (median), {_size(each.largest)} at most; "
            print(
                f"  {each.asset} {each.metric}: {each.restatements:,} restatements of {each.points:,} of "
                f"{each.stored:,} points, {size}last {each.last:%Y-%m-%d %H:%M:%SZ}"
            )
        for revision in listed:
            print(
                f"    {revision.at:%Y-%m-%d %H:%M:%S}: {revision.old!r} until "
                f"{revision.replaced_at:%Y-%m-%d %H:%M:%SZ}, then {revision.new!r} "
                f"({_why(revision)})"
            )
    return 0


def _size(change: float) -> str:
    """A change, as a share of the old value, in per cent; a large one as a multiple of the old value."""
    return f"{change:.2%}" if change < LARGE else f"{change:,.0f} times the old value"


def _why(revision: Revision) -> str:
    """Why a value was replaced, and by which run."""
    if revision.reason == "accepted":
        return "accepted by a person"
    return revision.reason if revision.pull_id is None else f"{revision.reason}, run {revision.pull_id}"
