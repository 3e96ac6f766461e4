"""The report as one HTML page that needs nothing else: pure functions from its facts."""

import base64
import hashlib
from collections.abc import Callable, Iterable
from itertools import compress
from pathlib import Path

from db.pulls import Failure
from db.revisions import LargeRevision
from model.scrub import scrubbed
from model.text import counted
from model.values import Series, midnight
from pipeline.freshness import SeriesState
from query.report.coverage import coverage
from query.report.drawings import PATTERNS, is_log, plot
from query.report.facts import Chart, Fresh, Report, SourceFacts
from query.report.markup import NEAR, Html, day, element, minute, named, row, section, short, table, together
from sources import unit_of

CSS = Path(__file__).with_name("page.css")
STALE_NAMED = 30  # of each source
TEXT_SHOWN = 600  # characters of a failure
ENDLESS = "no end recorded: it was killed, or its host has crashed"


def page(report: Report, scrub: Callable[[str], str]) -> str:
    """The page in ASCII, every text of it escaped and without secrets; it may load nothing and run nothing."""
    report = scrubbed(report, scrub)
    css = CSS.read_text(encoding="ascii")
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="referrer", content="no-referrer"),
        element("meta", name="color-scheme", content="light dark"),
        element("link", rel="icon", href="data:,"),
        element("title", f"StoredSeries metrics, {minute(report.at)} UTC"),
        element("style", Html(css)),
    )
    body = element(
        "body",
        element("a", "To the contents", class_="skip", href="#main"),
        PATTERNS,
        _header(report),
        element(
            "main",
            _failures(report),
            _freshness(report),
            _charts(report),
            coverage(report),
            _revisions(report),
            id="main",
        ),
    )
    text = f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"
    return text.encode("ascii", "xmlcharrefreplace").decode()


def _header(report: Report) -> Html:
    at = element("time", f"{minute(report.at)} UTC", datetime=report.at.isoformat(timespec="seconds"))
    names = ", ".join(source.name for source in report.sources)
    foreign = f"; also stored, of sources without a module: {', '.join(report.foreign)}" if report.foreign else ""
    return element(
        "header",
        element("h1", "StoredSeries metrics"),
        element("p", at, f": {names}{foreign}"),
        element("p", report.database, class_="soft"),
        element("nav", element("ul", *_glances(report), class_="glance"), aria_label="At a glance"),
    )


def _glances(report: Report) -> list[Html]:
    """The figures that matter first, each a way to its part of the page."""
    sources = report.sources
    stale, never = (sum(each.state(state) for each in sources) for state in (SeriesState.STALE, SeriesState.NEVER_SEEN))
    lost = sum(each.lost for each in sources)
    series = sum(each.series for each in sources)
    points = short(sum(each.points for each in sources))
    return [
        _glance(
            "failures",
            f"{report.lately.failed:,}",
            f"of {counted(report.lately.runs, 'run')} failed, {report.days} days",
            report.lately.failed,
        ),
        _glance("freshness", f"{stale:,}", "series stale", stale),
        _glance("freshness", f"{never:,}", "series never seen", 0),
        _glance("charts", f"{series:,}", f"series, {points} points", 0),
        _glance("coverage", f"{lost:,}", "days lost", lost),
        _glance("revisions", f"{sum(each.revised for each in sources):,}", "values restated", 0),
    ]


def _glance(part: str, figure: str, words: str, bad: int) -> Html:
    mark = "! " if bad else ""
    return element(
        "li", element("a", element("b", f"{mark}{figure}"), words, href=f"#{part}", class_="bad" if bad else None)
    )


def _failures(report: Report) -> Html:
    lately = report.lately
    told = f"{lately.failed:,} of {counted(lately.runs, 'run')} of the last {report.days} days failed"
    told += f"; {lately.under_way:,} more under way" if lately.under_way else ""
    if not lately.failures:
        return section("failures", "What failed lately", element("p", f"Nothing: {told}."))
    parts = [element("p", f"{told}. Of each kind of run the last one says why; the table pulls has all.")]
    return section("failures", "What failed lately", *parts, *(_failure(each) for each in lately.failures))


def _failure(each: Failure) -> Html:
    head = f"{each.source} {each.kind or 'run'}, {minute(each.last)} UTC"
    text = each.failure or (ENDLESS if each.endless else "no reason recorded")
    if (more := len(text) - TEXT_SHOWN) > 0:
        text = f"{text[:TEXT_SHOWN]}\u2026 and {counted(more, 'character')} more"
    runs = f"run {each.pull_id}"
    if each.times > 1:
        runs = f"{each.times:,} runs since {minute(each.first)}, the last is {each.pull_id}"
    return element("div", element("h3", head), element("p", text), element("p", runs, class_="soft"), class_="failure")


def _freshness(report: Report) -> Html:
    words = (
        "Fresh: with a point of the day that is due. Quiet: older, and the API has answered that it has nothing newer. "
        "Stale: older, and the API was not asked or has not answered. Awaited: older, until the first runs after a "
        "start or an edit of the config are over. Left: stored, but no config asks for it."
    )
    parts = [element("p", words, class_="soft")]
    for source in report.sources:
        parts += [element("h3", source.name), *_freshness_of(source, report)]
    return section("freshness", "Freshness", *parts)


def _freshness_of(source: SourceFacts, report: Report) -> list[Html]:
    if not source.fresh:
        return [element("p", "No series.")]
    counts = {state: source.state(state) for state in SeriesState}
    newest = max((each.newest for each in source.fresh if each.newest), default=None)
    said = "; ".join(f"{number:,} {state}" for state, number in counts.items())
    parts = [element("p", f"{said}. Newest point: {minute(newest)} UTC." if newest else f"{said}. No point yet.")]
    if source.stale:
        today = midnight(report.at)
        shown = [
            f"{each.asset} {each.metric} ({day(each.newest)}, "
            f"{counted((today - midnight(each.newest)).days, 'day')} ago)"
            for each in source.stale[:STALE_NAMED]
        ]
        more = len(source.stale) - len(shown)
        named_ = "; ".join([*shown, f"and {more:,} more"] if more else shown)
        why = element("p", "Why: ", element("code", f"python main.py gaps {source.name}"), class_="soft")
        parts += [element("p", element("span", "! Stale, the oldest first: ", class_="bad"), named_), why]
    numbers = [[*(each.states.get(state, 0) for state in SeriesState), each.left] for each in source.fresh]
    kept = [any(column) for column in zip(*numbers, strict=True)]  # a phone has no room for those of zeros alone
    columns = ["metric, newest point", *compress([*SeriesState, "left"], kept)]
    rows = [_fresh_row(each, compress(of, kept)) for each, of in zip(source.fresh, numbers, strict=True)]
    listed = table(f"Series of {source.name} by metric, those first that need a look", columns, rows)
    summary = element("summary", f"{source.name}: {counted(len(rows), 'metric')}")
    return [*parts, element("details", summary, listed, open="" if source.stale else None)]


def _fresh_row(each: Fresh, numbers: Iterable[int]) -> Html:
    newest = element("span", day(each.newest) if each.newest else "no point yet", class_="whole soft")
    return row(together(named(each.metric), newest), *(f"{number:,}" if number else "\u2013" for number in numbers))


def _charts(report: Report) -> Html:
    parts = [element("p", f"Chosen: {report.chosen}.", class_="soft")]
    parts.append(element("div", *(_chart(each) for each in report.charts), class_="charts"))
    return section("charts", "Charts", *parts)


def _chart(chart: Chart) -> Html:
    source, asset, metric = chart.series
    extent, unit_ = chart.extent, chart.unit
    low, high = short(extent.low, unit_), short(extent.high, unit_)
    scale = ", log scale" if is_log(chart) else ""
    label = f"{asset} {metric} from {day(extent.first)} to {day(extent.last)}, between {low} and {high}"
    caption = element(
        "figcaption",
        element("b", f"{asset} ", named(metric)),
        element("strong", short(extent.latest, unit_)),
        element("span", f"{source}, {day(extent.last)}; {counted(extent.points, 'point')}; {low} to {high}{scale}"),
    )
    ends = element("p", element("span", day(extent.first)), element("span", day(extent.last)), class_="ends")
    return element("figure", caption, plot(chart, label), ends)


def _revisions(report: Report) -> Html:
    words = (
        "Values of closed days that a provider has restated, by their change in relation to the old value, the largest "
        "first; those from zero last."
    )
    parts = [element("p", words, class_="soft")]
    for source in report.sources:
        parts.append(element("h3", source.name))
        if not source.revisions:
            parts.append(element("p", "None."))
            continue
        caption = f"The {len(source.revisions)} largest of {counted(source.revised, 'revision')} of {source.name}"
        columns = ["series, day and run", "change", "old and new"]
        rows = [_revision_row(source.name, each) for each in source.revisions]
        parts.append(table(caption, columns, rows))
    return section("revisions", "Largest revisions", *parts)


def _revision_row(source: str, each: LargeRevision) -> Html:
    unit_ = unit_of([Series(source, each.asset, each.metric)])
    near = min(NEAR, abs(each.new - each.old) / max(abs(each.new), abs(each.old)) / 10)  # so that the two differ
    change = "from zero" if each.old == 0 else _percent((each.new - each.old) / abs(each.old))
    run = f"{each.kind or ''} run {each.pull_id}".strip() if each.pull_id else "an unknown run"
    lines = (day(each.at), f"replaced {minute(each.replaced_at)}", f"by {run}")
    head = together(
        f"{each.asset} ", named(each.metric), *(element("span", line, class_="whole soft") for line in lines)
    )
    values = (element("span", short(value, unit_, near), class_="value") for value in (each.old, each.new))
    return row(head, change, together(*values))


def _percent(share: float) -> str:
    """A change with its sign: +1.25%, or +1.2K\u00d7 where it is beyond any percentage that can be read."""
    if abs(share) < 10:
        return f"{share:+.2%}" if abs(share) >= 0.0001 else f"{share:+.1e}"
    return f"{'+' if share > 0 else '-'}{short(abs(share))}\u00d7"
