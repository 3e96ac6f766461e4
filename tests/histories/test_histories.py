"""Every answer about what was known, after random histories of runs, against a naive model.

The histories use the real pipeline: `pipeline.run.run` with a source on a real socket, `adopt` and `reject` as
`settle --accept` and `--reject` call them, `clear_source` and `restore`. A killed run raises before one of its writes,
and leaves the tables as a killed process does; other loads fail after their points were written.

Time passes because the database has a clock that the tests set (tests/histories/clock.py), and because the source says
when its answers were received. So days pass, a day ends while a run is under way, and sometimes the clock jumps back.

The model (tests/histories/tables_model.py) gets the answers of the API and the times of the writes. It predicts all
rows of metrics, revisions, quarantine and coverage, and with them all answers at any instant.
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.points import How, latest, of_series
from db.reader import Reader
from db.vintages import Vintage, vintages
from model.values import DAY, Series, midnight
from query.question import time_of
from query.time_arguments import ALWAYS
from tests.db.test_vintages import Stored
from tests.histories.history import History
from tests.histories.provider import NAMES, Provider, Restating
from tests.histories.records import Key
from tests.histories.tables_model import TablesModel
from tests.tables import Rows

EVENTS = 22
SHORT = (1013, 1199)  # in these histories a person accepts and rejects, and files are restored
MICROSECOND = timedelta(microseconds=1)
Row = tuple[Any, ...]
LAGS = (timedelta(), timedelta(hours=5), 3 * DAY, 8 * DAY)
WANTED = [Series(Restating.name, *name) for name in NAMES]
HOW = How(shifts=[Restating.METRICS[each.metric].shift for each in WANTED], extras=["known_at"])
METRICS = "SELECT asset, metric_name, pulled_at, value FROM metrics"
REVISIONS = "SELECT asset, metric_name, pulled_at, value, replaced_at, reason FROM revisions ORDER BY id"
QUARANTINE = "SELECT asset, metric_name, pulled_at, value, state FROM quarantine"
COVERAGE = """
SELECT asset, metric_name, row_count, found_count, withdrawn_at, verified_at, answered::text, found::text,
    withdrawn::text FROM coverage
"""


@pytest.mark.parametrize("seed", SHORT)
def test_every_answer_is_that_of_a_naive_model_and_stays_the_same(
    seed: int, database: Database, rows: Rows, reader: Reader, tmp_path: Path
) -> None:
    _compare_a_history(seed, database, rows, reader, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_every_answer_of_many_more_histories_is_that_of_a_naive_model_and_stays_the_same(
    seed: int, database: Database, rows: Rows, reader: Reader, tmp_path: Path
) -> None:
    _compare_a_history(seed, database, rows, reader, tmp_path)


def _compare_a_history(seed: int, database: Database, rows: Rows, reader: Reader, folder: Path) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable numbers
    with Provider(chance) as provider:
        history = History(seed, database, rows, provider, folder)
        for number in range(EVENTS):
            history.event(number)
            if different := _differences(rows, history.model):
                pytest.fail(f"{different} after {history.log}")
            instant = history.now - chance.random() * chance.choice((LAGS[1], DAY, 9 * DAY))
            history.asked.append((instant, _known(reader, instant)))
    _answers_are_those_of_the_model(history, reader)
    _answers_stay_the_same(history, reader)


def _differences(rows: Rows, model: TablesModel) -> dict[str, tuple[set[Row], set[Row]]]:
    """What only the database has, and what only the model has, by table."""
    old = [(key, each) for key, olds in model.old.items() for each in enumerate(olds)]
    revised = Counter[Key]()
    revisions = set[Row]()
    for key, value, at, reason in _keyed(rows(REVISIONS)):
        revisions.add((key, revised[key], value, at.replace(tzinfo=UTC), reason))
        revised[key] += 1
    pairs: dict[str, tuple[set[Row], set[Row]]] = {
        "metrics": ({*_keyed(rows(METRICS))}, {(key, each.value) for key, each in model.points.items()}),
        "revisions": (revisions, {(key, place, *each) for key, (place, each) in old}),
        "quarantine": ({*_keyed(rows(QUARANTINE))}, {(key, *each) for key, each in model.quarantine.items()}),
        "coverage": (
            {(*row[:4], *map(_aware, row[4:6]), *map(_days, row[6:])) for row in rows(COVERAGE)},
            {
                (*name, each.rows, len(each.found), each.withdrawn_at, each.verified_at,
                 *(frozenset(days) for days in (each.answered, each.found, each.withdrawn)))
                for name, each in model.covered.items()
            },
        ),
    }  # fmt: skip
    return {name: (found - wanted, wanted - found) for name, (found, wanted) in pairs.items() if found != wanted}


def _keyed(found: Iterable[Row]) -> list[Row]:
    return [(((asset, metric), _aware(at)), *others) for asset, metric, at, *others in found]


def _aware(at: datetime | None) -> datetime | None:
    return at and at.replace(tzinfo=UTC)


def _days(text: str) -> frozenset[int]:
    """The numbers of the days in a datemultirange."""
    pairs = re.findall(r"([\d-]+),([\d-]+)", text)
    return frozenset(day for pair in pairs for day in range(*(date.fromisoformat(each).toordinal() for each in pair)))


def _known(reader: Reader, instant: datetime | None, lag: timedelta | None = None) -> dict[Key, tuple[float, datetime]]:
    """What is known at an instant, and since when."""
    found = reader.copy(*of_series(WANTED, ALWAYS, instant, how=HOW._replace(lag=lag)), HOW.extras).rows()
    return {(NAMES[number], time_of(at)): (value, time_of(known)) for number, at, value, known in found}


def _answers_are_those_of_the_model(history: History, reader: Reader) -> None:
    """as_of at and around the instants of a history, the latest points, lags, and vintages."""
    points = {(name, each.at): each for name in NAMES for each in history.model.stored(name)}
    spans = {key: list(each.spans()) for key, each in points.items()}

    def shown(key: Key, instant: datetime) -> tuple[float, datetime] | None:
        """The value that is known at an instant, and since when."""
        for number, since, until in spans[key]:
            if since <= instant and (until is None or instant < until):
                return points[key].values()[number], since
        return None

    instants = [each + step for each in history.instants for step in (-MICROSECOND, timedelta())]
    chosen = history.chance.sample(instants, min(len(instants), 20))
    for instant in [*chosen, *(each + history.chance.random() * 9 * DAY for each in chosen[:8])]:
        known = {key: found for key in points if (found := shown(key, instant))}
        assert _known(reader, instant) == known, (instant, history.log)
        last = {name: (at, value) for (name, at), (value, _) in sorted(known.items())}
        newest = reader.copy(*latest(WANTED, instant)).rows()
        assert {NAMES[number]: (time_of(at), value) for number, at, value in newest} == last
    for lag in LAGS:
        limit = history.now - history.chance.choice((0, 0, 3)) * DAY
        then = {key: _closed(key) + lag for key in points}
        known = {key: found for key in points if then[key] <= limit and (found := shown(key, then[key]))}
        assert _known(reader, limit, lag) == known, (lag, limit, history.log)
    for series, name in zip(WANTED, NAMES, strict=True):
        wanted = [each for key, stored in points.items() if key[0] == name for each in _vintages(stored, spans[key])]
        assert reader.do(partial(vintages, series=series, window=ALWAYS)) == wanted, history.log


def _closed(key: Key) -> datetime:
    """The end of the day of a point."""
    (_, metric), at = key
    return midnight(at + Restating.METRICS[metric].shift) + DAY


def _vintages(stored: Stored, spans: Sequence[tuple[int, datetime, datetime | None]]) -> list[Vintage]:
    reasons = ["first", *(stored.old[number - 1].reason or "unknown" for number, *_ in spans[1:])]
    return [
        Vintage(stored.at, stored.values()[number], since, until, reason)
        for (number, since, until), reason in zip(spans, reasons, strict=True)
    ]


def _answers_stay_the_same(history: History, reader: Reader) -> None:
    """Whoever has asked with `as_of` gets the same answer again: of all rows that no fresh start has cleared since."""
    for instant, answer in history.asked:
        again = _known(reader, instant)
        assert answer.items() <= again.items(), (instant, history.log)
        assert again.keys() - answer.keys() <= history.cleared, (instant, history.log)
