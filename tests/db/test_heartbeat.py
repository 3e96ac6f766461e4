"""The scheduler's row, and the runs that count for its slots, on a real database."""

import pytest

from db.heartbeat import Heartbeat
from db.pulls import clear_future_slots
from model.schedule import hourly
from model.values import Verb
from pipeline.due import ScheduledRun, read_history
from tests.tables import Rows

DUTY = ScheduledRun("artemis", Verb.PULL, hourly(5))
RUN = """
INSERT INTO pulls (source_name, kind, slot, pulled_at, finished_at, status)
SELECT %s, 'pull', %s, now() + %s::interval, now() + %s::interval, 'success'
"""


@pytest.mark.parametrize(("source", "ahead", "done"), [
    ("artemis", "0", True), ("artemis", "4 min", True), ("artemis", "6 min", False), ("defillama", "6 min", False),
])  # fmt: skip
def test_a_run_that_a_clock_which_was_ahead_has_dated_is_for_no_slot_of_its_source(
    source: str, ahead: str, done: bool, heartbeat: Heartbeat, rows: Rows
) -> None:
    now = heartbeat.beat("idle")
    slot = DUTY.schedule.slot(now)
    rows(RUN, source, slot.replace(tzinfo=None), ahead, ahead)
    heartbeat.do(lambda cursor: clear_future_slots(cursor, [DUTY.source], now))
    tries = heartbeat.do(lambda cursor: read_history(cursor, [DUTY], now, heartbeat.started.started_at, 0)).attempts
    assert [each.done for each in tries.get((DUTY, slot), ())] == [True] * done
    assert rows("SELECT slot IS NULL FROM pulls") == [(source == "artemis" and not done,)]
