"""Days that pass for a database."""

from datetime import date, datetime

from db.database import Database
from db.setup import ensure_schema
from tests.ageing import age
from tests.tables import BACKFILL, START, Opener, Rows, asked, points


def test_everything_stored_is_older_after_some_days_and_the_tables_are_as_before(
    open_store: Opener, database: Database, rows: Rows
) -> None:
    store = open_store(BACKFILL)
    store.begin_run()
    store.load(points(0, 1, 2), [asked(0, 4)])
    before = rows("SELECT loaded_at, (SELECT pulled_at FROM pulls) FROM loads")
    age(rows, 2)
    assert rows("SELECT pulled_at FROM metrics ORDER BY id") == [
        (datetime(2023, 12, 30),), (datetime(2023, 12, 31),), (datetime(2024, 1, 1),)  # noqa: DTZ001 - as stored
    ]  # fmt: skip
    assert rows("SELECT lower(answered), upper(answered), upper(found) FROM coverage") == [
        (date(2023, 12, 30), date(2024, 1, 3), date(2024, 1, 2))
    ]
    assert (
        rows("SELECT loaded_at + interval '2 days', (SELECT pulled_at + interval '2 days' FROM pulls) FROM loads")
        == before
    )
    assert not ensure_schema(database)
    assert store.load(points(-2, 7)).new == 1  # the key is as unique as before
    assert rows("SELECT count(*) FROM metrics WHERE pulled_at < %s", START.replace(tzinfo=None)) == [(2,)]
