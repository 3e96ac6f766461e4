"""The command `report`: one page about what is stored."""

import argparse
from collections.abc import Callable

from model.files import atomic_write
from model.settings import Settings
from model.text import counted
from query.report.contents import gather_contents
from query.report.render import page


def write_report(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write the page to a file, or to standard output; raises ConfigurationError where nothing is stored."""
    wanted = settings, None if arguments.source == "all" else arguments.source, arguments.assets, arguments.metrics
    if arguments.out is None:
        print(page(gather_contents(*wanted), scrub), end="")
        return 0
    with atomic_write(arguments.out) as part:  # refuses a wrong path before anything is read
        contents = gather_contents(*wanted)
        text = page(contents, scrub)
        part.write_text(text, encoding="ascii")
    series, lost = (sum(source[name] for source in contents["sources"]) for name in ("series", "lost"))
    stale = sum(len(source["stale"]) for source in contents["sources"])
    failed = f"{contents['lately'].failed:,} of {counted(contents['lately'].runs, 'run')} failed"
    summary = f"{series:,} series, {stale:,} stale; {counted(lost, 'day')} lost; {failed}"
    if waiting := sum(len(source["waiting"]) for source in contents["sources"]):
        summary += f"; {counted(waiting, 'restatement waits', 'restatements wait')} for a person"
    print(scrub(f"{arguments.out}: {summary}; {len(text) / 1024:,.0f} KB"))
    return 0
