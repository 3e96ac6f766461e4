"""What the rules flag in the answers recorded in ../shared/recorded; docs/sources.md tells it."""

from collections import defaultdict

import pytest

from model.flags import FlagRule
from model.values import Rhythm, Verb
from query.flag_rules import Day, days_of
from query.flags import RULES
from sources import metric_of
from tests.sources.test_recorded import CASES, RECORDED, answer, moment

pytestmark = pytest.mark.skipif(not RECORDED.exists(), reason=f"{RECORDED} is not on this machine")

SUPPLY = "CHAIN_STABLECOIN_SUPPLY"
NEWEST = {  # of the bodies of one asset, the last one
    "protocol-anchor@2022-09-13-72b0a9f",
    "protocol-drift-trade@2025-12-19-e89c2a5",
    "protocol-everlend@2025-12-19-e89c2a5",
    "protocol-moveposition@2025-12-10-823b4c4",
    "protocol-save@2025-12-19-e89c2a5",
    "stablecoincharts_Terra@2026-08-17",
    "stablecoincharts_all@2026-08-21",
    "yields-chart-2d48131c@2025-10-06",
    "yields-chart-3603d576@2025-10-06",
}
FIRED = {
    ("moveposition", "TVL"): ["jump 2025-09-18 3.784M between 10.08M and 10.4M"],
    ("2d48131c", "APY"): ["jump 2025-03-25 17.76 between 65.2 and 55.5"],
    ("3603d576", "APY"): [
        "jump 2024-03-11 290 between 33.55 and 40.5",
        "jump 2024-06-13 77 between 29.56 and 28.25",
        "jump 2024-07-05 61.4 between 26.7 and 19.1",
        "jump 2024-08-05 163 between 36.6 and 32.63",
        "jump 2025-02-03 96.5 between 36.66 and 41.7",
    ],
}


@pytest.fixture(scope="module")
def recorded() -> dict[tuple[str, str], list[Day]]:
    """The closed days of each recorded history."""
    found = {}
    for name in NEWEST:
        case, points = CASES[f"defillama/{name}"], defaultdict(list)
        assert case.verb is Verb.BACKFILL
        for point in answer(f"defillama/{name}").points:
            points[point.asset[:8] if "yields" in name else point.asset, point.metric].append((point.at, point.value))
        for series, dated in points.items():
            metric = metric_of("defillama", series[1])
            assert metric
            found[series] = days_of(sorted(dated), metric, Rhythm.DAILY, moment(case.received).date())
    return found


def test_seven_of_eleven_thousand_real_days_are_flagged(recorded: dict[tuple[str, str], list[Day]]) -> None:
    fired = defaultdict[tuple[str, str], list[str]](list)
    for series, days in recorded.items():
        metric = metric_of("defillama", series[1])
        for rule, find in RULES.items():
            if rule is FlagRule.FLAT and metric and metric.flat_by_nature:
                continue
            fired[series] += [f"{rule} {span.start} {span.text}" for span in find(days)]
    assert {series: texts for series, texts in fired.items() if texts} == FIRED
    assert sum(map(len, recorded.values())) == 10_870


def test_the_supply_of_stablecoins_of_2018_would_be_flat_if_supplies_were_not_by_nature(
    recorded: dict[tuple[str, str], list[Day]],
) -> None:
    spans = list(RULES[FlagRule.FLAT](recorded["all", SUPPLY]))
    assert [span.start.year for span in spans] == [2017, 2018, 2018, 2018, 2018]
