"""An API on a real socket that rewrites its history at random, and the source that pulls from it."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from db.coverage import Name
from model.restatement_bounds import RestatementBounds
from model.values import DAY, Metric, Target, Verb, Window, midnight
from sources.base import UNDATED, Answer, BaseSource, Call, Observation, Request
from tests.json_server import JsonServer

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)  # of the history of each series
EVERY, SECOND = frozenset(Verb), timedelta(seconds=1)
POISON = Target("poison", "FLOW", "poison")  # a series whose load fails after its points are written
DATED = "FLOW"  # the metric of which a pull gets the trailing days; of the others it gets the value of now


class Restating(BaseSource):
    """A source with a metric of each kind: with dated pulls, times of their own, a shift, whole histories, live only.

    A run gets its answers at the time `received`; `answers` has a copy of each.
    """

    name = "restating"
    REQUEST_DELAY = 0.0
    MAX_IN_FLIGHT = 1  # so that answers come in the order of the calls
    KEY_VARIABLE, BASE_URL_VARIABLE, CONFIG = "RESTATING_API_KEY", "RESTATING_BASE_URL", "restating_config.csv"
    KEY_REQUIRED = False
    RESTATEMENTS = RestatementBounds(series_of_one_factor=2)  # there are two assets
    METRICS: ClassVar[Mapping[str, Metric]] = {
        "FLOW": Metric("", EVERY),
        "APY": Metric("", EVERY, own_times=True),
        "PRICE": Metric("", EVERY, own_times=True, shift=DAY / 2),
        "CAP": Metric("", EVERY, whole=True),
        "LIVE": Metric("", frozenset({Verb.PULL})),
    }

    def __init__(self, url: str) -> None:
        super().__init__(base_url=url)
        self.received, self.answers = BEGIN, list[Answer]()

    @classmethod
    def history_start(cls, today: datetime) -> datetime:
        """The first day of the API."""
        return min(BEGIN, today)

    def calls(self, verb: Verb, targets: Sequence[Target], window: Window) -> Iterator[Call]:
        """One for each series."""
        for target in targets:
            dated = verb is not Verb.PULL or target.metric == DATED
            params = (("dated", str(int(dated))), *((name, at.isoformat()) for name, at in window._asdict().items()))
            yield Call(f"{target.asset}/{target.metric}", (target,), window, params, dated=dated)

    def request(self, call: Call) -> Request:
        """As the call says."""
        return Request(f"{self.base_url}/{call.path}", dict(call.params), {})

    def read(self, call: Call, payload: Any) -> Iterator[Observation]:
        """Pairs of a time, or null for now, and a value."""
        for at, value in payload:
            yield Observation(call.targets[0], UNDATED if at is None else at, value)

    def answer(self, call: Call, payload: Any, received: datetime) -> Answer:
        """As its base class, at the time of the history; the copy is kept."""
        del received
        made = super().answer(call, payload, self.received)
        self.answers.append(Answer(call, self.received, [replace(point) for point in made.points]))
        return made


TARGETS = [Target(asset, metric, asset) for asset in ("a", "b") for metric in Restating.METRICS]
NAMES: list[Name] = [target[:2] for target in TARGETS]


class Provider(JsonServer):
    """The API. `change` lets time pass, and rewrites the history at random."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance, self._now = chance, BEGIN
        self._level = {name: chance.choice((1.0, 100.0, 3e6)) for name in NAMES}
        self._times: dict[Name, dict[datetime, datetime]] = {name: {} for name in NAMES}  # of each closed day
        self._values: dict[Name, dict[datetime, float]] = {name: {} for name in NAMES}
        self._glitches: dict[tuple[Name, datetime], float] = {}  # factors
        self._units = dict.fromkeys(NAMES, 1.0)
        self._hidden = set[tuple[Name, datetime]]()

    def change(self, now: datetime) -> None:
        """Go on to a time."""
        chance, self._now = self._chance, now
        for name in NAMES:
            self._level[name] *= chance.uniform(0.97, 1.03)
            for number in range((midnight(now) - BEGIN) // DAY):
                day = BEGIN + number * DAY
                if day not in self._values[name] and (day < midnight(now) - 3 * DAY or chance.random() < 0.8):
                    self._values[name][day] = self._level[name] * chance.uniform(0.95, 1.05)
                    self._times[name][day] = self._time(name[1], day)
        for _ in range(chance.randint(0, 3)):
            self._rewrite(chance.choice(NAMES))

    def answer(self, path: str, query: Mapping[str, str]) -> Any:
        """The points of the series that the path names."""
        asset, metric = path.strip("/").split("/")
        window = Window(datetime.fromisoformat(query["start"]), datetime.fromisoformat(query["end"]))
        return self._rows((asset, metric), window, dated=query["dated"] == "1")

    def _rows(self, name: Name, window: Window, *, dated: bool) -> list[tuple[str | None, float]]:
        """The points of a series."""
        today, metric = midnight(self._now), Restating.METRICS.get(name[1])
        if name not in NAMES:
            return [(window.start.isoformat(), 1.0)]
        open_value = self._level[name] * self._units[name]
        if not dated:
            return [(None, open_value)]
        shown = {
            self._times[name][day]: value * self._units[name] * self._glitches.get((name, day), 1.0)
            for day, value in self._values[name].items()
            if (name, day) not in self._hidden and ((metric and metric.whole) or window.start <= day < window.end)
        }
        if window.end > today:
            shown[self._now if metric and metric.own_times else today] = open_value
        return [(at.isoformat(), value) for at, value in sorted(shown.items())]

    def _time(self, metric: str, day: datetime) -> datetime:
        if metric == "PRICE":
            return day + self._chance.randint(-90, 90) * SECOND
        return day + self._chance.randint(0, 86_399) * SECOND if Restating.METRICS[metric].own_times else day

    def _rewrite(self, name: Name) -> None:
        chance, values = self._chance, self._values[name]
        days = sorted(values)[-chance.choice((3, 6, 30)) :]
        few, many = chance.sample(days, min(len(days), 2)), chance.sample(days, min(len(days), 6))
        kind = chance.choice(("little", "little", "many", "glitch", "unit", "few", "gone", "times", "back", "back"))
        if kind in ("little", "many"):
            for day in few if kind == "little" else many:
                values[day] *= chance.choice((0.98, 0.9999, 1.0001, 1.03, 1.2))
        elif kind == "glitch":
            self._glitches |= {(name, day): chance.choice((0.0, 0.001, 50.0)) for day in few[:1]}
        elif kind == "unit":  # of all assets of the metric, or of one
            factor = chance.choice((0.001, 1.4))
            self._units |= {each: factor for each in NAMES if each[1] == name[1] and chance.random() < 0.7}
        elif kind in ("few", "gone"):
            self._hidden |= {(name, day) for day in (few if kind == "few" else many)}
        elif kind == "times":
            self._times[name] |= {day: self._time(name[1], day) for day in few}
        else:
            self._glitches, self._units = {}, dict.fromkeys(NAMES, 1.0)
            self._hidden = {each for each in self._hidden if chance.random() < 0.5}
