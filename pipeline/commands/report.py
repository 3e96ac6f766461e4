"""The command that writes the report: one page about what is stored."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError
from pipeline.process import ended_by_sigterm
from pipeline.settings import Settings
from sources import SOURCES

if TYPE_CHECKING:
    from query.report.facts import Report


def write_report(arguments: argparse.Namespace, settings: Settings, scrub: Callable[[str], str]) -> int:
    """Write the page into a file, or to standard output; nothing where nothing is stored."""
    from pipeline.out_file import in_place_of

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
    from query.report.page import page

    report = _report(arguments, settings)
    return _line(report), page(report, scrub)


def _report(arguments: argparse.Namespace, settings: Settings) -> "Report":
    from pipeline.diagnosis import asked_for, diagnose
    from query.names import Wanted
    from query.report.charts import choose
    from query.report.gather import Asked, gather
    from query.session import QuerySession, fill

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


def _line(report: "Report") -> str:
    from pipeline.freshness import SeriesState
    from pipeline.words import counted

    sources = report.sources
    series, stale = sum(each.series for each in sources), sum(each.state(SeriesState.STALE) for each in sources)
    lost, failed = sum(each.lost for each in sources), report.lately.failed
    days, runs = counted(lost, "day"), counted(report.lately.runs, "run")
    return f"{series:,} series, {stale:,} stale; {days} lost; {failed:,} of {runs} failed"
