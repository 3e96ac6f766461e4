"""Which series a run requests, in which window, and with which calls."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from db.coverage import Name
from db.database import Database
from db.store import Store
from model.errors import ConfigurationError
from model.schedule import Schedule
from model.settings import MAIN
from model.text import nearest
from model.values import DAY, EARLIEST, Target, Verb, Window, midnight
from pipeline.gaps import without_pauses
from sources.base import BaseSource, Call


class Scope(Enum):
    """Which days of its window a run requests."""

    MISSING = auto()  # the days for which the API has not answered yet
    GAPS = auto()  # the days that were never answered, from the first day of each series on
    EMPTY_GAPS = auto()  # these, and the days for which the API had nothing, or only points that can't be true
    FULL = auto()  # all days
    ANSWERED = auto()  # all days, and earlier ones that were answered: see `_days_to_compare`


@dataclass(frozen=True, slots=True)
class Job:
    """What a run has to do: a source, a verb, series and a window; and which series it leaves out, and why."""

    source: BaseSource
    verb: Verb
    targets: tuple[Target, ...]
    window: Window
    left_out: tuple[Target, ...]  # series that this verb cannot request
    without_key: int  # series that need an API key, which is not set
    scope: Scope = Scope.FULL
    slot: datetime | None = None  # of the schedule; None for a manual run
    verified_since: datetime | None = None  # a settle requests all answered days of series not verified since then

    def __str__(self) -> str:
        return f"{self.source.name} {self.verb}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The calls of one run, by the window that they request."""

    job: Job
    windows: Mapping[Window, Sequence[Call]]

    @property
    def calls(self) -> list[Call]:
        """All calls."""
        return [call for calls in self.windows.values() for call in calls]

    @property
    def series(self) -> set[Target]:
        """The series that the calls request."""
        return {target for call in self.calls for target in call.targets}


def choose(
    targets: Sequence[Target], only_assets: Sequence[str], only_metrics: Sequence[str], config: str
) -> list[Target]:
    """The series of a config with these assets and metrics; an empty list of names stands for all names.

    `config` is the name of the file. Raises ConfigurationError, with the nearest name, for a name that is not in it.
    """
    known = [(target.asset, target.metric) for target in targets]
    check_names(only_assets, only_metrics, known, f"{config} has no", listed=config)
    chosen = [
        target
        for target in targets
        if (not only_assets or target.asset in only_assets) and (not only_metrics or target.metric in only_metrics)
    ]
    if not chosen:
        raise ConfigurationError(
            f"{config} has none of these metrics for any of these assets: name an asset and one of its metrics"
        )
    return chosen


def check_names(
    assets: Sequence[str],
    metrics: Sequence[str],
    known: Sequence[Name],
    has_no: str,
    listed: str = f"{MAIN} sources",
) -> None:
    """Raise ConfigurationError, with the nearest name, for an asset or metric that no known series has.

    The message begins with `has_no`, such as "artemis has no"; `listed` says where to find the known names.
    """
    for kind, names, existing in (
        ("asset", assets, {asset for asset, _ in known}),
        ("metric", metrics, {metric for _, metric in known}),
    ):
        for name in names:
            if name not in existing:
                raise ConfigurationError(f"{has_no} {kind} {name!r}: {nearest(name, existing, listed)}")


def make_job(
    source: BaseSource,
    verb: Verb,
    targets: Sequence[Target],
    window: Window,
    scope: Scope = Scope.FULL,
    verified_since: datetime | None = None,
) -> Job:
    """The job for those targets that the verb can request with the keys that are set."""
    fitting = [target for target in targets if verb in source.METRICS[target.metric].verbs]
    allowed = [target for target in fitting if source.can_request(target.metric, with_key=bool(source.key))]
    return Job(
        source,
        verb,
        tuple(allowed),
        window,
        left_out=tuple(target for target in targets if verb not in source.METRICS[target.metric].verbs),
        without_key=len(fitting) - len(allowed),
        scope=scope,
        verified_since=verified_since,
    )


def plan_alone(database: Database, job: Job) -> Plan:
    """The calls that a run of the job would make now."""
    with closing(Store(database, job.source.name, job.verb)) as store:
        return plan_in(store, job)


def plan_in(store: Store, job: Job) -> Plan:
    """The calls that a job needs in addition to what is stored."""
    if job.scope is Scope.FULL:
        return make_plan(job)
    if job.scope is Scope.MISSING:
        return make_plan(job, store.missing(job.targets, job.window))
    if job.scope is Scope.ANSWERED:
        return Plan(job, _exact_calls(job, _days_to_compare(job, store)))
    return make_plan(job, _gaps_of(job, store))


def _gaps_of(job: Job, store: Store) -> dict[Name, list[Window]]:
    """The gaps in a job's window that it requests, by series.

    A series that was never requested is one gap. Lost days are not among them: only a full backfill requests those.
    """
    targets = {(target.asset, target.metric): target for target in job.targets}
    gaps = {name: [job.window] for name in targets}
    for series in store.maps(job.window.end, job.source.own_times()):
        if (name := (series.asset, series.metric)) in targets and (series.answered or series.days):
            known = without_pauses(series, job.source.rhythm(targets[name]))
            windows = [*known.never]
            if job.scope is Scope.EMPTY_GAPS:
                windows += [*known.empty, *known.refused]
            inside = [Window(max(each.start, job.window.start), min(each.end, job.window.end)) for each in windows]
            gaps[name] = [each for each in inside if each.start < each.end]
    return gaps


def _days_to_compare(job: Job, store: Store) -> dict[Window, list[Target]]:
    """The days that a settle requests: those of its window, and earlier answered ones.

    Where an answer holds the whole history anyway, all of it is compared, from the first day that was ever answered for
    any of these series. Of other series, all answered days are requested if they were not verified for long, if a value
    waits, since the API may have taken it back, or if one from before the window is undecided.
    """
    known, start = store.known(job.targets), job.window.start
    undecided = store.compared_as_a_whole(start)
    firsts = {name: min(start, each.answered[0].start) for name, each in known.items() if each.answered}
    whole = {target for target in job.targets if job.source.METRICS[target.metric].whole}
    first_of_whole = min((firsts.get(target[:2], start) for target in whole), default=start)
    found: dict[Window, list[Target]] = {}
    for target in job.targets:
        first, verified = start, known[target[:2]].verified_at if target[:2] in known else None
        if target in whole:
            first = first_of_whole
        elif target[:2] in undecided or (job.verified_since and (verified is None or verified < job.verified_since)):
            first = firsts.get(target[:2], start)
        found.setdefault(Window(first, job.window.end), []).append(target)
    return found


def make_plan(job: Job, missing: Mapping[Name, Sequence[Window]] | None = None) -> Plan:
    """The fewest calls for the missing windows of each series; for the whole window of the job where none are given.

    Series with the same missing window share calls. Where one window around all missing ones takes fewer calls, the
    plan requests that one. It requests the whole window where the API only returns the whole history.
    """
    wanted: dict[Window, list[Target]] = {}
    for target in job.targets:
        windows = [job.window] if missing is None else missing.get((target.asset, target.metric), ())
        whole = job.source.METRICS[target.metric].whole
        for window in [job.window] if windows and whole else windows:
            wanted.setdefault(window, []).append(target)
    exact = _exact_calls(job, wanted)
    if len(exact) < 3:
        return Plan(job, exact)
    all_targets = list(dict.fromkeys(target for targets in wanted.values() for target in targets))
    around = Window(min(window.start for window in wanted), max(window.end for window in wanted))
    together = [*job.source.calls(job.verb, all_targets, around)]
    fewer = len(together) < sum(map(len, exact.values()))
    return Plan(job, {around: together} if fewer else exact)


def _exact_calls(job: Job, wanted: Mapping[Window, Sequence[Target]]) -> dict[Window, list[Call]]:
    """The calls for the targets of each window."""
    return {window: [*job.source.calls(job.verb, targets, window)] for window, targets in sorted(wanted.items())}


def pull_window(now: datetime, days: int) -> Window:
    """The last `days` UTC days, today included."""
    tomorrow = midnight(now) + DAY
    return Window(tomorrow - days * DAY, tomorrow)


def backfill_window(now: datetime, first: datetime, start: datetime | None, end: datetime | None) -> Window:
    """From `start` (None: `first`) up to but excluding `end` (None: today).

    Raises ConfigurationError where the window is empty, or contains today, which is still open.
    """
    today = midnight(now)
    start, end = start or first, end or today
    if not EARLIEST <= start < end <= today:
        raise ConfigurationError(
            f"no backfill is possible from --start {start.date()} to --end {end.date()}: --start must be before --end "
            f"and not before {EARLIEST.date()}, --end must not be after {today.date()}, today (UTC)"
        )
    return Window(start, end)


def settle_window(now: datetime, number: int) -> Window:
    """The last `number` closed UTC days; raises ConfigurationError where the number is below 1 or too large."""
    today = midnight(now)
    most = (today - EARLIEST) // DAY
    if not 1 <= number <= most:
        raise ConfigurationError(f"--days {number}: write a number of closed days, from 1 to {most:,}")
    return Window(today - number * DAY, today)


def must_be_verified_since(schedule: Schedule, now: datetime) -> datetime | None:
    """Since when each series must be verified by this run, so that none is left for longer than the schedule allows.

    It is a midnight, so that a run that starts some seconds earlier than the last one does not put it off by a day.
    """
    return midnight(now) - schedule.whole_every + DAY if schedule.whole_every else None
