"""Points as rows: the same however little is held at once."""

from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest

from model.values import Series, Verb
from query import rows as query_rows
from query.dates import window
from query.query_session import QuerySession
from query.rows import Row
from tests.tables import Opener, point

ALWAYS = window(None, None)
METRICS = ["TVL", "FEES"]
ASSETS = ["a", "b", "c"]
GROUPS = [Series("defillama", asset, metric) for asset in reversed(ASSETS) for metric in METRICS]


@pytest.fixture
def session(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[QuerySession]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    made = QuerySession()
    with closing(made.reader()):
        yield made


@pytest.fixture
def stored(open_store: Opener) -> list[Row]:
    """Three assets of two metrics at times of their own, of which some meet."""
    random = Random(2)  # noqa: S311 - of a test
    times = {key: random.sample([n / 4 for n in range(40)], 15) for key in GROUPS}
    found = [point(key.asset, at, number, key.metric) for number, key in enumerate(GROUPS) for at in times[key]]
    open_store(Verb.BACKFILL).load(found)
    value = {(each.asset, each.metric, each.at): each.value for each in found}
    keys = sorted({(asset, at) for asset, _, at in value})
    return [Row(asset, at, [value.get((asset, metric, at)) for metric in METRICS]) for asset, at in keys]


@pytest.mark.parametrize("held", [1, 2, 5, 31, 60, 50_000])
def test_rows_are_the_same_however_few_points_are_held_at_once(
    held: int, session: QuerySession, stored: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_rows, "POINTS", held)
    assert list(query_rows.rows(session, GROUPS, METRICS, ALWAYS)) == stored
    for asset in ASSETS:
        group = [each for each in GROUPS if each.asset == asset]
        assert list(query_rows.rows(session, group, METRICS, ALWAYS)) == [row for row in stored if row.asset == asset]
