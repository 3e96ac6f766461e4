"""What a run is asked to do, and the calls that it takes: those for what is not covered yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from model.errors import ConfigurationError
from model.text import nearest
from model.values import DAY, Target, Verb, Window, midnight
from sources.base import EARLIEST, BaseSource, Call

CALLS_SHOWN = 3  # of those whose paths are alike
WINDOWS_SHOWN = 8


class Scope(Enum):
    """Which days of its window a backfill asks for."""

    MISSING = "those for which the API has not answered yet"
    GAPS = "of each series, those since its first day that are not there and were never asked for"
    EMPTY_GAPS = "the same, and those for which the API had nothing"
    FULL = "all"


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is asked to do: these series, in this window; and the series that it leaves out and why."""

    source: BaseSource
    verb: Verb
    targets: tuple[Target, ...]
    window: Window
    left_out: tuple[Target, ...]  # which only another verb asks for
    without_key: int
    scope: Scope = Scope.FULL
    slot: datetime | None = None  # of the schedule, for which it is made

    def __str__(self) -> str:
        return f"{self.source.name} {self.verb}"

    def not_asked(self, number: int) -> str:
        """Why so many of its series are not asked for."""
        missing = self.scope is Scope.MISSING
        return f"{number:,} series are {f'covered from {days(self.window)}' if missing else 'without such a gap'}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls of one run, by the windows that they ask for."""

    job: Job
    windows: Mapping[Window, Sequence[Call]]

    @property
    def calls(self) -> list[Call]:
        """All calls."""
        return [call for calls in self.windows.values() for call in calls]

    @property
    def duration(self) -> timedelta:
        """How long the source's pace makes the calls take at least."""
        return timedelta(seconds=len(self.calls) * self.job.source.REQUEST_DELAY)

    def lines(self) -> list[str]:
        """The plan for a person: how many calls, how long, which windows, and a few of each family of paths."""
        seconds = self.duration.total_seconds()
        span = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        asked = {target for call in self.calls for target in call.targets}
        lines = [f"{self.job}: {len(self.calls):,} calls for {len(asked):,} series, at least {span}"]
        if others := len(set(self.job.targets) - asked):
            lines.append(f"  {self.job.not_asked(others)}: nothing to ask")
        shown = sorted(self.windows)[:WINDOWS_SHOWN]
        for window in shown:
            calls = self.windows[window]
            series = {target for call in calls for target in call.targets}
            lines.append(f"  {days(window)}: {len(calls):,} calls for {len(series):,} series")
        if len(self.windows) > len(shown):
            lines.append(f"  and {len(self.windows) - len(shown):,} more windows")
        return lines + self._families()

    def _families(self) -> list[str]:
        lines: list[str] = []
        alike: dict[str, list[Call]] = {}
        for call in self.calls:
            alike.setdefault(call.path.rstrip("/").rpartition("/")[0], []).append(call)
        for family, calls in alike.items():
            shown = calls if len(calls) <= CALLS_SHOWN + 1 else calls[:CALLS_SHOWN]
            lines += [f"    {call}" for call in shown]
            if len(calls) > len(shown):
                lines.append(f"    and {len(calls) - len(shown):,} more of {family}/…")
        return lines


def days(window: Window) -> str:
    """A window as its first and last day."""
    first, last = window.start.date(), (window.end - DAY).date()
    return f"{first}" if first == last else f"{first} to {last}"


def choose(
    targets: Sequence[Target], only_assets: Sequence[str], only_metrics: Sequence[str], config: str
) -> list[Target]:
    """Those of a config's series that were asked for by name, all of them where none was.

    Raises ConfigurationError, with the nearest name, for one that no row of the config, so called, has.
    """
    known_assets, known_metrics = {target.asset for target in targets}, {target.metric for target in targets}
    for kind, names, known in (("asset", only_assets, known_assets), ("metric", only_metrics, known_metrics)):
        for name in names:
            if name not in known:
                raise ConfigurationError(f"{config} has no {kind} {name!r}: {nearest(name, known, listed=config)}")
    chosen = [
        target
        for target in targets
        if (not only_assets or target.asset in only_assets) and (not only_metrics or target.metric in only_metrics)
    ]
    if not chosen:
        raise ConfigurationError(f"{config} has none of these metrics for any of these assets")
    return chosen


def make_job(
    source: BaseSource, verb: Verb, targets: Sequence[Target], window: Window, scope: Scope = Scope.FULL
) -> Job:
    """The job for those of the targets that this kind of run can ask for with the keys that are set."""
    fitting = [target for target in targets if verb in source.METRICS[target.metric].verbs]
    open_ones = [target for target in fitting if source.can_ask(target.metric, with_key=bool(source.key))]
    return Job(
        source,
        verb,
        tuple(open_ones),
        window,
        left_out=tuple(target for target in targets if target not in fitting),
        without_key=len(fitting) - len(open_ones),
        scope=scope,
    )


def make_plan(job: Job, missing: Mapping[tuple[str, str], Sequence[Window]] | None = None) -> Plan:
    """The fewest calls for what is missing of each series (asset, metric): all of the window where nothing is said.

    Series with the same missing window share calls. Where windows are so many and scattered that one over all of
    them takes fewer calls, that one is asked for. A history that only comes whole is asked for whole.
    """
    if missing is None:
        return Plan(job, {job.window: _calls(job, job.targets, job.window)} if job.targets else {})
    wanted: dict[Window, list[Target]] = {}
    for target in job.targets:
        windows = missing.get((target.asset, target.metric), ())
        whole = job.source.METRICS[target.metric].whole
        for window in [job.window] if windows and whole else windows:
            wanted.setdefault(window, []).append(target)
    exact = {window: _calls(job, targets, window) for window, targets in sorted(wanted.items())}
    if len(exact) < 3:
        return Plan(job, exact)
    all_targets = list(dict.fromkeys(target for targets in wanted.values() for target in targets))
    hull = Window(min(window.start for window in wanted), max(window.end for window in wanted))
    together = _calls(job, all_targets, hull)
    fewer = len(together) < sum(map(len, exact.values()))
    return Plan(job, {hull: together} if fewer else exact)


def _calls(job: Job, targets: Sequence[Target], window: Window) -> list[Call]:
    return list(job.source.calls(job.verb, targets, window))


def pull_window(now: datetime, days: int) -> Window:
    """The last `days` days in UTC, the open one included."""
    tomorrow = midnight(now) + DAY
    return Window(tomorrow - days * DAY, tomorrow)


def backfill_window(now: datetime, first: datetime, start: datetime | None, end: datetime | None) -> Window:
    """From `start`, or `first` where it is None, up to and without `end`, or today where it is None.

    Raises ConfigurationError where it is empty or reaches into the open day.
    """
    today = midnight(now)
    if start is not None and start < EARLIEST:
        raise ConfigurationError(f"--start {start.date()} is before {EARLIEST.date()}: no source is so old")
    if start is not None and start >= today:
        raise ConfigurationError(f"--start {start.date()} is not in the past: a backfill ends before today (UTC)")
    if end is not None and end > today:
        raise ConfigurationError(f"--end {end.date()} is in the future: today (UTC) is the latest")
    start, end = first if start is None else start, today if end is None else end
    if start >= end:
        raise ConfigurationError(f"the window is empty: --start {start.date()} is not before --end {end.date()}")
    return Window(start, end)


def settle_window(now: datetime, number: int) -> Window:
    """The last closed days, so many of them, in UTC; raises ConfigurationError where they are none or too many."""
    today = midnight(now)
    most = (today - EARLIEST) // DAY
    if not 1 <= number <= most:
        raise ConfigurationError(f"--days {number}: write a number of closed days, from 1 to {most:,}")
    return Window(today - number * DAY, today)
