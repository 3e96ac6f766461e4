"""The archive: rows saved before they are cleared are restored as they were, and a bad file restores nothing."""

import csv
import gzip
import os
import random
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.archive import COLUMNS, Restored, clear, restore, save
from db.database import Database
from db.revisions import revisions
from db.store import Store
from model.values import DAY, Answered, DataPoint, Target, Verb, Window
from tests.tables import (
    BACKFILL,
    PULL,
    START,
    AdoptingStore,
    Opener,
    Rows,
    days,
    grid,
    point,
    points_of_series,
    refusal,
)

pytestmark = pytest.mark.cluster

SETTLE = Verb.SETTLE
LIVE_ONLY = {"defillama": ["FEES_24H"], "artemis": []}
TABLES = ("metrics", "loads", "coverage", "revisions")
NOTHING = Window(START, START)
ALL_ROWS = "SELECT source, asset, metric_name, pulled_at, value FROM metrics ORDER BY 1, 2, 3, 4"
ALL_REVISIONS = """
SELECT source, asset, metric_name, pulled_at, value, replaced_at, pull_id, reason FROM revisions
ORDER BY source, asset, metric_name, pulled_at, id
"""
DOUBLES = [0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 0.1, 1 / 3, -1e-9, 2.0**53 + 2]
NAMES = ["a,b", 'a "quoted" name', '"', "two\nlines", "a\rb\r\n", "é币🙂", " ", "\\N", "\\.", "NULL", "a\n\\.\nb"]


def keep(database: Database, file: Path, *again: Target, window: Window = NOTHING) -> int:
    """Keep the rows of DefiLlama but those that a refill gets again, and clear all."""
    kept = save(database, "defillama", again, window, file)
    clear(database, "defillama")
    return kept


def lines(file: Path) -> list[list[str]]:
    """The rows of a file, without its header."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    assert tuple(header) == COLUMNS
    return rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the rows are kept, in a folder that is still to be made."""
    return tmp_path / "saved" / "defillama.csv.gz"


def test_rows_come_back_bit_for_bit_with_their_times(
    file: Path, database: Database, open_store: Opener, rows: Rows
) -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable numbers
    numbers = DOUBLES + [chance.uniform(-1, 1) * 10 ** chance.randint(-300, 300) for _ in range(500)]
    times = [START - timedelta(days=30_000) * chance.random() for _ in numbers]
    points = [DataPoint("solana", "TVL", at, value) for at, value in zip(times, numbers, strict=True)]
    open_store(BACKFILL).load([*points, point("none")])
    rows("UPDATE metrics SET value = NULL WHERE asset = 'none'")
    before = [(*row[:4], repr(row[4])) for row in rows(ALL_ROWS)]
    assert keep(database, file) == len(before) == len(points) + 1
    assert rows(ALL_ROWS) == []
    assert restore(database, file, LIVE_ONLY) == Restored(len(before), 0, 0, 0, 0)
    assert [(*row[:4], repr(row[4])) for row in rows(ALL_ROWS)] == before


def test_names_come_back_as_they_were(file: Path, database: Database, open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load([point(name, metric=name * 2) for name in NAMES])
    before = rows(ALL_ROWS)
    assert keep(database, file) == len(NAMES)
    assert restore(database, file, LIVE_ONLY).new == len(NAMES)
    assert rows(ALL_ROWS) == before


@pytest.mark.one_server
def test_a_second_restore_changes_nothing_and_says_so(
    file: Path, database: Database, open_store: Opener, rows: Rows
) -> None:
    open_store(BACKFILL).load([*grid(2, 5), point("x", metric="FEES_24H")])
    open_store(SETTLE).load(grid(2, 2, value=2.0))
    keep(database, file)
    assert restore(database, file, LIVE_ONLY) == Restored(
        new=11, unchanged=0, kept=0, revisions=4, revisions_unchanged=0
    )
    tables = [rows(f"TABLE {name}") for name in TABLES]
    assert restore(database, file, LIVE_ONLY) == Restored(
        new=0, unchanged=11, kept=0, revisions=0, revisions_unchanged=4
    )
    assert [rows(f"TABLE {name}") for name in TABLES] == tables
    assert [len(table) for table in tables[::3]] == [11, 4]


def test_a_row_that_is_there_with_another_value_stays(
    file: Path, database: Database, open_store: Opener, rows: Rows
) -> None:
    open_store(BACKFILL).load([point(day=day) for day in range(3)])
    keep(database, file)
    open_store(BACKFILL).load([point(day=0, value=9.0), point(day=1)])
    assert restore(database, file, LIVE_ONLY) == Restored(
        new=1, unchanged=1, kept=1, revisions=0, revisions_unchanged=0
    )
    assert [row[4] for row in rows(ALL_ROWS)] == [9.0, 1.0, 1.0]


def test_revisions_come_back_as_they_were(file: Path, database: Database, open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(grid(2, 3), [Answered(f"asset-{n}", "TVL", days(0, 3)) for n in range(2)])
    store = open_store(SETTLE)
    store.begin_run()
    for value in (2.0, 3.0):
        store.load(grid(2, 2, value))
    before = rows(ALL_REVISIONS)
    assert keep(database, file, *(Target(f"asset-{n}", "TVL", "") for n in range(2)), window=days(0, 3)) == 8
    assert rows(ALL_REVISIONS) == []
    assert restore(database, file, LIVE_ONLY) == Restored(0, 0, 0, revisions=8, revisions_unchanged=0)
    assert rows(ALL_REVISIONS) == before


def test_revisions_come_back_before_those_that_were_made_since_and_in_their_own_order(
    file: Path, database: Database, open_store: Opener, session: Connection, rows: Rows
) -> None:
    store = open_store(SETTLE)
    for value in (1.0, 2.0, 3.0):
        store.load([point(value=value)])
    rows("UPDATE revisions SET replaced_at = replaced_at + interval '1 year' WHERE value = 1")  # by a clock ahead
    keep(database, file)
    for value in (3.0, 4.0, 5.0):
        store.load([point(value=value)])
    for back in (2, 0):
        assert restore(database, file, LIVE_ONLY) == Restored(0, 0, 1, revisions=back, revisions_unchanged=2 - back)
        with session.cursor() as cursor:
            found = [(each.old, each.new) for each in revisions(cursor, "defillama")]
        assert found == [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)]


def test_at_every_instant_before_the_clearing_the_same_was_known_as_before(
    file: Path, database: Database, open_store: Opener, session: Connection, rows: Rows
) -> None:
    chance = random.Random(2)  # noqa: S311 - repeatable numbers
    instants: list[datetime] = []
    with closing(Store(database, "artemis", BACKFILL)) as other:
        for _ in range(12):
            days = chance.sample(range(30), 6)
            store = open_store(chance.choice(list(Verb)))
            if chance.random() < 0.7:
                store.begin_run()
            store.load([point(day=day, value=chance.choice((1.0, 2.0, 3.0))) for day in days])
            other.load([point(day=day) for day in days])  # whose ids lie between
            instants.append(rows("SELECT clock_timestamp()")[0][0])
    before = [known(session, instant) for instant in instants]
    keep(database, file)
    assert [known(session, instant) for instant in instants] == [[]] * 12
    restore(database, file, LIVE_ONLY)
    assert [known(session, instant) for instant in instants] == before
    assert len({len(each) for each in before}) > 6
    assert len(rows(ALL_REVISIONS)) > 6


def test_an_old_value_of_a_file_is_never_that_of_a_row_which_was_loaded_since(
    file: Path, database: Database, open_store: Opener, session: Connection, rows: Rows
) -> None:
    """A clock that was ahead has given it a time at which the new row had been loaded already."""
    store = open_store(SETTLE)
    for value in (1.0, 2.0):
        store.load([point(value=value)])
    rows("UPDATE revisions SET replaced_at = replaced_at + interval '1 year'")
    keep(database, file)
    store.load([point(value=3.0)])
    instants = [rows(f"SELECT clock_timestamp() + interval '{days} days'")[0][0] for days in (0, 100, 400)]
    before = [known(session, instant) for instant in instants]
    assert [found[0][1] for found in before] == [3.0] * 3
    for back in (1, 0):
        assert restore(database, file, LIVE_ONLY) == Restored(0, 0, 1, revisions=back, revisions_unchanged=1 - back)
        assert [known(session, instant) for instant in instants] == before
        assert [(value, at) for *_, value, at in map(tuple, rows("SELECT value, replaced_at FROM revisions"))] == [
            (1.0, *rows("SELECT loaded_at FROM loads")[0])
        ]


def known(session: Connection, as_of: datetime) -> list[tuple[datetime, float | None]]:
    """What was known of a series at an instant."""
    with session.cursor() as cursor:
        return points_of_series(cursor, "defillama", "solana", "TVL", START, START + 99 * DAY, as_of)


def test_left_out_is_what_the_refill_gets_again_and_nothing_else(
    file: Path, database: Database, open_store: Opener, rows: Rows
) -> None:
    kept = [
        *(point(day=day) for day in (1.999, 5, 6.5)),  # out of the window
        *(point(metric="FEES_24H", day=day) for day in (3, 4)),  # asked for by no backfill
        *(point("gone", day=day) for day in (3, 4)),  # no longer in the config
        point("bitcoin", 4),  # a live sample: the history had nothing
    ]
    again = [point(day=day) for day in (2, 3.5, 4, 4.999)] + [point("bitcoin", 3)]
    open_store(PULL).load(kept)
    open_store(BACKFILL).load(again, [Answered(asset, "TVL", days(2, 5)) for asset in ("solana", "bitcoin")])
    with closing(Store(database, "artemis", BACKFILL)) as other:
        other.load([point(metric="FEES_24H")])
    targets = [Target("solana", "TVL", "id"), Target("bitcoin", "TVL", "id"), Target("bitcoin", "FEES", "id")]
    assert save(database, "defillama", targets, days(2, 5), file) == len(kept)
    found = {(row[2], row[3], datetime.fromisoformat(row[4]).replace(tzinfo=UTC)) for row in lines(file)}
    assert found == {(each.asset, each.metric, each.at) for each in kept}
    assert rows("SELECT count(*) FROM metrics") == [(len(kept) + len(again) + 1,)]


def test_all_is_kept_of_what_a_refill_may_not_get_again(
    file: Path, database: Database, open_store: Opener, rows: Rows
) -> None:
    store, again = open_store(BACKFILL), [Target(asset, "TVL", "id") for asset in ("there", "gone", "part", "renamed")]
    store.load(grid_of("there", "gone", "part", "renamed"), [
        Answered("there", "TVL", days(0, 9), api_id="id"),
        Answered("gone", "TVL", days(0, 8)),  # it did not answer for the last day
        Answered("part", "TVL", days(0, 9)),
        Answered("renamed", "TVL", days(0, 9), api_id="another"),
    ])  # fmt: skip
    store.load([point("part", day) for day in (0, 2)], [Answered("part", "TVL", days(0, 9))])  # day 1 was withdrawn
    save(database, "defillama", again, days(0, 9), file)
    kept = [("gone", 0), ("gone", 1), ("gone", 2), ("part", 1), ("renamed", 0), ("renamed", 1), ("renamed", 2)]
    assert [(row[2], int(row[4][8:10]) - 1) for row in sorted(lines(file))] == kept
    assert rows("SELECT count(*) FROM metrics") == [(12,)]


def grid_of(*assets: str) -> list[DataPoint]:
    """Points of three days of each asset."""
    return [point(asset, day) for asset in assets for day in range(3)]


def test_rows_of_no_known_time_come_back_as_one_load(file: Path, database: Database, rows: Rows) -> None:
    file.parent.mkdir()
    good = [f"metrics,defillama,solana,TVL,2024-01-0{day} 00:00:00,1,,," for day in range(1, 8)]
    file.write_bytes(gzip.compress("\n".join([",".join(COLUMNS), *good, ""]).encode()))
    assert restore(database, file, LIVE_ONLY).new == 7
    assert rows("SELECT first_id, last_id, pull_id FROM loads") == [(1, 7, None)]


def test_a_file_of_a_version_without_reasons_is_restored_with_unknown_ones(
    file: Path, database: Database, rows: Rows
) -> None:
    file.parent.mkdir()
    at = "2024-01-01 00:00:00"
    lines = [",".join(COLUMNS[:-1]), f"metrics,defillama,solana,TVL,{at},2,{at},1"]
    lines.append(f"revisions,defillama,solana,TVL,{at},1,{at},2")
    file.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))
    assert restore(database, file, LIVE_ONLY) == Restored(1, 0, 0, 1, 0)
    assert rows("SELECT value, pull_id, reason FROM revisions") == [(1.0, 2, None)]


def test_the_name_of_a_file_is_on_the_disk_before_it_is_relied_on(
    file: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[int, list[str]]] = []

    def fsync(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, [each.name for each in file.parent.iterdir()]))

    monkeypatch.setattr(os, "fsync", fsync)
    save(database, "defillama", (), NOTHING, file)
    assert synced[-1] == (file.parent.stat().st_ino, [file.name])


def test_clearing_leaves_other_sources_and_the_log_of_runs(database: Database, rows: Rows) -> None:
    for source in LIVE_ONLY:
        with closing(AdoptingStore(database, source, PULL)) as store:
            store.begin_run()
            for value in (1.0, 2.0):
                store.load([point(value=value)], [Answered("solana", "TVL", days(0, 1))])
    assert clear(database, "defillama") == 1
    assert [{row[0] for row in rows(f"SELECT source FROM {name}")} for name in TABLES] == [{"artemis"}] * 4  # noqa: S608
    assert rows("SELECT source_name, kind, status, records_count FROM pulls ORDER BY pull_id") == [
        ("defillama", "pull", "error", 0), ("artemis", "pull", "error", 0), ("defillama", "fresh", "success", 1),
    ]  # fmt: skip


def test_a_day_of_what_exists_only_live_is_covered_again_and_no_day_of_what_has_a_history(
    file: Path, database: Database, open_store: Opener, rows: Rows
) -> None:
    live = [Answered("x", "FEES_24H", days(0, 1)), Answered("x", "FEES_24H", days(2, 3))]
    open_store(PULL).load([point("x", day, metric=metric) for day in (0, 2) for metric in ("FEES_24H", "TVL")], live)
    coverage = "SELECT metric_name, answered::text, found::text, row_count FROM coverage ORDER BY 1"
    before = rows(coverage)
    keep(database, file)
    assert rows(coverage) == []
    restore(database, file, LIVE_ONLY)
    two = "{[2024-01-01,2024-01-02),[2024-01-03,2024-01-04)}"
    assert rows(coverage) == before == [("FEES_24H", two, two, 2), ("TVL", "{}", "{}", 2)]


def test_a_file_is_whole_or_absent(file: Path, database: Database, open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load([point()])
    rows("ALTER TABLE revisions RENAME TO away")
    with pytest.raises(Exception, match="revisions"):
        save(database, "defillama", (), NOTHING, file)
    assert not file.exists()
    rows("ALTER TABLE away RENAME TO revisions")
    save(database, "defillama", (), NOTHING, file)
    assert file.read_bytes()[:2] == b"\x1f\x8b"
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_a_file_that_can_t_be_written_is_refused(tmp_path: Path, database: Database) -> None:
    (tmp_path / "saved").write_text("no folder")
    message = refusal(lambda: save(database, "defillama", (), NOTHING, tmp_path / "saved" / "x.csv.gz"))
    assert message.startswith(f"{tmp_path / 'saved' / 'x.csv.gz'}: can't be written: ")
