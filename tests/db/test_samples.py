"""Our own values of open days: they give way to the values of the closed days, and that is no restatement."""

from contextlib import closing
from datetime import timedelta

from db.database import Database
from db.load import Counts
from db.setup import ensure_schema
from db.store import Store
from model.values import DAY, Answered, DataPoint, Verb, Window
from tests.tables import BACKFILL, PULL, Opener, Rows, this_midnight

REASONS = "SELECT value, reason FROM revisions ORDER BY id"
HOUR = timedelta(hours=1)


def test_a_sample_that_a_backfill_has_kept_gives_way_to_the_next_settle(open_store: Opener, rows: Rows) -> None:
    yesterday = this_midnight() - DAY
    answered = [Answered("solana", "FEES", Window(yesterday - DAY, this_midnight()))]

    def history(sum_of_yesterday: float) -> list[DataPoint]:
        values = {yesterday - DAY: 5.0, yesterday: sum_of_yesterday}
        return [DataPoint("solana", "FEES", at, value) for at, value in values.items()]

    open_store(PULL).load([DataPoint("solana", "FEES", yesterday, 1.0)])
    rows("UPDATE loads SET loaded_at = %s", yesterday + 9 * HOUR)
    backfill = open_store(BACKFILL)
    assert backfill.load(history(6.0), answered) == Counts(new=1, kept=1)
    assert rows("SELECT row_count, found_count FROM coverage") == [(2, 1)]
    [series] = backfill.maps(this_midnight(), {})
    assert (series.days, series.never, series.empty, series.lost) == (2, [], [], [])  # no gap
    assert open_store(Verb.SETTLE).load(history(6.0), answered) == Counts(changed=1, unchanged=1)
    open_store(Verb.SETTLE).load(history(6.5), answered)
    assert rows(REASONS) == [(1.0, "sample"), (6.0, "restated")]


def test_a_live_only_value_that_a_pull_replaces_after_midnight_is_a_sample(open_store: Opener, rows: Rows) -> None:
    yesterday = this_midnight() - DAY
    answered = [Answered("solana", "FEES_24H", Window(yesterday, this_midnight()))]
    for value in (1.0, 2.0):
        store = open_store(PULL)
        store.begin_run(["FEES_24H"])
        store.load([DataPoint("solana", "FEES_24H", yesterday, value)], answered)
        rows("UPDATE loads SET loaded_at = %s", yesterday + 9 * HOUR)
    assert rows(REASONS) == [(1.0, "sample")]


def test_what_waits_for_a_person_is_dropped_when_its_point_gets_a_newer_value(database: Database, rows: Rows) -> None:
    yesterday = this_midnight() - DAY

    def load(verb: Verb, value: float) -> list[tuple[float]]:
        with closing(Store(database, "defillama", verb)) as store:
            store.load([DataPoint("solana", "FEES", yesterday, value)])
        return rows("SELECT value FROM quarantine")

    load(PULL, 1.0)
    rows("UPDATE loads SET loaded_at = %s", yesterday + 9 * HOUR)
    rows("INSERT INTO quarantine SELECT source, asset, metric_name, pulled_at, 9.0, 'waiting', now(), 1 FROM metrics")
    assert load(BACKFILL, 6.0) == [(9.0,)]
    assert load(Verb.SETTLE, 6.0) == []
    assert rows(REASONS) == [(1.0, "sample")]


def test_an_upgrade_says_of_older_revisions_what_loads_can_tell(database: Database, rows: Rows) -> None:
    rows("ALTER TABLE revisions DROP COLUMN reason")
    rows(
        "INSERT INTO metrics (source, asset, metric_name, pulled_at, value) "
        "SELECT 'defillama', asset, 'TVL', '2026-01-05', 9 FROM unnest(ARRAY['live', 'late', 'old', 'alien']) asset"
    )
    rows(
        "INSERT INTO loads (source, first_id, last_id, loaded_at, pull_id) VALUES "
        "('defillama', 1, 1, '2026-01-05 13:05', 1), ('defillama', 2, 2, '2026-01-07 04:35', 2), "
        "('defillama', 3, 3, '2026-01-05 13:05', NULL)"  # older than the table loads: when it was stored is not known
    )
    rows(
        "INSERT INTO revisions (source, asset, metric_name, pulled_at, value, replaced_at) "
        "SELECT 'defillama', asset, 'TVL', '2026-01-05', value, '2026-01-08' "
        "FROM unnest(ARRAY['live', 'late', 'old', 'alien']) asset, unnest(ARRAY[1.0, 2.0]) value ORDER BY value"
    )
    for _ in range(2):
        assert ensure_schema(database, always=True)
        assert rows("SELECT asset, value, reason FROM revisions ORDER BY asset, value") == [
            ("alien", 1.0, None),
            ("alien", 2.0, "restated"),
            ("late", 1.0, "restated"),
            ("late", 2.0, "restated"),
            ("live", 1.0, "sample"),
            ("live", 2.0, "restated"),
            ("old", 1.0, None),
            ("old", 2.0, "restated"),
        ]
