"""Points as rows: the same however few are held at once."""

import io
import json
from random import Random

import pytest

from db.reader import Reader
from model.values import Series, Verb
from query import csv_and_json
from query.csv_and_json import Cells, side_by_side
from query.question import Question
from tests.tables import Opener, point

METRICS = ["TVL", "FEES"]
ASSETS = ["a", "b", "c"]
GROUPS = [Series("defillama", asset, metric) for asset in reversed(ASSETS) for metric in METRICS]


@pytest.fixture
def stored(open_store: Opener) -> list[Cells]:
    """Three assets of two metrics at times of their own, of which some meet."""
    random = Random(2)  # noqa: S311 - of a test
    times = {key: random.sample([n / 4 for n in range(40)], 15) for key in GROUPS}
    found = [point(key.asset, at, number, key.metric) for number, key in enumerate(GROUPS) for at in times[key]]
    open_store(Verb.BACKFILL).load(found)
    value = {(each.asset, each.metric, each.at): each.value for each in found}
    keys = sorted({(asset, at) for asset, _, at in value})
    return [(asset, at, *(value.get((asset, metric, at)) for metric in METRICS)) for asset, at in keys]


@pytest.mark.parametrize("held", [1, 2, 5, 31, 60, 50_000])
def test_rows_are_the_same_however_few_points_are_held_at_once(
    held: int, reader: Reader, stored: list[Cells], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_and_json, "POINTS_AT_ONCE", held)
    assert list(side_by_side(reader, Question(GROUPS))) == stored
    known = list(side_by_side(reader, Question(GROUPS, extras=["known_at"])))
    assert [row[: len(METRICS) + 2] for row in known] == stored
    assert all((row[2] is None, row[3] is None) == (row[4] is None, row[5] is None) for row in known)
    for asset in ASSETS:
        group = [each for each in GROUPS if each.asset == asset]
        assert list(side_by_side(reader, Question(group))) == [row for row in stored if row[0] == asset]
        of_asset = side_by_side(reader, Question(group, extras=["known_at"]))
        assert list(of_asset) == [row for row in known if row[0] == asset]


def test_a_name_that_a_spreadsheet_would_run_is_text_in_csv_and_unchanged_in_json() -> None:
    names = ["=1+1", "+1", "-1", "@SUM(A1)"]
    rows: list[Cells] = [(name, -1.5) for name in names]
    texts = {}
    for form, write in csv_and_json.WRITERS.items():
        out = io.StringIO()
        write(out, ["asset", "value"], rows)
        texts[form] = out.getvalue()
    assert texts["csv"].splitlines()[1:] == [f"'{name},-1.5" for name in names]
    assert [row["asset"] for row in json.loads(texts["json"])] == names
