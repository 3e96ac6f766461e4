"""The values that flow: which points are refused, and how a window is split."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from model.errors import BadPoint
from model.values import DAY, DataPoint, Window, midnight

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def point(asset: str = "solana", metric: str = "TVL", at: datetime = NOON, value: float = 1.0) -> DataPoint:
    return DataPoint(asset, metric, at, value)


def test_a_point_keeps_what_it_is_given() -> None:
    made = point("solana", "TVL", NOON, 0.0)
    assert (made.asset, made.metric, made.at, made.value) == ("solana", "TVL", NOON, 0.0)


@pytest.mark.parametrize(
    "at",
    [
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=1))),
        NOON.astimezone(timezone(timedelta(0), "GMT")),
        NOON.astimezone(ZoneInfo("UTC")),
    ],
)
def test_a_time_that_is_not_in_utc_itself_is_refused(at: datetime) -> None:
    with pytest.raises(BadPoint, match="is not in UTC"):
        point(at=at)


def test_the_older_name_of_utc_will_do() -> None:
    assert point(at=NOON.replace(tzinfo=timezone.utc)).at == NOON  # noqa: UP017 - the older name is what is tested


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(BadPoint, match="is not finite"):
        point(value=value)


def test_names_that_just_fit_are_taken() -> None:
    made = point(asset="ä" * 100, metric="M" * 200)
    assert (len(made.asset), len(made.metric)) == (100, 200)


@pytest.mark.parametrize(("asset", "metric"), [("", "TVL"), ("solana", ""), ("a" * 101, "TVL"), ("solana", "M" * 201)])
def test_names_that_are_empty_or_too_long_are_refused(asset: str, metric: str) -> None:
    with pytest.raises(BadPoint, match="does not fit its column"):
        point(asset, metric)


@pytest.mark.parametrize(("asset", "metric"), [("sol\0ana", "TVL"), ("solana", "\0")])
def test_names_with_a_nul_are_refused(asset: str, metric: str) -> None:
    with pytest.raises(BadPoint, match="holds a NUL"):
        point(asset, metric)


@pytest.mark.parametrize(
    ("days", "length", "pieces"), [(1, 1, 1), (1, 30, 1), (3, 1, 3), (10, 3, 4), (9, 3, 3), (1827, 1000, 2), (0, 1, 0)]
)
def test_split_gives_adjoining_windows_without_losing_a_day(days: int, length: int, pieces: int) -> None:
    window = Window(NOON, NOON + days * DAY)
    split = window.split(length * DAY)
    assert len(split) == pieces
    covered = [day for day in range(-1, days + 1) for piece in split if piece.start <= NOON + day * DAY < piece.end]
    assert covered == list(range(days))
    assert all(timedelta(0) < piece.end - piece.start <= length * DAY for piece in split)


def test_a_last_piece_may_be_a_part_of_a_day() -> None:
    end = NOON + DAY + timedelta(hours=1)
    assert Window(NOON, end).split(DAY) == [Window(NOON, NOON + DAY), Window(NOON + DAY, end)]


def test_midnight_is_the_start_of_the_utc_day() -> None:
    day = datetime(2024, 2, 29, tzinfo=UTC)
    for at in (day, NOON, day + DAY - timedelta(microseconds=1)):
        assert midnight(at) == day
    assert midnight(day + DAY) == day + DAY
