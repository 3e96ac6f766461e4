"""The tables as a naive model of the written rules: docs/tables.md and the comments of db/schema.sql.

It keeps each point as a plain list of values. Two decisions are those of the pipeline, made on the model's own data by
the same pure functions: which answers count (`judge`) and which restatements are doubtful (`doubt` and its likes).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from datetime import date, datetime, timedelta

from db.coverage import Known, Name
from db.quarantine import ACCEPTED, ComparedPoint
from model.values import ENOUGH_DATES, Answered, DataPoint, Reason, Series, Verb, Window, midnight, windows_of
from pipeline.acceptance import Judgement
from pipeline.restatements import CommonFactor, common_factor, doubt, doubts_of_one_factor
from tests.db.test_vintages import Replaced, Stored
from tests.histories.provider import Restating
from tests.histories.records import Covered, File, Key, Point, Refusals, Waits, merged

METRICS, BOUNDS = Restating.METRICS, Restating.RESTATEMENTS
SOON = timedelta(hours=25)  # where nothing says what a value was: it is a sample if it was stored so soon


def day_of(key: Key) -> int:
    """The number of the day of a point."""
    (_, metric), at = key
    return METRICS[metric].day_of(at).toordinal()


class TablesModel:
    """All tables of the source."""

    def __init__(self) -> None:
        self.points: dict[Key, Point] = {}
        self.old: defaultdict[Key, list[Replaced]] = defaultdict(list)
        self.quarantine: dict[Key, Waits] = {}
        self.covered: defaultdict[Name, Covered] = defaultdict(Covered)
        self.refused: defaultdict[Name, dict[str, Refusals]] = defaultdict(dict)
        self.runs: list[datetime] = []
        self._closed_before = self.began = date.min

    def begin(self, at: datetime) -> None:
        """A run begins: days that were closed for an earlier run stay closed; coverage of days to come is forgotten."""
        self.runs.append(at)
        tomorrow = at.toordinal() + 1
        self._closed_before = max(each.date() for each in self.runs if each.toordinal() <= tomorrow)
        for name, each in self.covered.items():
            limit = tomorrow if METRICS[name[1]].live_only else tomorrow - 1
            for key in [key for key in self._of(name) if day_of(key) in each.found and day_of(key) >= limit]:
                self.points[key].sample = self._may_be_sample(key)
            each.answered, each.found = ({day for day in days if day < limit} for days in (each.answered, each.found))

    def known(self) -> dict[Name, Known]:
        """What the pipeline gets to know of each series."""
        return {
            name: Known(windows_of(each.answered), windows_of(each.found), each.rows, each.verified_at,
                        {reason: (one.dates, one.last) for reason, one in self.refused[name].items()})
            for name, each in self.covered.items()
        }  # fmt: skip

    def load(
        self, verb: Verb, points: Sequence[DataPoint], judged: Judgement, at: datetime, received: datetime
    ) -> None:
        """One load."""
        given = {((each.asset, each.metric), each.at): each.value for each in points}
        if verb is Verb.SETTLE:
            given = self._with_final_values(given)
        new = {key for key in given if key not in self.points}
        for key, value in given.items():
            self._take(verb, key, value, at, is_history=key[1].date() < received.date())
        # a sample that a backfill keeps is no value of its closed day
        kept = {key for key, value in given.items() if value != self.points[key].value and self.points[key].sample}
        for key in given:
            if key[1].date() < received.date():
                self._confirm(key)
        self._cover(given.keys() - kept, new, judged.answered, at)
        for asset, metric, reason, days, on in judged.refused:
            known = self.refused[asset, metric].setdefault(reason, Refusals(set(), 1, on))
            known.dates += known.last < on
            known.days, known.last = known.days | {*days.ordinals}, max(known.last, on)
        for each in judged.withdrawn:
            for key in self._of((each.asset, each.metric), each.days):
                if key not in self.quarantine or self.quarantine[key].value is not None:
                    self.quarantine[key] = Waits(None, "new")

    def judged(self, compared: Mapping[Name, Sequence[Window]]) -> list[Name]:
        """The series with undecided values of which a settle has compared all days that are restated."""
        found = []
        for name in self.undecided("new", "waiting"):
            days = {day for window in compared.get(name, ()) for day in window.ordinals}
            restated = [key for key, each in self.quarantine.items() if key[0] == name and each.state != "rejected"]
            if all(day_of(key) in days for key in restated):
                found.append(name)
        return found

    def doubtful(self, compared: Mapping[Name, Sequence[Window]]) -> list[tuple[Name, set[Key]]]:
        """The doubtful points of these series, in the order in which a settle has them wait."""
        commons, factors = dict[Name, CommonFactor](), defaultdict[str, dict[Name, float]](dict)
        found = list[tuple[Name, set[Key]]]()
        for name in self.judged(compared):
            series, shift = [self._compared(key) for key in self._of(name)], METRICS[name[1]].shift
            if why := doubt(series, [Window(start - shift, end - shift) for start, end in compared[name]], BOUNDS):
                found.append((name, {(name, each.at) for each in why.points}))
            if common := common_factor(series, BOUNDS):
                commons[name], factors[name[1]][name] = common, common.factor
        for alike in factors.values():
            for name in doubts_of_one_factor(alike, BOUNDS):
                found.append((name, {(name, each.at) for each in commons[name].points}))
        return found

    def undecided(self, *states: str) -> list[Name]:
        """The series with values in quarantine that have these states."""
        return sorted({name for (name, _), each in self.quarantine.items() if each.state in states})

    def hold(self, keys: Collection[Key]) -> None:
        """Have these points wait for a person."""
        for key in keys:
            self.quarantine[key] = self.quarantine[key]._replace(state="waiting")

    def reject(self, name: Name) -> None:
        """Keep the stored values of what waits."""
        for key, each in self.quarantine.items():
            if key[0] == name and each.state == "waiting":
                self.quarantine[key] = each._replace(state="rejected")
        if missing := self.refused[name].get(Reason.WITHDRAWN):
            missing.dates = max(missing.dates, ENOUGH_DATES)

    def adopt(self, name: Name, reason: str, at: datetime) -> None:
        """Write new values into the points; or those that wait or were rejected, if a person accepts them."""
        states = ("waiting", "rejected") if reason == ACCEPTED else ("new",)
        for key, (value, state) in list(self.quarantine.items()):
            if key[0] != name or state not in states:
                continue
            del self.quarantine[key]
            if value is not None:
                self._write(key, value, reason, at)
                continue
            covered = self.covered[name]
            covered.found, covered.withdrawn = covered.found - {day_of(key)}, covered.withdrawn | {day_of(key)}
            covered.withdrawn_at = at

    def verify(self, compared: Mapping[Name, Sequence[Window]]) -> None:
        """A settle has compared these days."""
        began = self.runs[-1]
        for name, windows in compared.items():
            days = {day for window in windows for day in window.ordinals}
            closed = {day for day in self.covered[name].answered if day < began.toordinal()}
            if windows and closed <= days and name not in self.undecided("new", "waiting"):
                self.covered[name].verified_at = began

    def save(self, refetched: Collection[Name], window: Window) -> File:
        """What a fresh start writes into its file."""

        def comes_back(key: Key) -> bool:
            covered = self.covered.get(key[0], Covered())
            return (
                key[0] in refetched and window.start <= key[1] < window.end
                and key[1].toordinal() in covered.found and window.end.toordinal() - 1 in covered.answered
            )  # fmt: skip

        kept = {key: each for key, each in self.points.items() if not comes_back(key)}
        return deepcopy(File(kept, self.old))

    def clear(self, at: datetime) -> None:
        """A fresh start clears all tables."""
        runs = self.runs
        self.__init__()  # type: ignore[misc] # the tables are as at the beginning
        self.runs = [*runs, at]

    def restore(self, file: File) -> None:
        """Bring back what is missing."""
        for key, saved in file.old.items():
            limit = self.points[key].loaded_at if key in self.points else None
            ended = [each._replace(at=min(each.at, limit or each.at)) for each in saved]
            missing = [each for was, each in zip(saved, ended, strict=True) if not {was, each} & {*self.old[key]}]
            if missing:
                self.old[key] = merged(missing, self.old[key])
        back = {key: deepcopy(each) for key, each in file.points.items() if key not in self.points}
        self.points |= back
        for key, each in back.items():
            covered = self.covered[key[0]]
            covered.rows += 1
            if METRICS[key[0][1]].live_only:
                covered.answered |= {day_of(key)}
                covered.found |= {day_of(key)}
            each.sample = self._may_be_sample(key)
        for key in back:
            if day_of(key) in self.covered[key[0]].found:
                self._confirm(key)

    def stored(self, name: Name) -> list[Stored]:
        """The points of a series, as a naive model of `as_of` takes them."""
        series = Series(Restating.name, *name)
        return [
            Stored(series, key[1], self.points[key].value, self.points[key].loaded_at, tuple(self.old[key]))
            for key in self._of(name)
        ]

    def _of(self, name: Name, days: Window | None = None) -> list[Key]:
        """The keys of a series, on some days or all, sorted."""
        found = sorted(key for key in self.points if key[0] == name)
        return [key for key in found if days is None or day_of(key) in days.ordinals]

    def _may_be_sample(self, key: Key) -> bool:
        return self.points[key].loaded_at < midnight(key[1]) + SOON and not self.old[key]

    def _compared(self, key: Key) -> ComparedPoint:
        value, state = self.quarantine.get(key, (None, "rejected"))
        restated = state != "rejected"
        return ComparedPoint(key[1], self.points[key].value, restated, value, state == "waiting")

    def _take(self, verb: Verb, key: Key, value: float, at: datetime, *, is_history: bool) -> None:
        """A point that the API gives; it is history if its day was over when the API gave it."""
        if key not in self.points:
            self.points[key] = Point(value, at, not is_history)
            self.quarantine.pop(key, None)
        elif value == self.points[key].value:
            self.points[key].sample &= not is_history
            self.quarantine.pop(key, None)
        elif verb is Verb.BACKFILL:
            return
        elif key[1].date() >= max(at.date(), self._closed_before):
            self.points[key].value = value
            self.quarantine.pop(key, None)
        elif self.points[key].sample:
            self._write(key, value, "sample", at)
            self.quarantine.pop(key, None)
        elif key not in self.quarantine or self.quarantine[key].value != value:
            self.quarantine[key] = Waits(value, "new")

    def _write(self, key: Key, value: float, reason: str, at: datetime) -> None:
        point = self.points[key]
        self.old[key].append(Replaced(point.value, at, reason))
        point.value, point.sample = value, False

    def _with_final_values(self, given: dict[Key, float]) -> dict[Key, float]:
        """A settle writes the last value of a day into rows of that day at times that the API does not give."""
        days: dict[tuple[Name, int], dict[Key, float]] = defaultdict(dict)
        for key, value in given.items():
            days[key[0], day_of(key)][key] = value
        for (name, day), points in days.items():
            stored = [key for key in self._of(name) if day_of(key) == day]
            live = name, midnight(datetime.fromordinal(day).replace(tzinfo=stored[0][1].tzinfo)) if stored else None
            targets = {key for key in stored if key == live and key not in points}
            if stored and not {*stored} & points.keys():
                targets.add(stored[-1])
            if targets:
                last = points[max(points)]
                given = {key: value for key, value in given.items() if key not in points or key in stored}
                given |= dict.fromkeys(targets, last)
        return given

    def _confirm(self, key: Key) -> None:
        """Where a closed day has a record beside our sample, and both are equal, the sample is confirmed."""
        of_day = [each for each in self._of(key[0]) if day_of(each) == day_of(key)]
        for each in of_day:
            others = [other for other in of_day if other != each]
            if others and self.points[others[-1]].value == self.points[each].value:
                self.points[each].sample = False

    def _cover(self, given: Collection[Key], new: Collection[Key], answered: Sequence[Answered], at: datetime) -> None:
        """Count the answered days."""
        for name in {(each.asset, each.metric) for each in answered} | {key[0] for key in given}:
            covered = self.covered[name]
            requested = {
                day
                for each in answered
                if (each.asset, each.metric) == name and each.days
                for day in each.days.ordinals
            }
            days = {day_of(key) for key in given if key[0] == name}
            gone = (covered.found & requested) - days
            for key in [key for key in self.quarantine if key[0] == name and day_of(key) in gone]:
                del self.quarantine[key]
            covered.answered |= requested
            covered.found = covered.found - gone | requested & days
            covered.withdrawn = (covered.withdrawn | gone) - (requested & days)
            covered.withdrawn_at = at if gone else covered.withdrawn_at
            covered.rows += sum(key[0] == name for key in new)
            for each in self.refused[name].values():
                each.days -= requested
            self.refused[name] = {reason: each for reason, each in self.refused[name].items() if each.days}
