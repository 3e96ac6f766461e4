"""Which days of an answer count as answered: an answer is a claim, and a claim that can hardly be true is refused.

Refused days are not covered, so later runs request them again. Once answers on enough different UTC days have made the
same claim, an empty answer counts, and a flaw of the provider or missing days no longer make the run fail. These are
pure functions of an answer and of what the tables know.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from db.coverage import Known, Name
from model.values import DAY, Answered, DataPoint, Metric, Reason, Refused, Window, midnight, windows_of
from sources.base import Answer, BaseSource, RefusedPoint

LONGEST_EMPTY = 7  # days without a value that one answer may add to those known of a series
NOTHING = Known()


class Claim(NamedTuple):
    """What an answer says of some days of a series, if it is hard to believe."""

    reason: Reason
    days: set[int]  # by their numbers: see Window.ordinals
    detail: str = ""  # for the message, if the claim makes the call fail
    lost: frozenset[int] = frozenset()  # those of the days that had a value: a person decides about them


@dataclass(slots=True)
class Judgement:
    """What an answer means for the series of its call."""

    answered: list[Answered] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    withdrawn: list[Answered] = field(default_factory=list)  # stored days that the API no longer has: more than a few
    failures: dict[Name, str] = field(default_factory=dict)  # the series for which the call failed, and why
    unconfirmed: set[Name] = field(default_factory=set)  # series without a value: an answer of another day must agree

    def add(self, other: "Judgement") -> None:
        """Add what another answer means."""
        self.answered += other.answered
        self.refused += other.refused
        self.withdrawn += other.withdrawn
        self.failures |= other.failures
        self.unconfirmed |= other.unconfirmed


def judge(answer: Answer, points: Sequence[DataPoint], source: BaseSource, known: Mapping[Name, Known]) -> Judgement:
    """Judge an answer of which the run stores `points`, with what the tables knew of each series before the run."""
    metrics, most_withdrawn = source.METRICS, source.RESTATEMENTS.withdrawn_days
    call, today, judged = answer.call, midnight(answer.received), Judgement()
    asked, now = Window(call.window.start, min(call.window.end, today)), Window(today, today + DAY)
    bad: dict[Name, list[RefusedPoint]] = defaultdict(list)
    for each in answer.refused:
        bad[each.target.asset, each.target.metric].append(each)
    valued = {(point.asset, point.metric) for point in answer.points}
    given: dict[Name, set[int]] = {}
    for target in call.targets:
        name, metric = (target.asset, target.metric), metrics[target.metric]
        before = known.get(name, NOTHING)
        claims: list[Claim] = []
        if metric.live_only or not call.dated or asked.start >= today:
            window = now if metric.live_only else None  # tomorrow the API no longer has this value
            if bad[name]:
                claims = [Claim(Reason.NOT_A_NUMBER_NOW, {*now.ordinals}, bad[name][0].why)]
        else:
            window = asked
            if bad[name] or name not in valued or any(each.end > asked.start for each in before.found):
                given = given or _days_given(points, metrics)
                without = {*asked.ordinals} - given.get(name, set())
                live = known.get((target.asset, metric.live_name), NOTHING)
                begun = _has_begun(asked, before, today, alive=bool(before.rows or live.rows))
                claims = [*_flaws(without, bad[name])]
                without = without.difference(*(claim.days for claim in claims))
                valued_or_flawed = name in valued or bool(claims)
                claims += _absence(without, before, most_withdrawn, valued=valued_or_flawed, begun=begun)
        series = Answered(*name, shift=metric.shift, api_id=target.id)
        _accept(judged, series, window, claims, before, today.date())
    return judged


def _days_given(points: Sequence[DataPoint], metrics: Mapping[str, Metric]) -> dict[Name, set[int]]:
    """The days of each series that have a point."""
    given: dict[Name, set[int]] = defaultdict(set)
    for point in points:
        given[point.asset, point.metric].add(metrics[point.metric].day_of(point.at).toordinal())
    return given


def _flaws(without: set[int], bad: Sequence[RefusedPoint]) -> Iterator[Claim]:
    """Points that can't be true. Each day without a good point may be the day of one without a possible date."""
    undated = [each for each in bad if each.day is None]
    wrong = [each for each in bad if each.day and each.day.toordinal() in without]
    if wrong:
        days = {each.day.toordinal() for each in wrong if each.day}
        yield Claim(Reason.NOT_A_NUMBER, days, f"{len(days):,} days, {wrong[0].why}")
    if undated:
        yield Claim(Reason.NOT_A_DATE, without, f"{len(undated):,} points, {undated[0].why}")


def _has_begun(asked: Window, before: Known, today: datetime, *, alive: bool) -> bool:
    """Whether a series has values by the end of a window.

    Before the first backfill, nothing is known but that pulls have stored values (`alive`): then it has a history up to
    today, and nobody knows when that begins.
    """
    if before.found:
        return asked.end > before.found[0].start
    return alive and asked.end >= today


def _absence(without: set[int], before: Known, most_withdrawn: int, *, valued: bool, begun: bool) -> Iterator[Claim]:
    """That more than `most_withdrawn` days which had a value have none now, or many more days than known have none.

    `valued` says whether the answer has any point of the series, also outside the window; `begun` whether the series
    has values by the end of the window.
    """
    lost = frozenset(day for each in before.found for day in each.ordinals if day in without)
    if len(lost) > most_withdrawn:
        yield Claim(Reason.WITHDRAWN, without, f"{len(lost):,} days", lost)
        return
    unknown = without.difference(*(each.ordinals for each in before.answered))
    if not valued and len(unknown) > LONGEST_EMPTY:
        if begun:
            yield Claim(Reason.EMPTY, unknown, f"{len(unknown):,} days, though the series has values")
        else:
            yield Claim(Reason.NOT_BEGUN, unknown)


def _accept(
    judged: Judgement, series: Answered, window: Window | None, claims: Sequence[Claim], before: Known, today: date
) -> None:
    """Add a series to the judgement: the days of the window count as answered, except those of refused claims.

    Stored days that the API no longer has wait for a person, however often it says so.
    """
    name, refused = (series.asset, series.metric), set[int]()
    for claim in claims:
        counts = before.dates_refused(claim.reason, today) >= claim.reason.enough_dates
        judged.withdrawn += [series._replace(days=days) for days in windows_of(claim.lost)]
        if counts and not claim.reason.is_flaw:
            refused |= claim.lost  # they are not answered before a person has decided
            continue
        refused |= claim.days
        judged.refused += [Refused(*name, claim.reason, days, today) for days in windows_of(claim.days)]
        if claim.reason is Reason.NOT_BEGUN:
            judged.unconfirmed.add(name)
        elif not counts:
            judged.failures[name] = f"{claim.reason}: {claim.detail}"
    if not refused or window is None:
        judged.answered.append(series._replace(days=window))
        return
    judged.answered.append(series)
    judged.answered += [series._replace(days=days) for days in windows_of({*window.ordinals} - refused)]
