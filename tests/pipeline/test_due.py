"""When runs are due, slot by slot and in simulated years."""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.pulls import clear_future_slots
from model.schedule import Schedule, daily, hourly
from model.values import Verb
from pipeline.due import Attempt, History, ScheduledRun, due, next_attempt, read_history, slot_of, wait
from tests.simulated_year import SCHEDULE, Due, Pulls, simulate
from tests.year_promises import BrokenPromise, Counts, check

log = logging.getLogger(__name__)

PULL, BACKFILL, SETTLE = (
    ScheduledRun("artemis", verb, daily(0, 5)) for verb in (Verb.PULL, Verb.BACKFILL, Verb.SETTLE)
)
HOURLY = ScheduledRun("defillama", Verb.PULL, hourly(5))
SLOT = datetime(2025, 12, 19, 0, 5, tzinfo=UTC)  # of the daily runs
NOW = datetime(2025, 12, 19, 10, 0, tzinfo=UTC)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


INSERT = """
SET TIME ZONE 'UTC';
INSERT INTO pulls (source_name, kind, slot, pulled_at, finished_at, status)
VALUES (%s, %s, %s::timestamptz, %s::timestamptz, %s::timestamptz, %s)
"""


def at(hour: int, minute: int, second: int = 0, day: int = 19) -> datetime:
    return datetime(2025, 12, day, hour, minute, second, tzinfo=UTC)


def failed(*ends: datetime) -> list[Attempt]:
    return [Attempt(end, done=False) for end in ends]


def due_now(
    schedule: Sequence[ScheduledRun], now: datetime, *tries: Attempt, busy: Sequence[ScheduledRun] = ()
) -> list[tuple[ScheduledRun, datetime]]:
    """What is due of a schedule with these runs for their latest slots, long after the start and the first runs."""
    slots = [(scheduled, scheduled.schedule.slot(now)) for scheduled in schedule]
    history = History(LONG_AGO, {scheduled.source: LONG_AGO for scheduled in schedule}, dict.fromkeys(slots, tries))
    return list(due(schedule, now, history, [scheduled.lane for scheduled in busy]))


@pytest.mark.parametrize(
    ("schedule", "now", "slot"),
    [
        (hourly(5), at(10, 5), at(10, 5)),
        (hourly(5), at(10, 5) - timedelta(microseconds=1), at(9, 5)),
        (hourly(5), at(10, 59, 59), at(10, 5)),
        (hourly(5), at(0, 4, 59), at(23, 5, day=18)),
        (hourly(5), at(0, 5), at(0, 5)),
        (hourly(0), at(0, 0), at(0, 0)),
        (hourly(59), at(0, 0), at(23, 59, day=18)),
        (daily(0, 5), at(0, 5), at(0, 5)),
        (daily(0, 5), at(0, 4, 59), at(0, 5, day=18)),
        (daily(0, 5), at(23, 59, 59), at(0, 5)),
        (daily(0, 0), at(0, 0), at(0, 0)),
        (daily(23, 59), at(23, 58, 59), at(23, 59, day=18)),
        (daily(0, 5), datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 2, 29, 0, 5, tzinfo=UTC)),
        (hourly(5), datetime(2026, 1, 1, 0, 1, tzinfo=UTC), datetime(2025, 12, 31, 23, 5, tzinfo=UTC)),
    ],
)
def test_the_latest_slot_is_the_one_at_or_before_now(schedule: Schedule, now: datetime, slot: datetime) -> None:
    assert schedule.slot(now) == slot


def test_a_year_has_a_slot_for_each_hour_or_day() -> None:
    quarters = [LONG_AGO + number * 15 * MINUTE for number in range(365 * 24 * 4)]
    assert len({hourly(5).slot(now) for now in quarters[1:]}) == 8_760
    assert len({daily(0, 5).slot(now) for now in quarters[1:]}) == 365


def test_a_schedule_says_when_its_slots_are() -> None:
    assert (str(hourly(5)), str(daily(0, 5))) == ("hourly at XX:05 UTC", "daily at 00:05 UTC")
    assert str(Schedule(timedelta(hours=6), timedelta(minutes=35))) == "each 6:00:00 at 00:35 UTC"


def test_a_failed_run_is_tried_again_after_waits_that_grow_to_a_quarter_of_an_hour() -> None:
    assert [wait(failures) / MINUTE for failures in range(1, 9)] == [1, 2, 4, 8, 15, 15, 15, 15]
    assert wait(10_000) == 15 * MINUTE


@pytest.mark.parametrize(("failures", "minutes"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 15), (6, 15), (40, 15)])
def test_the_wait_counts_from_the_end_of_the_last_failure(failures: int, minutes: int) -> None:
    last = at(9, 0)
    tries = failed(*(last - number * DAY / 100 for number in reversed(range(failures))))
    assert next_attempt(SLOT, tries, NOW) == last + minutes * MINUTE
    assert not due_now([PULL], last + minutes * MINUTE - timedelta(seconds=1), *tries)
    assert due_now([PULL], last + minutes * MINUTE, *tries) == [(PULL, SLOT)]


@pytest.mark.parametrize("scheduled", [PULL, BACKFILL, SETTLE, HOURLY])
def test_a_slot_that_was_never_tried_is_due_at_once(scheduled: ScheduledRun) -> None:
    assert due_now([scheduled], NOW) == [(scheduled, scheduled.schedule.slot(NOW))]
    assert due_now([scheduled], scheduled.schedule.slot(NOW)) == [(scheduled, scheduled.schedule.slot(NOW))]


@pytest.mark.parametrize("scheduled", [PULL, BACKFILL, SETTLE, HOURLY])
@pytest.mark.parametrize("ours", [True, False])
def test_a_done_slot_is_not_done_again(scheduled: ScheduledRun, ours: bool) -> None:
    assert not due_now([scheduled], NOW, Attempt(at(9, 6), done=True, ours=ours))
    assert not due_now([scheduled], NOW, *failed(at(9, 6)), Attempt(at(9, 8), done=True, ours=ours))
    assert not due_now([scheduled], NOW, Attempt(at(9, 6), done=True, ours=ours), *failed(at(9, 8)))


def test_a_run_that_was_killed_makes_nothing_wait() -> None:
    killed = Attempt(None, done=False)
    assert due_now([PULL], NOW, killed, killed, killed) == [(PULL, SLOT)]
    assert next_attempt(SLOT, [*failed(at(9, 58), at(9, 59)), killed], NOW) == at(10, 1)


def test_failures_before_the_start_of_the_scheduler_do_not_count() -> None:
    before = [Attempt(at(9, 59), done=False, ours=False)] * 5
    assert due_now([PULL], NOW, *before) == [(PULL, SLOT)]
    assert next_attempt(SLOT, [*before, *failed(at(9, 59, 30))], NOW) == at(10, 0, 30)


@pytest.mark.parametrize("failures", [1, 5])
def test_an_end_in_the_future_by_a_clock_that_has_jumped_back_stalls_nothing(failures: int) -> None:
    tries = failed(*[at(20, 0)] * failures)
    looks = [NOW + number * timedelta(seconds=30) for number in range(2 * 16)]
    assert any(due_now([PULL], now, *tries) for now in looks)


def test_a_retry_after_a_clock_has_jumped_back_waits_again() -> None:
    assert not due_now([PULL], NOW, *failed(at(20, 0), at(9, 59)))
    assert due_now([PULL], at(10, 1), *failed(at(20, 0), at(9, 59))) == [(PULL, SLOT)]


@pytest.mark.parametrize("days", [1, 2, 30, 3_000])
def test_any_downtime_costs_one_run_for_the_latest_slot(days: int) -> None:
    now = NOW + days * DAY
    history = History(LONG_AGO, {}, {(PULL, SLOT): [Attempt(SLOT, done=True)]})
    assert list(due([PULL], now, history, ())) == [(PULL, SLOT + days * DAY)]
    caught_up = replace(history, attempts={(PULL, SLOT + days * DAY): [Attempt(now, done=True)]})
    assert not list(due([PULL], now + MINUTE, caught_up, ()))


def test_a_lane_makes_one_run_at_a_time_and_the_first_that_is_due() -> None:
    assert due_now([PULL, SETTLE, BACKFILL], NOW) == [(PULL, SLOT), (SETTLE, SLOT)]
    assert due_now([PULL, BACKFILL, SETTLE], NOW) == [(PULL, SLOT), (BACKFILL, SLOT)]


def test_a_busy_lane_makes_no_other_run_and_holds_up_no_other_lane() -> None:
    assert due_now([PULL, SETTLE, HOURLY], NOW, busy=[BACKFILL]) == [(PULL, SLOT), (HOURLY, at(9, 5))]
    assert due_now([PULL, SETTLE, HOURLY], NOW, busy=[PULL]) == [(SETTLE, SLOT), (HOURLY, at(9, 5))]


def test_a_duty_that_waits_does_not_hold_up_the_next_of_its_lane() -> None:
    history = History(LONG_AGO, {"artemis": LONG_AGO}, {(SETTLE, SLOT): failed(at(9, 59, 30))})
    assert list(due([SETTLE, BACKFILL], NOW, history, ())) == [(BACKFILL, SLOT)]


def test_a_backfill_is_due_at_each_start_and_then_at_its_slots() -> None:
    started = at(7, 30)
    done = {(BACKFILL, SLOT): [Attempt(at(0, 6), done=True, ours=False)]}
    assert list(due([BACKFILL], NOW, History(started, {}, done), ())) == [(BACKFILL, started)]
    done[BACKFILL, started] = [Attempt(at(7, 31), done=True)]
    assert not list(due([BACKFILL], SLOT + DAY - MINUTE, History(started, {}, done), ()))
    assert list(due([BACKFILL], SLOT + DAY, History(started, {}, done), ())) == [(BACKFILL, SLOT + DAY)]


def test_a_start_by_a_clock_that_has_jumped_back_does_not_put_the_nightly_backfill_off() -> None:
    started = NOW + 300 * DAY
    history = History(started, {}, {(BACKFILL, started): [Attempt(started + MINUTE, done=True)]})
    assert list(due([BACKFILL], SLOT + DAY, history, ())) == [(BACKFILL, SLOT + DAY)]


@pytest.mark.parametrize(
    ("first_run", "slot"),
    [(None, None), (NOW, None), (SLOT + MINUTE, None), (SLOT, SLOT), (SLOT - MINUTE, SLOT), (LONG_AGO, SLOT)],
)
def test_a_settle_has_no_slot_before_the_first_run_of_its_source(
    first_run: datetime | None, slot: datetime | None
) -> None:
    assert slot_of(SETTLE, NOW, LONG_AGO, first_run) == slot
    history = History(LONG_AGO, {"artemis": first_run, "defillama": LONG_AGO} if first_run else {}, {})
    assert list(due([SETTLE], NOW, history, ())) == ([(SETTLE, slot)] if slot else [])


def test_a_settle_needs_its_first_run_from_no_other_source() -> None:
    assert not list(due([SETTLE], NOW, History(LONG_AGO, {"defillama": LONG_AGO}, {}), ()))


def test_a_backfill_needs_no_earlier_run_nor_a_pull_without_a_backfill() -> None:
    assert list(due([BACKFILL], NOW, History(NOW, {}, {}), ())) == [(BACKFILL, NOW)]
    assert list(due([PULL], NOW, History(NOW, {}, {}), ())) == [(PULL, SLOT)]


@pytest.mark.parametrize("ended", [None, NOW + MINUTE])
def test_the_initial_pull_begins_when_the_backfill_has_ended(ended: datetime | None) -> None:
    both, now = [PULL, BACKFILL], NOW + 2 * MINUTE
    history = History(NOW, {}, {(BACKFILL, NOW): [Attempt(ended, done=False)]})
    assert list(due(both, now, history, [BACKFILL.lane])) == ([(PULL, SLOT)] if ended else [])


def test_the_next_slot_of_a_pull_does_not_wait_for_the_backfill() -> None:
    backfill = ScheduledRun("defillama", Verb.BACKFILL, daily(4, 35))
    history = History(NOW, {}, {(backfill, NOW): [Attempt(None, done=False)]})
    assert list(due([HOURLY, backfill], NOW + 4 * MINUTE, history, [backfill.lane])) == []
    assert list(due([HOURLY, backfill], NOW + 5 * MINUTE, history, [backfill.lane])) == [(HOURLY, at(10, 5))]


def test_a_pull_waits_for_no_backfill_where_the_scheduler_started_by_a_clock_that_was_ahead() -> None:
    both, started = [PULL, BACKFILL], NOW + DAY
    history = History(started, {}, {(BACKFILL, SLOT): [Attempt(None, done=False)]})
    assert list(due(both, NOW, history, [BACKFILL.lane])) == [(PULL, SLOT)]


def test_the_initial_pull_waits_for_no_backfill_of_another_source() -> None:
    backfill = ScheduledRun("defillama", Verb.BACKFILL, daily(4, 35))
    assert list(due([PULL, backfill], NOW, History(NOW, {}, {}), ())) == [(PULL, SLOT), (backfill, NOW)]


def test_in_a_year_of_trouble_each_slot_that_could_be_done_is_done_and_none_twice() -> None:
    year = simulate(0)
    counts = check(year)
    assert counts.slots == 8_760 + 365 + 4 * 365
    assert counts.demanded > 0.7 * counts.slots
    assert min(counts.caught_up, counts.failed, counts.lost, len(year.world.jumps)) > 0


@pytest.mark.long
def test_in_200_years_of_trouble_each_slot_that_could_be_done_is_done_and_none_twice() -> None:
    total = Counts()
    for seed in range(200):
        total += check(simulate(seed))
    log.info("200 simulated years: %s", total)
    assert total.slots == 200 * 10_585


def test_looks_that_the_simulation_skips_would_begin_nothing() -> None:
    skipping, looking = (simulate(9, days=10, each_look=each_look) for each_look in (False, True))
    assert skipping.pulls.rows == looking.pulls.rows
    assert {row.fate for row in skipping.pulls.rows} >= {"success", "error", "lost"}


def test_the_simulation_reads_pulls_as_the_database_does(session: Connection) -> None:
    year, pulls = simulate(7, days=10), Pulls()
    with session.cursor() as cursor:
        for each in year.pulls.rows:
            row = (
                each.scheduled.source,
                each.scheduled.verb.value,
                each.slot,
                each.pulled_at,
                each.finished_at,
                each.status,
            )
            cursor.execute(INSERT, row)
            pulls.add(replace(each, ahead=False))
            now, life = each.pulled_at, year.lives[each.life]
            expected = pulls.history(now, life)
            clear_future_slots(cursor, [scheduled.source for scheduled in SCHEDULE], now)
            assert read_history(cursor, SCHEDULE, now, life.started_at, life.first_pull_id) == expected
    assert any(each.ahead and each.good for each in pulls.rows)
    assert any(not each.ahead and each.good for each in pulls.rows)


def at_midnight_only(
    schedule: Sequence[ScheduledRun], now: datetime, history: History, busy: Collection[tuple[str, bool]]
) -> Iterator[tuple[ScheduledRun, datetime]]:
    return due(schedule, now, history, busy) if now.hour == 0 else iter(())


def with_tries(change: Callable[[Attempt], Attempt]) -> Due:
    """A rule that reads each run otherwise."""

    def broken(
        schedule: Sequence[ScheduledRun], now: datetime, history: History, busy: Collection[tuple[str, bool]]
    ) -> Iterator[tuple[ScheduledRun, datetime]]:
        tries = {place: [change(each) for each in tries] for place, tries in history.attempts.items()}
        return due(schedule, now, replace(history, attempts=tries), busy)

    return broken


def beside_others(
    schedule: Sequence[ScheduledRun], now: datetime, history: History, busy: Collection[tuple[str, bool]]
) -> Iterator[tuple[ScheduledRun, datetime]]:
    del busy
    return due(schedule, now, history, ())


def missed_slots_too(
    schedule: Sequence[ScheduledRun], now: datetime, history: History, busy: Collection[tuple[str, bool]]
) -> Iterator[tuple[ScheduledRun, datetime]]:
    """Begins with the slot before the latest."""
    for scheduled, slot in due(schedule, now, history, busy):
        yield scheduled, slot - scheduled.schedule.every * (now == history.started)


def before_its_time(
    schedule: Sequence[ScheduledRun], now: datetime, history: History, busy: Collection[tuple[str, bool]]
) -> Iterator[tuple[ScheduledRun, datetime]]:
    for scheduled, slot in due(schedule, now, history, busy):
        yield scheduled, slot + scheduled.schedule.every * (now.hour == 12)


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (at_midnight_only, "not done"),
        (with_tries(lambda each: each._replace(done=each.ended is not None)), "not done"),
        (with_tries(lambda each: each._replace(done=each.done and each.ours)), "done twice"),
        (with_tries(lambda each: each._replace(ours=False)), "too soon after"),
        (beside_others, "two at once in a lane"),
        (missed_slots_too, "more than one run to catch up"),
        (before_its_time, "not the latest slot"),
    ],
    ids=[
        "midnight only",
        "failed is done",
        "a restart forgets",
        "no wait",
        "two at once",
        "all missed slots",
        "the next slot",
    ],
)
def test_a_broken_rule_is_caught(broken: Due, told: str) -> None:
    with pytest.raises(BrokenPromise, match=f"^{told}"):
        check(simulate(2, days=60, due=broken))
