"""Restatements that wait for a person, as the text by which one judges them."""

from datetime import UTC, datetime, timedelta

import pytest

from db.quarantine import Waiting
from pipeline.waiting_restatements import waiting_choices, waiting_remedy, waiting_text

FIRST, LAST = datetime(2020, 9, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
UNIT_CHANGE = Waiting("uniswap", "TVL", 2950, 0, 0, 3012, FIRST, LAST, 0.001, 4.1e9, 4.1e6, LAST)


def test_a_change_of_unit_is_told_with_its_factor_and_the_newest_day() -> None:
    assert waiting_text("defillama", UNIT_CHANGE) == (
        "uniswap TVL: the API now gives other values for 2,950 of 3,012 stored days, 2020-09-01 to 2026-11-01, "
        "typically new = 0.001 × old; 2026-11-01 would be $4.1M in place of $4.1bn; first seen 2026-11-01 00:00Z"
    )


def test_the_remedy_can_be_typed_whatever_the_names_hold() -> None:
    assert waiting_remedy("defillama", UNIT_CHANGE) == (
        "to take the new values:\npython main.py settle defillama --accept uniswap TVL\n"
        "to keep the stored ones:\npython main.py settle defillama --reject uniswap TVL"
    )
    two_words = waiting_choices("defillama", UNIT_CHANGE._replace(asset="two words"))
    assert [command for _, command in two_words] == [
        "python main.py settle defillama --accept 'two words' TVL",
        "python main.py settle defillama --reject 'two words' TVL",
    ]


def test_of_withdrawn_days_the_stored_values_stay_in_both_cases() -> None:
    assert waiting_remedy("defillama", UNIT_CHANGE._replace(withdrawn=2950, new=None, factor=None)).splitlines() == [
        "to mark these days as withdrawn (the stored values stay):",
        "python main.py settle defillama --accept uniswap TVL",
        "to leave these days unmarked (the stored values stay, too):",
        "python main.py settle defillama --reject uniswap TVL",
    ]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"zero": 2950, "factor": None, "new": 0.0},
         "the API now gives zero for 2,950 of 3,012 stored days, 2020-09-01 to 2026-11-01; "
         "2026-11-01 would be $0 in place of $4.1bn"),
        ({"withdrawn": 2950, "factor": None, "new": None},
         "the API no longer has 2,950 of 3,012 stored days, 2020-09-01 to 2026-11-01; "
         "2026-11-01 is stored as $4.1bn"),
        ({"zero": 40, "withdrawn": 3, "factor": 1e18},
         "other values for 2,950 of 3,012 stored days (zero for 40 and none for 3 of them), 2020-09-01 to 2026-11-01, "
         "typically new = 1e+18 × old; 2026-11-01 would be $4.1M in place of $4.1bn"),
        ({"zero": 40}, "stored days (zero for 40 of them), 2020"),
        ({"first": LAST, "days": 1}, "1 of 3,012 stored days, 2026-11-01; 2026-11-01 would be "),
        ({"factor": 1000.0}, ", typically new = 1,000 × old; "),
        ({"factor": -1.0}, ", typically new = -1 × old; "),
        ({"factor": 1.0004}, "2026-11-01; 2026-11-01 would be "),
        ({"factor": None, "old": None}, "2026-11-01; 2026-11-01 would be $4.1M in place of no value"),
        ({"factor": None, "old": float("nan"), "new": 0.0}, "2026-11-01 would be $0 in place of nan"),
        ({"old": 0.0, "new": 0.0}, "2026-11-01 would be $0 in place of $0"),
        ({"old": 4.1e9, "new": 4.1000001e9}, "would be $4.1000001bn in place of $4.1bn"),
    ],
)  # fmt: skip
def test_each_shape_of_a_change_has_its_words(changed: dict[str, object], expected: str) -> None:
    assert expected in waiting_text("defillama", UNIT_CHANGE._replace(**changed))  # type: ignore[arg-type]


def test_a_point_with_a_time_of_its_own_is_told_by_its_day() -> None:
    at = LAST - timedelta(seconds=20)
    price = UNIT_CHANGE._replace(metric="PRICE", first=at, last=at)
    assert "stored days, 2026-11-01, typically new" in waiting_text("defillama", price)
    assert "stored days, 2026-10-31, typically new" in waiting_text("gone", price)
