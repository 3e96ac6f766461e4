"""The command that writes the report: one page about what is stored."""

import argparse
from collections.abc import Callable

from cli.process import ended_by_sigterm
from model.errors import ConfigurationError
from model.files import atomic_write
from model.settings import Settings
from model.text import counted
from pipeline.freshness import SeriesState
from query.query_session import QuerySession, fill
from query.report.charted_series import choose
from query.report.contents import Report
from query.report.gather_contents import gather_contents
from query.report.render import page
from sources import SOURCES


def write_report(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write the page to a file, or to standard output; refuses where nothing is stored."""
    if arguments.out is None:
        print(page(_report(arguments, settings), scrub), end="")
        return 0
    with ended_by_sigterm(), atomic_write(arguments.out) as part:
        report = _report(arguments, settings)
        text = page(report, scrub)
        part.write_text(text, encoding="ascii")
    print(scrub(f"{arguments.out}: {_summary(report)}; {len(text) / 1024:,.0f} KB"))
    return 0


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
