"""The series with values that wait for a person, as the table quarantine has them."""

from datetime import UTC, datetime

import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 (a class, under the name of a function)

from db.quarantine import Waiting, waiting
from model.values import DAY
from tests.tables import BACKFILL, START, Opener, Rows, asked, point, this_midnight

pytestmark = pytest.mark.every_postgres

SEEN = datetime(2026, 11, 20, 4, 36, tzinfo=UTC)
SET_ASIDE = """
INSERT INTO quarantine (source, asset, metric_name, pulled_at, value, state, seen_at)
SELECT source, asset, metric_name, pulled_at, {value}, '{state}', '2026-11-20 04:36' FROM metrics
WHERE asset = '{asset}' AND pulled_at BETWEEN '2024-01-02' AND '2024-01-05'
"""


@pytest.fixture(autouse=True)
def _stored(open_store: Opener) -> None:
    """Six days of two series, and a value of the open day."""
    values = [point(asset, day, 10.0**day) for asset in ("solana", "uniswap") for day in range(6)]
    today = point("solana", (this_midnight() - START).days)
    open_store(BACKFILL).load([*values, today], [asked(0, 6), asked(0, 6, "uniswap")])


def found(session: Connection) -> list[Waiting]:
    """What waits of DefiLlama."""
    with session.cursor() as cursor:
        return waiting(cursor, "defillama")


def test_nothing_waits_in_an_empty_table(session: Connection) -> None:
    assert found(session) == []


def test_a_series_has_its_days_its_median_factor_and_its_newest_change(session: Connection, rows: Rows) -> None:
    rows(SET_ASIDE.format(asset="solana", state="waiting", value="value / 1000"))
    first, last = START + DAY, START + 4 * DAY
    assert found(session) == [Waiting("solana", "TVL", 4, 0, 0, 6, first, last, 0.001, 1e4, 10.0, SEEN)]


def test_zeros_and_withdrawn_values_are_counted_and_have_no_factor(session: Connection, rows: Rows) -> None:
    rows(SET_ASIDE.format(asset="solana", state="waiting", value="0"))
    rows("UPDATE quarantine SET value = NULL, seen_at = '2026-11-19' WHERE pulled_at > '2024-01-04'")
    rows("UPDATE metrics SET value = 0 WHERE pulled_at = '2024-01-02'")
    (series,) = found(session)
    assert (series.days, series.zero, series.withdrawn, series.factor) == (4, 3, 1, None)
    assert (series.old, series.new, series.since) == (1e4, None, datetime(2026, 11, 19, tzinfo=UTC))


@pytest.mark.parametrize(("stored", "now"), [("5e-324", "1e308"), ("NaN", "1"), ("Infinity", "1"), (None, "1")])
def test_values_without_a_possible_factor_break_nothing(
    stored: str | None, now: str, session: Connection, rows: Rows
) -> None:
    rows("UPDATE metrics SET value = %s", stored)
    rows(SET_ASIDE.format(asset="solana", state="waiting", value=f"'{now}'::double precision"))
    assert [each.factor for each in found(session)] == [None]


def test_a_row_that_was_deleted_by_hand_has_no_stored_value(session: Connection, rows: Rows) -> None:
    rows(SET_ASIDE.format(asset="solana", state="waiting", value="2 * value"))
    rows("DELETE FROM metrics WHERE pulled_at = '2024-01-05'")
    (series,) = found(session)
    assert (series.days, series.stored, series.factor, series.old, series.new) == (4, 5, 2.0, None, 2e4)


def test_values_of_a_run_under_way_and_rejected_ones_do_not_wait(session: Connection, rows: Rows) -> None:
    rows(SET_ASIDE.format(asset="solana", state="new", value="1"))
    rows(SET_ASIDE.format(asset="uniswap", state="rejected", value="1"))
    assert found(session) == []
    rows("UPDATE quarantine SET state = 'waiting' WHERE pulled_at = '2024-01-03'")
    assert [(each.asset, each.days) for each in found(session)] == [("solana", 1), ("uniswap", 1)]
    with session.cursor() as cursor:
        assert waiting(cursor, "artemis") == []
