"""The area `flags`: odd values of the last days, as notes. Nothing is wrong with the pipeline if there are any."""

from collections.abc import Iterator, Sequence

from cli.checks.area import NAMES_SHOWN, Area, CheckContext, Finding, Severity, few
from cli.process import read_database
from db.session import clock
from model.errors import PipelineError
from model.settings import MAIN, ROOT
from model.text import counted
from model.values import DAY, Series, midnight
from query.flags import Flag, stored_flags
from sources import SOURCES
from sources.config import valid_rows

DAYS = 30
LINES = 10  # for each source


def check_flags(context: CheckContext) -> Area:
    """What the rules flag in the configured series."""
    if not context.database:
        return Area("there are no tables of this version", None)
    try:
        targets = {name: context.records[name].targets for name in context.names}
    except PipelineError:  # a finding of the area `series`
        return Area("the series can't be read", None)
    asked = [Series(name, each.asset, each.metric) for name, of in targets.items() for each in of]
    configs = {name: valid_rows(ROOT / source.CONFIG, source)[0] for name, source in SOURCES.items()}

    def read(cursor: object) -> list[Flag]:
        today = midnight(clock(cursor))
        return stored_flags(cursor, asked, configs, today - DAYS * DAY, today)

    flags = read_database(context.database, "check", read)
    findings = [
        finding
        for name in context.names
        for finding in flag_findings(name, [each for each in flags if each.series.source == name])
    ]
    return Area(f"{counted(len(flags), 'flag')} in {DAYS} days of {counted(len(asked), 'series', 'series')}", findings)


def flag_findings(source: str, flags: Sequence[Flag]) -> Iterator[Finding]:
    """A line for each asset; but one for a metric where a rule flags it in many assets."""
    assets: dict[tuple[str, str], list[str]] = {}
    for flag in flags:
        assets.setdefault((flag.series.metric, flag.rule), []).append(flag.series.asset)
    many = {key: names for key, names in assets.items() if len(set(names)) > NAMES_SHOWN}
    lines = [(f"{source} {metric}", f"{rule} in {few(names)}") for (metric, rule), names in many.items()]
    texts: dict[str, list[str]] = {}
    for flag in flags:
        if (flag.series.metric, flag.rule) not in many:
            texts.setdefault(flag.series.asset, []).append(_text(flag))
    lines += [(f"{source} {asset}", few(each)) for asset, each in texts.items()]
    remedy = (
        f"see q.flags() in a notebook, or {MAIN} query ASSET METRIC --source {source} --start {DAYS}d; to "
        f"switch a rule off, write its name into the column flags_off of {SOURCES[source].CONFIG}"
    )
    for where, what in lines[:LINES]:
        yield Finding(Severity.NOTE, where, what, remedy)
    if len(lines) > LINES:
        yield Finding(Severity.NOTE, source, f"and {len(lines) - LINES:,} more", remedy)


def _text(flag: Flag) -> str:
    days = f"{flag.start}" if flag.start == flag.end else f"{flag.start} to {flag.end}"
    return f"{flag.series.metric} {flag.rule} on {days}: {flag.text}"
