"""The report as one HTML page that loads nothing else: page.html, filled with the contents."""

import base64
import hashlib
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from db.pulls import Failure
from db.revisions import LargeRevision
from model.scrub import scrubbed
from model.text import counted, first_of
from model.values import Series
from pipeline.freshness import SeriesState
from query.amount_text import amount
from query.report.contents import Report
from query.report.coverage_by_month import by_year
from query.report.svg_paths import PLOT_SIZE, STRIP_HEIGHT, Months, plot_path
from sources import unit_of

FOLDER = Path(__file__).parent
STALE_NAMED = 30  # series of each source
UNSEEN_NAMED = 20  # assets of each metric
FAILURE_LENGTH = 600  # characters
ENDLESS = "no end recorded: it was killed, or its host has crashed"
NEAR = 0.005  # of a value, by which its text may differ from it
LEGEND = {
    "there": "there",
    "lost": "! lost, though the API had it",
    "never": "? never requested",
    "empty": "\u2013 the API had nothing",
    "outside": "outside of the series, or no point expected",
}


def page(report: Report, scrub: Callable[[str], str]) -> str:
    """The page in ASCII, with every text escaped and without secrets; it may load nothing and run nothing."""
    environment = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True  # a line with only a tag leaves no trace
    environment.filters |= {
        "amount": _amount,
        "breakable": _breakable,
        "by_year": by_year,
        "change": _change,
        "counted": counted,
        "day": _day,
        "failure_text": _failure_text,
        "first_of": first_of,
        "grouped": "{:,}".format,
        "minute": _minute,
        "old_and_new": _old_and_new,
        "plot_path": plot_path,
    }
    css = (FOLDER / "page.css").read_text(encoding="ascii")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    text = environment.get_template("page.html").render(
        css=Markup(css),  # noqa: S704 - our own file
        legend=LEGEND,
        months=Months.of(report),
        most_stale=STALE_NAMED,
        most_unseen=UNSEEN_NAMED,
        plot_size=PLOT_SIZE,
        policy=f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        report=scrubbed(report, scrub),
        states=list(SeriesState),
        strip_height=STRIP_HEIGHT,
    )
    return f"{text.strip()}\n".encode("ascii", "xmlcharrefreplace").decode()


def _amount(value: float, unit: str = "", near: float = NEAR) -> str:
    """A value with as few digits as keep it within such a share of itself."""
    return amount(value, unit, near * abs(value))


def _breakable(name: str) -> Markup:
    """A name that a browser may break over lines after its underscores."""
    return escape(name).replace("_", Markup("_<wbr>"))


def _day(at: date) -> str:
    return f"{at:%Y-%m-%d}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _failure_text(failure: Failure) -> str:
    text = failure.failure or (ENDLESS if failure.endless else "no reason recorded")
    more = len(text) - FAILURE_LENGTH
    return f"{text[:FAILURE_LENGTH]}\u2026 and {counted(more, 'character')} more" if more > 0 else text


def _change(revision: LargeRevision) -> str:
    """The change in relation to the old value: +1.25%, or +1.2K\u00d7 where nobody can read the percentage."""
    if revision.old == 0:
        return "from zero"
    share = (revision.new - revision.old) / abs(revision.old)
    if abs(share) >= 10:
        return f"{'+' if share > 0 else '-'}{_amount(abs(share))}\u00d7"
    return f"{share:+.2%}" if abs(share) >= 0.0001 else f"{share:+.1e}"


def _old_and_new(revision: LargeRevision, source: str) -> list[str]:
    """Both values, with enough digits to see that they differ."""
    old, new = revision.old, revision.new
    near = min(NEAR, abs(new - old) / max(abs(new), abs(old)) / 10)
    unit = unit_of([Series(source, revision.asset, revision.metric)])
    return [_amount(value, unit, near) for value in (old, new)]
