"""The area `flags` of `check`: odd values as notes, in few lines."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from cli.checks.area import Finding, Severity
from cli.checks.flags import flag_findings
from db.database import Database
from db.store import Store
from model.flags import FlagRule
from model.values import DAY, Answered, DataPoint, Series, Window
from query.flags import Flag
from tests.cli.test_check import check, found, replace, root
from tests.commands import environment
from tests.tables import BACKFILL, Rows, this_midnight

__all__ = ["root"]

FIRST, LAST = date(2026, 11, 1), date(2026, 11, 9)
STEADY = [100.0, 101.0, 99.0, 100.0, 102.0, 98.0, 100.0]


def flag(asset: str, metric: str = "FEES", rule: FlagRule = FlagRule.ZERO, start: date = LAST) -> Flag:
    return Flag(Series("artemis", asset, metric), rule, start, LAST, 0.0, "zero after 5")


def lines(flags: Sequence[Flag]) -> list[tuple[str, str]]:
    return [(each.where, each.what) for each in flag_findings("artemis", flags)]


def test_the_flags_of_an_asset_are_one_line_with_their_days() -> None:
    flags = [flag("sol"), flag("sol", "DAU", FlagRule.FLAT, FIRST), flag("eth")]
    assert lines(flags) == [
        ("artemis sol", "FEES zero on 2026-11-09: zero after 5, DAU flat on 2026-11-01 to 2026-11-09: zero after 5"),
        ("artemis eth", "FEES zero on 2026-11-09: zero after 5"),
    ]


@pytest.mark.parametrize(("number", "expected"), [(5, 5), (6, 1)])
def test_a_rule_that_flags_a_metric_in_many_assets_is_one_line(number: int, expected: int) -> None:
    found = lines([flag(f"asset-{place}") for place in range(number)])
    assert len(found) == expected
    if expected == 1:
        assert found == [
            ("artemis FEES", "zero in asset-0, asset-1, asset-2, asset-3, asset-4 and 1 more"),
        ]


def test_many_flags_of_one_series_are_those_of_one_asset() -> None:
    assert lines([flag("sol") for _ in range(9)]) == [("artemis sol", "FEES zero on 2026-11-09: zero after 5")]


@pytest.mark.parametrize(("number", "expected"), [(10, []), (11, ["and 1 more"]), (1000, ["and 990 more"])])
def test_there_are_at_most_ten_lines_and_the_number_of_the_others(number: int, expected: list[str]) -> None:
    flags = [flag(f"asset-{place}", f"METRIC_{place}") for place in range(number)]
    assert [what for _, what in lines(flags)[10:]] == expected


def test_a_flag_is_a_note_that_says_how_to_see_it_and_how_to_switch_it_off() -> None:
    (finding,) = flag_findings("artemis", [flag("sol")])
    assert finding.severity is Severity.NOTE
    assert finding.remedy == (
        "see q.flags() in a notebook, or python main.py query ASSET METRIC --source artemis --start 30d; to switch a "
        "rule off, write its name into the column flags_off of artemis_config.csv"
    )
    assert isinstance(finding, Finding)


@pytest.fixture
def stored(database: Database) -> None:
    """A sudden zero of yesterday, and one of a day 31 days ago, in series of the small configs."""
    for metric, ago in (("PRICE", 1), ("FEES", 31)):
        first = this_midnight() - (ago + len(STEADY)) * DAY
        values = [*STEADY, 0.0, *(100.0 + place for place in range(ago - 1))]
        points = [DataPoint("btc", metric, first + place * DAY, value) for place, value in enumerate(values)]
        with closing(Store(database, "artemis", BACKFILL)) as store:
            store.load(points, [Answered("btc", metric, Window(first, this_midnight()))])


@pytest.mark.usefixtures("stored")
def test_check_shows_the_flags_of_thirty_days_and_still_all_is_well(root: Path, database_url: str) -> None:
    done = check(root, "artemis --offline", database_url)
    assert done.returncode == 0, done.stdout
    assert "flags: 1 flag in 30 days of 2 series\n  note     artemis btc" in done.stdout
    assert f"PRICE zero on {this_midnight() - DAY:%Y-%m-%d}: zero after 100" in " ".join(done.stdout.split())
    assert not any(found(check(root, "artemis --offline --json", database_url)).values())


@pytest.mark.usefixtures("stored")
def test_a_rule_that_the_config_switches_off_is_not_shown(root: Path, database_url: str) -> None:
    replace(root, "artemis_config.csv", "entity\nbtc,PRICE FEES,,Bitcoin,bitcoin", "flags_off\nbtc,PRICE FEES,,,zero")
    assert "flags: ok: 0 flags in 30 days of 2 series" in check(root, "artemis --offline", database_url).stdout


def test_a_config_that_names_an_unknown_rule_is_an_error_with_its_line(root: Path) -> None:
    replace(root, "artemis_config.csv", "entity\nbtc,PRICE FEES,,Bitcoin,bitcoin", "flags_off\nbtc,PRICE FEES,,,zeros")
    assert found(check(root, "artemis --offline --json"))["configs"] == [
        "artemis_config.csv:2: unknown rule 'zeros' in flags_off: did you mean zero? -> ",
    ]


@pytest.mark.usefixtures("stored")
def test_another_source_of_the_same_entity_is_read_though_only_one_is_checked(
    root: Path, database: Database, database_url: str, rows: Rows
) -> None:
    rows("UPDATE metrics SET value = 100 WHERE metric_name = 'PRICE'")
    first = this_midnight() - 5 * DAY
    points = [DataPoint("bitcoin", "PRICE", first + place * DAY, 200.0) for place in range(5)]
    with closing(Store(database, "defillama", BACKFILL)) as store:
        store.load(points, [Answered("bitcoin", "PRICE", Window(first, this_midnight()))])
    done = check(root, "artemis --offline", database_url)
    expected = "from defillama bitcoin PRICE: 100 against 200 on the last day"
    assert expected in " ".join(done.stdout.split())


@pytest.mark.usefixtures("stored")
def test_check_loads_no_pandas(root: Path, database_url: str) -> None:
    line = "import sys; from cli.run_command import main; main(sys.argv[1:]); sys.exit('pandas' in sys.modules)"
    words = [sys.executable, "-c", line, "check", "artemis", "--offline"]
    done = subprocess.run(words, cwd=root, env=environment(database_url), capture_output=True, check=False)  # noqa: S603
    assert (done.returncode, b"1 flag" in done.stdout) == (0, True)
