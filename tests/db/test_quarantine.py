"""Restated values: kept apart from metrics until they are adopted or rejected; and why a value was replaced."""

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from db.database import Database
from db.load import Counts
from db.quarantine import Adopted, ComparedPoint, reject
from db.statements import in_transaction
from db.store import Store
from model.values import DAY, Answered, DataPoint, Verb, Window
from tests.tables import BACKFILL, PULL, START, Opener, Rows, asked, days, point, points, this_midnight

pytestmark = pytest.mark.every_postgres

SETTLE = Verb.SETTLE
TVL = ("solana", "TVL")
HELD = "SELECT pulled_at::date - DATE '2024-01-01', value, state FROM quarantine ORDER BY 1"
REASONS = "SELECT value, reason FROM revisions ORDER BY id"
AGE = """
UPDATE metrics SET pulled_at = pulled_at - interval '1 day';
UPDATE loads SET loaded_at = loaded_at - interval '1 day';
UPDATE revisions SET pulled_at = pulled_at - interval '1 day', replaced_at = replaced_at - interval '1 day';
"""


@pytest.fixture
def settle(database: Database) -> Iterator[Store]:
    """A store of a settle under way, which adopts nothing by itself."""
    with closing(Store(database, "defillama", SETTLE)) as store:
        store.begin_run()
        yield store


def test_a_restated_value_changes_nothing_until_it_is_adopted(open_store: Opener, settle: Store, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0, 1), [asked(0, 2)])
    assert settle.load([point(value=2.0), point(day=1)], [asked(0, 2)]) == Counts(unchanged=1, kept=1)
    assert rows("SELECT value FROM metrics") == [(1.0,), (1.0,)]
    assert rows(HELD) == [(0, 2.0, "new")]
    assert settle.undecided() == [TVL]
    assert settle.compared_points(TVL) == [
        ComparedPoint(START, 1.0, restated=True, value=2.0),
        ComparedPoint(START + DAY, 1.0, restated=False, value=None),
    ]
    assert settle.adopt([TVL], {}) == Adopted(changed=1, withdrawn=0)
    assert rows("SELECT value FROM metrics ORDER BY pulled_at") == [(2.0,), (1.0,)]
    assert (rows(REASONS), rows(HELD), settle.undecided()) == ([(1.0, "restated")], [], [])


def test_what_is_adopted_has_the_time_of_its_adoption_and_the_run(
    open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    settle.load([point(value=2.0)], [asked(0, 1)])
    (before,) = rows("SELECT clock_timestamp() AT TIME ZONE 'UTC'")
    settle.adopt([TVL], {})
    (after,) = rows("SELECT replaced_at > %s FROM revisions", *before)
    assert after == (True,)
    assert rows("SELECT pull_id FROM revisions") == rows("SELECT max(pull_id) FROM pulls")


def test_the_same_value_waits_on_and_another_one_takes_its_place(open_store: Opener, settle: Store, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    settle.load([point(value=2.0)], [asked(0, 1)])
    settle.hold(TVL, settle.compared_points(TVL)[:1])
    settle.load([point(value=2.0)], [asked(0, 1)])
    assert rows(HELD) == [(0, 2.0, "waiting")]
    settle.load([point(value=3.0)], [asked(0, 1)])
    assert rows(HELD) == [(0, 3.0, "new")]


@pytest.mark.parametrize("verb", list(Verb))
def test_what_the_provider_takes_back_waits_no_longer(
    verb: Verb, database: Database, open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    settle.load([point(value=2.0)], [asked(0, 1)])
    settle.hold(TVL, settle.compared_points(TVL)[:1])
    with closing(Store(database, "defillama", verb)) as store:
        assert store.load(points(0), [asked(0, 1)]) == Counts(unchanged=1)
    assert rows(HELD) == []


def test_a_rejected_value_is_not_asked_about_again_and_another_one_is(
    database: Database, open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    settle.load([point(value=2.0)], [asked(0, 1)])
    settle.hold(TVL, settle.compared_points(TVL)[:1])
    with closing(database.connect("test")) as session:
        assert in_transaction(session, lambda cursor: reject(cursor, "defillama", TVL)) == 1
    settle.load([point(value=2.0)], [asked(0, 1)])
    assert (rows(HELD), settle.undecided()) == ([(0, 2.0, "rejected")], [])
    assert settle.adopt([TVL], {}) == Adopted(0, 0)
    settle.load([point(value=3.0)], [asked(0, 1)])
    assert (rows(HELD), settle.undecided()) == ([(0, 3.0, "new")], [TVL])


def test_only_what_waits_is_rejected_and_the_rest_of_the_series_is_judged_again(
    database: Database, open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0, 1), [asked(0, 2)])
    settle.load([point(value=2.0), point(day=1, value=1.1)], [asked(0, 2)])
    settle.hold(TVL, settle.compared_points(TVL)[:1])
    assert [each.waits for each in settle.compared_points(TVL)] == [True, False]
    with closing(database.connect("test")) as session:
        assert in_transaction(session, lambda cursor: reject(cursor, "defillama", TVL)) == 1
    assert rows(HELD) == [(0, 2.0, "rejected"), (1, 1.1, "new")]


def test_withdrawn_days_keep_their_values_and_are_marked_when_they_are_adopted(
    open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0, 1, 2, 3, 4), [asked(0, 5)])
    gone = [Answered(*TVL, days(0, 4))]
    assert settle.load(points(4), [asked(4, 5)], withdrawn=gone) == Counts(unchanged=1)
    assert rows(HELD) == [(day, None, "new") for day in range(4)]
    assert settle.adopt([TVL], {}) == Adopted(changed=0, withdrawn=4)
    assert rows("SELECT count(*), sum(value) FROM metrics") == [(5, 5.0)]
    assert rows("SELECT withdrawn::text, found::text, found_count, withdrawn_at IS NOT NULL FROM coverage") == [
        ("{[2024-01-01,2024-01-05)}", "{[2024-01-05,2024-01-06)}", 1, True)
    ]
    assert rows(REASONS) == []
    settle.load(points(0, 4), [asked(0, 5)])  # the first day is back
    assert rows("SELECT withdrawn::text FROM coverage") == [("{[2024-01-02,2024-01-05)}",)]


def test_a_value_is_dropped_when_the_provider_withdraws_its_day(open_store: Opener, settle: Store, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0, 1, 2), [asked(0, 3)])
    settle.load([point(value=2.0), point(day=1, value=2.0), point(day=2)], [asked(0, 3)])
    settle.hold(TVL, settle.compared_points(TVL)[:1])
    settle.load([point(day=1, value=2.0), point(day=2)], [asked(0, 3)])
    assert rows(HELD) == [(1, 2.0, "new")]
    assert rows("SELECT withdrawn::text FROM coverage") == [("{[2024-01-01,2024-01-02)}",)]


def test_a_few_days_are_withdrawn_at_once_and_the_day_is_noted(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0, 1, 2), [asked(0, 3)])
    assert rows("SELECT withdrawn::text, withdrawn_at FROM coverage") == [("{}", None)]
    open_store(SETTLE).load(points(2), [asked(0, 3)])
    assert rows("SELECT withdrawn::text, now() - withdrawn_at < '1 min' FROM coverage") == [
        ("{[2024-01-01,2024-01-03)}", True)
    ]


def live(value: float, back: int = 0) -> list[DataPoint]:
    """The value of today, or of a day before it."""
    return [DataPoint(*TVL, this_midnight() - back * DAY, value)]


def closed(back: int, shift: timedelta = timedelta()) -> list[Answered]:
    """An answer for one closed day."""
    return [Answered(*TVL, Window(this_midnight() - back * DAY, this_midnight() - (back - 1) * DAY), shift)]


def test_a_value_of_the_open_day_that_gives_way_to_the_closed_day_is_a_sample(open_store: Opener, rows: Rows) -> None:
    open_store(PULL).load(live(1.0))
    rows(AGE)  # it is tomorrow
    assert open_store(SETTLE).load(live(2.0, back=1), closed(1)) == Counts(changed=1)
    assert open_store(SETTLE).load(live(3.0, back=1), closed(1)) == Counts(changed=1)
    assert rows(REASONS) == [(1.0, "sample"), (2.0, "restated")]


def test_a_sample_that_the_closed_day_has_confirmed_is_restated_by_another_value(
    open_store: Opener, rows: Rows
) -> None:
    open_store(PULL).load(live(1.0))
    rows(AGE)
    assert open_store(SETTLE).load(live(1.0, back=1), closed(1)) == Counts(unchanged=1)
    open_store(SETTLE).load(live(2.0, back=1), closed(1))
    assert rows(REASONS) == [(1.0, "restated")]


def test_a_live_value_beside_a_price_with_its_own_time_is_a_sample_once(open_store: Opener, rows: Rows) -> None:
    shift, second = DAY / 2, timedelta(seconds=20)
    open_store(PULL).load(live(1.0))
    rows(AGE)
    price = [DataPoint(*TVL, this_midnight() - DAY + second, value) for value in (2.0, 3.0)]
    open_store(BACKFILL).load(price[:1], closed(1, shift))
    open_store(SETTLE).load(price[:1], closed(1, shift))
    assert rows(REASONS) == [(1.0, "sample")]
    open_store(SETTLE).load(price[1:], closed(1, shift))
    assert rows(REASONS) == [(1.0, "sample"), (2.0, "restated"), (2.0, "restated")]  # both rows of the day


def test_what_a_backfill_has_stored_of_a_closed_day_is_no_sample(open_store: Opener, rows: Rows) -> None:
    open_store(BACKFILL).load(points(0))  # nothing says that the API has answered for the day
    open_store(SETTLE).load([point(value=2.0)])
    assert rows(REASONS) == [(1.0, "restated")]


VERIFIED = "SELECT asset, verified_at = (SELECT max(pulled_at) FROM pulls) FROM coverage ORDER BY asset"


@pytest.mark.parametrize(
    ("compared", "verified"), [(days(0, 5), True), (days(-9, 9), True), (days(1, 5), None), (days(0, 4), None)]
)
def test_a_series_is_verified_where_all_answered_days_were_compared(
    compared: Window, verified: bool | None, open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load([*points(0, 4), *points(0, asset="other")], [asked(0, 5), asked(0, 5, asset="other")])
    settle.verify({TVL: [compared]})
    assert rows(VERIFIED) == [("other", None), ("solana", verified)]


def test_a_series_is_verified_by_answers_that_only_together_have_all_days(
    open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0, 4), [asked(0, 5)])
    settle.verify({TVL: [days(3, 5), days(0, 3)]})
    assert rows(VERIFIED) == [("solana", True)]


@pytest.mark.parametrize(
    ("decide", "verified"),
    [
        (lambda store: store.hold(TVL, store.compared_points(TVL)[:1]), None),
        (Store.undecided, None),  # decides nothing
        (lambda store: store.adopt([TVL], {}), True),
    ],
)
def test_a_series_about_which_a_person_must_decide_is_not_verified(
    decide: Callable[[Store], object], verified: bool | None, open_store: Opener, settle: Store, rows: Rows
) -> None:
    open_store(BACKFILL).load(points(0), [asked(0, 1)])
    settle.load([point(value=2.0)], [asked(0, 1)])
    decide(settle)
    settle.verify({TVL: [days(0, 1)]})
    assert rows(VERIFIED) == [("solana", verified)]
