"""The part of the page on coverage: by metric and month, and the series with the most holes."""

from collections.abc import Iterator
from itertools import groupby

from model.text import counted, first_of
from query.report.drawings import axis, strip, swatch
from query.report.facts import Cover, Report, SourceFacts
from query.report.markup import Html, element, named, section, table
from query.report.months import Days, Line, month_of

LEGEND = {
    "there": "there",
    "lost": "! lost, though the API had it",
    "never": "? never asked for",
    "empty": "\u2013 the API had nothing",
    "outside": "outside of the series, or no point expected",
}
MARKS = {"lost": "!", "never": "?", "empty": "\u2013"}  # the worst first
SHADES = ((1.0, "c4"), (0.9, "c3"), (0.5, "c2"), (0.0, "c1"))
NAMED = 20  # assets without a point
WORDS = (
    "Closed days of each series since its first one, of those that ever had a point. A strip has a column for each "
    "month, filled from below as far as its days are there, and whatever is missing is at least a line; a table has "
    "the share of days there in percent, rounded down, and a mark for the worst that is missing."
)


def coverage(report: Report) -> Html:
    """The section."""
    months = [month for source in report.sources for cover in source.covers for month in cover.all.months]
    first, end = min(months, default=month_of(report.at)), max(months, default=month_of(report.at)) + 1
    legend = element("ul", *(element("li", swatch(kind), words) for kind, words in LEGEND.items()), class_="legend")
    parts = [element("p", WORDS, class_="soft"), legend]
    parts += [part for source in report.sources for part in _source(source, first, end)]
    return section("coverage", "Coverage by month", *parts)


def _source(source: SourceFacts, first: int, end: int) -> Iterator[Html]:
    yield element("h3", source.name)
    if not source.covers:
        yield element("p", "Nothing was asked for yet.")
        return
    if source.lost:
        command = element("code", f"python main.py gaps {source.name}")
        yield element("p", f"! {counted(source.lost, 'day')} lost: ", command, " says how to repair that", class_="bad")
    yield element("div", axis(first, end), class_="axis")
    yield from (_metric(each, first, end) for each in source.covers)


def _metric(cover: Cover, first: int, end: int) -> Html:
    """A metric: its strip, and to be opened its months and its series."""
    days = cover.all.days
    unseen = f" and {len(cover.unseen):,} without a point" if cover.unseen else ""
    said = _said(days, f"{counted(cover.series, 'series', 'series')}{unseen}, ")
    strip_ = strip(cover.all, first, end)
    summary = element("summary", element("b", named(cover.all.name)), said, strip_, class_="line")
    told = [element("p", f"Without a point: {first_of(cover.unseen, NAMED)}.", class_="soft")] if cover.unseen else []
    if not days.expected:
        return element("details", summary, element("p", "No closed day yet."), *told)
    lines = element("ul", *(_series(each, first, end) for each in cover.shown), class_="strips")
    return element("details", summary, _by_month(cover.all), element("p", _which(cover), class_="soft"), lines, *told)


def _series(line: Line, first: int, end: int) -> Html:
    return element("li", element("span", line.name), _said(line.days), strip(line, first, end))


def _said(days: Days, before: str = "") -> Html:
    """The days in words."""
    share = f"{_share(days)}% of {days.expected:,} days" if days.expected else "no closed day"
    parts: list[str] = [f"{before}{share}"]
    if days.lost:
        parts += ["; ", element("span", f"! {days.lost:,} lost", class_="bad")]
    parts += [f"; {number:,} {kind}" for kind, number in (("never", days.never), ("empty", days.empty)) if number]
    return element("span", *parts, class_="soft")


def _which(cover: Cover) -> str:
    """Which series stand below, and what is to be said of the others."""
    hidden = cover.series - len(cover.shown)
    if not hidden:
        return f"All {cover.series:,} series, the most holes first:" if cover.series > 1 else "The one series:"
    whole = min(hidden, cover.whole)  # those without a hole are shown last
    rest = f"{whole:,} without a hole" + (f", {hidden - whole:,} with fewer" if hidden > whole else "")
    return f"The {len(cover.shown)} series with the most holes, lost days first; the other {hidden:,}: {rest}."


def _by_month(line: Line) -> Html:
    years = range(min(line.months) // 12, max(line.months) // 12 + 1)
    rows = []
    for year in years:
        cells = [_cell(line.months.get(year * 12 + month, Days())) for month in range(12)]
        runs = [(cell, len(list(run))) for cell, run in groupby(cells)]
        tds = [element("td", text, class_=shade, colspan=n if n > 1 else None) for (text, shade), n in runs]
        rows.append(element("tr", element("th", str(year), scope="row"), *tds))
    columns = ["year", *(str(month) for month in range(1, 13))]
    return table(f"{line.name}: days there by month, in percent", columns, rows, class_="year")


def _cell(days: Days) -> tuple[str, str | None]:
    """What stands in the cell of a month, and its shade."""
    if not days.expected:
        return "", None
    mark = next((mark for kind, mark in MARKS.items() if getattr(days, kind)), "")
    share = days.there / days.expected
    shade = next(shade for least, shade in SHADES if share >= least) if days.there else None
    return f"{_share(days)}{mark}", shade


def _share(days: Days) -> int:
    """Percent of the days that are there, 100 only where all are."""
    return days.there * 100 // days.expected
