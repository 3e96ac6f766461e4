"""What a run will ask for: the series of a config that fit its verb, and the calls for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.errors import ConfigurationError
from pipeline.values import DAY, Target, Verb, Window, midnight
from sources.base import EARLIEST, BaseSource, Call
from sources.config import Asset, nearest

CALLS_SHOWN = 3  # of those whose paths are alike


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls of one run, and the series that it leaves out and why."""

    source: BaseSource
    verb: Verb
    calls: tuple[Call, ...]
    series: int
    left_out: tuple[Target, ...]  # which only another verb asks for
    without_key: int

    @property
    def duration(self) -> timedelta:
        """How long the source's pace makes the calls take at least."""
        return timedelta(seconds=len(self.calls) * self.source.REQUEST_DELAY)

    def lines(self) -> list[str]:
        """The plan for a person: how many calls, how long, and the first few of each family of paths."""
        seconds = self.duration.total_seconds()
        span = f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        number, series = len(self.calls), self.series
        lines = [f"{self.source.name} {self.verb}: {number:,} calls for {series:,} series, at least {span}"]
        alike: dict[str, list[Call]] = {}
        for call in self.calls:
            alike.setdefault(call.path.rstrip("/").rpartition("/")[0], []).append(call)
        for family, calls in alike.items():
            shown = calls if len(calls) <= CALLS_SHOWN + 1 else calls[:CALLS_SHOWN]
            lines += [f"  {call}" for call in shown]
            if len(calls) > len(shown):
                lines.append(f"  and {len(calls) - len(shown):,} more of {family}/…")
        return lines


def choose(
    assets: Sequence[Asset], only_assets: Sequence[str], only_metrics: Sequence[str], config: str
) -> list[Target]:
    """The series of these rows that were asked for by name, all of them where none was.

    Raises ConfigurationError, with the nearest name, for one that no row of the config, so called, has.
    """
    targets = [target for asset in assets for target in asset.targets()]
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


def make_plan(source: BaseSource, verb: Verb, targets: Sequence[Target], window: Window) -> Plan:
    """The plan for those of the targets that this kind of run can ask for with the keys that are set."""
    fitting = [target for target in targets if verb in source.METRICS[target.metric].verbs]
    open_ones = [target for target in fitting if source.key or not source.METRICS[target.metric].needs_key]
    return Plan(
        source,
        verb,
        tuple(source.calls(verb, open_ones, window)),
        series=len(open_ones),
        left_out=tuple(target for target in targets if target not in fitting),
        without_key=len(fitting) - len(open_ones),
    )


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
