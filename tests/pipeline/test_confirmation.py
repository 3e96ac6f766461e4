"""How far series are confirmed, as a pure function of their ages and a time."""

from datetime import UTC, datetime, timedelta

import pytest

from db.points import Age
from pipeline.confirmation import (
    Confirmation,
    Withdrawal,
    confirmation,
    confirmation_text,
    confirmed_text,
    withdrawn_text,
)
from sources.defillama import DefiLlama

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
NIGHT = datetime(2026, 11, 21, 4, 35, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


def age(metric: str, verified_at: datetime | None = None, asset: str = "aave") -> Age:
    """A series with a point."""
    return Age(asset, metric, NOW, NOW.date(), verified_at)


def test_a_series_is_confirmed_in_time_until_the_next_run_of_the_schedule_must_be_over() -> None:
    every_night, weekly = age("TVL", NIGHT), age("PRICE", NIGHT)  # the API gives prices by window
    for late, in_time in ((DAY + 2 * HOUR, 2), (DAY + 3 * HOUR, 1), (7 * DAY + 2 * HOUR, 1), (7 * DAY + 3 * HOUR, 0)):
        assert confirmation(DefiLlama, [every_night, weekly], NIGHT + late).in_time == in_time, late


def test_live_only_series_and_those_without_a_point_are_not_expected_to_be_confirmed() -> None:
    ages = [age("FEES_24H"), age("MCAP"), Age("aave", "FEES", None, NOW.date())]
    found = confirmation(DefiLlama, ages, NOW)
    assert found == Confirmation()
    assert confirmation_text(found, NOW) == ""


def test_withdrawn_days_are_counted_with_the_last_time() -> None:
    ages = [age("TVL")._replace(withdrawn=2, withdrawn_at=NIGHT - DAY), age("FEES")._replace(withdrawn=1), age("MCAP")]
    found = confirmation(DefiLlama, ages, NOW)
    assert found.withdrawn == Withdrawal(days=3, last=NIGHT - DAY, series=2)


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([age("TVL"), age("FEES")], "not confirmed yet: 2 series"),
        ([age("TVL", NIGHT), age("FEES", NIGHT - HOUR)], "confirmed: all 2 series, the oldest 8 h ago"),
        ([age("TVL", NIGHT)], "confirmed 7 h ago"),
        ([age("TVL", NIGHT), age("FEES")],
         "confirmed in time: 1 of 2 series, 1 not confirmed yet; the oldest 7 h ago"),
        ([age("TVL", NIGHT), age("FEES", NIGHT - 4 * DAY), age("REVENUE")],
         "confirmed in time: 1 of 3 series, 1 longer ago, 1 not confirmed yet; the oldest on 2026-11-17"),
    ],
)  # fmt: skip
def test_the_confirmation_of_a_source_is_a_line(ages: list[Age], expected: str) -> None:
    assert confirmation_text(confirmation(DefiLlama, ages, NOW), NOW) == expected


@pytest.mark.parametrize(
    ("verified_at", "expected"),
    [
        (None, "not confirmed yet"),
        (NIGHT, "confirmed 7 h ago"),
        (NOW - 47 * HOUR, "confirmed 47 h ago"),
        (NOW - 48 * HOUR, "confirmed on 2026-11-19"),
        (NOW + HOUR, "confirmed 0 s ago"),
    ],
)
def test_a_series_was_confirmed_some_hours_ago_or_on_a_date(verified_at: datetime | None, expected: str) -> None:
    assert confirmed_text(verified_at, NOW) == expected


def test_withdrawn_days_are_told_with_the_last_date_and_their_series() -> None:
    assert withdrawn_text(1, None) == "1 day withdrawn by the provider"
    assert withdrawn_text(3, NIGHT) == "3 days withdrawn by the provider, last on 2026-11-21"
    assert withdrawn_text(3, NIGHT, 2) == "3 days of 2 series withdrawn by the provider, last on 2026-11-21"
