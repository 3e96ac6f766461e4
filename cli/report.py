"""The command that writes the report: one page about what is stored."""

import argparse
from collections.abc import Callable

from model.files import atomic_write
from model.settings import Settings
from model.text import counted
from query.report.contents import gather_contents
from query.report.render import page
<<<<<<< HEAD
=======
from sources import SOURCES
>>>>>>> e


def write_report(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write the page to a file, or to standard output; refuses where nothing is stored."""
    wanted = settings, None if arguments.source == "all" else arguments.source, arguments.asset, arguments.metric
    if arguments.out is None:
        print(page(gather_contents(*wanted), scrub), end="")
        return 0
    with atomic_write(arguments.out) as part:  # before it gathers, it refuses a wrong place
        contents = gather_contents(*wanted)
        text = page(contents, scrub)
        part.write_text(text, encoding="ascii")
    series, lost = (sum(source[name] for source in contents["sources"]) for name in ("series", "lost"))
    stale = sum(len(source["stale"]) for source in contents["sources"])
    failed = f"{contents['lately'].failed:,} of {counted(contents['lately'].runs, 'run')} failed"
    summary = f"{series:,} series, {stale:,} stale; {counted(lost, 'day')} lost; {failed}"
    print(scrub(f"{arguments.out}: {summary}; {len(text) / 1024:,.0f} KB"))
    return 0
<<<<<<< HEAD
=======


def _report(arguments: argparse.Namespace, settings: Settings) -> Report:
    source = None if arguments.source == "all" else arguments.source
    session = QuerySession()
    stored = session.stored(source)
    if not stored:
        raise ConfigurationError(f"nothing is stored yet: {fill(settings, source)}")
    charted = choose(session.names(), source, arguments.asset, arguments.metric)
    names = [name for name in SOURCES if source in (None, name)]
    return gather_contents(session.reader(), settings, names, stored, charted)


def _summary(report: Report) -> str:
    series, lost = (sum(getattr(each, name) for each in report.sources) for name in ("series", "lost"))
    failed = f"{report.lately.failed:,} of {counted(report.lately.runs, 'run')} failed"
    return f"{series:,} series, {report.total(SeriesState.STALE):,} stale; {counted(lost, 'day')} lost; {failed}"
>>>>>>> e
