"""The command that writes the report: one page about what is stored."""

import argparse
from collections.abc import Callable

from cli.process import ended_by_sigterm
from model.errors import ConfigurationError
from model.files import in_place_of
from model.settings import Settings
from model.text import counted
from pipeline.freshness import SeriesState
from pipeline.health import asked_for, diagnose
from query.query_session import QuerySession, fill
from query.report.charts import choose
from query.report.facts import Report
from query.report.gather import Asked, gather
from query.report.page import page
from query.series_names import Wanted
from sources import SOURCES


def write_report(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write the page into a file, or to standard output; nothing where nothing is stored."""
    if arguments.out is None:
        print(_page(arguments, settings, scrub)[1], end="")
        return 0
    with ended_by_sigterm(), in_place_of(arguments.out) as part:
        line, text = _page(arguments, settings, scrub)
        part.write_text(text, encoding="ascii")
    print(scrub(f"{arguments.out}: {line}; {len(text) / 1024:,.0f} KB"))
    return 0


def _page(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> tuple[str, str]:
    """What the page says in one line, and the page."""
    report = _report(arguments, settings)
    return _line(report), page(report, scrub)


def _report(arguments: argparse.Namespace, settings: Settings) -> Report:
    source = None if arguments.source == "all" else arguments.source
    session = QuerySession()
    stored = session.stored(Wanted(source))
    if not stored:
        raise ConfigurationError(f"nothing is stored yet: {fill(settings, source)}")
    charted = choose(session.names(), source, arguments.asset, arguments.metric)
    names = [name for name in SOURCES if source in (None, name)]
    health = session.reader().do(lambda cursor: diagnose(cursor, settings, names))
    targets = {name: {(each.asset, each.metric): each for each in asked_for(name, settings)} for name in names}
    asked = {each.source: Asked(targets[each.source], each.freshness) for each in health.sources}
    return gather(session.reader(), stored, asked, charted)


def _line(report: Report) -> str:
    sources = report.sources
    series, stale = sum(each.series for each in sources), sum(each.state(SeriesState.STALE) for each in sources)
    lost, failed = sum(each.lost for each in sources), report.lately.failed
    days, runs = counted(lost, "day"), counted(report.lately.runs, "run")
    return f"{series:,} series, {stale:,} stale; {days} lost; {failed:,} of {runs} failed"
