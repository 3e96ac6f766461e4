"""What every route looks at: the clock, the restatement and which assets the bulk answers list."""

import csv
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from tests.fake_api import truth

REPOSITORY = Path(__file__).parents[2]
SHIPPED = (REPOSITORY / "defillama_config.csv", REPOSITORY / "artemis_config.csv")
ENTITIES = ("protocol", "parent", "chain", "stablecoin", "coin", "pool", "symbol")
EPOCH = date(1970, 1, 1).toordinal()
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Universe:
    """The identifiers that bulk answers list, by entity, in the order of the files, without repeats."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        """Read config files; one whose name holds 'artemis' lists symbols, any other DefiLlama's assets."""
        self._ids: dict[str, dict[str, set[str]]] = {entity: {} for entity in ENTITIES}
        for file in files:
            self._read(file)

    def ids(self, entity: str) -> list[str]:
        """Identifiers of one entity; parents without their 'parent#'."""
        return list(self._ids[entity])

    def metrics(self, entity: str, identifier: str) -> set[str]:
        """The metric names that the files ask for this identifier."""
        return self._ids[entity].get(identifier, set())

    def _read(self, file: Path) -> None:
        lines = file.read_text(encoding="utf-8").splitlines()
        for row in csv.DictReader(line for line in lines if line.strip() and not line.lstrip().startswith("#")):
            cells = {str(name).strip().lower(): text.strip() for name, text in row.items() if isinstance(text, str)}
            identifier = cells.get("id") or cells.get("asset") or ""
            if not identifier:
                continue
            metrics = set(re.split(r"[\s;,|]+", cells.get("metrics", ""))) - {""}
            entity = "symbol" if "artemis" in file.name.lower() else _entity(cells, identifier, metrics)
            if entity == "symbol":
                identifier = identifier.lower()
            self._ids[entity].setdefault(identifier.removeprefix("parent#"), set()).update(metrics)


def _entity(cells: dict[str, str], identifier: str, metrics: set[str]) -> str:
    """What a row of DefiLlama's config names: said by a column, or told by the metrics or the identifier."""
    if identifier.startswith("parent#"):
        return "parent"
    for column in ("kind", "entity"):
        if cells.get(column, "").lower() in ENTITIES:
            return cells[column].lower()
    if any(metric.startswith("CHAIN_") for metric in metrics):
        return "chain"
    if UUID.fullmatch(identifier):
        return "pool"
    return "stablecoin" if identifier.isdigit() else "coin" if ":" in identifier else "protocol"


class World:
    """The data of one moment, as the routes see it."""

    def __init__(self, now: Callable[[], datetime], restated: int, universe: Universe) -> None:
        self._now = now
        self.restated = restated
        self.universe = universe

    def coingecko(self) -> list[str]:
        """What CoinGecko calls the coins of the universe, as far as they are named so."""
        coins = self.universe.ids("coin")
        return [coin.removeprefix("coingecko:") for coin in coins if coin.startswith("coingecko:")]

    def now(self) -> int:
        """The moment in seconds since 1970; never midnight itself, which would look like a daily point."""
        moment = int(self._now().timestamp())
        return moment + 1 if moment % 86400 == 0 else moment

    def today(self) -> int:
        """The open UTC day, an ordinal."""
        return self._now().astimezone(UTC).date().toordinal()

    def midnight(self) -> int:
        """The start of the open day in seconds since 1970."""
        return midnight(self.today())

    def value(self, source: str, asset: str, metric: str, day: int) -> truth.Number | None:
        """The closed day's amount, None where a list has no number for it."""
        found = truth.rows(truth.series(source, asset, metric), day, day + 1, self.restated, self.today())
        return found[0][1] if found else None

    def live(self, source: str, asset: str, metric: str) -> truth.Number | None:
        """The amount that a live answer gives."""
        today = self.today()
        return truth.live_amount(truth.series(source, asset, metric), today, self.restated, today)

    def closed(
        self, source: str, asset: str, metric: str, *, with_today: bool = False
    ) -> list[tuple[int, truth.Number | None]]:
        """(start of the day in seconds, amount or null) before today, or with today's final amount, too."""
        today = self.today()
        end = today + 1 if with_today else today
        found = truth.rows(truth.series(source, asset, metric), 0, end, self.restated, today)
        return [(midnight(day), amount) for day, amount in found]

    def history(self, source: str, asset: str, metric: str) -> list[tuple[int, truth.Number | None]]:
        """The closed days, then today's row with the live amount if the day is not one of the absent ones."""
        found = self.closed(source, asset, metric)
        if truth.listed(truth.series(source, asset, metric), self.today()):
            found.append((self.midnight(), self.live(source, asset, metric)))
        return found


def midnight(day: int) -> int:
    """An ordinal's midnight UTC in seconds since 1970."""
    return (day - EPOCH) * 86400


@cache
def iso(day: int) -> str:
    """An ordinal as YYYY-MM-DD; cached, because long lists are full of them."""
    return date.fromordinal(day).isoformat()


def unknown(identifier: str) -> bool:
    """Whether the APIs do not know this identifier (those that start with 'unknown')."""
    return identifier.lower().startswith("unknown")
