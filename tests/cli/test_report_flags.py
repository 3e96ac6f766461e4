"""The odd values in the report."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from db.database import Database
from db.store import Store
from model.values import DAY, Answered, DataPoint, Window
from tests.report_pages import EVIL, Page, written
from tests.tables import BACKFILL, this_midnight

STEADY = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0]


def load(database: Database, asset: str, values: Sequence[float], ago: int = 1, source: str = "artemis") -> None:
    """Store values on consecutive days, the last one some days ago."""
    first = this_midnight() - (ago + len(values) - 1) * DAY
    store = Store(database, source, BACKFILL)
    points = [DataPoint(asset, "FEES", first + place * DAY, value) for place, value in enumerate(values)]
    store.load(points, [Answered(asset, "FEES", Window(first, this_midnight()))])
    store.close()


@pytest.fixture
def told(database: Database, database_url: str, tmp_path: Path) -> str:
    """The section of a page about four series, one of which was odd long ago."""
    load(database, EVIL, [*STEADY, 0.0])
    load(database, "sol", [5.5] * 9, ago=3)
    load(database, "old", [*STEADY, 0.0], ago=31)
    load(database, "aave", STEADY, source="defillama")
    page = Page(written(database_url, tmp_path / "x.html"))
    assert "! 2flags of odd values" in page.text  # a large figure, and text below it
    return page.part("No value is changed.", "never")


def test_flags_of_thirty_days_stand_by_source_the_newest_first(told: str) -> None:
    today = this_midnight()
    assert told.startswith(" artemis 2 of 2 flags of artemis series rule days ")
    newest = f"{EVIL} FEES zero after 100 zero {today - DAY:%Y-%m-%d} "
    oldest = f"sol FEES 5.5 on 9 days in a row flat {today - 11 * DAY:%Y-%m-%d} to {today - 3 * DAY:%Y-%m-%d} "
    assert 0 < told.index(newest) < told.index(oldest)
    assert "old" not in told


def test_a_source_without_a_flag_has_none(told: str) -> None:
    assert told.endswith(" defillama None.")


def test_many_flags_are_cut_and_counted(database: Database, database_url: str, tmp_path: Path) -> None:
    for number in range(21):
        load(database, f"asset-{number:02}", [*STEADY, 0.0])
    told = Page(written(database_url, tmp_path / "x.html")).text
    assert "20 of 21 flags of artemis" in told
    assert told.count("zero after 100") == 20
