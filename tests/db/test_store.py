"""The load path, on a real PostgreSQL: what is written, what is not, and what a load costs."""

import random
import re
from datetime import UTC, datetime, timedelta

import pytest

from db.database import Database
from db.load import Counts
from db.setup import ensure_schema
from db.store import Store
from model.errors import BadPoint, ConfigurationError
from model.values import DAY, DataPoint, Verb, midnight
from tests.tables import BACKFILL, PULL, START, AdoptingStore, Opener, Rows, Values, grid, point, refusal

pytestmark = pytest.mark.every_postgres


def test_a_point_becomes_a_row_with_its_names_time_and_value(open_store: Opener, rows: Rows) -> None:
    assert open_store(PULL).load([point("solana", 0.5, 2.5)]) == Counts(new=1)
    stored = rows("SELECT id, pulled_at, source, asset, metric_name, value FROM metrics")
    assert stored == [(1, datetime(2024, 1, 1, 12), "defillama", "solana", "TVL", 2.5)]  # noqa: DTZ001 - as stored


def test_a_pull_counts_new_changed_and_unchanged_and_changes_what_differs(open_store: Opener, values: Values) -> None:
    store = open_store(PULL)
    assert store.load([point(day=0), point(day=1)]) == Counts(new=2)
    again = [point(day=0), point(day=1, value=7.0), point(day=2), point("bitcoin")]
    assert store.load(again) == Counts(new=2, changed=1, unchanged=1)
    assert values() == {(each.asset, each.metric, each.at): each.value for each in again}


def test_a_backfill_never_changes_a_row(open_store: Opener, values: Values) -> None:
    store = open_store(BACKFILL)
    assert store.load([point(day=0), point(day=1)]) == Counts(new=2)
    again = [point(day=0, value=8.0), point(day=1), point(day=2)]
    assert store.load(again) == Counts(new=1, unchanged=1, kept=1)
    assert list(values().values()) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("verb", list(Verb))
def test_points_that_are_there_write_no_row_and_draw_no_id(verb: Verb, open_store: Opener, rows: Rows) -> None:
    points = [*grid(40, 50), point("asset-0", 0.5)]
    open_store(verb).load(points)
    before = rows("SELECT id, xmin, xmax, ctid FROM metrics ORDER BY id"), rows("SELECT last_value FROM metrics_id_seq")
    assert open_store(verb).load(points) == Counts(unchanged=len(points))
    after = rows("SELECT id, xmin, xmax, ctid FROM metrics ORDER BY id"), rows("SELECT last_value FROM metrics_id_seq")
    assert before == after
    assert before[1] == [(len(points),)]


@pytest.mark.parametrize("verb", list(Verb))
def test_a_series_that_grows_at_both_ends_draws_an_id_for_each_new_point(
    verb: Verb, open_store: Opener, rows: Rows
) -> None:
    store = open_store(verb)
    store.load([point(day=day) for day in (10, 12)])
    assert store.load([point(day=day) for day in range(5, 20)]) == Counts(new=13, unchanged=2)
    assert rows("SELECT last_value FROM metrics_id_seq") == [(15,)]


def test_a_pull_rewrites_the_differing_row_alone_and_keeps_its_id(open_store: Opener, rows: Rows) -> None:
    open_store(PULL).load(grid(2, 3))
    before: dict[int, str] = dict(rows("SELECT id, ctid FROM metrics"))
    open_store(PULL).load([*grid(2, 3), point("asset-1", 1, 9.0)])
    after: dict[int, str] = dict(rows("SELECT id, ctid FROM metrics"))
    assert [number for number in after if after[number] != before[number]] == [5]
    assert rows("SELECT value FROM metrics WHERE id = 5") == [(9.0,)]


@pytest.mark.parametrize("verb", list(Verb))
def test_of_two_points_of_one_key_the_last_is_stored(verb: Verb, open_store: Opener, values: Values) -> None:
    twice = [point(value=1.0), point("bitcoin"), point(value=3.0), point(value=2.0)]
    assert open_store(verb).load(twice) == Counts(new=2)
    assert sorted(values().values()) == [1.0, 2.0]


def test_of_two_points_of_one_key_the_last_decides_whether_a_row_changes(open_store: Opener, rows: Rows) -> None:
    store = open_store(PULL)
    store.load([point(value=1.0)])
    assert store.load([point(value=2.0), point(value=1.0)]) == Counts(unchanged=1)
    assert store.load([point(value=1.0), point(value=2.0)]) == Counts(changed=1)
    assert rows("SELECT value FROM metrics") == [(2.0,)]


DOUBLES = [0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e308, 1.7976931348623157e308, 0.1, 1 / 3, -1e-9, 2.0**53 + 2]


def test_doubles_come_back_as_they_were(open_store: Opener, values: Values) -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable numbers
    numbers = DOUBLES + [chance.uniform(-1, 1) * 10 ** chance.randint(-300, 300) for _ in range(1000)]
    points = [point(day=day, value=value) for day, value in enumerate(numbers)]
    open_store(BACKFILL).load(points)
    stored = values()
    assert [repr(stored["solana", "TVL", each.at]) for each in points] == [repr(value) for value in numbers]


def test_minus_zero_is_stored_and_does_not_differ_from_zero(open_store: Opener, rows: Rows) -> None:
    store = open_store(PULL)
    store.load([point(value=-0.0)])
    assert repr(rows("SELECT value FROM metrics")[0][0]) == "-0.0"
    assert store.load([point(value=0.0)]) == Counts(unchanged=1)


def test_a_value_that_is_null_in_the_table_is_filled_by_a_pull_and_left_by_a_backfill(
    open_store: Opener, rows: Rows
) -> None:
    open_store(BACKFILL).load([point()])
    rows("UPDATE metrics SET value = NULL")
    assert open_store(BACKFILL).load([point()]) == Counts(kept=1)
    assert rows("SELECT last_value FROM metrics_id_seq") == [(1,)]
    assert open_store(PULL).load([point()]) == Counts(changed=1)
    assert rows("SELECT value FROM metrics") == [(1.0,)]


def test_what_is_not_finite_never_reaches_a_load() -> None:
    with pytest.raises(BadPoint):
        point(value=float("inf"))


def test_times_come_back_to_the_microsecond(open_store: Opener, values: Values) -> None:
    chance = random.Random(2)  # noqa: S311 - repeatable numbers
    epochs = [datetime(year, 1, 1, tzinfo=UTC) for year in (1970, 2000)]
    edges = [epoch + timedelta(microseconds=step) for epoch in epochs for step in (-1, 0, 1)]
    first, span = datetime(1950, 1, 1, tzinfo=UTC), 150 * 365 * 86_400 * 10**6
    spread = [first + timedelta(microseconds=chance.randrange(span)) for _ in range(2000)]
    times = {*edges, *spread, START.replace(microsecond=999_999), datetime(2024, 2, 29, 23, 59, 59, 1, UTC)}
    open_store(BACKFILL).load([DataPoint("solana", "TVL", at, 1.0) for at in times])
    assert {at for _, _, at in values()} == times


NAMES = [
    "a" * 100,
    "é币🙂" * 33,
    "it's",
    '"q"',
    "back\\slash",
    "100%",
    "%s %(x)s",
    "{a,b}",
    "NULL",
    " ",
    "\t\n",
    "$1",
    "--;",
]


def test_names_come_back_as_they_were(open_store: Opener, values: Values) -> None:
    points = [point(name, metric=name * 2) for name in NAMES]
    for _ in range(2):
        open_store(PULL).load(points)
        assert {(asset, metric) for asset, metric, _ in values()} == {(name, name * 2) for name in NAMES}


def test_names_do_not_depend_on_the_encoding_of_the_environment(
    database: Database, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    store = Store(database, "defillama", PULL)
    store.load([point("币安")])
    store.close()
    assert [asset for asset, _, _ in values()] == ["币安"]


def test_series_that_share_an_asset_or_a_metric_or_a_source_are_kept_apart(database: Database, rows: Rows) -> None:
    points = [point(asset, metric=metric) for asset in ("a", "b") for metric in ("A", "B")]
    for source in ("artemis", "defillama"):
        store = AdoptingStore(database, source, PULL)
        assert store.load(points) == Counts(new=4)
        assert store.load([*points[:3], point("b", 0, 5.0, "B")]) == Counts(changed=1, unchanged=3)
        store.close()
    assert rows("SELECT source, asset, metric_name FROM metrics WHERE value = 5") == [
        ("artemis", "b", "B"),
        ("defillama", "b", "B"),
    ]


def test_an_empty_load_does_nothing(open_store: Opener) -> None:
    assert open_store(PULL).load([]) == Counts()


def test_a_table_of_the_name_of_the_stage_is_left_alone(open_store: Opener, rows: Rows) -> None:
    rows("CREATE TABLE stage (mine text)")
    assert open_store(PULL).load([point()]) == Counts(new=1)
    assert rows("SELECT count(*) FROM stage") == [(0,)]


def test_a_database_that_became_read_only_is_refused_and_nothing_is_stored(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c default_transaction_read_only=on")
    store = Store(database, "defillama", PULL)
    with pytest.raises(ConfigurationError, match=r"can't be written: cannot execute .* in a read-only transaction"):
        store.begin_run()
    with pytest.raises(ConfigurationError, match=r"can't be written: cannot execute .* in a read-only transaction"):
        store.load([point()])
    store.close()
    assert rows("SELECT FROM metrics") == []


@pytest.mark.parametrize("verb", [PULL, Verb.SETTLE])
def test_a_run_whose_clock_was_far_ahead_closes_no_open_day(verb: Verb, open_store: Opener, rows: Rows) -> None:
    today = midnight(datetime.now(UTC))
    rows("INSERT INTO pulls (source_name, pulled_at, status) VALUES ('defillama', %s, 'success')", today + 400 * DAY)
    store = open_store(verb)
    store.begin_run()
    for value in (1.0, 2.0):
        store.load([DataPoint("solana", "TVL", today - DAY, value), DataPoint("solana", "TVL", today, value)])
    assert rows("SELECT pulled_at, value FROM revisions") == [((today - DAY).replace(tzinfo=None), 1.0)]


def test_a_second_run_of_a_day_finds_nothing_wrong_with_the_clock(
    open_store: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        open_store(PULL).begin_run()
    assert caplog.messages == []


def test_a_server_that_is_too_old_is_refused_in_one_line(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.database.OLDEST", 99)
    for work in (lambda: database.connect("test"), lambda: ensure_schema(database)):
        assert re.fullmatch(rf"{database} is PostgreSQL \d+: use 99 or newer", refusal(work))


def test_counts_add_up() -> None:
    counts = Counts(1, 2, 3, 4, 5)
    counts.add(Counts(10, 20, 30, 40, 50))
    assert counts == Counts(11, 22, 33, 44, 55)
