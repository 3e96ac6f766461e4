"""A provider that rewrites its history night by night, and answers as DefiLlama and Artemis do, on a real socket."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from math import sin
from random import Random
from typing import Any, NamedTuple

from db.coverage import Name
from model.values import DAY, Target
from tests.json_server import JsonServer
from tests.tables import this_midnight

HISTORY = 400  # days that each series has before the first night
REWRITTEN = 365  # days up to which the provider rewrites its history
SHARE = 0.01  # of these days that it rewrites in a night
LARGE = 0.1  # of these, the share that changes by up to LARGEST; the others by up to SMALL
LARGEST, SMALL = 0.1, 0.0005
Cell = tuple[Name, int]  # a series, and the number of a day since the first one of the history


class Glitch(NamedTuple):
    """What the provider says of some days for some nights: a factor in place of the truth, or that it has no value."""

    title: str
    names: Sequence[Name]
    days: range
    factor: float | None  # None: the days are withdrawn


class Provider(JsonServer):
    """What it says of each series and day, now and in the nights before; `with` serves it at `url`."""

    def __init__(self, targets: Sequence[Target], chance: Random) -> None:
        super().__init__()
        self.targets = {(each.asset, each.metric): each for each in targets}
        self.nights = 0  # that have passed
        self.glitches: list[Glitch] = []
        self.scale: dict[str, float] = defaultdict(lambda: 1.0)  # the unit of each metric
        self.withdrawn: set[Cell] = set()
        self.restated: set[Cell] = set()  # closed days that have changed for good
        self.samples: dict[Cell, set[float]] = defaultdict(set)  # the values that it gave of open days
        self._chance, self._began = chance, this_midnight()
        self._true = {name: {day: self._new(day) for day in range(HISTORY)} for name in self.targets}

    @property
    def today(self) -> int:
        """The number of the open day. A midnight that passes while a test runs is one more day."""
        return HISTORY + self.nights + (this_midnight() - self._began).days

    def midnight_of(self, day: int) -> datetime:
        """When a day began, by the clock: the data are aged, so that each day recedes by a day a night."""
        return this_midnight() - (self.today - day) * DAY

    def pass_a_night(self) -> None:
        """Close the open day, and rewrite one of a hundred days of the last year."""
        self.nights += 1
        for name, days in self._true.items():
            for day in range(max(days) + 1, self.today):
                days[day] = self._new(day)
            past = range(max(self.today - REWRITTEN, 0), self.today - 1)
            for day in self._chance.sample(past, round(SHARE * len(past))):
                most = LARGEST if self._chance.random() < LARGE else SMALL
                days[day] *= 1 + self._chance.uniform(-most, most)
                self.restated.add((name, day))

    def value(self, name: Name, day: int) -> float | None:
        """What it says of a closed day now; None for a day without a value."""
        factor: float | None = None if (name, day) in self.withdrawn else self.scale[name[1]]
        for glitch in self.glitches:
            if factor is not None and name in glitch.names and day in glitch.days:
                factor = None if glitch.factor is None else factor * glitch.factor
        return None if factor is None else self._true[name][day] * factor

    def live(self, name: Name) -> float:
        """A value of the open day: another one each time, and never that of the closed day."""
        value = self._new(self.today) * self.scale[name[1]] * 0.97
        self.samples[name, self.today].add(value)
        return value

    def history(self, name: Name, first: int = 0, *, live: bool = False) -> list[tuple[datetime, float]]:
        """All values from a day on, with the midnight of each."""
        closed = [(day, self.value(name, day)) for day in range(max(first, 0), self.today)]
        found = [(self.midnight_of(day), value) for day, value in closed if value is not None]
        return [*found, (this_midnight(), self.live(name))] if live else found

    def answer(self, path: str, query: Mapping[str, str]) -> Any:
        """The JSON of an answer, in the shape of the API whose path it is."""
        if path == "/api/v2/chains":
            return [{"name": name[0], "tvl": self.live(name)} for name in self.targets if name[1] == "CHAIN_TVL"]
        if path.startswith("/api/v2/historicalChainTvl/"):
            name = (path.rpartition("/")[2], "CHAIN_TVL")
            rows = self.history(name, live=True)
            return [{"date": int(at.timestamp()), "tvl": value} for at, value in rows]
        if path.startswith("/api/overview/fees/"):
            name = (path.rpartition("/")[2], "CHAIN_FEES")
            return {"totalDataChart": [[int(at.timestamp()), value] for at, value in self.history(name, live=True)]}
        if path == "/asset/symbols/":
            assets = dict.fromkeys(asset for asset, _ in self.targets)
            return {"assets": [{"symbol": each, "artemis_id": each, "title": each} for each in assets]}
        first, last = (datetime.fromisoformat(query[key]).replace(tzinfo=this_midnight().tzinfo)
                       for key in ("startDate", "endDate"))  # fmt: skip
        metrics = path.removeprefix("/data/api/").strip("/").split(",")
        start = self.today - (this_midnight() - first).days
        return {"data": {"symbols": {
            symbol: {metric.lower(): [
                {"date": f"{at:%Y-%m-%d}", "val": value}
                for at, value in self.history((symbol, metric), start, live=last >= this_midnight())
                if at <= last
            ] for metric in metrics if (symbol, metric) in self.targets}
            for symbol in query["symbols"].split(",")
        }}}  # fmt: skip

    def _new(self, day: int) -> float:
        return (1000 + 300 * sin(day / 40)) * self._chance.uniform(0.9, 1.1)
