"""What a run will ask for: series, calls and window, from a config, a verb and a given time."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from cli.run_text import plan_lines, summary_lines
from db.load import Counts
from model.errors import ConfigurationError
from model.values import DAY, EARLIEST, Target, Verb, Window
from pipeline.plan import Plan, Scope, backfill_window, choose, make_job, make_plan, pull_window, settle_window
from pipeline.summary import FAILURES_KEPT, Summary
from sources.artemis import Artemis
from sources.config import Asset
from sources.defillama import DefiLlama

NOW = datetime(2025, 3, 1, 17, 30, 5, tzinfo=UTC)
TODAY = datetime(2025, 3, 1, tzinfo=UTC)
FIRST = datetime(2013, 4, 28, tzinfo=UTC)
ASSETS = [
    Asset("sol", ("PRICE", "FEES"), "sol", "", "", ""),
    Asset("btc", ("PRICE",), "bitcoin", "", "", ""),
]
NAMED = [target for asset in ASSETS for target in asset.targets()]


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


def test_without_names_every_series_is_chosen_and_with_names_those_that_have_all_of_them() -> None:
    assert choose(NAMED, [], [], "x.csv") == [
        Target("sol", "PRICE", "sol"),
        Target("sol", "FEES", "sol"),
        Target("btc", "PRICE", "bitcoin"),
    ]
    assert choose(NAMED, ["btc", "sol"], ["FEES"], "x.csv") == [Target("sol", "FEES", "sol")]
    assert choose(NAMED, ["btc"], [], "x.csv") == [Target("btc", "PRICE", "bitcoin")]


def test_the_job_of_a_large_config_is_made_without_comparing_its_series_with_each_other() -> None:
    compared = []

    class Watched(Target):
        __hash__ = Target.__hash__

        def __eq__(self, other: object) -> bool:
            compared.append(other)
            return super().__eq__(other)

    targets = [Watched(f"p{number}", name, f"p{number}") for number in range(100) for name in ("TVL", "FEES")]
    job = make_job(DefiLlama(), Verb.PULL, targets, pull_window(NOW, 7))
    assert (len(job.targets), len(job.left_out), len(compared)) == (100, 100, 0)


@pytest.mark.parametrize(
    ("assets", "metrics", "said"),
    [
        (["slo"], [], "x.csv has no asset 'slo': did you mean sol?"),
        (["sol"], ["FEE"], "x.csv has no metric 'FEE': did you mean FEES?"),
        (
            ["btc"],
            ["FEES"],
            "x.csv has none of these metrics for any of these assets: name an asset and one of its metrics",
        ),
    ],
)
def test_a_name_that_the_config_lacks_is_refused_with_the_nearest(
    assets: list[str], metrics: list[str], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        choose(NAMED, assets, metrics, "x.csv")
    assert str(refused.value) == said


def test_a_pull_asks_for_the_last_days_with_the_open_one() -> None:
    assert pull_window(NOW, 7) == Window(day(2025, 2, 23), day(2025, 3, 2))
    assert pull_window(TODAY, 1) == Window(TODAY, TODAY + timedelta(days=1))


def test_a_backfill_ends_before_the_open_day() -> None:
    assert backfill_window(NOW, FIRST, None, None) == Window(FIRST, TODAY)
    assert backfill_window(NOW, FIRST, day(2025, 2, 28), TODAY) == Window(day(2025, 2, 28), TODAY)
    assert backfill_window(NOW, FIRST, day(2000, 1, 1), day(2000, 1, 2)) == Window(day(2000, 1, 1), day(2000, 1, 2))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (TODAY, None, "from --start 2025-03-01 to --end 2025-03-01: "),
        (day(2025, 3, 2), day(2025, 3, 3), "from --start 2025-03-02 to --end 2025-03-03: .* not be after 2025-03-01"),
        (None, day(2025, 3, 2), "from --start 2013-04-28 to --end 2025-03-02: .* must not be after 2025-03-01"),
        (day(2024, 1, 2), day(2024, 1, 1), "from --start 2024-01-02 to --end 2024-01-01: --start must be before --end"),
        (None, FIRST, "from --start 2013-04-28 to --end 2013-04-28: --start must be before --end"),
        (day(1999, 12, 31), None, "from --start 1999-12-31 to --end 2025-03-01: .* not before 2000-01-01"),
        (day(1, 1, 1), None, "from --start 0001-01-01 to --end 2025-03-01: .* not before 2000-01-01"),
    ],
)
def test_an_impossible_window_is_refused(start: datetime | None, end: datetime | None, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        backfill_window(NOW, FIRST, start, end)


def test_a_settle_asks_for_the_last_closed_days() -> None:
    assert settle_window(NOW, 10) == Window(day(2025, 2, 19), TODAY)
    assert settle_window(TODAY, 1) == Window(day(2025, 2, 28), TODAY)


def missing(*spans: tuple[int, int]) -> tuple[Plan, list[Window]]:
    """The plan for series of which each misses one span of days (counted back from today), and these windows."""
    windows = [Window(TODAY - first * DAY, TODAY - last * DAY) for first, last in spans]
    targets = [Target(f"a{number}", "PRICE", f"a{number}") for number in range(len(spans))]
    job = make_job(Artemis("key"), Verb.BACKFILL, targets, Window(FIRST, TODAY), Scope.MISSING)
    return make_plan(job, {target[:2]: [window] for target, window in zip(targets, windows, strict=True)}), windows


def test_three_missing_windows_become_one_where_that_takes_fewer_calls() -> None:
    plan, windows = missing((90, 80), (70, 60), (50, 40))
    assert list(plan.windows) == [Window(windows[0].start, windows[2].end)]
    assert (len(plan.calls), len(plan.series)) == (1, 3)
    two, windows = missing((90, 80), (70, 60))
    assert list(two.windows) == windows
    far, windows = missing((2900, 2890), (70, 60), (50, 40))  # a call has at most 1,000 days, so one window takes three
    assert list(far.windows) == windows


def test_a_settle_may_reach_back_to_the_first_day_of_all() -> None:
    most = (TODAY - EARLIEST) // DAY
    assert settle_window(TODAY, most).start == EARLIEST


@pytest.mark.parametrize("number", [0, -1, 10**5, 10**12])
def test_an_impossible_number_of_days_is_refused(number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"--days {number}: write a number of closed days, from 1 to 9,191"):
        settle_window(NOW, number)


@pytest.mark.parametrize(
    ("verb", "key", "series", "other", "without"),
    [
        (Verb.PULL, "", 2, 2, 1),
        (Verb.PULL, "key", 3, 2, 0),
        (Verb.BACKFILL, "", 2, 2, 1),
        (Verb.BACKFILL, "key", 3, 2, 0),
    ],
)
def test_a_plan_counts_what_it_leaves_out(verb: Verb, key: str, series: int, other: int, without: int) -> None:
    metrics = ("TVL", "FEES", "FEES_24H", "PERPS_VOLUME", "PERPS_VOLUME_24H")
    targets = [Target("lido", metric, "lido", "protocol") for metric in metrics]
    plan = make_plan(make_job(DefiLlama(key), verb, targets, pull_window(NOW, 7)))
    assert (len(plan.job.targets), len(plan.job.left_out), plan.job.without_key) == (series, other, without)
    assert len(plan.calls) == series
    assert next(plan_lines(plan)).endswith(f", at least {series * (0.08 if key else 0.12):.1f} s")


def test_a_plan_shows_its_size_and_the_first_few_of_calls_that_are_alike() -> None:
    targets = [Target(f"p{number}", "TVL", f"p{number}", "protocol") for number in range(4000)]
    plan = make_plan(make_job(DefiLlama(), Verb.BACKFILL, targets, pull_window(NOW, 7)))
    assert [*plan_lines(plan)] == [
        "defillama backfill: 4,000 calls for 4,000 series, at least 8 min",
        "  2025-02-23 to 2025-03-01: 4,000 calls for 4,000 series",
        "    api/protocol/p0",
        "    api/protocol/p1",
        "    api/protocol/p2",
        "    and 3,997 more of api/protocol/…",
    ]
    head, window, *four = plan_lines(make_plan(make_job(DefiLlama(), Verb.BACKFILL, targets[:4], pull_window(NOW, 7))))
    assert head == "defillama backfill: 4 calls for 4 series, at least 0.5 s"
    assert window == "  2025-02-23 to 2025-03-01: 4 calls for 4 series"
    assert four == [f"    api/protocol/p{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        (Scope.MISSING, "2 series are covered from 2025-02-01 to 2025-02-10"),
        (Scope.GAPS, "2 series have no such gap"),
        (Scope.EMPTY_GAPS, "2 series have no such gap"),
    ],
)
def test_plan_and_summary_say_in_the_same_words_why_there_is_nothing_to_ask(scope: Scope, said: str) -> None:
    targets = [Target(asset, "PRICE", asset) for asset in ("sol", "btc")]
    window = Window(day(2025, 2, 1), day(2025, 2, 11))
    plan = make_plan(make_job(Artemis(), Verb.BACKFILL, targets, window, scope), {})
    assert [*plan_lines(plan)][1:] == [f"  {said}: nothing to request"]
    assert [*summary_lines(Summary(plan))] == [f"artemis backfill: nothing to request: all {said}; 0.0 s"]


def test_a_backfill_names_the_settle_that_adopts_what_it_has_kept() -> None:
    window = backfill_window(NOW, FIRST, day(2025, 2, 1), day(2025, 2, 11))
    plan = make_plan(make_job(Artemis(), Verb.BACKFILL, [Target("sol", "PRICE", "sol")], window))
    *_, kept = summary_lines(Summary(plan, calls=1, received=3, counts=Counts(kept=3), today=TODAY))
    assert kept == "  kept as stored: 3 values; to adopt the API's values: python main.py settle artemis --all"


@pytest.mark.parametrize(("different", "last"), [(3, "failure 2"), (FAILURES_KEPT, "failure 19"), (22, "and 2 more")])
def test_the_row_of_a_run_has_its_failures_up_to_a_number(different: int, last: str) -> None:
    job = make_job(Artemis(), Verb.PULL, [Target("sol", "PRICE", "sol")], pull_window(NOW, 1))
    failures = Counter({f"failure {number}": different - number for number in range(different)})
    text = Summary(make_plan(job), calls=different, failed=different, failures=failures).end(str).failure or ""
    assert text.split("; ")[-1] == last
    assert len(text.split("; ")) == min(different, FAILURES_KEPT) + (different > FAILURES_KEPT)


def test_a_backfill_of_artemis_starts_at_a_midnight_five_years_ago() -> None:
    assert Artemis.history_start(TODAY) == day(2020, 3, 2)
