"""The command `revisions`: how often and by how much a provider has restated values."""

import argparse
from collections.abc import Callable

from cli.stored_sources import each_source
from db.revisions import RevisedSeries, Revision, revised_series, revisions
from model.settings import Settings


def show_revisions(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Show how often and by how much the values of each series were replaced. For one series, show each revision."""
    del scrub
    wanted = arguments.asset or None, arguments.metric or None
    found: list[tuple[str, list[RevisedSeries], list[Revision]]] = []
    for name, session in each_source(arguments, settings):
        with session, session.cursor() as cursor:
            series = revised_series(cursor, name, *wanted)
            found.append((name, series, revisions(cursor, name, *wanted) if all(wanted) else []))
    for name, series, listed in found:
        print(f"{name}: {sum(each.revisions for each in series):,} revisions of {len(series):,} series")
        for each in series:
            size = "" if each.median is None else f"by {each.median:.2%} (median), {each.largest:.2%} at most; "
            print(
                f"  {each.asset} {each.metric}: {each.revisions:,} revisions of {each.points:,} of "
                f"{each.stored:,} points, {size}last {each.last:%Y-%m-%d %H:%M:%SZ}"
            )
        for revision in listed:
            print(
                f"    {revision.at:%Y-%m-%d %H:%M:%S}: {revision.old!r} until "
                f"{revision.replaced_at:%Y-%m-%d %H:%M:%SZ}, then {revision.new!r} (run {revision.pull_id})"
            )
    return 0
