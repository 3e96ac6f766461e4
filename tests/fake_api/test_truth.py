"""The fake's data: what kinds of days a series has."""

from datetime import date, timedelta

import pytest

from tests.fake_api import truth

TODAY = date(2025, 12, 19)


def closed(asset: str, metric: str, source: str = "defillama") -> dict[date, float]:
    return dict(truth.history(source, asset, metric, date(2019, 1, 1), TODAY))


def test_truth_has_zeros_in_flows_gaps_in_series_and_nulls_only_at_artemis() -> None:
    assert 10 < sum(number == 0 for number in closed("aave", "FEES").values()) < 80
    assert 0.0 not in closed("aave", "TVL").values()
    first = truth.first_day("defillama", "aave", "TVL")
    assert 5 < (TODAY - first).days - len(closed("aave", "TVL")) < 50
    assert date(2019, 1, 1) <= first <= date(2022, 1, 1)


def test_an_open_day_has_half_of_its_flow_and_a_level_one_percent_higher() -> None:
    for metric, share in (("FEES", 0.5), ("TVL", 1.01), ("FEES_24H", 1.0), ("MCAP", 1.0)):
        live = truth.live("defillama", "aave", metric, TODAY)
        final = truth.value("defillama", "aave", metric, TODAY)
        assert live == pytest.approx((final or 0) * share, rel=0.001)
        assert final


def test_truth_restates_the_last_days_and_few_others() -> None:
    def said(back: int, restated: int) -> float | None:
        day = TODAY - timedelta(days=back)
        return truth.value("defillama", "lido", "TVL", day, restated=restated, today=TODAY)

    changed = [back for back in range(1, 1001) if said(back, 0) != said(back, 1)]
    assert changed[:3] == [1, 2, 3]
    assert 3 < len(changed) < 30
